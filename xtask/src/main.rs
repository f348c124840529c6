//! The commands people type while working on cotenant: `cargo xtask COMMAND`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "printing is what these are for")]

mod bench;
mod check;
mod ci;
mod dist;
mod e2e;
mod elf;
mod engine;
mod fuzz;
#[cfg(test)]
mod layers;
mod licences;
mod mutants;
mod process;
mod steps;
mod storm;
mod test;
mod tools;
mod work;

use std::env;
use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::work::Work;

/// A command: what it is called, what its arguments are, what it does, and how.
type Command = (&'static str, &'static str, &'static str, fn(&Work, &[String]) -> Result<()>);

const COMMANDS: [Command; 10] = [
    ("check", "", "formatting, lints and the fast tests; run it before every commit", check::run),
    ("test", "", "all tests; installs what they need", test::run),
    ("conformance", "", "the contract on every back end, in one report", test::run_conformance),
    ("ci", ci::ARGUMENTS, "exactly what CI runs", ci::run),
    ("e2e", e2e::ARGUMENTS, "the program with real Claude Code processes", e2e::run),
    ("storm", storm::ARGUMENTS, "processes killed, stopped and raced", storm::run),
    ("mutants", mutants::ARGUMENTS, "planted bugs, each of which must be caught", mutants::run),
    ("fuzz", fuzz::ARGUMENTS, "libFuzzer on what is read from outside", fuzz::run),
    ("bench", bench::ARGUMENTS, "measurements against baselines in the same run", bench::run),
    ("dist", "", "one static binary", dist::run),
];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "--help".to_owned());
    if matches!(name.as_str(), "help" | "--help" | "-h") {
        print!("{}", help());
        return Ok(());
    }
    let Some((.., run)) = COMMANDS.iter().find(|command| command.0 == name) else {
        bail!("there is no command `{name}`\n\n{}", help());
    };
    run(&Work::find()?, &arguments.collect::<Vec<_>>())
}

fn help() -> String {
    let line = |(name, arguments, about, _): &Command| {
        let arguments =
            if arguments.is_empty() { String::new() } else { format!("{:15}{arguments}\n", "") };
        format!("  {name:<13}{about}\n{arguments}")
    };
    let lines: Vec<String> = COMMANDS.iter().map(line).collect();
    format!("Usage: cargo xtask COMMAND\n\n{}", lines.concat())
}
