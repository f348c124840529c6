//! `cargo xtask storm`: processes killed, stopped and raced, then the invariants.
//!
//! Real processes only: every worker is a `cotenant rpc` of a build with failpoints. A seed repeats
//! what the workers are told to do; how the kernel interleaves them is its own affair, so a history
//! that has no order is kept and can be checked again.

mod admin;
mod ask;
mod birth;
mod clock;
mod combine;
mod corrupt;
mod crowd;
mod failpoints;
mod full;
mod history;
mod kill;
mod lab;
mod mixed;
mod model;
mod options;
mod pair;
pub(crate) mod plan;
mod power;
mod race;
mod random;
mod report;
mod search;
mod server;
mod stop;
mod tasks;
mod team;
mod worker;
mod writer;

use std::time::Instant;

use anyhow::{Result, bail, ensure};

pub(crate) use lab::Bench;
pub(crate) use options::ARGUMENTS;
pub(crate) use plan::{Storm, Tier};

use crate::engine::Engine;
use crate::steps::Outcome;
use crate::work::Work;
use options::Options;
use random::any_seed;

/// Runs the command: all storms in their long form unless one is named.
pub(crate) fn run(work: &Work, arguments: &[String]) -> Result<()> {
    if let Some(("record", arguments)) = arguments.split_first().map(|(a, b)| (a.as_str(), b)) {
        return power::record(arguments);
    }
    let options = Options::read(arguments)?;
    if let Some(file) = &options.file {
        let report = race::check(file)?;
        report.print();
        ensure!(report.is_clean(), "the history has no order");
        return Ok(());
    }
    let bench = match options.mutant.clone() {
        Some(name) => Bench::build(work)?.with_mutant(name.leak()),
        None => Bench::build(work)?,
    };
    let bench = bench.on(options.engine)?;
    let tier = if options.storm.as_deref() == Some("short") { Tier::Short } else { Tier::Long };
    let storms = match options.storm.as_deref() {
        None | Some("short") => Storm::ALL.to_vec(),
        Some(name) => Storm::ALL.into_iter().filter(|storm| storm.name() == name).collect(),
    };
    let named = options.storm.as_deref().is_some_and(|name| name != "short");
    let storms: Vec<Storm> =
        storms.into_iter().filter(|storm| storm.is_on(options.engine)).collect();
    ensure!(!named || !storms.is_empty(), "this storm is about files, not about a server");
    println!("seed {}", options.seed);
    all(&bench, &storms, tier, &options)
}

/// The short tier, for every test run.
pub(crate) fn short(work: &Work) -> Result<Outcome> {
    let bench = Bench::build(work)?;
    let options = Options { seed: any_seed(), ..Options::default() };
    println!("seed {}", options.seed);
    all(&bench, &Storm::ALL, Tier::Short, &options)?;
    let Ok(bench) = bench.on(Engine::Postgres) else {
        return Ok(Outcome::Skipped(
            "storms over PostgreSQL: apt-get install postgresql".to_owned(),
        ));
    };
    all(&bench, &plan::OVER_A_SERVER, Tier::Short, &options)?;
    Ok(Outcome::Passed)
}

fn all(bench: &Bench, storms: &[Storm], tier: Tier, options: &Options) -> Result<()> {
    let begun = Instant::now();
    let mut failed = Vec::new();
    for storm in storms {
        let mut report = storm.run(bench, tier, options);
        if bench.server.is_some() {
            report.name.push_str(" on postgres");
        }
        report.print();
        report.keep(&bench.folder)?;
        if !report.is_clean() {
            failed.push(report.name.clone());
        }
    }
    println!(
        "\nresults are in {} ({:.0} s)",
        bench.folder.display(),
        begun.elapsed().as_secs_f32()
    );
    if !failed.is_empty() {
        bail!("failed with seed {}: storm {}", options.seed, failed.join(", storm "));
    }
    Ok(())
}
