//! `cargo xtask check`: what should hold before every commit.

use anyhow::Result;

use crate::steps::{Steps, execute};
use crate::tools;
use crate::work::Work;

/// Runs the command.
pub(crate) fn run(work: &Work, _: &[String]) -> Result<()> {
    let mut steps = Steps::default();
    add(work, &mut steps);
    steps.run("fast tests", || {
        execute(work.cargo(&["test", "--workspace", "--locked", "--quiet", "--lib", "--bins"]))
    });
    steps.finish()
}

/// Formatting and lints.
pub(crate) fn add(work: &Work, steps: &mut Steps) {
    steps.run("toolchain", || tools::components(work));
    steps.run("formatting", || execute(work.cargo(&["fmt", "--all", "--check"])));
    let clippy = ["clippy", "--workspace", "--all-targets", "--locked"];
    let denied = ["--", "-D", "warnings"];
    steps.run("lints", || execute(work.cargo(&[&clippy[..], &denied].concat())));
}
