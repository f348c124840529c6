//! A server's clock that jumps ten years to and fro: it moves the store's by a step at most, never back.
//! Nothing expires early, nothing comes back to life, fences rise.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::YEARS_10;
use crate::storm::lab::{Bench, Lab, Member};
use crate::storm::random::Random;
use crate::storm::report::Report;
use crate::storm::worker::{Request, Worker};

/// How far one write moves the store's clock at most.
const STEP_MS: i64 = 30_000;
/// The shortest lease of a store that machines share, and how long nobody else gets it afterwards.
const BRIEF_MS: i64 = 60_000;
const LOCK_DELAY_MS: i64 = 10_000;
const LONG_MS: i64 = 24 * 3_600_000;

/// Lets a server's clock jump.
pub(super) fn storm(bench: &Bench, seed: u64, rounds: usize, report: &mut Report) -> Result<()> {
    let lab = Lab::new(bench, &format!("clock-{seed}"))?.with_clock();
    let members = lab.sign_on(2, &mut Random::new(seed, 0))?;
    let worker = Worker::start(&lab, "worker", None)?;
    let mut stage = Stage {
        lab: &lab,
        members: &members,
        worker,
        tick: 0,
        seen: Instant::now(),
        writes: 0,
        fence: 0,
        jumps: 0,
    };
    let mut random = Random::new(seed, 1);
    let long = stage.acquire(&members[0], "long", LONG_MS, report)?;
    for round in 0..rounds {
        let mut to = [YEARS_10 * 1_000, -YEARS_10 * 1_000];
        random.shuffle(&mut to);
        let lease = format!("brief-{round}");
        stage.nothing_expires(&lease, to, report)?;
        stage.nothing_revives(&lease, to, report)?;
        let written = stage.ask(&guarded("long", long, &members[0]), report)?;
        report.expect(written["ok"] == true, || format!("a lease of a day: {written}"));
    }
    report.fact("jumps of the server's clock", stage.jumps);
    report.fact("the store's clock went on by", format!("{} s", stage.tick / 1_000));
    lab.end(report)
}

struct Stage<'a> {
    lab: &'a Lab,
    members: &'a [Member],
    worker: Worker,
    /// The store's clock at the last write.
    tick: i64,
    /// When that was, and how many writes there were since.
    seen: Instant,
    writes: i64,
    /// The greatest fence so far.
    fence: i64,
    jumps: usize,
}

impl Stage<'_> {
    fn jump(&mut self, ahead_ms: i64) -> Result<()> {
        self.jumps += 1;
        self.lab.set_clock(ahead_ms)
    }

    /// Asks for a write, which must move the clock by a step at most, and never back.
    fn ask(&mut self, request: &Request, report: &mut Report) -> Result<Value> {
        let answer = self.worker.ask(request)?;
        self.writes += 1;
        // A refusal tells no tick, and may take a second transaction, which finds the time that passed.
        if let Some(tick) = answer["tick"].as_i64() {
            let step = tick - self.tick;
            let passed = i64::try_from(self.seen.elapsed().as_millis())? + 1;
            let most = self.writes * STEP_MS + passed;
            let first = self.tick == 0;
            report.expect(first || (0..=most).contains(&step), || {
                format!("{} writes moved the clock by {step} ms in {passed} ms", self.writes)
            });
            (self.writes, self.seen) = (0, Instant::now());
            self.tick = tick;
        }
        Ok(answer)
    }

    fn acquire(
        &mut self,
        member: &Member,
        lease: &str,
        ttl_ms: i64,
        report: &mut Report,
    ) -> Result<i64> {
        let granted = self.ask(&acquire(lease, ttl_ms, member), report)?;
        ensure!(granted["ok"] == true, "a free lease was not granted: {granted}");
        let fence = granted["data"]["fence"].as_i64().context("a grant without a fence")?;
        report.expect(fence > self.fence, || format!("fence {fence} after {}", self.fence));
        self.fence = self.fence.max(fence);
        Ok(fence)
    }

    /// What was granted for a minute outlives any jump.
    fn nothing_expires(&mut self, lease: &str, to: [i64; 2], report: &mut Report) -> Result<()> {
        let [holder, other] = self.members else { return Ok(()) };
        let fence = self.acquire(holder, lease, BRIEF_MS, report)?;
        for ahead in to {
            self.jump(ahead)?;
            // One write, so one step, for each jump.
            let refused = self.ask(&acquire(lease, BRIEF_MS, other), report)?;
            report.expect(refused["error"]["code"] == "HELD", || {
                format!("{ahead} ms ahead, a held lease answers {refused}")
            });
            self.jump(0)?;
            let renew = json!({"resource": lease, "fence": fence});
            let renewed = self.ask(&Request::new("lease.renew", renew).by(holder), report)?;
            report.expect(renewed["ok"] == true, || {
                format!("{ahead} ms ahead and back, the holder's renewal answers {renewed}")
            });
        }
        Ok(())
    }

    /// What has expired stays so, wherever the clock jumps.
    fn nothing_revives(&mut self, lease: &str, to: [i64; 2], report: &mut Report) -> Result<()> {
        let [holder, other] = self.members else { return Ok(()) };
        let before = self.fence;
        let until = self.tick + BRIEF_MS + LOCK_DELAY_MS;
        let mut ahead = 0;
        while self.tick < until {
            ahead += STEP_MS;
            self.jump(ahead)?;
            let put = json!({"scope": "clock", "key": "n", "value": ahead});
            let written = self.ask(&Request::new("data.put", put).by(other), report)?;
            ensure!(written["ok"] == true, "a write while time passes: {written}");
        }
        for ahead in to {
            self.jump(ahead)?;
            let written = self.ask(&guarded(lease, before, holder), report)?;
            report.expect(written["error"]["code"] == "FENCED", || {
                format!(
                    "{ahead} ms ahead, the write of a holder whose lease has expired: {written}"
                )
            });
        }
        let fence = self.acquire(other, lease, LONG_MS, report)?;
        report.expect(fence > before, || format!("fence {fence} after {before}"));
        self.jump(0)
    }
}

fn acquire(lease: &str, ttl_ms: i64, member: &Member) -> Request {
    let args = json!({"resource": lease, "ttl_ms": ttl_ms, "lock_delay_ms": LOCK_DELAY_MS});
    Request::new("lease.acquire", args).by(member)
}

fn guarded(lease: &str, fence: i64, member: &Member) -> Request {
    let args = json!({"scope": "clock", "key": "guarded", "value": Value::Null});
    Request::new("data.put", args).by(member).guard(lease, fence)
}
