//! `cargo xtask storm`: processes killed, stopped and raced, then the invariants.

use anyhow::{Result, bail};

use crate::steps::Outcome;
use crate::work::Work;

/// What may follow the command.
pub(crate) const ARGUMENTS: &str = "";

/// Runs the command: the long tier.
pub(crate) fn run(_: &Work, _: &[String]) -> Result<()> {
    bail!("there is no storm yet")
}

/// The short tier, for every test run.
#[expect(clippy::unnecessary_wraps, reason = "storms fail")]
pub(crate) fn short(_: &Work) -> Result<Outcome> {
    Ok(Outcome::Skipped("there is no storm yet".to_owned()))
}
