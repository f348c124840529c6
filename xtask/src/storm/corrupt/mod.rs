//! Damaged files: each file of a store in turn is flipped, cut, swapped, scribbled over or removed, while
//! nobody has it open. The store then works as before, or says with a code and a hint what is wrong, and
//! the doctor sees it. It never dies, hangs, or answers wrongly behind a doctor's back; and the backup
//! brings everything back.

mod content;
mod damage;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::lab::{Bench, Lab};
use super::random::Random;
use super::report::Report;
use super::worker::{Request, Worker};
use content::Content;
use damage::Damage;

/// How long a command may take on a damaged store.
const PATIENCE: Duration = Duration::from_secs(20);
/// Exit statuses of a bug: our own, and Rust's.
const BUGS: [i32; 2] = [70, 101];
/// The store's own trouble, which must come with advice.
const TROUBLE: i32 = 74;
/// How often the database and its log are damaged besides, where other files are damaged once.
const DATABASE_WEIGHT: usize = 9;
const LOG_WEIGHT: usize = 3;
/// What one case is like, and how the program took it.
type Outcomes = BTreeMap<&'static str, usize>;

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Damaged stores.
    pub(crate) cases: usize,
}

/// Damages stores.
pub(crate) fn run(bench: &Bench, seed: u64, size: Size) -> Report {
    let mut report = Report::begin("corrupt", seed);
    let outcome = storm(bench, seed, size, &mut report);
    report.end(outcome)
}

fn storm(bench: &Bench, seed: u64, size: Size, report: &mut Report) -> Result<()> {
    let sound = Sound::make(bench, seed)?;
    let mut random = Random::new(seed, 1);
    let (mut outcomes, mut struck, mut kinds) = (Outcomes::new(), BTreeMap::new(), BTreeMap::new());
    let mut slowest = Duration::ZERO;
    for number in 0..size.cases {
        // Every file in turn; chance decides on the rest.
        let file = &sound.files[number % sound.files.len()];
        let damage = *random.pick(&Damage::ALL);
        let mut case = Case::new(&sound, file, damage, number)?;
        if !damage.strike(&case.lab.file("").join(file), &mut random)? {
            *outcomes.entry("nothing to damage").or_default() += 1;
            case.lab.clean();
            continue;
        }
        *struck.entry(kind(file)).or_insert(0) += 1;
        *kinds.entry(format!("{damage:?}")).or_insert(0) += 1;
        let outcome = case.examine(report).with_context(|| case.what())?;
        *outcomes.entry(outcome).or_default() += 1;
        slowest = slowest.max(case.slowest);
        if case.is_clean {
            case.lab.clean();
        }
    }
    report.fact("damaged files", json!(struck));
    report.fact("kinds of damage", json!(kinds));
    report.fact("outcomes", json!(outcomes));
    report.fact("slowest command", format!("{:.2} s", slowest.as_secs_f64()));
    if report.is_clean() {
        sound.lab.clean();
    }
    Ok(())
}

/// A store as it should be, closed, with a log that was not written back yet.
struct Sound {
    bench: Bench,
    lab: Lab,
    seed: u64,
    /// The files that are damaged, from the scratch directory on.
    files: Vec<PathBuf>,
    content: Content,
    /// The cursor behind the newest event.
    head: String,
}

