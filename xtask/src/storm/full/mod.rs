//! Disks that are full or fail: writers fill a small file system until nothing fits, and go on when there is
//! room; calls of a writer fail one after the other. What was acknowledged stays, what was refused has no
//! effect, and nothing needs a repair.

mod fail;
mod fill;

use anyhow::Result;

use super::lab::Bench;
use super::report::Report;

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// How often the disk is filled.
    pub(crate) fills: usize,
    /// At how many passes of each call it fails.
    pub(crate) passes: usize,
}

/// Fills disks, and lets calls fail.
pub(crate) fn run(bench: &Bench, seed: u64, size: Size) -> Report {
    let mut report = Report::begin("full", seed);
    let outcome = storm(bench, seed, size, &mut report);
    report.end(outcome)
}

fn storm(bench: &Bench, seed: u64, size: Size, report: &mut Report) -> Result<()> {
    fill::storm(bench, seed, size.fills, report)?;
    if crate::tools::STRACE.is_here() {
        fail::storm(bench, seed, size.passes, report)?;
    } else {
        report.fact("calls that failed", "none: no strace here");
    }
    Ok(())
}
