//! What a command does, step by step: each is announced, timed and counted.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How a step went that did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It did what it should.
    Passed,
    /// It could not be done here, and why.
    Skipped(String),
}

/// The steps so far.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    what: String,
    took: Duration,
    /// What failed, or the outcome.
    outcome: Result<Outcome, String>,
}

impl Steps {
    /// Does a step. The next ones are done even if it fails.
    pub(crate) fn run(&mut self, what: &str, step: impl FnOnce() -> Result<Outcome>) -> bool {
        println!("\n==> {what}");
        let start = Instant::now();
        let outcome = step().map_err(|why| format!("{why:#}"));
        let took = start.elapsed();
        match &outcome {
            Ok(Outcome::Passed) => println!("--> {what}: ok, {:.1} s", took.as_secs_f32()),
            Ok(Outcome::Skipped(why)) => println!("--> {what}: SKIPPED: {why}"),
            Err(why) => println!("--> {what}: FAILED: {why}"),
        }
        let passed = outcome.is_ok();
        self.rows.push(Row { what: what.to_owned(), took, outcome });
        passed
    }

    /// Does a step without which the next ones make no sense.
    pub(crate) fn require(
        &mut self,
        what: &str,
        step: impl FnOnce() -> Result<Outcome>,
    ) -> Result<()> {
        if self.run(what, step) {
            return Ok(());
        }
        std::mem::take(self).finish()
    }

    /// Prints what became of the steps; fails if one did.
    pub(crate) fn finish(self) -> Result<()> {
        println!();
        let wide = self.rows.iter().map(|row| row.what.chars().count()).max().unwrap_or_default();
        for Row { what, took, outcome } in &self.rows {
            let word = match outcome {
                Ok(Outcome::Passed) => "ok".to_owned(),
                Ok(Outcome::Skipped(why)) => format!("SKIPPED: {why}"),
                Err(_) => "FAILED".to_owned(),
            };
            println!("{what:wide$}  {:7.1} s  {word}", took.as_secs_f32());
        }
        let failed = self.rows.iter().filter(|row| row.outcome.is_err()).count();
        if failed > 0 {
            bail!("{failed} of {} steps failed", self.rows.len());
        }
        Ok(())
    }
}

/// Runs a program that speaks for itself.
pub(crate) fn execute(mut command: Command) -> Result<Outcome> {
    let name = line(&command);
    let status = command.status().with_context(|| format!("cannot start `{name}`"))?;
    if !status.success() {
        bail!("`{name}` ended with {status}");
    }
    Ok(Outcome::Passed)
}

/// A command as one would type it.
fn line(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let program = program.rsplit('/').next().unwrap_or_default();
    let arguments = command.get_args().map(|argument| argument.to_string_lossy());
    let words = std::iter::once(program.into()).chain(arguments);
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_fails_the_whole_and_stops_nothing() {
        let mut steps = Steps::default();
        assert!(!steps.run("a", || bail!("broken")));
        assert!(steps.run("b", || Ok(Outcome::Passed)));
        assert!(steps.run("c", || Ok(Outcome::Skipped("no network".to_owned()))));
        assert_eq!(steps.finish().unwrap_err().to_string(), "1 of 3 steps failed");
    }

    #[test]
    fn a_required_step_stops_the_rest() {
        let mut steps = Steps::default();
        steps.require("a", || Ok(Outcome::Passed)).unwrap();
        let outcome = steps.require("b", || bail!("broken"));
        assert_eq!(outcome.unwrap_err().to_string(), "1 of 2 steps failed");
    }

    #[test]
    fn a_failed_program_is_named_with_its_arguments() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "exit 3"]);
        let why = execute(command).unwrap_err().to_string();
        assert_eq!(why, "`sh -c exit 3` ended with exit status: 3");
    }
}
