//! What catches planted bugs, and how it is run.
//!
//! Tests are built once and then started directly, several at a time. Storms want the machine for
//! themselves, so they come one after the other.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::list::Mutant;
use crate::engine::Engine;
use crate::process::{self, Output};
use crate::storm::{self, Storm};
use crate::test;
use crate::work::Work;

/// The package whose tests catch planted bugs.
const PACKAGE: &str = "cotenant-store";
/// How long a test may take.
const TEST_TIMEOUT: Duration = Duration::from_mins(2);
/// How much of a failing test's output is kept.
const OUTPUT_KEPT: usize = 20_000;

/// What catches a planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Harness {
    /// A storm with a seed.
    Storm(Storm, u64),
    /// The same over a server.
    StormOnServer(Storm, u64),
    /// A case of the contract.
    Case(&'static str),
    /// A test of the store's: the program that it is in, and its name.
    Test(&'static str, &'static str),
}

impl Harness {
    pub(super) fn is_storm(self) -> bool {
        matches!(self, Self::Storm(..) | Self::StormOnServer(..))
    }
}

impl fmt::Display for Harness {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Storm(storm, seed) => write!(formatter, "storm {}, seed {seed}", storm.name()),
            Self::StormOnServer(storm, seed) => {
                write!(formatter, "storm {} on PostgreSQL, seed {seed}", storm.name())
            }
            Self::Case(case) => write!(formatter, "case {case}"),
            Self::Test(program, test) => write!(formatter, "test {program} {test}"),
        }
    }
}

/// One run of a harness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) harness: Harness,
    pub(super) mutant: Option<&'static str>,
}

impl Job {
    pub(super) fn with(mutant: &'static Mutant) -> Self {
        Self { harness: mutant.harness, mutant: Some(mutant.name) }
    }
}

/// What a run found.
#[derive(Clone, Debug)]
pub(super) enum Found {
    /// It cannot be done here, and why.
    Skipped(String),
    /// What must not be; nothing, if it passed.
    Faults(Vec<String>),
}

impl Found {
    /// The beginning of what it says.
    pub(super) fn first(&self) -> String {
        match self {
            Self::Skipped(why) => why.clone(),
            Self::Faults(faults) => {
                faults.first().map_or_else(String::new, |fault| fault.chars().take(500).collect())
            }
        }
    }
}

/// The programs that run, built.
pub(super) struct Bench {
    storms: storm::Bench,
    tests: Vec<(String, PathBuf)>,
    /// Where tests run, as cargo does it.
    directory: PathBuf,
}

impl Bench {
    pub(super) fn build(work: &Work, with_tests: bool) -> Result<Self> {
        let storms = storm::Bench::build(work)?;
        let directory = work.root.join("crates").join(PACKAGE);
        let tests = if with_tests { build_tests(work, &directory)? } else { Vec::new() };
        Ok(Self { storms, tests, directory })
    }

    /// Where results go.
    pub(super) fn folder(&self) -> &Path {
        &self.storms.folder
    }

