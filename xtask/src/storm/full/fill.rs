//! A small file system, which writers fill again and again.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use serde_json::Value;

use crate::storm::kill::{Acknowledged, Aim, Ledger, Requests, look};
use crate::storm::lab::{Bench, Lab, Member};
use crate::storm::random::Random;
use crate::storm::report::Report;
use crate::storm::worker::{Heard, Request, Worker};

/// The file system.
const BYTES: usize = 24 * 1024 * 1024;
/// What the ballast leaves at first.
const ROOM: usize = 160 * 1024;
const WRITERS: usize = 3;
/// Refusals after which the disk counts as full.
const REFUSALS: usize = 12;
/// How long it may take to fill it, or to go on afterwards.
const PATIENCE: Duration = Duration::from_mins(2);
/// Requests of each writer when there is room again.
const AFTERWARDS: usize = 10;
/// Of a hundred refused requests, how many are made again, under the same id.
const AGAIN_PERCENT: u64 = 50;

/// A file system that is unmounted when this is dropped.
struct Mount(PathBuf);

impl Mount {
    /// None where that is not allowed.
    fn new(path: PathBuf) -> Option<Self> {
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={BYTES},mode=0700"), "tmpfs"]);
        command.arg(&path).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success()).then_some(Self(path))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// Fills a disk so many times.
pub(super) fn storm(bench: &Bench, seed: u64, fills: usize, report: &mut Report) -> Result<()> {
    let lab = Lab::new(bench, &format!("full-{seed}"))?;
    let Some(mount) = Mount::new(lab.file("store")) else {
        report.fact("disks filled", "none: this user may not mount a file system");
        return Ok(());
    };
    let members = lab.sign_on(WRITERS, &mut Random::new(seed, 0))?;
    let stage = Stage {
        ledger: Mutex::new(Ledger::default()),
        refused: AtomicUsize::new(0),
        abandoned: AtomicUsize::new(0),
        lab: &lab,
    };
    let mut writers = Vec::new();
    for (number, member) in members.iter().enumerate() {
        writers.push(Writer::new(&stage, member, number, Random::new(seed, number as u64 + 1))?);
    }
    for _ in 0..fills {
        let ballast = lab.file("store").join("ballast");
        let has_room = AtomicBool::new(false);
        let before = stage.refused.load(Ordering::Relaxed);
        let outcomes: Vec<Result<()>> = thread::scope(|scope| {
            let threads: Vec<_> = writers
                .iter_mut()
                .map(|writer| scope.spawn(|| writer.write_until_refused(&has_room)))
                .collect();
            let filled = fill(&lab, &ballast);
            let end = Instant::now() + PATIENCE;
            let is_full = || stage.refused.load(Ordering::Relaxed) >= before + REFUSALS;
            while !is_full()
                && Instant::now() < end
                && !threads.iter().all(thread::ScopedJoinHandle::is_finished)
            {
                thread::sleep(Duration::from_millis(5));
            }
            let freed = fs::remove_file(&ballast);
            has_room.store(true, Ordering::Relaxed);
            let joined = threads.into_iter().map(thread::ScopedJoinHandle::join);
            let joined = joined.map(|one| one.unwrap_or_else(|_| Err(anyhow!("panicked"))));
            let mut outcomes: Vec<Result<()>> = joined.collect();
            outcomes.extend([filled, freed.map_err(Into::into)]);
            outcomes
        });
        outcomes.into_iter().collect::<Result<()>>()?;
        let refused = stage.refused.load(Ordering::Relaxed) - before;
        report.expect(refused >= REFUSALS, || format!("the disk was full for {refused} requests"));
    }
    drop(writers);
    let mut ledger = stage.ledger.into_inner().unwrap_or_else(PoisonError::into_inner);
    look(&mut Worker::start(&lab, "afterwards", None)?, &members, &mut ledger)?;
    report.fact("disks filled", fills);
    report.fact("requests refused because the disk was full", stage.refused.into_inner());
    report.fact("of these never made again", stage.abandoned.into_inner());
    report.fact("requests acknowledged", ledger.acknowledged.len());
    report.fact("acknowledged and lost", ledger.lost);
    report.faults.extend(ledger.faults);
    report.faults.extend(lab.doctor()?);
    drop(mount);
    if report.is_clean() {
        lab.clean();
    }
    Ok(())
}

/// Takes most of what is left.
fn fill(lab: &Lab, ballast: &std::path::Path) -> Result<()> {
    let found = rustix::fs::statvfs(lab.file("store"))?;
    let left = usize::try_from(found.f_bavail * found.f_bsize)?;
    match fs::write(ballast, vec![1; left.saturating_sub(ROOM)]) {
        // The writers were faster.
        Err(why) if why.kind() == std::io::ErrorKind::StorageFull => Ok(()),
        written => Ok(written?),
    }
}

/// What the writers share.
struct Stage<'a> {
    lab: &'a Lab,
    ledger: Mutex<Ledger>,
    refused: AtomicUsize,
    abandoned: AtomicUsize,
}

