//! Power loss: real work is recorded, call by call, as the kernel saw it; then the power fails at
//! random points of the recording, and what a disk may then hold is opened by the real store.
//!
//! A process under `strace` runs the work ([`mod@record`]); [`trace`] reads its calls, [`disk`] keeps what is
//! durable apart from what is only in the page cache, and makes images; [`look`] opens one. Nothing is
//! assumed of the file system but what a flush promises: unflushed writes are kept, lost, or torn between
//! sectors, in any order, and a name is durable when its directory was flushed.

mod disk;
mod look;
mod record;
mod trace;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::lab::{Bench, Lab};
use super::random::Random;
use super::report::Report;
use crate::process;
use disk::{Disk, Loss};
use look::Known;
pub(crate) use record::record;

/// What is traced: all that changes files or flushes them, by any name that a C library has for it.
const CALLS: &str = "trace=open,openat,creat,write,pwrite64,writev,pwritev,pwritev2,ftruncate,truncate,\
     fallocate,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,link,linkat,symlink,symlinkat,\
     fsync,fdatasync,sync_file_range,syncfs,sync,msync,mmap,copy_file_range,sendfile,lseek";
/// The longest write that is recorded whole.
const BYTES_MAX: &str = "8388608";
/// Kills each process at its sixteenth flush, before that begins: its commit is whole, and not durable.
const KILLS: &str = "inject=fdatasync:signal=SIGKILL:when=16";
/// How long a recording may take.
const PATIENCE: Duration = Duration::from_mins(5);

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Recordings.
    pub(crate) traces: u64,
    /// Images of each.
    pub(crate) images: usize,
    /// Requests of each recording.
    pub(crate) requests: usize,
}

/// Lets the power fail.
pub(crate) fn run(bench: &Bench, seed: u64, size: Size, recorded: Option<&Path>) -> Report {
    let mut report = Report::begin("power", seed);
    if recorded.is_none() && !crate::tools::STRACE.is_here() {
        return report.skip("no strace here; run: sudo apt-get install -y strace");
    }
    let mut sums = Sums::default();
    let outcome = storm(bench, seed, size, recorded, &mut sums, &mut report);
    sums.tell(&mut report);
    report.end(outcome)
}

/// The figures.
#[derive(Debug, Default)]
struct Sums {
    traces: usize,
    calls: usize,
    flushes: usize,
    images: [usize; Loss::ALL.len()],
    unflushed: usize,
    acknowledged: usize,
    open: usize,
    done: usize,
    other_boots: usize,
    lost: usize,
}

impl Sums {
    fn tell(&self, report: &mut Report) {
        report.fact("recordings", self.traces);
        report.fact("calls recorded that change or flush files", self.calls);
        report.fact("flushes recorded", self.flushes);
        report.fact("images opened", self.images.iter().sum::<usize>());
        let kinds = Loss::ALL.iter().zip(self.images);
        let kinds = kinds.map(|(loss, count)| (format!("{loss:?}"), json!(count)));
        report.fact("what became of unflushed writes", kinds.collect::<serde_json::Map<_, _>>());
        report.fact("changes unflushed when the power failed, all images together", self.unflushed);
        report.fact("images opened on another boot", self.other_boots);
        report.fact("acknowledged requests looked for, all images together", self.acknowledged);
        report.fact("of these lost", self.lost);
        report.fact("requests under way when the power failed, repeated", self.open);
        report.fact("of these done before", self.done);
    }
}

fn storm(
    bench: &Bench,
    seed: u64,
    size: Size,
    recorded: Option<&Path>,
    sums: &mut Sums,
    report: &mut Report,
) -> Result<()> {
    for number in 0..size.traces {
        let lab = Lab::new(bench, &format!("power-{seed}-{number}"))?;
        let folder = recorded.map_or_else(|| lab.file("work"), Path::to_path_buf);
        if recorded.is_none() {
            run_traced(bench, &folder, seed.wrapping_add(number), number, size.requests)?;
        }
        let random = Random::new(seed, number);
        fail_everywhere(&folder, &lab, random, size.images, sums, report)?;
        sums.traces += 1;
        if !report.is_clean() {
            let folder = folder.display();
            report.fault(format!("the recording is kept: --seed {seed} --trace {folder}"));
            return Ok(());
        }
        lab.clean();
    }
    Ok(())
}

