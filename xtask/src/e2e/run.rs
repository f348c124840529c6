//! `cargo xtask e2e`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use std::{env, fs, process};

use anyhow::{Context, Result, bail, ensure};
use cotenant_testbed::Server;

use crate::e2e::install::{HANDSHAKE, STATELESS, install};
use crate::e2e::stage::{Case, Programs, Stage};
use crate::e2e::{cases, selftest};
use crate::engine::Engine;
use crate::steps::{Outcome, execute};
use crate::tools::{self, TMUX};
use crate::work::Work;

/// What may follow the command.
pub(crate) const ARGUMENTS: &str = "[FILTER] [--client 2.1.197|2.1.328] [--engine sqlite|postgres] [--self-test] \
     [--binary PATH]";

/// Why nothing was tried.
const UNREACHABLE: &str = "npm is out of reach, so nothing was tried with the real client";

/// What was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    /// A part of a case's name.
    filter: String,
    /// The only version of the client to use; both when absent.
    client: Option<String>,
    /// The database below; a file when absent.
    engine: Engine,
    /// Whether to try what the cases rely on, rather than the program.
    self_test: bool,
    /// The program to use, rather than the debug build.
    binary: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(work: &Work, arguments: &[String]) -> Result<()> {
    let options = Options::parse(arguments)?;
    if let Outcome::Skipped(why) = try_cases(work, &options)? {
        println!("SKIPPED: {why}");
    }
    Ok(())
}

/// Runs everything there is, as one step of many.
pub(crate) fn all(work: &Work) -> Result<Outcome> {
    let own = try_cases(work, &Options { self_test: true, ..Options::default() });
    let outcome = try_cases(work, &Options::default())?;
    if outcome == Outcome::Passed {
        let client = Some(STATELESS.to_owned());
        let (engine, options) = (Engine::Postgres, Options::default());
        try_cases(work, &Options { client, engine, ..options })?;
    }
    own.context("self-test")?;
    Ok(outcome)
}

fn try_cases(work: &Work, options: &Options) -> Result<Outcome> {
    let cotenant = match &options.binary {
        Some(path) => path.canonicalize().with_context(|| path.display().to_string())?,
        None => work.debug_binary(),
    };
    if options.binary.is_none() && !options.self_test {
        execute(work.cargo(&["build", "--locked", "--quiet", "--package", "cotenant"]))?;
    }
    let cache = work.target.join("claude-code");
    let (Some(handshake), Some(stateless)) =
        (install(HANDSHAKE, &cache)?, install(STATELESS, &cache)?)
    else {
        return Ok(Outcome::Skipped(UNREACHABLE.to_owned()));
    };
    let plugin = work.root.join("plugin");
    let programs = Programs { client: handshake.clone(), handshake, stateless, cotenant, plugin };
    // Outside the repository: a client reads the CLAUDE.md of every directory above its project, and
    // asks at a terminal before it follows what they import.
    let scratch = env::temp_dir().join(format!("cotenant-e2e-{}", process::id()));
    let mut tried = Tried { server: options.engine.server()?, ..Tried::default() };
    if options.self_test {
        if let Outcome::Skipped(why) = tools::install(&[TMUX]) {
            bail!("`tmux` is {why}");
        }
        tried.all(&selftest::CASES, &programs, &scratch, &options.filter);
    } else {
        for version in [HANDSHAKE, STATELESS] {
            if options.client.as_deref().is_some_and(|chosen| chosen != version) {
                continue;
            }
            println!("Claude Code {version}:");
            let client =
                if version == HANDSHAKE { &programs.handshake } else { &programs.stateless };
            let programs = Programs { client: client.clone(), ..programs.clone() };
            tried.all(&cases::CASES, &programs, &scratch.join(version), &options.filter);
        }
    }
    ensure!(tried.count > 0, "no case is called `{}`", options.filter);
    if tried.failures > 0 {
        bail!("{} of {} cases failed; see `{}`", tried.failures, tried.count, scratch.display());
    }
    // Kept after a failure, to be looked at.
    fs::remove_dir_all(&scratch)?;
    Ok(Outcome::Passed)
}

/// How many cases were tried.
#[derive(Default)]
struct Tried {
    server: Option<Arc<Server>>,
    count: usize,
    failures: usize,
}

impl Tried {
    /// Runs every case whose name contains `filter`, each in a folder of its own.
    fn all(&mut self, cases: &[Case], programs: &Programs, scratch: &Path, filter: &str) {
        for (number, (name, case)) in cases.iter().enumerate() {
            if !name.contains(filter) {
                continue;
            }
            self.count += 1;
            let start = Instant::now();
            let outcome =
                Stage::new(&scratch.join(number.to_string()), programs, self.server.as_ref())
                    .and_then(|stage| case(&stage).and_then(|()| stage.require_no_strays()));
            let took = start.elapsed().as_secs_f32();
            match outcome {
                Ok(()) => println!("  ok      {took:5.1} s  {name}"),
                Err(why) => {
                    println!("  FAILED  {took:5.1} s  {name} ({number})\n{why:#}");
                    self.failures += 1;
                }
            }
        }
    }
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self> {
        let mut options = Self::default();
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("`{word}` needs a value"));
            match word.as_str() {
                "--self-test" => options.self_test = true,
                "--engine" => options.engine = value()?.parse()?,
                "--binary" => options.binary = Some(PathBuf::from(value()?)),
                "--client" => {
                    let version = value()?;
                    ensure!(
                        [HANDSHAKE, STATELESS].contains(&version.as_str()),
                        "the clients are {HANDSHAKE} and {STATELESS}"
                    );
                    options.client = Some(version.clone());
                }
                word if word.starts_with('-') => bail!("there is no option `{word}`"),
                word => word.clone_into(&mut options.filter),
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        Options::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_read() {
        let options = parse("edit --client 2.1.328 --binary /x").unwrap();
        let client = Some("2.1.328".to_owned());
        let binary = Some(PathBuf::from("/x"));
        assert_eq!(
            options,
            Options { filter: "edit".to_owned(), client, binary, ..Options::default() }
        );
        assert!(parse("--self-test").unwrap().self_test);
        assert_eq!(parse("--engine postgres").unwrap().engine, Engine::Postgres);
        for wrong in ["--client 1", "--engine x", "--client", "--binaries x"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
