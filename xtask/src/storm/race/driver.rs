//! Runs the processes of one history and writes down what it sees.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use serde_json::Value;

use super::Size;
use super::choose::Chooser;
use crate::storm::history::Entry;
use crate::storm::kill::POINTS;
use crate::storm::lab::{Bench, Lab, Member};
use crate::storm::random::Random;
use crate::storm::worker::{Heard, Request, Worker};

/// A kill comes within so long after its request.
const KILL_WITHIN: Duration = Duration::from_millis(4);
/// Of a hundred processes that replace a killed one, how many die at a failpoint.
const MORTAL_PERCENT: u64 = 60;
/// Such a process dies when it passes its failpoint for the nth time, at most this.
const MORTAL_PASSES: u64 = 8;

/// The clock runs ahead after such a pause, or up to twice as long, at the pace of the store: leases
/// are renewed, and some expire.
const CLOCK_PAUSE: Duration = Duration::from_millis(15);

/// What one history left.
pub(super) struct Run {
    /// Every operation, in the order of the calls.
    pub(super) history: Vec<Entry>,
    /// What the doctor found afterwards.
    pub(super) faults: Vec<String>,
}

/// Makes one history on a fresh store.
pub(super) fn run(bench: &Bench, seed: u64, size: Size) -> Result<Run> {
    let lab = Lab::new(bench, &format!("race-{seed}"))?.with_clock();
    let members = lab.sign_on(size.workers, &mut Random::new(seed, 0))?;
    let start = Instant::now();
    let together = Barrier::new(members.len());
    let each = size.operations.div_ceil(size.workers);
    let is_over = AtomicBool::new(false);
    let runs: Vec<Result<Vec<Entry>>> = thread::scope(|scope| {
        let clock = scope.spawn(|| run_ahead(&lab, Random::new(seed, u64::MAX), &is_over));
        let threads: Vec<_> = members
            .iter()
            .enumerate()
            .map(|(number, member)| {
                let (lab, together) = (&lab, &together);
                scope.spawn(move || {
                    let random = Random::new(seed, number as u64 + 1);
                    let racer = Racer::new(lab, member, random, number, start);
                    // The others must not wait for one that failed to start.
                    together.wait();
                    racer?.race(each, size.kills_percent)
                })
            })
            .collect();
        let joined = threads.into_iter().map(thread::ScopedJoinHandle::join);
        let joined =
            joined.map(|joined| joined.unwrap_or_else(|_| Err(anyhow!("a driver panicked"))));
        let mut runs: Vec<Result<Vec<Entry>>> = joined.collect();
        is_over.store(true, Ordering::Relaxed);
        let clock = clock.join().unwrap_or_else(|_| Err(anyhow!("the clock panicked")));
        runs.push(clock.map(|()| Vec::new()));
        runs
    });
    let mut history = Vec::new();
    for run in runs {
        history.extend(run?);
    }
    history.sort_by_key(|entry| entry.call);
    let faults = lab.doctor()?;
    if faults.is_empty() {
        lab.clean();
    }
    Ok(Run { history, faults })
}

/// Lets the store's clock run ahead in steps until the race is over.
fn run_ahead(lab: &Lab, mut random: Random, is_over: &AtomicBool) -> Result<()> {
    let mut ahead = 0;
    while !is_over.load(Ordering::Relaxed) {
        thread::sleep(CLOCK_PAUSE + random.within(CLOCK_PAUSE));
        ahead += random.within(lab.pace().step).as_millis();
        lab.set_clock(i64::try_from(ahead)?)?;
    }
    Ok(())
}

/// One session, and the process that acts for it now.
struct Racer<'a> {
    lab: &'a Lab,
    name: String,
    worker: Worker,
    /// Whether the process dies at a failpoint sooner or later.
    is_mortal: bool,
    chooser: Chooser,
    start: Instant,
}

impl<'a> Racer<'a> {
    fn new(
        lab: &'a Lab,
        member: &Member,
        random: Random,
        number: usize,
        start: Instant,
    ) -> Result<Self> {
        let worker = Worker::start(lab, &member.name, None)?;
        let chooser = Chooser::new(member.clone(), random, number, lab.pace().brief_ms);
        Ok(Self { lab, name: member.name.clone(), worker, is_mortal: false, chooser, start })
    }

    fn race(mut self, operations: usize, kills_percent: u64) -> Result<Vec<Entry>> {
        let mut entries = Vec::with_capacity(operations);
        for _ in 0..operations {
            let request = self.chooser.next();
            let doomed = self.chooser.random().percent(kills_percent);
            let delay = self.chooser.random().within(KILL_WITHIN);
            let call = self.now(Instant::now());
            self.worker.send(&request)?;
            let heard =
                if doomed { self.kill_after(delay)? } else { self.worker.answer_or_death()? };
            let (end, answer) = match heard {
                Heard::Answer(at, answer) => (Some(self.now(at)), answer),
                Heard::Death if doomed || self.is_mortal => (None, Value::Null),
                Heard::Death | Heard::Nothing => bail!("a process died unasked of {request:?}"),
            };
            let entry = self.entry(request, call, end, answer);
            if doomed || end.is_none() {
                self.replace()?;
            }
            self.chooser.learn(&entry);
            // `BUSY` has no effect, and a read that nobody heard of tells nothing.
            if entry.code() != "BUSY" && (entry.writes() || entry.end.is_some()) {
                entries.push(entry);
            }
        }
        Ok(entries)
    }

    fn kill_after(&mut self, delay: Duration) -> Result<Heard> {
        thread::sleep(delay);
        self.worker.kill()
    }

    /// Another process takes over.
    fn replace(&mut self) -> Result<()> {
        let random = self.chooser.random();
        self.is_mortal = random.percent(MORTAL_PERCENT);
        let passes = 1 + random.below(MORTAL_PASSES);
        let failpoint = format!("{}=kill@{passes}", random.pick(&POINTS));
        let failpoint = self.is_mortal.then_some(failpoint.as_str());
        self.worker = Worker::start(self.lab, &self.name, failpoint)?;
        Ok(())
    }

    fn now(&self, at: Instant) -> u64 {
        u64::try_from(at.duration_since(self.start).as_nanos()).unwrap_or(u64::MAX)
    }

    fn entry(&self, request: Request, call: u64, end: Option<u64>, answer: Value) -> Entry {
        let died = end.is_none().then(|| self.now(Instant::now()));
        Entry {
            actor: self.name.clone(),
            op: request.op,
            args: request.args,
            guard: request.guards.into_iter().next(),
            call,
            end,
            died,
            answer,
        }
    }
}
