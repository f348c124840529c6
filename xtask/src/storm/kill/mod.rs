//! The kill storm: processes are killed with an operation under way, others repeat what was not
//! acknowledged, and at the end nothing is lost and nothing is there twice.
//!
//! # Invariants
//! - The ledger lives in this process, outside the store: what is in it as acknowledged was
//!   acknowledged.
//! - A request is repeated under its id, by another process, until it is answered.

mod afterwards;
mod ledger;
mod reaper;
mod request;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use serde_json::json;

use super::lab::{Bench, Lab};
use super::random::Random;
use super::report::Report;
use super::worker::{SENT, Worker};
pub(super) use afterwards::look;
pub(super) use ledger::{Acknowledged, Ledger};
use reaper::Reaper;
pub(super) use request::{Aim, Requests};

/// The failpoints that every write passes, in this order.
pub(crate) const POINTS: [&str; 11] = [
    "gate.before",
    "gate.after",
    "txn.begun",
    "txn.schema",
    "txn.tick",
    "txn.settled",
    "txn.events",
    "txn.effect",
    "txn.before_commit",
    "txn.after_commit",
    "reply.before",
];
/// Of a hundred kills, how many must have come between `txn.begun` and `reply.before`.
const INSIDE_PERCENT: usize = 30;

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Processes killed with an operation under way.
    pub(crate) kills: usize,
    /// Processes at once, one store after the other; each sees its share of the kills. Where one
    /// works alone, every kill leaves the database to nobody, and the next process recovers it.
    pub(crate) workers: &'static [usize],
    /// Of a hundred processes, how many die at a failpoint; the others at any time.
    pub(crate) failpoints_percent: u64,
    /// The storm ends after so long, whatever it has done.
    pub(crate) time: Duration,
}

/// What the threads of a storm share.
struct Storm<'a> {
    lab: &'a Lab,
    size: Size,
    ledger: Mutex<Ledger>,
    /// Kills that still have to happen.
    left: AtomicUsize,
    end: Instant,
}

impl Storm<'_> {
    fn is_over(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0 || Instant::now() > self.end
    }

    /// Counts a kill, unless there were enough.
    fn killed(&self) {
        let less = |left: usize| left.checked_sub(1);
        let _ = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}

/// Kills processes and looks what is left.
pub(crate) fn run(bench: &Bench, seed: u64, size: Size) -> Report {
    let mut report = Report::begin("kill", seed);
    let mut total = Ledger::default();
    let stores = u32::try_from(size.workers.len()).unwrap_or(1);
    let outcome = size.workers.iter().enumerate().try_for_each(|(index, workers)| {
        let kills = size.kills.div_ceil(size.workers.len());
        let part = Size { kills, time: size.time / stores, ..size };
        storm(bench, seed.wrapping_add(index as u64), part, *workers, &mut total)
    });
    tell(&total, size, &mut report);
    report.end(outcome)
}

/// One store.
fn storm(bench: &Bench, seed: u64, size: Size, workers: usize, total: &mut Ledger) -> Result<()> {
    let lab = Lab::new(bench, &format!("kill-{seed}"))?;
    let members = lab.sign_on(workers, &mut Random::new(seed, 0))?;
    let storm = Storm {
        lab: &lab,
        size,
        ledger: Mutex::new(Ledger::default()),
        left: AtomicUsize::new(size.kills),
        end: Instant::now() + size.time,
    };
    let outcomes: Vec<Result<()>> = thread::scope(|scope| {
        let threads: Vec<_> = members
            .iter()
            .enumerate()
            .map(|(number, member)| {
                let random = Random::new(seed, number as u64 + 1);
                let reaper = Reaper::new(&storm, member, random, number);
                scope.spawn(move || reaper.reap())
            })
            .collect();
        let joined = threads.into_iter().map(thread::ScopedJoinHandle::join);
        joined.map(|joined| joined.unwrap_or_else(|_| Err(anyhow!("a driver panicked")))).collect()
    });
    let mut ledger = storm.ledger.into_inner().unwrap_or_else(PoisonError::into_inner);
    let outcome = outcomes.into_iter().collect::<Result<()>>().and_then(|()| {
        let mut worker = Worker::start(&lab, "afterwards", None)?;
        look(&mut worker, &members, &mut ledger)?;
        ledger.faults.extend(lab.doctor()?);
        Ok(())
    });
    if outcome.is_ok() && ledger.faults.is_empty() {
        lab.clean();
    }
    total.add(ledger);
    outcome
}

/// The figures.
fn tell(ledger: &Ledger, size: Size, report: &mut Report) {
    let under_way = || ledger.kills.iter().filter(|kill| kill.stage != SENT);
    let count = under_way().count();
    let inside = under_way().filter(|kill| is_inside(&kill.stage)).count();
    let percent = 100 * inside / count.max(1);
    report.fact("processes at once", json!(size.workers));
    report.fact("processes killed with an operation under way", count);
    report.fact("of these by a failpoint", under_way().filter(|kill| kill.by_failpoint).count());
    report.fact("of these between txn.begun and reply.before", format!("{inside} ({percent} %)"));
    let mut stages = serde_json::Map::new();
    for point in POINTS {
        let last = under_way().filter(|kill| kill.stage == point).count();
        stages.insert(point.to_owned(), json!(last));
    }
    report.fact("the last failpoint before the kill", stages);
    report.fact("killed too early, before the operation began", ledger.kills.len() - count);
    report.fact("killed too late, after the answer", ledger.late);
    report.fact("requests answered", ledger.requests);
    report.fact("of these acknowledged", ledger.acknowledged.len());
    report.fact("of these refused", json!(ledger.refused));
    report.fact("repeated after a kill", ledger.repeated);
    report.fact("of these done before the kill, answered from memory", ledger.replayed);
    report.fact("events in the logs", ledger.events);
    report.fact("acknowledged and lost", ledger.lost);
    report.faults.extend(ledger.faults.iter().cloned());
    report.expect(count >= size.kills, || {
        format!("only {count} of {} kills happened in time", size.kills)
    });
    report.expect(percent >= INSIDE_PERCENT, || {
        format!("only {percent} % of the kills came between txn.begun and reply.before")
    });
}

/// Whether a process died behind `txn.begun` and before `reply.before`.
fn is_inside(stage: &str) -> bool {
    rank(stage) >= rank("txn.begun") && rank(stage) < rank("reply.before")
}

/// The place of a failpoint in a write; 0 before the first.
fn rank(stage: &str) -> usize {
    POINTS.iter().position(|point| *point == stage).map_or(0, |index| index + 1)
}
