//! Linearizability: real processes race on few keys, and every history must have an order.

mod choose;
mod driver;
mod judge;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;

use super::history;
use super::lab::Bench;
use super::report::Report;

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// How many histories are made.
    pub(crate) histories: usize,
    /// Operations of a history.
    pub(crate) operations: usize,
    /// Processes at once.
    pub(crate) workers: usize,
    /// Of a hundred operations, how many are cut short by `kill -9`.
    pub(crate) kills_percent: u64,
    /// No history is begun after so long.
    pub(crate) time: Duration,
}

/// Makes histories and checks each.
pub(crate) fn run(bench: &Bench, seed: u64, size: Size) -> Report {
    let mut report = Report::begin("linearizability", seed);
    let outcome = histories(bench, seed, size, &mut report);
    report.end(outcome)
}

fn histories(bench: &Bench, seed: u64, size: Size, report: &mut Report) -> Result<()> {
    let end = Instant::now() + size.time;
    let mut sum = judge::Counts::default();
    for number in 0..size.histories {
        if number > 0 && Instant::now() > end {
            break;
        }
        // A history is repeated by its own seed, without those before it.
        let seed = seed.wrapping_add(number as u64);
        let entries = driver::run(bench, seed, size)?;
        let judged = judge::judge(&entries.history, size.workers.min(4));
        let faults: Vec<String> = judged.faults.into_iter().chain(entries.faults).collect();
        if !faults.is_empty() && bench.mutant.is_none() {
            let path = bench.folder.join(format!("history-{seed}.jsonl"));
            fs::write(&path, history::write(&entries.history))?;
            report.fault(format!("check it again: cargo xtask storm check {}", path.display()));
        }
        report.faults.extend(faults.into_iter().map(|fault| format!("seed {seed}: {fault}")));
        sum.add(&judged.counts);
        if !report.is_clean() {
            break;
        }
    }
    report.fact("histories", sum.histories);
    report.fact("operations", sum.operations);
    report.fact("operations of the shortest history", sum.operations_least);
    report.fact("objects", sum.objects);
    report.fact("writers of the least contended object", sum.writers_least);
    report.fact("overlapping pairs on one object", sum.overlaps);
    report.fact("processes killed", sum.pending);
    report.fact("refusals", json!(sum.refusals));
    Ok(())
}

/// Checks a history that was written before.
pub(crate) fn check(file: &Path) -> Result<Report> {
    let text =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut report = Report::begin("check", 0);
    let judged = judge::judge(&history::read(&text)?, 0);
    report.fact("operations", judged.counts.operations);
    report.fact("objects", judged.counts.objects);
    report.faults = judged.faults;
    Ok(report.end(Ok(())))
}