impl Sound {
    fn make(bench: &Bench, seed: u64) -> Result<Self> {
        let lab = Lab::new(bench, &format!("corrupt-{seed}"))?;
        let call = |arguments: &[&str]| -> Result<Value> {
            let (status, answer) = lab.call(arguments, &[])?;
            ensure!(status.success(), "{arguments:?} on a sound store: {answer}");
            Ok(answer)
        };
        let git = std::process::Command::new("git").args(["init", "-q"]).arg(lab.file("")).status();
        ensure!(git.is_ok_and(|status| status.success()), "cannot make a repository");
        for name in ["a", "b"] {
            call(&["sign-on", name, "--kind", "agent", "--ttl", "24h"])?;
        }
        call(&["claim", "path:src/a.rs", "issue:7", "--session", "a"])?;
        call(&["lease", "acquire", "deploy", "--ttl", "24h", "--session", "b"])?;
        content::fill(&lab, seed)?;
        let backup = lab.file("backup.db");
        call(&["backup", backup.to_str().context("a path that is not UTF-8")?])?;
        let mut worker = Worker::start(&lab, "reader", None)?;
        let content = content::read(&mut worker)?;
        let head = worker.ask(&Request::new("event.head", json!({})))?["data"]["cursor"].clone();
        drop(worker);
        let mut files = Vec::new();
        for name in ["store", ".git"] {
            collect(&lab.file(""), Path::new(name), &mut files)?;
        }
        files.retain(|file| is_ours(file));
        files.sort();
        // Most of what can be lost is in two of them.
        for (name, times) in
            [("store/store.db", DATABASE_WEIGHT), ("store/store.db-wal", LOG_WEIGHT)]
        {
            files.extend(vec![PathBuf::from(name); times]);
        }
        let head = head.as_str().context("a head without a cursor")?.to_owned();
        Ok(Self { bench: bench.clone(), lab, seed, files, content, head })
    }
}

/// What a file is to the store.
fn kind(file: &Path) -> &'static str {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match name {
        "store.db" => "database",
        "store.db-wal" => "log",
        "store.db-shm" => "index of the log",
        "gate" => "gate",
        "signal" => "signal",
        name if name.starts_with("combine") => "table",
        _ if file.extension().is_some_and(|ending| ending == "note") => "note",
        name if name.ends_with("clone") => "clone",
        _ => "token",
    }
}

/// Whether a file is the store's; of the repository only the clone's id is.
fn is_ours(file: &Path) -> bool {
    file.starts_with("store") || file.to_string_lossy().ends_with("clone")
}

