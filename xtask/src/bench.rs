//! `cargo xtask bench`: measurements against baselines in the same run.

use anyhow::{Result, bail};

use crate::work::Work;

/// What may follow the command.
pub(crate) const ARGUMENTS: &str = "";

/// Runs the command.
pub(crate) fn run(_: &Work, _: &[String]) -> Result<()> {
    bail!("`cargo xtask bench` is not there yet")
}
