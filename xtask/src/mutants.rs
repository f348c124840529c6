//! `cargo xtask mutants`: planted bugs, each of which must be caught by a named harness.

use anyhow::{Result, bail};

use crate::work::Work;

/// What may follow the command.
pub(crate) const ARGUMENTS: &str = "";

/// Runs the command.
pub(crate) fn run(_: &Work, _: &[String]) -> Result<()> {
    bail!("`cargo xtask mutants` is not there yet")
}
