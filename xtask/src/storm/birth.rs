//! Births: many processes make one store at once, and some are killed while they do. There is one
//! store afterwards, and everybody is in it.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::lab::{Bench, Lab, digest};
use super::random::Random;
use super::report::Report;
use super::worker::{Heard, Request, Worker};

/// Processes of one round.
const WORKERS: usize = 8;
/// A kill comes within so long after the processes were started.
const KILL_WITHIN: Duration = Duration::from_millis(60);

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Stores of each kind.
    pub(crate) rounds: u64,
}

/// What a store is born into, and whether its makers survive.
#[derive(Clone, Copy, Debug)]
struct Birth {
    has_directory: bool,
    is_killed: bool,
}

/// Makes stores.
pub(crate) fn run(bench: &Bench, seed: u64, size: Size) -> Report {
    let mut report = Report::begin("birth", seed);
    let outcome = storm(bench, seed, size, &mut report);
    report.end(outcome)
}

fn storm(bench: &Bench, seed: u64, size: Size, report: &mut Report) -> Result<()> {
    let kinds = [(false, false), (false, true), (true, false), (true, true)];
    let (mut born, mut killed) = (0, 0);
    for round in 0..size.rounds {
        for (number, (has_directory, is_killed)) in kinds.into_iter().enumerate() {
            let mut random = Random::new(seed, round * 8 + number as u64);
            let birth = Birth { has_directory, is_killed };
            killed += bear(bench, birth, &mut random, report)?;
            born += 1;
        }
    }
    report.fact("stores made", born);
    report.fact("processes at once", WORKERS);
    report.fact("processes killed before they answered", killed);
    Ok(())
}

/// One store. Answers how many processes were killed before they had answered.
fn bear(bench: &Bench, birth: Birth, random: &mut Random, report: &mut Report) -> Result<usize> {
    let lab = Lab::new(bench, "birth")?;
    if !birth.has_directory {
        fs::remove_dir(lab.file("store"))?;
    }
    let mut workers = Vec::with_capacity(WORKERS);
    for number in 0..WORKERS {
        workers.push(Worker::start(&lab, &format!("maker-{number}"), None)?);
    }
    for (number, worker) in workers.iter_mut().enumerate() {
        worker.send(&sign_on(&format!("maker-{number}")))?;
    }
    if birth.is_killed {
        thread::sleep(random.within(KILL_WITHIN));
    }
    let (mut acknowledged, mut killed) = (Vec::new(), 0);
    for (number, worker) in workers.iter_mut().enumerate() {
        let heard = if birth.is_killed { worker.kill()? } else { worker.answer_or_death()? };
        match heard {
            Heard::Answer(_, answer) => {
                report.expect(answer["ok"] == true, || format!("{birth:?}: a maker: {answer}"));
                acknowledged.push(format!("maker-{number}"));
            }
            _ => killed += 1,
        }
    }
    report.expect(birth.is_killed || killed == 0, || format!("{birth:?}: {killed} died unasked"));
    let mut after = Worker::start(&lab, "after", None)?;
    let answer = after.ask(&sign_on("after"))?;
    report.expect(answer["ok"] == true, || format!("{birth:?}: who comes after: {answer}"));
    let listed = after.ask(&Request::new("session.list", json!({})))?;
    let sessions = listed["data"]["sessions"].as_array().cloned().unwrap_or_default();
    let is_there = |name: &String| sessions.iter().any(|session| session["name"] == **name);
    let lost: Vec<String> = acknowledged.into_iter().filter(|name| !is_there(name)).collect();
    report.expect(lost.is_empty(), || format!("{birth:?}: signed on and lost: {lost:?}"));
    lab.end(report)?;
    Ok(killed)
}

fn sign_on(name: &str) -> Request {
    let args: Value = json!({
        "kind": "agent", "name": name, "ttl_ms": 3_600_000, "user": "storm",
        "token_digest": digest(name),
    });
    Request::new("session.sign_on", args)
}
