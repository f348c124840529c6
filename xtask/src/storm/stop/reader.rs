//! A reader that is stopped while it looks at the clock: what it shows must have been so at some
//! moment while it was asked.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use anyhow::{Result, ensure};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;

use super::{LEASE_MS, SCOPE, fence};
use crate::process::wait_until;
use crate::storm::lab::{Lab, Member};
use crate::storm::report::Report;
use crate::storm::worker::{PATIENCE, Request, Worker};

/// A lease is renewed, and a key written again, while a reader looks at the clock; by the time it
/// has the time, the old lease would have expired. Answers how many readers were stopped.
pub(super) fn stop(lab: &Lab, member: &Member, ahead: i64, report: &mut Report) -> Result<usize> {
    let mut worker = Worker::start(lab, "renewer", None)?;
    let acquire = json!({"resource": "read", "ttl_ms": LEASE_MS});
    let fence = fence(&worker.ask(&Request::new("lease.acquire", acquire).by(member))?)?;
    let put = json!({"scope": SCOPE, "key": "read", "value": 1, "ttl_ms": LEASE_MS});
    let put = Request::new("data.put", put).by(member);
    let renew = json!({"resource": "read", "fence": fence});
    let renew = Request::new("lease.renew", renew.clone()).by(member);
    let check = Request::new("lease.check", renew.args.clone());
    let get = Request::new("data.get", json!({"scope": SCOPE, "key": "read"}));
    worker.ask(&put)?;
    let mut ahead = ahead;
    for (number, (read, write)) in [(check, &renew), (get, &put)].into_iter().enumerate() {
        // A clock that gives no time until it is written to.
        let clock = lab.file(&format!("clock-of-reader-{number}"));
        mknodat(CWD, &clock, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        // Opened both ways, which does not wait for the other end.
        let mut time = File::options().read(true).write(true).open(&clock)?;
        let slow = lab.with(&[("COTENANT_CLOCK_AHEAD", clock.clone().into())]);
        let mut reader = Worker::start(&slow, "reader", None)?;
        reader.send(&read)?;
        wait_until("look at the clock", PATIENCE, || {
            Ok(has_open(reader.pid(), &clock)?.then_some(()))
        })?;
        lab.set_clock(ahead + LEASE_MS - 1_000)?;
        let written = worker.ask(write)?;
        ensure!(written["ok"] == true, "renewed in time: {written}");
        ahead += LEASE_MS + 1_000;
        lab.set_clock(ahead)?;
        write!(time, "{ahead}")?;
        drop(time);
        let answer = reader.answer()?;
        let is_there = answer["ok"] == true && answer["data"]["valid"] != false;
        report.expect(is_there, || format!("{} of what was never gone: {answer}", read.op));
        // For the next one both are as fresh as at first.
        worker.ask(&renew)?;
        worker.ask(&put)?;
    }
    Ok(2)
}

fn has_open(pid: u32, path: &Path) -> Result<bool> {
    let files = fs::read_dir(format!("/proc/{pid}/fd"))?;
    Ok(files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|link| link == path)))
}
