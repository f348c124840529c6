//! Wall clocks that jump ten years to and fro, each process by itself: nothing expires early,
//! nothing comes back to life, and fences rise all the same.

mod server;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::storm::lab::{Bench, Lab, Member};
use crate::storm::random::Random;
use crate::storm::report::Report;
use crate::storm::worker::{Request, Worker};

const SCOPE: &str = "clock";
const LEASE_MS: i64 = 60_000;
const YEARS_10: i64 = 10 * 365 * 86_400;
/// Where a clock jumps first, in seconds; then it jumps to the other side.
const JUMPS: [(i64, &str); 2] = [(YEARS_10, "ahead"), (-YEARS_10, "behind")];

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Rounds; in each, every clock jumps.
    pub(crate) rounds: usize,
}

/// Lets wall clocks jump.
pub(crate) fn run(bench: &Bench, seed: u64, size: Size) -> Report {
    let mut report = Report::begin("clock", seed);
    if bench.server.is_some() {
        let outcome = server::storm(bench, seed, size.rounds, &mut report);
        return report.end(outcome);
    }
    let Some(library) = library() else {
        return report.skip("no libfaketime here; run: sudo apt-get install -y faketime");
    };
    let outcome = storm(bench, &library, seed, size, &mut report);
    report.end(outcome)
}

/// The library that answers the time in the kernel's place.
fn library() -> Option<PathBuf> {
    let folders = ["/usr/lib", "/usr/lib64", "/usr/local/lib"];
    let below = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    let all = folders.iter().map(PathBuf::from).chain(below.map(|entry| entry.path()));
    all.map(|folder| folder.join("faketime/libfaketime.so.1")).find(|path| path.is_file())
}

fn storm(bench: &Bench, library: &Path, seed: u64, size: Size, report: &mut Report) -> Result<()> {
    let lab = Lab::new(bench, &format!("clock-{seed}"))?.with_clock();
    let members = lab.sign_on(2, &mut Random::new(seed, 0))?;
    let mut stage = Stage { lab: &lab, library, members: &members, fence: 0, years: Vec::new() };
    let (mut random, mut passed, mut jumps) = (Random::new(seed, 1), 0, 0);
    for round in 0..size.rounds {
        let mut order = JUMPS;
        if random.percent(50) {
            order.reverse();
        }
        for (offset, word) in order {
            let lease = format!("lease-{round}-{word}");
            stage.nothing_expires(&lease, offset, report)?;
            passed += LEASE_MS + 60_000;
            lab.set_clock(passed)?;
            stage.nothing_revives(&lease, -offset, report)?;
            jumps += 4;
        }
    }
    stage.running_process(report)?;
    stage.years.sort_unstable();
    stage.years.dedup();
    report.fact("jumps of a wall clock", jumps + 2);
    report.fact("years that events show", json!(stage.years));
    let years = stage.years.len();
    report.expect(years >= 3, || "the wall clock did not jump".to_owned());
    lab.end(report)
}

/// The store and who works on it.
struct Stage<'a> {
    lab: &'a Lab,
    library: &'a Path,
    members: &'a [Member],
    /// The greatest fence so far.
    fence: i64,
    /// The years in which the wall clocks of the processes were.
    years: Vec<String>,
}