/// Collects the files below a directory.
fn collect(root: &Path, below: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(root.join(below))? {
        let path = below.join(entry?.file_name());
        if root.join(&path).is_dir() {
            collect(root, &path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// One damaged store.
struct Case<'a> {
    sound: &'a Sound,
    lab: Lab,
    file: &'a Path,
    damage: Damage,
    number: usize,
    slowest: Duration,
    is_clean: bool,
}

impl<'a> Case<'a> {
    fn new(sound: &'a Sound, file: &'a Path, damage: Damage, number: usize) -> Result<Self> {
        let lab = Lab::new(&sound.bench, &format!("corrupt-{}-{number}", sound.seed))?;
        fs::remove_dir_all(lab.file(""))?;
        let copied = std::process::Command::new("cp")
            .args(["-a", "--"])
            .args([sound.lab.file(""), lab.file("")])
            .status();
        ensure!(copied.is_ok_and(|status| status.success()), "cannot copy a store");
        let slowest = Duration::ZERO;
        Ok(Self { sound, lab, file, damage, number, slowest, is_clean: true })
    }

    fn what(&self) -> String {
        format!("case {}, {:?} of {}", self.number, self.damage, self.file.display())
    }

    fn fault(&mut self, report: &mut Report, what: impl AsRef<str>) {
        self.is_clean = false;
        report.fault(format!("{}: {}", self.what(), what.as_ref()));
    }

    /// Runs a command. It must end in time, by itself, and not with a bug.
    fn call(&mut self, arguments: &[&str], report: &mut Report) -> Option<(i32, Value)> {
        let begun = Instant::now();
        let bug = self.sound.bench.mutant.map(|mutant| ("COTENANT_MUTANT", mutant));
        let called = self.lab.call(arguments, bug.as_slice());
        let took = begun.elapsed();
        self.slowest = self.slowest.max(took);
        let (status, answer) = match called {
            Ok(called) => called,
            Err(why) => {
                self.fault(report, format!("{arguments:?}: {why:#}"));
                return None;
            }
        };
        if took > PATIENCE {
            self.fault(report, format!("{arguments:?} took {took:?}"));
        }
        let Some(code) = status.code().filter(|code| !BUGS.contains(code)) else {
            self.fault(report, format!("{arguments:?} ended with {status}: {answer}"));
            return None;
        };
        let error = &answer["error"];
        if code == TROUBLE && !error.is_null() && error["details"]["hint"].is_null() {
            self.fault(report, format!("{arguments:?} gives no hint: {answer}"));
        }
        Some((code, answer))
    }

    /// Asks, reads everything, writes, and goes back to the backup. Answers how it went.
    fn examine(&mut self, report: &mut Report) -> Result<&'static str> {
        let is_database = self.file.to_string_lossy().contains("store.db");
        let read = self.read_all(report)?;
        let examined = self.call(&["doctor", "--deep"], report);
        let doctor_is_content = examined.as_ref().is_some_and(|(code, _)| *code == 0);
        let is_same = read.as_ref().is_ok_and(|found| *found == self.sound.content);
        let head = self.sound.head.clone();
        let verified = self.call(&["event", "verify", "--head", &head], report);
        let head_is_there = verified.is_some_and(|(code, _)| code == 0);
        let outcome = match &read {
            Ok(_) if is_same => "as before",
            Ok(found) if doctor_is_content => {
                // The log's end is gone, which only a cursor that was kept elsewhere can show.
                let is_earlier = found.is_earlier_than(&self.sound.content) && !head_is_there;
                if !is_earlier || kind(self.file) != "log" {
                    let differs = found.differs_from(&self.sound.content);
                    self.fault(report, format!("a wrong answer that passes the doctor: {differs}"));
                }
                "an earlier state, shown by the kept head"
            }
            Ok(_) => "another answer, named by the doctor",
            Err(_) => "refused",
        };
        if let Err(code) = &read {
            if doctor_is_content {
                self.fault(report, format!("{code}, and the doctor is content"));
            }
            if !is_database {
                self.fault(report, format!("{code} of a store whose database is whole"));
            }
        }
        if outcome == "refused" && kind(self.file) == "database" {
            let log = fs::metadata(self.lab.file("store/store.db-wal"));
            if log.map_or(0, |log| log.len()) == 0 {
                self.fault(report, "the log, which was whole, is gone");
            }
        }
        let add = ["data", "update", "corrupt", "n", "--add", "1", "--session", "a"];
        let written = self.call(&add, report);
        let is_written = written.as_ref().is_some_and(|(code, _)| *code == 0);
        let may_be_refused = is_database || matches!(kind(self.file), "token" | "note");
        if !is_written && !may_be_refused {
            self.fault(report, format!("a write to a store that is whole: {written:?}"));
        }
        let claim = ["claim", "path:src/b.rs", "--session", "b"];
        self.call(&claim, report);
        self.restore(report)?;
        Ok(outcome)
    }

    /// All that the store holds, or the code with which it refuses.
    fn read_all(&mut self, report: &mut Report) -> Result<Result<Content, String>> {
        let begun = Instant::now();
        let mut worker = Worker::start(&self.lab, "reader", None)?;
        let read = content::read(&mut worker);
        self.slowest = self.slowest.max(begun.elapsed());
        read.map(Ok).or_else(|why| {
            let why = format!("{why:#}");
            let is_refused = why.contains("\"code\":\"") && !why.contains("\"INTERNAL\"");
            if !is_refused {
                self.fault(report, format!("reading everything: {why}"));
            }
            Ok(Err(why))
        })
    }

    /// The backup brings back what it has.
    fn restore(&mut self, report: &mut Report) -> Result<()> {
        let backup = self.lab.file("backup.db");
        let path = backup.to_str().context("a path that is not UTF-8")?;
        let restored = self.call(&["restore", path, "--yes"], report);
        if restored.as_ref().is_none_or(|(code, _)| *code != 0) {
            self.fault(report, format!("restoring the backup: {restored:?}"));
            return Ok(());
        }
        let mut worker = Worker::start(&self.lab, "reader", None)?;
        match content::read(&mut worker) {
            Ok(content) if content.data == self.sound.content.data => {}
            Ok(content) => {
                let differs = content.differs_from(&self.sound.content);
                self.fault(report, format!("restored, and yet {differs}"));
            }
            Err(why) => self.fault(report, format!("restored, and yet {why:#}")),
        }
        let bad = self.lab.doctor()?;
        if !bad.is_empty() {
            self.fault(report, format!("restored, and yet {}", bad.join("; ")));
        }
        Ok(())
    }
}