/// Runs the work under `strace`.
fn run_traced(bench: &Bench, folder: &Path, seed: u64, number: u64, requests: usize) -> Result<()> {
    fs::create_dir_all(folder)?;
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-y", "-e", "signal=none", "-e", CALLS]);
    if number.is_multiple_of(2) {
        command.args(["-e", KILLS]);
    } else {
        // Faster, but signals are lost.
        command.arg("--seccomp-bpf");
    }
    command.args(["-s", BYTES_MAX, "-o"]).arg(folder.join("trace")).arg("--");
    command.arg(std::env::current_exe()?).args(["storm", "record"]).arg(folder);
    command.arg(&bench.binary).args([seed, number, requests as u64].map(|word| word.to_string()));
    command.args(bench.mutant);
    let output = process::run(&mut command, PATIENCE)?;
    let said = format!("{}{}", output.stdout, output.stderr);
    ensure!(output.status.success(), "the recording ended with {}: {said}", output.status);
    Ok(())
}

/// Goes through a recording and lets the power fail at random points.
fn fail_everywhere(
    folder: &Path,
    lab: &Lab,
    mut random: Random,
    images: usize,
    sums: &mut Sums,
    report: &mut Report,
) -> Result<()> {
    let root = folder.join("scratch");
    let calls = trace::read(&folder.join("trace"), folder)?;
    // Every other time just after an answer, when what it promised was not covered by anything later.
    let answers: Vec<usize> =
        (1..calls.len()).filter(|index| calls[index - 1].marks(folder).is_some()).collect();
    ensure!(!answers.is_empty(), "nothing was marked in the recording");
    let point = |number: usize| {
        if number.is_multiple_of(2) { random.index(calls.len()) } else { *random.pick(&answers) }
    };
    let mut points: Vec<usize> = (0..images).map(point).collect();
    points.sort_unstable();
    let mut points = points.into_iter().peekable();
    let (mut disk, mut known) = (Disk::new(&root), Known::default());
    for (index, call) in calls.iter().enumerate() {
        while points.next_if(|point| *point == index).is_some() {
            let number = sums.images.iter().sum::<usize>();
            let target = lab.file(&format!("image-{number}"));
            fail(&disk, &known, &target, &mut random, sums, report)
                .with_context(|| format!("image {number}, after call {index}"))?;
            if !report.is_clean() {
                return Ok(());
            }
        }
        match call.marks(folder) {
            Some(lines) => known.note(&lines)?,
            None => disk.apply(call).with_context(|| format!("call {index}, {}", call.name))?,
        }
    }
    ensure!(disk.changes() > 100, "the recording has only {} changes of files", disk.changes());
    sums.calls += disk.changes();
    sums.flushes += disk.flushes();
    Ok(())
}

/// One failure.
fn fail(
    disk: &Disk,
    known: &Known,
    target: &PathBuf,
    random: &mut Random,
    sums: &mut Sums,
    report: &mut Report,
) -> Result<()> {
    let kind = random.index(Loss::ALL.len());
    sums.images[kind] += 1;
    sums.unflushed += disk.unflushed();
    disk.image(target, Loss::ALL[kind], random)?;
    let other_boot = random.percent(25);
    sums.other_boots += usize::from(other_boot);
    let found = look::look(target, known, other_boot)?;
    sums.acknowledged += known.acknowledged();
    sums.lost += found.lost;
    sums.open += found.repeated;
    sums.done += found.replayed;
    let what = format!("{} with unflushed writes {:?}", target.display(), Loss::ALL[kind]);
    report.faults.extend(found.faults.into_iter().map(|fault| format!("{what}: {fault}")));
    if report.is_clean() {
        fs::remove_dir_all(target)?;
    }
    Ok(())
}
