//! Calls that fail: `strace` answers in the kernel's place, once, or from some pass on.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::storm::lab::{Bench, Lab, Member};
use crate::storm::pair::{counters, raise};
use crate::storm::random::Random;
use crate::storm::report::Report;
use crate::storm::worker::{Heard, Worker};

/// The calls of a write, and how each can fail.
const FAILURES: [(&str, &[&str]); 6] = [
    ("pwrite64", &["EIO", "ENOSPC"]),
    ("fdatasync", &["EIO", "ENOSPC"]),
    ("fsync", &["EIO"]),
    ("ftruncate", &["EIO", "ENOSPC"]),
    ("pread64", &["EIO"]),
    ("openat", &["EIO", "ENOSPC", "EMFILE"]),
];
/// The files of a store whose calls fail.
const FILES: [&str; 6] = [".", "store.db", "store.db-wal", "store.db-shm", "gate", "signal"];
/// What a writer may be told.
const CODES: [&str; 4] = ["STORE_FULL", "STORE_IO", "STORE_READONLY", "STORE_CORRUPT"];
/// Requests of a process whose calls fail.
const REQUESTS: usize = 4;

/// Lets each call fail at each of so many passes.
pub(super) fn storm(bench: &Bench, seed: u64, passes: usize, report: &mut Report) -> Result<()> {
    let lab = Lab::new(bench, &format!("fail-{seed}"))?;
    let member = lab.sign_on(1, &mut Random::new(seed, 0))?.remove(0);
    let mut kinds = Vec::new();
    for (call, errors) in FAILURES {
        for error in errors {
            for pass in 1..=passes {
                kinds.extend(["", "+"].map(|on| format!("{call}:error={error}:when={pass}{on}")));
            }
        }
    }
    Random::new(seed, 3).shuffle(&mut kinds);
    let mut stage = Stage { lab: &lab, member: &member, asked: 0, done: 0, refused: 0 };
    let (mut refusing, mut all) = (0, 0);
    for kind in kinds {
        let before = stage.refused;
        stage.fail(&kind, report)?;
        all += 1;
        refusing += usize::from(stage.refused > before);
        if !report.is_clean() {
            bail!("the store is not as it should be after {kind}");
        }
    }
    report.fact("processes whose calls failed", all);
    report.fact("of these told so to whoever asked", refusing);
    report.fact("requests refused because a call failed", stage.refused);
    lab.clean();
    Ok(())
}

struct Stage<'a> {
    lab: &'a Lab,
    member: &'a Member,
    /// Requests so far; each has its own id.
    asked: usize,
    /// What both counters must be.
    done: usize,
    refused: usize,
}

impl Stage<'_> {
    /// One process whose calls fail.
    fn fail(&mut self, kind: &str, report: &mut Report) -> Result<()> {
        let call = kind.split(':').next().unwrap_or_default();
        let mut words: Vec<OsString> =
            ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "signal=none"].map(Into::into).into();
        words.extend([
            "-e".into(),
            format!("trace={call}").into(),
            "-e".into(),
            format!("inject={kind}").into(),
        ]);
        for file in FILES {
            let path = self.lab.file("store").join(file).components().collect::<PathBuf>();
            words.extend(["-P".into(), path.into_os_string()]);
        }
        let mut failing = Worker::start(&self.lab.under(&words), "failing", None)?;
        let mut refused = Vec::new();
        for _ in 0..REQUESTS {
            self.asked += 1;
            let request = raise(self.member).id(format!("full-{}", self.asked));
            failing.send(&request)?;
            match failing.answer_or_death()? {
                Heard::Answer(_, answer) if answer["ok"] == true => self.done += 1,
                Heard::Answer(_, answer) => {
                    let code = answer["error"]["code"].as_str().unwrap_or_default();
                    report.expect(CODES.contains(&code), || format!("{kind}: {answer}"));
                    refused.push(request);
                }
                heard => {
                    report.fault(format!("{kind}: {heard:?}"));
                    return Ok(());
                }
            }
        }
        drop(failing);
        self.refused += refused.len();
        let mut next = Worker::start(self.lab, "next", None)?;
        let found = counters(&mut next)?;
        report.expect(found == [self.done; 2], || {
            format!("{kind}: the counters are {found:?}, acknowledged {}", self.done)
        });
        for request in refused {
            let answer = next.ask(&request)?;
            let is_done_now = answer["ok"] == true && answer["replayed"] == false;
            report.expect(is_done_now, || format!("{kind}: refused, then repeated: {answer}"));
            self.done += 1;
        }
        let found = counters(&mut next)?;
        report.expect(found == [self.done; 2], || {
            format!("{kind}: at last the counters are {found:?}, not {}", self.done)
        });
        let faults = self.lab.doctor()?;
        report.faults.extend(faults.into_iter().map(|fault| format!("{kind}: {fault}")));
        Ok(())
    }
}
