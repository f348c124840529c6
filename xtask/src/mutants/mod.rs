//! `cargo xtask mutants`: planted bugs, each of which must be caught by a named harness.
//!
//! A harness is a storm with a fixed seed, a case of the contract or another test. It must fail
//! with the bug switched on, for what the bug does, and pass without it.

mod harness;
mod list;

use std::fs;
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

use crate::steps::Outcome;
use crate::work::Work;
use harness::{Bench, Found, Job};
use list::Mutant;

/// What may follow the command.
pub(crate) const ARGUMENTS: &str = "[NAME…]";

/// How much of a symptom is printed.
const SYMPTOM_SHOWN: usize = 240;

/// Runs the command.
pub(crate) fn run(work: &Work, names: &[String]) -> Result<()> {
    let known = |name: &String| list::all().any(|mutant| mutant.name == name);
    if let Some(name) = names.iter().find(|name| !known(name)) {
        let mut all: Vec<&str> = list::all().map(|mutant| mutant.name).collect();
        all.dedup();
        bail!("there is no planted bug `{name}`, only {}", all.join(", "));
    }
    let chosen: Vec<&Mutant> = list::all()
        .filter(|mutant| names.is_empty() || names.iter().any(|name| name == mutant.name))
        .collect();
    let bench = Bench::build(work, chosen.iter().any(|mutant| !mutant.harness.is_storm()))?;
    let begun = Instant::now();
    let with = chosen.iter().map(|mutant| Job::with(mutant));
    let without = chosen.iter().map(|mutant| Job { harness: mutant.harness, mutant: None });
    let mut jobs: Vec<Job> = Vec::new();
    for job in without.chain(with) {
        if !jobs.contains(&job) {
            jobs.push(job);
        }
    }
    let found = bench.run(&jobs);
    let of = |job: Job| {
        let place = jobs.iter().position(|other| *other == job);
        &found[place.expect("every job was run")]
    };
    let rows: Vec<Row> = chosen
        .iter()
        .map(|mutant| {
            let without = of(Job { harness: mutant.harness, mutant: None });
            Row::new(mutant, without, of(Job::with(mutant)))
        })
        .collect();
    print(&rows);
    println!("{} planted bugs, {:.0} s", rows.len(), begun.elapsed().as_secs_f32());
    let results: Vec<Value> = rows.iter().map(Row::json).collect();
    fs::write(bench.folder().join("mutants.json"), serde_json::to_string_pretty(&results)? + "\n")?;
    let bad = rows.iter().filter(|row| !row.is_good()).count();
    ensure!(bad == 0, "{bad} of {} planted bugs were not shown", rows.len());
    Ok(())
}

/// All of them, for every test run.
pub(crate) fn all(work: &Work) -> Result<Outcome> {
    run(work, &[])?;
    Ok(Outcome::Passed)
}

fn print(rows: &[Row<'_>]) {
    println!();
    for row in rows {
        println!("planted {}: {}, {}", row.mutant.name, row.with, row.symptom());
        if row.without != "passed" {
            println!("  without it: {}", row.without_it.first());
        }
    }
    println!(
        "\n{:<32} {:<8} {:<8} the bug, and what catches it",
        "planted bug", "with it", "without"
    );
    for row in rows {
        let Mutant { name, about, harness, .. } = row.mutant;
        println!("{name:<32} {:<8} {:<8} {about}: {harness}", row.with, row.without);
    }
}

/// What became of a planted bug.
struct Row<'a> {
    mutant: &'static Mutant,
    with: &'static str,
    without: &'static str,
    with_it: &'a Found,
    without_it: &'a Found,
}

impl<'a> Row<'a> {
    fn new(mutant: &'static Mutant, without_it: &'a Found, with_it: &'a Found) -> Self {
        let with = match with_it {
            Found::Skipped(_) => "SKIPPED",
            Found::Faults(faults) if faults.is_empty() => "SURVIVED",
            Found::Faults(faults) if faults.iter().any(|fault| fault.contains(mutant.shows)) => {
                "caught"
            }
            Found::Faults(_) => "UNCLEAR",
        };
        let without = match without_it {
            Found::Skipped(_) => "SKIPPED",
            Found::Faults(faults) if faults.is_empty() => "passed",
            Found::Faults(_) => "FAILED",
        };
        Self { mutant, with, without, with_it, without_it }
    }

    /// The fault that shows what the bug does, from there on.
    fn symptom(&self) -> String {
        let Found::Faults(faults) = self.with_it else { return self.with_it.first() };
        let shows = self.mutant.shows;
        let fault = faults.iter().find(|fault| fault.contains(shows));
        let Some(fault) = fault else { return self.with_it.first() };
        let line = fault.lines().find(|line| line.contains(shows)).unwrap_or(fault);
        line.trim().chars().take(SYMPTOM_SHOWN).collect()
    }

    fn is_good(&self) -> bool {
        matches!((self.with, self.without), ("caught", "passed") | ("SKIPPED", "SKIPPED"))
    }

    fn json(&self) -> Value {
        json!({
            "mutant": self.mutant.name, "about": self.mutant.about,
            "harness": self.mutant.harness.to_string(), "with": self.with,
            "without": self.without, "symptom": self.symptom(),
        })
    }
}
