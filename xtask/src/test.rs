//! `cargo xtask test`: everything that passes the tests, from a fresh clone on.

use anyhow::Result;

use crate::steps::{Outcome, Steps, execute};
use crate::tools::{self, FAKETIME, POSTGRES, PYTHON, STRACE, TMUX};
use crate::work::Work;
use crate::{e2e, mutants, storm};

/// The tests that need failpoints, or meet more with them. The contract is run with them anyway.
const WITH_FAILPOINTS: [&str; 4] = ["clock", "combine", "faults", "transfer"];

/// Runs the command.
pub(crate) fn run(work: &Work, _: &[String]) -> Result<()> {
    let mut steps = Steps::default();
    add(work, &mut steps)?;
    steps.finish()
}

/// All tests. What can run does, also after a failure.
pub(crate) fn add(work: &Work, steps: &mut Steps) -> Result<()> {
    let programs = [TMUX, FAKETIME, POSTGRES, STRACE, PYTHON];
    steps.run("programs that the tests use", || Ok(tools::install(&programs)));
    let all = ["test", "--workspace", "--locked", "--no-fail-fast"];
    steps.require("build", || execute(work.cargo(&[&all[..], &["--no-run"]].concat())))?;
    steps.run("tests and conformance", || execute(work.cargo(&[&all[..], &["--quiet"]].concat())));
    steps.run("Python client", || python(work));
    // Before the builds with failpoints, which leave their program in the same place.
    steps.run("real Claude Code processes", || e2e::all(work));
    steps.run("demo", || execute(work.cargo(&["run", "--locked", "--quiet", "--", "demo"])));
    steps.run("tests with failpoints and planted bugs", || {
        let features = testing_features(work);
        let tests = WITH_FAILPOINTS.iter().flat_map(|test| ["--test", test]).collect::<Vec<_>>();
        // The fuzz targets include modules of the program, whose own tests run there.
        let lib = ["--exclude", "cotenant-fuzz", "--lib"];
        let some = [&all[..], &["--quiet", "--features", &features], &lib, &tests].concat();
        execute(work.cargo(&some))
    });
    steps.run("conformance of every back end", || conformance(work));
    steps.run("short storm", || storm::short(work));
    steps.run("planted bugs", || mutants::all(work));
    Ok(())
}

/// Runs the contract on every back end, `cargo xtask conformance`.
pub(crate) fn run_conformance(work: &Work, _: &[String]) -> Result<()> {
    let mut steps = Steps::default();
    steps.run("programs that the tests use", || Ok(tools::install(&[POSTGRES])));
    steps.run("conformance of every back end", || conformance(work));
    steps.finish()
}

/// The contract on every back end, with the one report.
fn conformance(work: &Work) -> Result<Outcome> {
    let features = testing_features(work);
    let contract = ["--test", "contract", "--features", &features, "--", "--nocapture"];
    execute(work.cargo(&[&["test", "--workspace", "--locked", "--quiet"], &contract[..]].concat()))
}

/// The tests of the Python client, with the program that was built last.
fn python(work: &Work) -> Result<Outcome> {
    if !PYTHON.is_here() {
        return Ok(Outcome::Skipped("python3 is missing".to_owned()));
    }
    execute(work.cargo(&["build", "--locked", "--quiet", "--package", "cotenant"]))?;
    let unittest = "-B -W error -m unittest discover --top-level-directory python --start-directory python/tests";
    let mut tests = work.command("python3", &unittest.split(' ').collect::<Vec<_>>());
    tests.env("COTENANT_BIN", work.debug_binary()).env("PYTHONPATH", "python");
    execute(tests)
}

/// The features under which failpoints and planted bugs are compiled in.
pub(crate) fn testing_features(work: &Work) -> String {
    let packages = work.packages_with("testing");
    packages.iter().map(|name| format!("{name}/testing")).collect::<Vec<_>>().join(",")
}
