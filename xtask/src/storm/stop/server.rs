//! Over a server: a holder that slept past its lease is refused, and a writer that is stopped inside its
//! transaction is ended by the server, so that others go on without it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::{SCOPE, SLACK, Size, all_at_once, fence};
use crate::storm::lab::{Bench, Lab, Member};
use crate::storm::random::Random;
use crate::storm::report::Report;
use crate::storm::worker::{Request, Worker};

/// How far one write moves the store's clock at most.
const STEP_MS: i64 = 30_000;
/// The shortest lease of a store that machines share: two steps.
const LEASE_MS: i64 = 2 * STEP_MS;
/// Shorter than a step, and long enough to be asked in on a busy machine.
const LOCK_DELAY_MS: i64 = 25_000;
/// After so long the server ends a transaction in which nothing happens.
const IDLE_MAX: Duration = Duration::from_secs(5);

/// Stops processes that work on a server's store.
pub(super) fn storm(bench: &Bench, seed: u64, size: Size, report: &mut Report) -> Result<()> {
    let lab = Lab::new(bench, &format!("stop-{seed}"))?.with_clock();
    let members = lab.sign_on(3, &mut Random::new(seed, 0))?;
    let mut stage = Stage { lab: &lab, members: &members, ahead: 0, random: Random::new(seed, 1) };
    for round in 0..size.rounds {
        stage.holder(&format!("lease-{round}"), report)?;
    }
    report.fact("lease holders stopped past their ttl", size.rounds);
    if size.writers {
        let waits = stage.writers(report)?;
        let longest = waits.iter().max().map_or(0.0, Duration::as_secs_f64);
        report.fact("writers stopped inside a transaction", 2);
        report.fact("longest wait of others until they went on", format!("{longest:.1} s"));
    }
    lab.end(report)
}

struct Stage<'a> {
    lab: &'a Lab,
    members: &'a [Member],
    ahead: i64,
    random: Random,
}

impl Stage<'_> {
    fn put(&mut self, member: &Member, key: &str) -> Request {
        let value = self.random.below(1_000_000);
        Request::new("data.put", json!({"scope": SCOPE, "key": key, "value": value})).by(member)
    }

    /// Lets a step of time pass, which takes a write.
    fn step(&mut self, worker: &mut Worker, member: &Member) -> Result<()> {
        self.ahead += STEP_MS;
        self.lab.set_clock(self.ahead)?;
        let write = self.put(member, "time");
        let written = worker.ask(&write)?;
        ensure!(written["ok"] == true, "a write while time passes: {written}");
        Ok(())
    }

    /// A holder sleeps, another takes over, the holder wakes up and must not write.
    fn holder(&mut self, lease: &str, report: &mut Report) -> Result<()> {
        let [first, second, _] = self.members else { return Ok(()) };
        let mut sleeper = Worker::start(self.lab, &first.name, None)?;
        let mut other = Worker::start(self.lab, &second.name, None)?;
        let acquire = |member: &Member| {
            let args =
                json!({"resource": lease, "ttl_ms": LEASE_MS, "lock_delay_ms": LOCK_DELAY_MS});
            Request::new("lease.acquire", args).by(member)
        };
        let old = fence(&sleeper.ask(&acquire(first))?)?;
        let write = self.put(first, lease).guard(lease, old);
        let guarded = sleeper.ask(&write)?;
        report.expect(guarded["ok"] == true, || format!("a holder's write: {guarded}"));
        sleeper.stop()?;
        sleeper.send(&write)?;
        for code in ["HELD", "HELD", "COOLING"] {
            let refused = other.ask(&acquire(second))?;
            report.expect(refused["error"]["code"] == code, || {
                format!("{} ms ahead: {refused}, not {code}", self.ahead)
            });
            self.step(&mut other, second)?;
        }
        let new = fence(&other.ask(&acquire(second))?)?;
        report.expect(new > old, || format!("fence {old}, then {new}"));
        sleeper.go_on()?;
        let late = sleeper.answer()?;
        report.expect(late["error"]["code"] == "FENCED", || {
            format!("the guarded write of a holder that slept: {late}")
        });
        let renew = Request::new("lease.renew", json!({"resource": lease, "fence": old}));
        let renewed = sleeper.ask(&renew.by(first))?;
        report.expect(renewed["error"]["code"] == "FENCED", || format!("its renewal: {renewed}"));
        let last = self.put(second, lease).guard(lease, new);
        let written = other.ask(&last)?;
        report.expect(written["ok"] == true, || format!("the new holder's write: {written}"));
        let get = Request::new("data.get", json!({"scope": SCOPE, "key": lease}));
        let found = sleeper.ask(&get)?;
        report.expect(found["data"]["value"] == last.args["value"], || {
            format!("the key holds {found}, not what the new holder wrote")
        });
        Ok(())
    }

    /// A writer stops inside its transaction; others write without it. Then it is continued, and another one
    /// killed: what it was asked for happens once. Answers how long the others waited.
    fn writers(&mut self, report: &mut Report) -> Result<Vec<Duration>> {
        let (first, rest) = self.members.split_first().context("nobody is there")?;
        let mut waits = Vec::new();
        for (key, is_killed) in [("continued", false), ("killed", true)] {
            let mut writer = Worker::start(self.lab, &first.name, Some("txn.begun=stop"))?;
            let add = json!({"scope": SCOPE, "key": key, "change": {"add": 1}});
            let stopped = Request::new("data.update", add).by(first).id(format!("stopped-{key}"));
            writer.send(&stopped)?;
            writer.wait_stopped()?;
            let others: Vec<Request> =
                rest.iter().map(|member| self.put(member, "others")).collect();
            for (_, took, answer) in all_at_once(self.lab, &others)? {
                waits.push(took);
                report.expect(answer["ok"] == true && took < IDLE_MAX + SLACK, || {
                    format!("a write beside a stopped writer, after {took:?}: {answer}")
                });
            }
            if is_killed {
                writer.kill()?;
                writer = Worker::start(self.lab, &first.name, None)?;
                writer.send(&stopped)?;
            } else {
                writer.go_on()?;
            }
            let answer = writer.answer()?;
            report.expect(answer["ok"] == true && answer["replayed"] == false, || {
                format!("a writer that was stopped, {key}: {answer}")
            });
            let again = writer.ask(&stopped)?;
            let get = Request::new("data.get", json!({"scope": SCOPE, "key": key}));
            let count = writer.ask(&get)?;
            report.expect(again["replayed"] == true && count["data"]["value"] == 1, || {
                format!("{key}, asked again: {again}, and counted {count}")
            });
        }
        Ok(waits)
    }
}
