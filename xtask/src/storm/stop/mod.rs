//! Stops: a process that is paused longer than its lease lasts must not write when it goes on, and
//! a writer that is paused inside its transaction must be named to those who wait for it.

mod reader;
mod server;

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::lab::{Bench, Lab, Member};
use super::random::Random;
use super::report::Report;
use super::worker::{Request, Worker};

const SCOPE: &str = "stop";
/// The shortest lease.
const LEASE_MS: i64 = 5_000;
/// Long enough to be asked in, on a busy machine.
const LOCK_DELAY_MS: i64 = 4_000;
/// How long a writer waits for its turn, and how often the program repeats that.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const BUSY_TRIES: u32 = 3;
/// The store's way from a wait that is over to an answer, on a busy machine.
const SLACK: Duration = Duration::from_secs(5);
/// How long a read may take while a writer is stopped.
const READ_MAX: Duration = Duration::from_secs(3);

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Rounds with the tests' clock.
    pub(crate) rounds: usize,
    /// Whether a round waits in real time, too.
    pub(crate) real_time: bool,
    /// Whether writers are stopped inside their transaction, which takes the store's patience.
    pub(crate) writers: bool,
}

/// Stops processes.
pub(crate) fn run(bench: &Bench, seed: u64, size: Size) -> Report {
    let mut report = Report::begin("stop", seed);
    if bench.server.is_some() {
        let outcome = server::storm(bench, seed, size, &mut report);
        return report.end(outcome);
    }
    let outcome = storm(bench, seed, size, &mut report);
    report.end(outcome)
}

fn storm(bench: &Bench, seed: u64, size: Size, report: &mut Report) -> Result<()> {
    let lab = Lab::new(bench, &format!("stop-{seed}"))?.with_clock();
    let clock = Clock { lab: &lab, ahead: 0, is_real: false };
    let members = lab.sign_on(3, &mut Random::new(seed, 0))?;
    let mut stage = Stage { lab: &lab, members: &members, clock, random: Random::new(seed, 1) };
    let mut rounds = 0;
    for round in 0..size.rounds {
        for before in [Before::Request, Before::Transaction] {
            stage.holder(&format!("lease-{round}-{before:?}"), before, report)?;
            rounds += 1;
        }
    }
    if size.real_time {
        stage.clock.is_real = true;
        stage.holder("lease-in-real-time", Before::Request, report)?;
        rounds += 1;
    }
    report.fact("lease holders stopped past their ttl", rounds);
    let readers = reader::stop(&lab, &members[2], stage.clock.ahead, report)?;
    report.fact("readers stopped while they look at the clock", readers);
    if size.writers {
        let waits = stage.writer(report)?;
        let longest = waits.iter().max().map_or(0.0, Duration::as_secs_f64);
        report.fact("writers stopped inside a transaction", 2);
        report.fact("others that were told who holds the lock", waits.len());
        report.fact(
            "longest wait until they were told, all repeats together",
            format!("{longest:.1} s"),
        );
    }
    lab.end(report)
}

/// Where the holder is stopped.
#[derive(Clone, Copy, Debug)]
enum Before {
    /// Before it reads the request.
    Request,
    /// When it has read the request and is about to begin its transaction.
    Transaction,
}

/// Lets time pass: on the tests' clock, or in truth.
struct Clock<'a> {
    lab: &'a Lab,
    ahead: i64,
    is_real: bool,
}

impl Clock<'_> {
    fn pass(&mut self, ms: i64) -> Result<()> {
        if self.is_real {
            thread::sleep(Duration::from_millis(ms.unsigned_abs()));
            return Ok(());
        }
        self.ahead += ms;
        self.lab.set_clock(self.ahead)
    }
}

/// The store and who works on it.
struct Stage<'a> {
    lab: &'a Lab,
    members: &'a [Member],
    clock: Clock<'a>,
    random: Random,
}

