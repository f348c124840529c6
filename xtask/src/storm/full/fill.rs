//! A small file system, which writers fill again and again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};

use crate::storm::kill::{Aim, look};
use crate::storm::lab::{Bench, Lab};
use crate::storm::random::Random;
use crate::storm::report::Report;
use crate::storm::worker::{Request, Worker};
use crate::storm::writer::{Writer, Writers};

/// What a writer may be told.
const CODES: [&str; 2] = ["STORE_FULL", "STORE_IO"];
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
    let stage = Writers::new(&lab, &CODES);
    let mut writers = Vec::new();
    for (number, member) in members.iter().enumerate() {
        let random = Random::new(seed, number as u64 + 1);
        let writer = Writer::new(&stage, member, number, random)?;
        writers.push(Filler { writer, open: Vec::new(), abandoned: 0 });
    }
    for _ in 0..fills {
        let ballast = lab.file("store").join("ballast");
        let has_room = AtomicBool::new(false);
        let before = stage.refused();
        let outcomes: Vec<Result<()>> = thread::scope(|scope| {
            let threads: Vec<_> = writers
                .iter_mut()
                .map(|writer| scope.spawn(|| writer.write_until_refused(&has_room)))
                .collect();
            let filled = fill(&lab, &ballast);
            let end = Instant::now() + PATIENCE;
            let is_full = || stage.refused() >= before + REFUSALS;
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
        let refused = stage.refused() - before;
        report.expect(refused >= REFUSALS, || format!("the disk was full for {refused} requests"));
    }
    let abandoned: usize = writers.iter().map(|writer| writer.abandoned).sum();
    drop(writers);
    let refused = stage.refused();
    let mut ledger = stage.into_ledger();
    look(&mut Worker::start(&lab, "afterwards", None)?, &members, &mut ledger)?;
    report.fact("disks filled", fills);
    report.fact("requests refused because the disk was full", refused);
    report.fact("of these never made again", abandoned);
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
fn fill(lab: &Lab, ballast: &Path) -> Result<()> {
    let found = rustix::fs::statvfs(lab.file("store"))?;
    let left = usize::try_from(found.f_bavail * found.f_bsize)?;
    match fs::write(ballast, vec![1; left.saturating_sub(ROOM)]) {
        // The writers were faster.
        Err(why) if why.kind() == std::io::ErrorKind::StorageFull => Ok(()),
        written => Ok(written?),
    }
}

/// A writer, and what it was refused and will ask for again.
struct Filler<'a> {
    writer: Writer<'a>,
    open: Vec<(Aim, Request)>,
    abandoned: usize,
}

impl Filler<'_> {
    /// Writes until the disk has room again, then repeats what was refused and writes some more.
    fn write_until_refused(&mut self, has_room: &AtomicBool) -> Result<()> {
        while !has_room.load(Ordering::Relaxed) {
            let (aim, request) = self.writer.next();
            if self.writer.ask(&aim, &request)? {
                continue;
            }
            if self.writer.random.percent(AGAIN_PERCENT) {
                self.open.push((aim, request));
            } else {
                self.abandoned += 1;
            }
        }
        let mut all = std::mem::take(&mut self.open);
        all.extend((0..AFTERWARDS).map(|_| self.writer.next()));
        // A lease or a claim that was wanted then may not be what is wanted now.
        for (aim, request) in all.into_iter().filter(|(aim, _)| aim.is_sure()) {
            let is_done = self.writer.ask(&aim, &request)?;
            ensure!(is_done, "there is room, and {aim:?} is refused: {}", self.writer.refusal);
        }
        Ok(())
    }
}