/// One session and its process.
struct Writer<'a> {
    stage: &'a Stage<'a>,
    session: String,
    worker: Worker,
    requests: Requests,
    random: Random,
    /// The last refusal.
    refusal: Value,
    /// Refused, and to be made again.
    open: Vec<(Aim, Request)>,
}

impl<'a> Writer<'a> {
    fn new(stage: &'a Stage<'a>, member: &Member, number: usize, random: Random) -> Result<Self> {
        let worker = Worker::start(stage.lab, &member.name, None)?;
        let session = member.name.clone();
        let requests = Requests::new(member, number);
        Ok(Self {
            stage,
            session,
            worker,
            requests,
            random,
            refusal: Value::Null,
            open: Vec::new(),
        })
    }

    /// Writes until the disk has room again, then repeats what was refused and writes some more.
    fn write_until_refused(&mut self, has_room: &AtomicBool) -> Result<()> {
        while !has_room.load(Ordering::Relaxed) {
            let (aim, request) = self.requests.next(&mut self.random);
            if !self.ask(&aim, &request)? {
                if self.random.percent(AGAIN_PERCENT) {
                    self.open.push((aim, request));
                } else {
                    self.stage.abandoned.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        let fresh: Vec<(Aim, Request)> =
            (0..AFTERWARDS).map(|_| self.requests.next(&mut self.random)).collect();
        let open = std::mem::take(&mut self.open);
        // A lease or a claim that was wanted then may not be what is wanted now.
        let open = open.into_iter().filter(|(aim, _)| aim.is_sure());
        let fresh = fresh.into_iter().filter(|(aim, _)| aim.is_sure());
        for (aim, request) in open.chain(fresh) {
            let is_done = self.ask(&aim, &request)?;
            ensure!(is_done, "there is room, and {aim:?} is refused: {}", self.refusal);
        }
        Ok(())
    }

    /// Whether it was done, or refused for good.
    fn ask(&mut self, aim: &Aim, request: &Request) -> Result<bool> {
        self.worker.send(request)?;
        let Heard::Answer(_, answer) = self.worker.answer_or_death()? else {
            let fault = format!("a process died of {aim:?} on a full disk");
            self.ledger().faults.push(fault.clone());
            return Err(anyhow!(fault));
        };
        if answer["ok"] == true {
            self.requests.learn(aim, &answer["data"]);
            let (session, aim) = (self.session.clone(), aim.clone());
            let data: Value = answer["data"].clone();
            self.ledger().acknowledged.push(Acknowledged { session, aim, data });
            return Ok(true);
        }
        let code = answer["error"]["code"].as_str().unwrap_or_default();
        match code {
            "HELD" => return Ok(true),
            "STORE_FULL" | "STORE_IO" => {
                self.stage.refused.fetch_add(1, Ordering::Relaxed);
                self.refusal = answer;
            }
            _ => self.ledger().faults.push(format!("{aim:?} on a full disk: {answer}")),
        }
        Ok(false)
    }

    fn ledger(&self) -> std::sync::MutexGuard<'a, Ledger> {
        self.stage.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