impl Stage<'_> {
    fn put(&mut self, member: &Member, key: &str) -> Request {
        let value = self.random.below(1_000_000);
        Request::new("data.put", json!({"scope": SCOPE, "key": key, "value": value})).by(member)
    }

    /// A holder sleeps, another takes over, the holder wakes up and must not write.
    fn holder(&mut self, lease: &str, before: Before, report: &mut Report) -> Result<()> {
        let [first, second, _] = self.members else { return Ok(()) };
        let failpoint = matches!(before, Before::Transaction).then_some("gate.before=stop@2");
        let mut sleeper = Worker::start(self.lab, &first.name, failpoint)?;
        let mut other = Worker::start(self.lab, &second.name, None)?;
        let acquire = |member: &Member| {
            let args =
                json!({"resource": lease, "ttl_ms": LEASE_MS, "lock_delay_ms": LOCK_DELAY_MS});
            Request::new("lease.acquire", args).by(member)
        };
        let granted = sleeper.ask(&acquire(first))?;
        let fence = fence(&granted)?;
        let write = self.put(first, lease).guard(lease, fence);
        match before {
            Before::Request => {
                let guarded = sleeper.ask(&write)?;
                report.expect(guarded["ok"] == true, || format!("a holder's write: {guarded}"));
                sleeper.stop()?;
                sleeper.send(&write)?;
            }
            Before::Transaction => {
                sleeper.send(&write)?;
                sleeper.wait_stopped()?;
            }
        }
        let mut expect = |answer: &Value, code: &str, when: &str| {
            report.expect(answer["error"]["code"] == code, || {
                format!("{when}: {answer}, not {code}")
            });
        };
        expect(&other.ask(&acquire(second))?, "HELD", "acquiring before the ttl has passed");
        self.clock.pass(LEASE_MS)?;
        expect(&other.ask(&acquire(second))?, "COOLING", "acquiring in the lock delay");
        self.clock.pass(LOCK_DELAY_MS)?;
        let taken_over = other.ask(&acquire(second))?;
        let higher = taken_over["data"]["fence"].as_i64().unwrap_or_default();
        sleeper.go_on()?;
        expect(&sleeper.answer()?, "FENCED", "the guarded write of a holder that slept");
        let renew = json!({"resource": lease, "fence": fence});
        let renew = Request::new("lease.renew", renew).by(first);
        expect(&sleeper.ask(&renew)?, "FENCED", "its renewal");
        report.expect(higher > fence, || format!("fence {fence}, then {taken_over}"));
        let late = self.put(second, lease).guard(lease, higher);
        let written = other.ask(&late)?;
        report.expect(written["ok"] == true, || format!("the new holder's write: {written}"));
        let get = Request::new("data.get", json!({"scope": SCOPE, "key": lease}));
        let found = sleeper.ask(&get)?;
        report.expect(found["data"]["value"] == late.args["value"], || {
            format!("the key holds {found}, not what the new holder wrote")
        });
        Ok(())
    }

    /// A writer stops inside its transaction: others are told who it is, readers go on. Then it is
    /// continued, and another one killed. Answers how long each of the others waited.
    fn writer(&mut self, report: &mut Report) -> Result<Vec<Duration>> {
        let [first, rest @ ..] = self.members else { return Ok(Vec::new()) };
        let mut waits = Vec::new();
        for (key, is_killed) in [("continued", false), ("killed", true)] {
            let mut writer = Worker::start(self.lab, &first.name, Some("txn.begun=stop"))?;
            let stopped = self.put(first, key).id(format!("stopped-{key}"));
            writer.send(&stopped)?;
            writer.wait_stopped()?;
            self.read_meanwhile(report)?;
            let waiting: Vec<Request> = rest
                .iter()
                .map(|member| self.put(member, key).id(format!("waits-{key}")))
                .collect();
            for (request, took, answer) in all_at_once(self.lab, &waiting)? {
                waits.push(took);
                expect_busy(&answer, took, writer.pid(), report);
                report.expect(took < BUSY_TIMEOUT * BUSY_TRIES + SLACK, || {
                    format!("{} took {took:?} to be told BUSY", request.op)
                });
            }
            if is_killed {
                writer.kill()?;
                writer = Worker::start(self.lab, &first.name, None)?;
                let repeated = writer.ask(&stopped)?;
                report.expect(repeated["ok"] == true && repeated["replayed"] == false, || {
                    format!("repeated after the kill: {repeated}")
                });
            } else {
                writer.go_on()?;
                let answer = writer.answer()?;
                report.expect(answer["ok"] == true, || format!("a writer that goes on: {answer}"));
            }
            for (_, took, answer) in all_at_once(self.lab, &waiting)? {
                report.expect(answer["ok"] == true && answer["replayed"] == false, || {
                    format!("a write after {took:?}, when the lock was free: {answer}")
                });
            }
        }
        Ok(waits)
    }

    fn read_meanwhile(&self, report: &mut Report) -> Result<()> {
        let mut reader = Worker::start(self.lab, "reader", None)?;
        let begun = Instant::now();
        let answer = reader.ask(&Request::new("event.head", json!({})))?;
        let took = begun.elapsed();
        report.expect(answer["ok"] == true && took < READ_MAX, || {
            format!("a read beside a stopped writer took {took:?}: {answer}")
        });
        Ok(())
    }
}

/// Sends each request through a process of its own.
fn all_at_once(lab: &Lab, requests: &[Request]) -> Result<Vec<(Request, Duration, Value)>> {
    let mut workers = Vec::new();
    for request in requests {
        let name = request.member.as_ref().map_or("nobody", |member| &member.name);
        let mut worker = Worker::start(lab, name, None)?;
        worker.send(request)?;
        workers.push((worker, request.clone(), Instant::now()));
    }
    let answer = |(worker, request, begun): (Worker, Request, Instant)| {
        let answer = worker.answer()?;
        Ok((request, begun.elapsed(), answer))
    };
    workers.into_iter().map(answer).collect()
}

fn fence(granted: &Value) -> Result<i64> {
    ensure!(granted["ok"] == true, "a free lease was not granted: {granted}");
    granted["data"]["fence"].as_i64().context("a grant without a fence")
}

fn expect_busy(answer: &Value, took: Duration, pid: u32, report: &mut Report) {
    let error = &answer["error"];
    let told = error["code"] == "BUSY"
        && error["details"]["holder_pid"] == pid
        && error["details"]["holder_stopped"] == true;
    report.expect(told, || format!("after {took:?} beside stopped writer {pid}: {answer}"));
}
