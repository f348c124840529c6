//! A crowd at the combiner: short processes post requests, others carry them out, and all of them are
//! killed again and again. Every request is repeated under its id until it is answered; in the end each was
//! done once, and nobody waited for the dead.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::lab::{Bench, Lab};
use super::random::Random;
use super::report::Report;
use super::worker::{Request, Worker};

/// Those who post at the same time.
const POSTERS: usize = 4;
/// The longest delay of a kill: a request takes a few milliseconds.
const DELAY_US: u64 = 12_000;
/// How long a combiner lives, at most.
const LIFE_MS: u64 = 150;
/// How long a request may take, whoever dies meanwhile.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// Further time for a machine that has other things to do.
const SLACK: Duration = Duration::from_secs(1);
/// How often a request is repeated at most.
const TRIES_MAX: usize = 1_000;

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// How many processes are killed while they do something.
    pub(crate) kills: usize,
    /// When it ends, however many were killed.
    pub(crate) time: Duration,
}

/// What goes on.
struct Scene<'a> {
    lab: &'a Lab,
    bug: Option<&'static str>,
    kills: AtomicUsize,
    leaders: AtomicUsize,
    goal: usize,
    end: Instant,
    over: AtomicBool,
}

impl Scene<'_> {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
            || Instant::now() >= self.end
            || self.kills.load(Ordering::Relaxed) >= self.goal
    }
}

/// What one who posts found.
#[derive(Default)]
struct Posted {
    requests: i64,
    longest: Duration,
    faults: Vec<String>,
}

/// Lets the crowd in.
pub(crate) fn run(bench: &Bench, seed: u64, size: Size) -> Report {
    let mut report = Report::begin("crowd", seed);
    let outcome = storm(bench, seed, size, &mut report);
    report.end(outcome)
}

fn storm(bench: &Bench, seed: u64, size: Size, report: &mut Report) -> Result<()> {
    let lab = Lab::new(bench, "crowd")?;
    for poster in 0..POSTERS {
        let name = format!("s{poster}");
        lab.call(&["sign-on", &name, "--kind", "agent", "--ttl", "24h"], &[])?;
    }
    let scene = Scene {
        lab: &lab,
        bug: bench.mutant,
        kills: AtomicUsize::new(0),
        leaders: AtomicUsize::new(0),
        goal: size.kills,
        end: Instant::now() + size.time,
        over: AtomicBool::new(false),
    };
    let (posted, led) = thread::scope(|scope| {
        let leading = scope.spawn(|| lead(&scene, Random::new(seed, 99)));
        let posting: Vec<_> = (0..POSTERS)
            .map(|poster| {
                let scene = &scene;
                scope.spawn(move || {
                    let posted = add_all(scene, poster, Random::new(seed, poster as u64));
                    if posted.is_err() {
                        scene.over.store(true, Ordering::Relaxed);
                    }
                    posted
                })
            })
            .collect();
        let posted: Vec<_> = posting.into_iter().map(thread::ScopedJoinHandle::join).collect();
        scene.over.store(true, Ordering::Relaxed);
        (posted, leading.join())
    });
    led.ok().context("the combiners' thread panicked")??;
    let (mut requests, mut longest) = (0, Duration::ZERO);
    for (poster, outcome) in posted.into_iter().enumerate() {
        let found = outcome.ok().context("a poster's thread panicked")??;
        report.faults.extend(found.faults);
        let key = format!("own-{poster}");
        let count = lab.call(&["data", "get", "n", &key], &[])?.1["data"]["value"].clone();
        report.expect(count == found.requests, || {
            format!("{} additions to {key} made {count}", found.requests)
        });
        requests += found.requests;
        longest = longest.max(found.longest);
    }
    let all = lab.call(&["data", "get", "n", "all"], &[])?.1["data"]["value"].clone();
    report.expect(all == requests, || format!("{requests} additions to one key made {all}"));
    report.expect(longest < WAIT_MAX + SLACK, || format!("a request took {longest:?}"));
    report.fact("killed while they did something", scene.kills.load(Ordering::Relaxed));
    report.fact("of them combiners", scene.leaders.load(Ordering::Relaxed));
    report.fact("requests, each done once", 2 * requests);
    report.fact("longest that one which lived took, in seconds", longest.as_secs_f64());
    lab.end(report)
}

/// Starts a combiner, kills it after a moment, and starts the next one.
fn lead(scene: &Scene<'_>, mut random: Random) -> Result<()> {
    while !scene.is_over() {
        let mut combiner = Worker::start(scene.lab, "combiner", None)?;
        combiner.ask(&Request::new("event.head", json!({})))?;
        thread::sleep(Duration::from_millis(random.below(LIFE_MS)));
        combiner.kill()?;
        scene.kills.fetch_add(1, Ordering::Relaxed);
        scene.leaders.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Adds to a counter of one's own and to one of all, by processes most of which are killed.
fn add_all(scene: &Scene<'_>, poster: usize, mut random: Random) -> Result<Posted> {
    let mut found = Posted::default();
    while !scene.is_over() {
        for key in [format!("own-{poster}"), "all".to_owned()] {
            let id = format!("{poster}-{}-{key}", found.requests);
            add(scene, poster, &key, &id, &mut random, &mut found)?;
        }
        found.requests += 1;
    }
    Ok(found)
}

/// One addition, repeated under its id until a process lives to see it done.
fn add(
    scene: &Scene<'_>,
    poster: usize,
    key: &str,
    id: &str,
    random: &mut Random,
    found: &mut Posted,
) -> Result<()> {
    for _ in 0..TRIES_MAX {
        let mut command = scene.lab.with_variables(scene.lab.binary().as_os_str());
        command.args(["data", "update", "n", key, "--add", "1", "--request-id", id]);
        command.args(["--session", &format!("s{poster}")]);
        if let Some(bug) = scene.bug {
            command.env("COTENANT_MUTANT", bug);
        }
        let begun = Instant::now();
        let spares = scene.is_over() || random.percent(15);
        let delay = (!spares).then(|| Duration::from_micros(random.below(DELAY_US)));
        match end_of(&mut command, delay)? {
            End::Killed => {
                scene.kills.fetch_add(1, Ordering::Relaxed);
            }
            End::Done => {
                if spares {
                    found.longest = found.longest.max(begun.elapsed());
                }
                return Ok(());
            }
            End::Failed(words) => {
                found.faults.push(format!("{id}: {words}"));
                return Ok(());
            }
        }
    }
    bail!("{id} was killed {TRIES_MAX} times")
}

/// How a process ended.
enum End {
    Killed,
    Done,
    Failed(String),
}

/// Runs a process, which is killed after a while.
fn end_of(command: &mut Command, delay: Option<Duration>) -> Result<End> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn()?;
    if let Some(delay) = delay {
        thread::sleep(delay);
        // It is not waited for yet, so the number is still its own.
        let pid = Pid::from_raw(child.id().cast_signed()).context("a process without a number")?;
        let _ = kill_process(pid, Signal::KILL);
    }
    let output = child.wait_with_output()?;
    Ok(match output.status.code() {
        Some(0) => End::Done,
        None => End::Killed,
        Some(_) => End::Failed(String::from_utf8_lossy(&output.stderr).into_owned()),
    })
}
