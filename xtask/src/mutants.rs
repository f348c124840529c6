//! `cargo xtask mutants`: planted bugs, each of which must be caught by a named harness.
//!
//! A harness is a storm with a fixed seed. It must fail with the bug switched on, and pass without
//! it.

use std::fs;
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

use crate::steps::Outcome;
use crate::storm::{Bench, Report, Storm};
use crate::work::Work;

/// What may follow the command.
pub(crate) const ARGUMENTS: &str = "[NAME…]";

/// How much of a symptom is printed.
const SYMPTOM_SHOWN: usize = 240;

/// A planted bug and the harness that must catch it.
struct Mutant {
    name: &'static str,
    /// What it does.
    about: &'static str,
    /// What a fault must say, so that the bug is caught for what it does.
    shows: &'static str,
    storm: Storm,
    seed: u64,
}

const MUTANTS: [Mutant; 11] = [
    Mutant {
        name: "no_gate_transaction",
        about: "a write runs without gate and transaction",
        shows: "doctor: ",
        storm: Storm::Kill,
        seed: 11,
    },
    Mutant {
        name: "guard_outside_transaction",
        about: "guards are checked before the transaction",
        shows: "the guarded write of a holder that slept",
        storm: Storm::Stop,
        seed: 12,
    },
    Mutant {
        name: "wall_clock",
        about: "the wall clock decides what has expired",
        shows: " s off, a",
        storm: Storm::Clock,
        seed: 13,
    },
    Mutant {
        name: "fence_not_monotonic",
        about: "a fence is used twice",
        shows: "fence fell from",
        storm: Storm::Linearizability,
        seed: 14,
    },
    Mutant {
        name: "event_outside_transaction",
        about: "events follow in a transaction of their own",
        shows: "txn.after_commit=eio: doctor: ",
        storm: Storm::Failpoints,
        seed: 15,
    },
    Mutant {
        name: "no_idempotency",
        about: "a repeated request is done again",
        shows: "was committed, then done again",
        storm: Storm::Kill,
        seed: 11,
    },
    Mutant {
        name: "deny_in_another_tree",
        about: "a path claim excludes the same path in another tree",
        shows: "claims path is not linearizable",
        storm: Storm::Linearizability,
        seed: 14,
    },
    Mutant {
        name: "no_settle",
        about: "what has expired is left as it is",
        shows: ", not COOLING",
        storm: Storm::Stop,
        seed: 12,
    },
    Mutant {
        name: "combine_runs_what_was_given_up",
        about: "a combiner carries out what its client gave up",
        shows: "a refused request took effect",
        storm: Storm::Combine,
        seed: 16,
    },
    Mutant {
        name: "combine_repeats_under_another_id",
        about: "a client that gave up repeats under another id",
        shows: "2 additions made",
        storm: Storm::Combine,
        seed: 16,
    },
    Mutant {
        name: "combine_leaves_messages",
        about: "a freed slot keeps its message",
        shows: "a message stays in the table",
        storm: Storm::Combine,
        seed: 16,
    },
];

/// Runs the command.
pub(crate) fn run(work: &Work, names: &[String]) -> Result<()> {
    let known = |name: &String| MUTANTS.iter().any(|mutant| mutant.name == name);
    if let Some(name) = names.iter().find(|name| !known(name)) {
        let all: Vec<&str> = MUTANTS.iter().map(|mutant| mutant.name).collect();
        bail!("there is no planted bug `{name}`, only {}", all.join(", "));
    }
    let chosen =
        |mutant: &&Mutant| names.is_empty() || names.iter().any(|name| name == mutant.name);
    let bench = Bench::build(work)?;
    let begun = Instant::now();
    let mut clean: Vec<Report> = Vec::new();
    let mut rows = Vec::new();
    for mutant in MUTANTS.iter().filter(chosen) {
        let (storm, seed) = (mutant.storm, mutant.seed);
        let is_it = |report: &Report| report.name == storm.name() && report.seed == seed;
        if !clean.iter().any(is_it) {
            let report = storm.run_small(&bench, seed);
            report.print();
            clean.push(report);
        }
        let without = clean.iter().find(|report| is_it(report));
        let with = storm.run_small(&bench.with_mutant(mutant.name), seed);
        let row = Row::new(mutant, without, &with);
        println!("\nplanted {}: {}, {}", mutant.name, row.with, row.symptom());
        rows.push(row);
    }
    print(&rows);
    println!("{:.0} s", begun.elapsed().as_secs_f32());
    let results: Vec<Value> = rows.iter().map(Row::json).collect();
    fs::write(bench.folder.join("mutants.json"), serde_json::to_string_pretty(&results)? + "\n")?;
    let bad = rows.iter().filter(|row| !row.is_good()).count();
    ensure!(bad == 0, "{bad} of {} planted bugs were not shown", rows.len());
    Ok(())
}

fn print(rows: &[Row]) {
    let line = |name: &str, storm: &str, seed: &str, with: &str, without: &str, about: &str| {
        println!("{name:<26} {storm:<16} {seed:>4}  {with:<8} {without:<8} {about}");
    };
    println!();
    line("planted bug", "harness", "seed", "with it", "without", "the bug");
    for row in rows {
        let Mutant { name, about, storm, seed, .. } = row.mutant;
        line(name, storm.name(), &seed.to_string(), row.with, row.without, about);
    }
}

/// All of them, for every test run.
pub(crate) fn all(work: &Work) -> Result<Outcome> {
    run(work, &[])?;
    Ok(Outcome::Passed)
}

/// What became of a planted bug.
struct Row {
    mutant: &'static Mutant,
    with: &'static str,
    without: &'static str,
    faults: Vec<String>,
}

impl Row {
    fn new(mutant: &'static Mutant, without: Option<&Report>, with: &Report) -> Self {
        let shown = with.faults.iter().any(|fault| fault.contains(mutant.shows));
        Self {
            mutant,
            with: match (&with.skipped, shown, with.is_clean()) {
                (Some(_), ..) => "SKIPPED",
                (None, true, _) => "caught",
                (None, false, true) => "SURVIVED",
                (None, false, false) => "UNCLEAR",
            },
            without: match without {
                Some(report) if report.skipped.is_some() => "SKIPPED",
                Some(report) if report.is_clean() => "passed",
                _ => "FAILED",
            },
            faults: with.faults.clone(),
        }
    }

    /// The fault that shows what the bug does.
    fn symptom(&self) -> String {
        let shows = |fault: &&String| fault.contains(self.mutant.shows);
        let fault = self.faults.iter().find(shows).or(self.faults.first());
        fault.map_or_else(String::new, |fault| fault.chars().take(SYMPTOM_SHOWN).collect())
    }

    fn is_good(&self) -> bool {
        matches!((self.with, self.without), ("caught", "passed") | ("SKIPPED", "SKIPPED"))
    }

    fn json(&self) -> Value {
        json!({
            "mutant": self.mutant.name, "about": self.mutant.about,
            "harness": self.mutant.storm.name(), "seed": self.mutant.seed,
            "with": self.with, "without": self.without, "faults": self.faults,
        })
    }
}
