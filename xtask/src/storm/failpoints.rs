//! Every failpoint of a write with every action: after the next command the store is as it was, or
//! as it should be, and never between.

use anyhow::{Result, bail};
use serde_json::json;

use super::kill::POINTS;
use super::lab::{Bench, Lab, Member};
use super::pair::{counters, raise};
use super::random::Random;
use super::report::Report;
use super::worker::{Heard, Worker};

/// What happens at a failpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Kill,
    Stop,
    Eio,
    Enospc,
    Panic,
}

impl Action {
    const ALL: [Self; 5] = [Self::Kill, Self::Stop, Self::Eio, Self::Enospc, Self::Panic];

    fn word(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::Eio => "eio",
            Self::Enospc => "enospc",
            Self::Panic => "panic",
        }
    }

    /// Whether this is how a worker may answer.
    fn allows(self, heard: &Heard) -> bool {
        match (self, heard) {
            (Self::Kill, heard) => matches!(heard, Heard::Death),
            // The program repeats what failed for the machine's sake or panicked, and the point fails once.
            (Self::Stop | Self::Eio | Self::Panic, Heard::Answer(_, answer)) => {
                answer["ok"] == true
            }
            (Self::Enospc, Heard::Answer(_, answer)) => {
                answer["error"]["code"] == "STORE_FULL" && answer["error"]["retryable"] == true
            }
            _ => false,
        }
    }
}

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// How often every pair is tried.
    pub(crate) rounds: usize,
}

/// Tries every failpoint with every action.
pub(crate) fn run(bench: &Bench, seed: u64, size: Size) -> Report {
    let mut report = Report::begin("failpoints", seed);
    let outcome = storm(bench, seed, size, &mut report);
    report.end(outcome)
}

fn storm(bench: &Bench, seed: u64, size: Size, report: &mut Report) -> Result<()> {
    let lab = Lab::new(bench, &format!("failpoints-{seed}"))?;
    let members = lab.sign_on(1, &mut Random::new(seed, 0))?;
    let mut pairs: Vec<(&str, Action)> =
        POINTS.iter().flat_map(|point| Action::ALL.map(|action| (*point, action))).collect();
    let mut random = Random::new(seed, 1);
    let mut done = 0;
    for _ in 0..size.rounds {
        // One pair leaves the store to the next, so their order is varied.
        random.shuffle(&mut pairs);
        for (point, action) in &pairs {
            done += 1;
            try_one(&lab, &members[0], (point, *action), done, report)?;
        }
    }
    report.fact("failpoints", POINTS.len());
    report.fact("actions", json!(Action::ALL.map(Action::word)));
    report.fact("requests interrupted", done);
    if report.is_clean() {
        lab.clean();
    }
    Ok(())
}

fn try_one(
    lab: &Lab,
    member: &Member,
    (point, action): (&str, Action),
    number: usize,
    report: &mut Report,
) -> Result<()> {
    let failpoint = format!("{point}={}", action.word());
    let request = raise(member).id(format!("failpoints-{number}"));
    let mut worker = Worker::start(lab, "interrupted", Some(&failpoint))?;
    worker.send(&request)?;
    if action == Action::Stop {
        worker.wait_stopped()?;
        worker.go_on()?;
    }
    let heard = worker.answer_or_death()?;
    report.expect(action.allows(&heard), || format!("{failpoint}: {heard:?}"));
    drop(worker);
    let before = number - 1;
    let mut next = Worker::start(lab, "next", None)?;
    let found = counters(&mut next)?;
    let is_whole = found[0] == found[1] && (found[0] == before || found[0] == number);
    report.expect(is_whole, || format!("{failpoint}: the counters are {found:?} after {before}"));
    let repeated = next.ask(&request)?;
    let agrees = repeated["ok"] == true && repeated["replayed"] == (found[0] == number);
    report.expect(agrees, || format!("{failpoint}: then repeated with {found:?}: {repeated}"));
    let found = counters(&mut next)?;
    report.expect(found == [number; 2], || format!("{failpoint}: then {found:?}, not {number}"));
    let faults = lab.doctor()?;
    report.faults.extend(faults.into_iter().map(|fault| format!("{failpoint}: {fault}")));
    if report.is_clean() {
        return Ok(());
    }
    // The counters of what follows would differ for the same reason.
    bail!("the store is not as it should be after {failpoint}")
}