impl Stage<'_> {
    /// A process whose wall clock is so many seconds wrong. Its session lives all the same.
    fn worker(&mut self, offset: i64) -> Result<Worker> {
        let variables = self.variables("FAKETIME", format!("{offset:+}s").into());
        let mut worker = Worker::start(&self.lab.with(&variables), "worker", None)?;
        self.note_year(&mut worker)
            .with_context(|| format!("{offset} s off, a session that lives"))?;
        Ok(worker)
    }

    fn variables(&self, name: &'static str, value: OsString) -> [(&'static str, OsString); 5] {
        [
            ("LD_PRELOAD", self.library.into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("NO_FAKE_STAT", "1".into()),
            (name, value),
        ]
    }

    fn note_year(&mut self, worker: &mut Worker) -> Result<()> {
        let args = json!({"kind": "user.clock", "scope": SCOPE, "payload": {}});
        let answer = worker.ask(&Request::new("event.append", args).by(&self.members[0]))?;
        let seq = answer["data"]["seq"].as_i64().with_context(|| format!("answers {answer}"))?;
        let args = json!({"after": "start", "kind": "user.clock", "limit": 1000});
        let read = worker.ask(&Request::new("event.read", args))?;
        let events = read["data"]["events"].as_array().cloned().unwrap_or_default();
        let event = events.iter().find(|event| event["seq"] == seq).context("no such event")?;
        let year = event["at"].as_str().unwrap_or_default().get(..4).unwrap_or_default();
        self.years.push(year.to_owned());
        Ok(())
    }

    /// Takes a lease; its fence must be greater than all before it.
    fn acquire(&mut self, worker: &mut Worker, lease: &str, report: &mut Report) -> Result<i64> {
        let granted = worker.ask(&acquire(lease, &self.members[0]))?;
        ensure!(granted["ok"] == true, "a free lease was not granted: {granted}");
        let fence = granted["data"]["fence"].as_i64().context("a grant without a fence")?;
        report.expect(fence > self.fence, || format!("fence {fence} after {}", self.fence));
        self.fence = self.fence.max(fence);
        Ok(fence)
    }

    /// What is held under one wall clock is held under any other.
    fn nothing_expires(&mut self, lease: &str, offset: i64, report: &mut Report) -> Result<()> {
        let (holder, other) = (self.members[0].clone(), self.members[1].clone());
        let fence = {
            let mut worker = self.worker(0)?;
            let put = json!({"scope": SCOPE, "key": lease, "value": 1, "ttl_ms": LEASE_MS});
            let put = worker.ask(&Request::new("data.put", put).by(&holder))?;
            report.expect(put["ok"] == true, || format!("a put: {put}"));
            self.acquire(&mut worker, lease, report)?
        };
        for offset in [offset, -offset] {
            let mut worker = self.worker(offset)?;
            let refused = worker.ask(&acquire(lease, &other))?;
            report.expect(refused["error"]["code"] == "HELD", || {
                format!("{offset} s off, a held lease answers {refused}")
            });
            let check = json!({"resource": lease, "fence": fence});
            let checked = worker.ask(&Request::new("lease.check", check))?;
            report.expect(checked["data"]["valid"] == true, || {
                format!("{offset} s off, a current fence answers {checked}")
            });
            let get = json!({"scope": SCOPE, "key": lease});
            let got = worker.ask(&Request::new("data.get", get))?;
            report.expect(got["data"]["value"] == 1, || {
                format!("{offset} s off, a key that lives answers {got}")
            });
            let write = guarded(lease, fence, &holder);
            let written = worker.ask(&write)?;
            report.expect(written["ok"] == true, || {
                format!("{offset} s off, a holder's write answers {written}")
            });
        }
        Ok(())
    }

    /// What expired stays so, and the next grant has a greater fence.
    fn nothing_revives(&mut self, lease: &str, offset: i64, report: &mut Report) -> Result<()> {
        let holder = self.members[0].clone();
        let before = self.fence;
        let mut worker = self.worker(offset)?;
        let written = worker.ask(&guarded(lease, before, &holder))?;
        report.expect(written["error"]["code"] == "FENCED", || {
            format!("{offset} s off, the write of a holder whose lease has expired: {written}")
        });
        let get = json!({"scope": SCOPE, "key": lease});
        let got = worker.ask(&Request::new("data.get", get))?;
        report.expect(got["error"]["code"] == "NOT_FOUND", || {
            format!("{offset} s off, a key that has expired answers {got}")
        });
        self.acquire(&mut worker, lease, report)?;
        // The next one is granted where no wall clock helps.
        let mut worker = self.worker(-offset)?;
        self.acquire(&mut worker, &format!("{lease}-again"), report)?;
        Ok(())
    }

    /// The wall clock jumps under a process that runs.
    fn running_process(&mut self, report: &mut Report) -> Result<()> {
        let file = self.lab.file("faketime");
        fs::write(&file, "+0s\n")?;
        let variables = self.variables("FAKETIME_TIMESTAMP_FILE", file.clone().into());
        let mut worker = Worker::start(&self.lab.with(&variables), "worker", None)?;
        let fence = self.acquire(&mut worker, "lease-of-a-running-process", report)?;
        for offset in [YEARS_10, -YEARS_10] {
            fs::write(&file, format!("{offset:+}s\n"))?;
            self.note_year(&mut worker)?;
            let holder = self.members[0].clone();
            let written = worker.ask(&guarded("lease-of-a-running-process", fence, &holder))?;
            report.expect(written["ok"] == true, || {
                format!("after a jump of {offset} s a holder's write answers {written}")
            });
        }
        Ok(())
    }
}

fn acquire(lease: &str, member: &Member) -> Request {
    let args = json!({"resource": lease, "ttl_ms": LEASE_MS});
    Request::new("lease.acquire", args).by(member)
}

fn guarded(lease: &str, fence: i64, member: &Member) -> Request {
    let args = json!({"scope": SCOPE, "key": "guarded", "value": Value::Null});
    Request::new("data.put", args).by(member).guard(lease, fence)
}
