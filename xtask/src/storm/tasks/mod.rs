//! Workers on tasks that need each other, killed at any moment. Each task ends as it should, none is
//! finished twice, and no attempt finishes one that was given to somebody else.
//!
//! # Invariants
//! - The ledger lives in this process: what is in it as finished was acknowledged.
//! - A request is repeated under its id, by another process, until it is answered.

mod hand;
mod look;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use serde_json::{Value, json};

use self::hand::Hand;
use super::lab::{Bench, Lab, Member};
use super::random::Random;
use super::report::Report;
use super::worker::{Request, Worker};

/// How long an attempt may take, by the store's clock: the least that a server grants.
const VISIBILITY_MS: u64 = 60_000;
/// How far a task reaches back for those that it needs.
const REACH: u64 = 60;
/// Tasks of one request.
const BATCH: usize = 400;
/// The clock goes on by so much …
const STEP_MS: i64 = 2_000;
/// … so often, so that nobody waits long for delays.
const STEP_EVERY: Duration = Duration::from_millis(100);

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Tasks.
    pub(crate) tasks: usize,
    /// Processes at once.
    pub(crate) workers: usize,
    /// The storm ends after so long, whatever is left.
    pub(crate) time: Duration,
}

/// What was acknowledged, and counted.
#[derive(Default)]
struct Ledger {
    /// The fences with which tasks were finished.
    finished: BTreeMap<i64, Vec<i64>>,
    granted: usize,
    /// How often an attempt was refused for its fence.
    fenced: usize,
    /// How often a later life finished what an earlier one had taken.
    late: usize,
    kills: usize,
    repeated: usize,
    faults: Vec<String>,
}

/// What the workers share.
struct Scene<'a> {
    lab: &'a Lab,
    ledger: Mutex<Ledger>,
    lives: AtomicUsize,
    over: AtomicBool,
    end: Instant,
}

impl Scene<'_> {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed) || Instant::now() > self.end
    }

    fn finish(&self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// Has the tasks done.
pub(crate) fn run(bench: &Bench, seed: u64, size: Size) -> Report {
    let mut report = Report::begin("tasks", seed);
    let outcome = storm(bench, seed, size, &mut report);
    report.end(outcome)
}

fn storm(bench: &Bench, seed: u64, size: Size, report: &mut Report) -> Result<()> {
    let lab = Lab::new(bench, &format!("tasks-{seed}"))?;
    lab.set_clock(0)?;
    let lab = lab.with_clock();
    let owner = lab.sign_on(1, &mut Random::new(seed, 0))?.remove(0);
    add(&lab, &owner, &mut Random::new(seed, 1), size.tasks)?;
    let scene = Scene {
        lab: &lab,
        ledger: Mutex::new(Ledger::default()),
        lives: AtomicUsize::new(0),
        over: AtomicBool::new(false),
        end: Instant::now() + size.time,
    };
    let outcomes: Vec<Result<()>> = thread::scope(|scope| {
        let clock = scope.spawn(|| tick(&scene));
        let hands: Vec<_> = (0..size.workers)
            .map(|number| {
                let hand = Hand::new(&scene, number, Random::new(seed, 2 + number as u64));
                scope.spawn(|| hand.work().inspect_err(|_| scene.finish()))
            })
            .collect();
        let joined = hands.into_iter().map(thread::ScopedJoinHandle::join);
        let mut outcomes: Vec<Result<()>> = joined
            .map(|it| it.unwrap_or_else(|_| Err(anyhow!("a worker's thread panicked"))))
            .collect();
        scene.finish();
        outcomes.push(clock.join().unwrap_or_else(|_| Err(anyhow!("the clock's thread panicked"))));
        outcomes
    });
    outcomes.into_iter().collect::<Result<()>>()?;
    let in_time = Instant::now() <= scene.end;
    let ledger = scene.ledger.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.expect(in_time, || "the tasks were not done in time".to_owned());
    let mut worker = Worker::start(&lab, "afterwards", None)?;
    look::look(&mut worker, &ledger, size.tasks, report)?;
    let cancelled = look::cancel_blocked(&mut worker, &owner, report)?;
    report.fact("tasks called off, which waited for some that failed for good", cancelled);
    report.fact("workers at once", size.workers);
    report.fact("processes killed", ledger.kills);
    report.fact("tasks taken", ledger.granted);
    report.fact("requests repeated by another process", ledger.repeated);
    report.fact("attempts refused for their fence", ledger.fenced);
    report.fact("tasks finished by the next life of a worker", ledger.late);
    report.faults.extend(ledger.faults);
    let ahead = std::fs::read_to_string(lab.file("clock"))?;
    ensure!(ahead.trim().parse::<i64>().is_ok_and(|ahead| ahead > 0), "the clock stood still");
    let clock = lab.file("clock");
    let clock = clock.to_str().unwrap_or_default();
    report.faults.extend(lab.doctor_with(&[("COTENANT_CLOCK_AHEAD", clock)])?);
    if report.is_clean() {
        lab.clean();
    }
    Ok(())
}

/// Lets time go faster than it does.
fn tick(scene: &Scene<'_>) -> Result<()> {
    let mut ahead = 0;
    while !scene.is_over() {
        thread::sleep(STEP_EVERY);
        ahead += STEP_MS;
        scene.lab.set_clock(ahead)?;
    }
    Ok(())
}

/// Adds the tasks: most need some of those before them.
fn add(lab: &Lab, owner: &Member, random: &mut Random, count: usize) -> Result<()> {
    let mut worker = Worker::start(lab, "adds", None)?;
    let mut ids: Vec<Value> = Vec::with_capacity(count);
    while ids.len() < count {
        let first = ids.len();
        let new = (first..count.min(first + BATCH)).map(|place| {
            let mut task = json!({
                "payload": {"place": place}, "visibility_ms": VISIBILITY_MS, "max_attempts": 6,
                "priority": random.below(5), "queue": *random.pick(&["a", "b", "b/c"]),
                "on_dep_fail": if random.percent(90) { "run" } else { *random.pick(&["block", "cancel"]) },
            });
            let (mut needs, mut needs_new) = (Vec::new(), Vec::new());
            for _ in 0..random.below(4).min(place as u64) {
                let back = usize::try_from(1 + random.below(REACH.min(place as u64))).unwrap_or(1);
                match (place - back).checked_sub(first) {
                    Some(place) => needs_new.push(place),
                    None => needs.push(ids[place - back].clone()),
                }
            }
            if random.percent(5) {
                task["delay_ms"] = json!(random.below(20_000));
            }
            (task["needs"], task["needs_new"]) = (json!(needs), json!(needs_new));
            task
        });
        let tasks: Vec<Value> = new.collect();
        let answer = worker.ask(&Request::new("task.add", json!({"tasks": tasks})).by(owner))?;
        ensure!(answer["ok"] == true, "cannot add tasks: {answer}");
        let added = answer["data"]["tasks"].as_array().cloned().unwrap_or_default();
        ids.extend(added.iter().map(|task| task["task"].clone()));
    }
    Ok(())
}