    /// Runs every job.
    pub(super) fn run(&self, jobs: &[Job]) -> Vec<Found> {
        let found: Vec<Mutex<Option<Found>>> = jobs.iter().map(|_| Mutex::default()).collect();
        let keep = |place: usize, it: Found| {
            *found[place].lock().expect("nobody panics with it") = Some(it);
        };
        let next = AtomicUsize::new(0);
        let workers = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    loop {
                        let place = next.fetch_add(1, Ordering::Relaxed);
                        let Some(job) = jobs.get(place) else { break };
                        if !job.harness.is_storm() {
                            keep(place, self.one(*job));
                        }
                    }
                });
            }
        });
        for (place, job) in jobs.iter().enumerate().filter(|(_, job)| job.harness.is_storm()) {
            keep(place, self.one(*job));
        }
        let all = found.into_iter().map(|found| found.into_inner().expect("nobody panicked"));
        all.map(|found| found.expect("every job was run")).collect()
    }

    fn one(&self, job: Job) -> Found {
        let (program, test) = match job.harness {
            Harness::Storm(storm, seed) => {
                return self.storm(storm, Engine::Sqlite, seed, job.mutant);
            }
            Harness::StormOnServer(storm, seed) => {
                return self.storm(storm, Engine::Postgres, seed, job.mutant);
            }
            Harness::Case(_) => ("conformance", "the_store_keeps_the_contract"),
            Harness::Test(program, test) => (program, test),
        };
        let Some((_, file)) = self.tests.iter().find(|(name, _)| name == program) else {
            return Found::Faults(vec![format!("there is no test program `{program}`")]);
        };
        let mut command = Command::new(file);
        command.current_dir(&self.directory).args(["--exact", "--nocapture", test]);
        command.env("RUST_BACKTRACE", "0").env_remove("COTENANT_MUTANT");
        command.env_remove(CASE).envs(job.mutant.map(|mutant| ("COTENANT_MUTANT", mutant)));
        if let Harness::Case(case) = job.harness {
            command.env(CASE, case);
        }
        match process::run(&mut command, TEST_TIMEOUT) {
            Ok(output) => verdict(&output),
            Err(why) => Found::Faults(vec![format!("{why:#}")]),
        }
    }

    fn storm(
        &self,
        storm: Storm,
        engine: Engine,
        seed: u64,
        mutant: Option<&'static str>,
    ) -> Found {
        let bench = match self.storms.clone().on(engine) {
            Ok(bench) => bench,
            Err(why) => return Found::Faults(vec![format!("{why:#}")]),
        };
        let report = match mutant {
            Some(mutant) => storm.run_small(&bench.with_mutant(mutant), seed),
            None => storm.run_small(&bench, seed),
        };
        report.skipped.map_or(Found::Faults(report.faults), Found::Skipped)
    }
}

/// The variable that names the one case to run.
const CASE: &str = "COTENANT_CASE";

/// Builds the tests with all that the workspace's tests are built with, so that `cargo xtask test`
/// builds them once.
fn build_tests(work: &Work, directory: &Path) -> Result<Vec<(String, PathBuf)>> {
    let features = test::testing_features(work);
    let mut cargo = work.cargo(&["test", "--workspace", "--locked", "--no-run", "--quiet"]);
    cargo.args(["--message-format=json", "--features", &features, "--lib"]);
    cargo.args(["--test", "conformance", "--test", "faults", "--test", "postgres"]);
    cargo.args(["--test", "transfer"]);
    let output = cargo.stderr(std::process::Stdio::inherit()).output();
    let output = output.context("cannot start cargo")?;
    ensure!(output.status.success(), "the tests with planted bugs do not build");
    let mut tests = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let message: Value = serde_json::from_str(line).unwrap_or_default();
        let target = &message["target"];
        let is_ours =
            target["src_path"].as_str().is_some_and(|it| Path::new(it).starts_with(directory));
        if let (true, Some(file)) = (is_ours, message["executable"].as_str()) {
            let is_library = target["kind"][0] == "lib";
            let name = if is_library { Some("lib") } else { target["name"].as_str() };
            tests.push((name.unwrap_or_default().to_owned(), PathBuf::from(file)));
        }
    }
    Ok(tests)
}

/// What a test program's end says. A test that was not there has not passed.
fn verdict(output: &Output) -> Found {
    let Output { status, stdout, stderr } = output;
    if status.success() && stdout.contains("test result: ok. 1 passed") {
        return match stdout.lines().find(|line| line.contains("skipped: ")) {
            Some(why) => Found::Skipped(why.to_owned()),
            None => Found::Faults(Vec::new()),
        };
    }
    let said = format!("{stderr}\n{stdout}");
    let from = said.char_indices().rev().take(OUTPUT_KEPT).last().map_or(0, |(at, _)| at);
    Found::Faults(vec![format!("{status}: {}", said[from..].trim())])
}
