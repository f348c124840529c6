//! Combiners: one is killed, or stopped and continued, at every step of what it does for others. What
//! was acknowledged is there once, what was refused never takes effect, nothing stays in the table.

use std::fs::{self, File};
use std::process::ExitStatus;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::lab::{Bench, Lab};
use super::report::Report;
use super::worker::{PATIENCE, Request, Worker};
use crate::process::wait_until;

/// Where a combiner can be met, in the order it passes them with a request.
const POINTS: [&str; 4] = ["combine.taken", "combine.running", "combine.done", "combine.answered"];
/// How long a combiner stands still: clients lose their patience after half a second.
const STANDSTILL: Duration = Duration::from_millis(1_600);
/// What is stored, and must not be found in the table afterwards.
const MARKER: &str = "the-text-that-must-not-stay";

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// At how many requests in turn each point is met.
    pub(crate) requests: u32,
}

/// Meets combiners.
pub(crate) fn run(bench: &Bench, seed: u64, size: Size) -> Report {
    let mut report = Report::begin("combine", seed);
    let outcome = storm(bench, size, &mut report);
    report.end(outcome)
}

fn storm(bench: &Bench, size: Size, report: &mut Report) -> Result<()> {
    let mut met = 0;
    for action in ["kill", "stop"] {
        for point in POINTS {
            for request in 1..=size.requests {
                met += meet(bench, &format!("{point}={action}@{request}"), report)?;
            }
        }
    }
    report.fact("combiners killed or stopped at a step", met);
    Ok(())
}

/// One combiner and those who ask it. Answers 1 if it was met.
fn meet(bench: &Bench, failpoint: &str, report: &mut Report) -> Result<u32> {
    let lab = Lab::new(bench, "combine")?;
    let bug = bench.mutant.map(|mutant| ("COTENANT_MUTANT", mutant));
    let call = |arguments: &[&str]| lab.call(arguments, bug.as_slice());
    for name in ["a", "b"] {
        call(&["sign-on", name, "--kind", "agent", "--ttl", "24h"])?;
    }
    let held = call(&["claim", "issue:1", "--session", "a"])?;
    report.expect(held.0.success(), || format!("{failpoint}: the first claim: {}", held.1));

    let mut combiner = Worker::start(&lab, "combiner", Some(failpoint))?;
    combiner.send(&Request::new("event.head", json!({})))?;
    combiner.answer()?;
    let table = lab.file("store").join("combine-2");
    wait_until("combiner", PATIENCE, || {
        Ok(File::open(&table).is_ok_and(|file| file.try_lock_shared().is_err()).then_some(()))
    })?;

    let stops = failpoint.contains("=stop@");
    let (met, faults) = thread::scope(|scope| {
        let asked = scope.spawn(|| ask(call, failpoint));
        let resumed = resume(&combiner, || asked.is_finished());
        let faults = asked.join().ok().context("those who ask")??;
        let died = combiner.state().is_ok_and(|state| state == 'Z');
        anyhow::Ok((resumed? || died, faults))
    })?;
    report.faults.extend(faults);
    // Whatever it still does, it does before it answers this.
    if stops {
        let after = call(&["data", "update", "n", "after", "--add", "1", "--session", "a"])?;
        report.expect(after.0.success(), || format!("{failpoint}: afterwards: {}", after.1));
    }
    drop(combiner.kill());

    let again = call(&["claim", "issue:1", "--session", "a"])?;
    report.expect(again.0.success(), || {
        format!("{failpoint}: a refused request took effect: {}", again.1)
    });
    let count = call(&["data", "get", "n", "count"])?.1["data"]["value"].clone();
    report.expect(count == 2, || format!("{failpoint}: 2 additions made {count}"));
    let bytes = fs::read(&table)?;
    let stays = bytes.windows(MARKER.len()).any(|window| window == MARKER.as_bytes());
    report.expect(!stays || !stops, || format!("{failpoint}: a message stays in the table"));
    lab.end(report)?;
    Ok(met.into())
}

/// The requests of others: an addition, one that must be refused, the release of what it wanted, a
/// text, an addition.
fn ask(
    call: impl Fn(&[&str]) -> Result<(ExitStatus, Value)>,
    failpoint: &str,
) -> Result<Vec<String>> {
    let add = ["data", "update", "n", "count", "--add", "1", "--session", "a"];
    let text = format!("\"{MARKER}\"");
    let mut faults = Vec::new();
    for (arguments, status) in [
        (&add[..], 0),
        (&["claim", "issue:1", "--session", "b"], 73),
        (&["unclaim", "issue:1", "--session", "a"], 0),
        (&["data", "set", "n", "text", &text, "--session", "a"], 0),
        (&add, 0),
    ] {
        let (ended, answer) = call(arguments)?;
        if ended.code() != Some(status) {
            let arguments = arguments.join(" ");
            faults.push(format!("{failpoint}: {arguments} ended with {ended}: {answer}"));
        }
    }
    Ok(faults)
}

/// Continues a combiner a while after it was stopped, until something is over. Answers whether it was.
fn resume(combiner: &Worker, is_over: impl Fn() -> bool) -> Result<bool> {
    let mut stopped = false;
    wait_until("end of those who ask", PATIENCE, || {
        if combiner.state()? == 'T' {
            stopped = true;
            thread::sleep(STANDSTILL);
            combiner.go_on()?;
        }
        Ok(is_over().then_some(()))
    })?;
    Ok(stopped)
}
