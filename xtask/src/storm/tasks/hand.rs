//! A worker: one session and process after the other, each killed with something in its hands.

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::Scene;
use crate::storm::lab::{Member, digest};
use crate::storm::random::Random;
use crate::storm::worker::{Heard, Request, Worker};

/// Of a hundred requests, during how many the process is killed.
const KILL_PERCENT: u64 = 6;
/// The longest time from a request to its kill.
const KILL_WITHIN: Duration = Duration::from_millis(6);
/// Of a hundred times that its hands are empty, how often a worker remembers what it forgot.
const REMEMBER_PERCENT: u64 = 15;
/// How long a worker waits for a task.
const WAIT_MS: u64 = 300;
/// How often a request is repeated that found the store busy.
const BUSY_MAX: usize = 20;

/// A task in somebody's hands.
#[derive(Clone)]
struct Taken {
    task: i64,
    fence: i64,
}

/// What was asked.
#[derive(Clone)]
enum Aim {
    Next,
    /// By a later life than the one that took it, if so.
    Finish(Taken, bool),
    Extend(Taken),
    Other(Taken),
}

/// A request without an answer.
struct Open {
    aim: Aim,
    request: Request,
    busy: usize,
}

pub(super) struct Hand<'a> {
    scene: &'a Scene<'a>,
    number: usize,
    random: Random,
    asked: usize,
    /// What the life before had in its hands when it was killed.
    left: Option<Taken>,
    /// What it let go of without a word; somebody else may have it by now.
    forgotten: Vec<Taken>,
    open: Option<Open>,
}

impl<'a> Hand<'a> {
    pub(super) fn new(scene: &'a Scene<'a>, number: usize, random: Random) -> Self {
        Self { scene, number, random, asked: 0, left: None, forgotten: Vec::new(), open: None }
    }

    /// Works until nothing is left to do.
    pub(super) fn work(mut self) -> Result<()> {
        while !self.scene.is_over() {
            self.life()?;
        }
        // What is under way is brought to its end, so that the ledger knows of it.
        let mut worker = Worker::start(self.scene.lab, &format!("w{}", self.number), None)?;
        while let Some(open) = self.open.take() {
            let answer = worker.ask(&open.request)?;
            self.answered(open, &answer);
        }
        Ok(())
    }

    /// One process, with a session that is lost when it is killed.
    fn life(&mut self) -> Result<()> {
        let mut worker = Worker::start(self.scene.lab, &format!("w{}", self.number), None)?;
        let member = self.sign_on(&mut worker)?;
        let mut held: Option<Taken> = None;
        // What the life before had: it may still finish it, unless somebody else has it by now.
        let mut left = self.left.take();
        loop {
            if self.open.is_none() {
                if self.scene.is_over() {
                    return Ok(());
                }
                let (aim, op, args) = match left.take() {
                    Some(taken) if self.random.percent(70) => finishing(taken, true),
                    _ => self.choose(held.take()),
                };
                self.asked += 1;
                let id = format!("{}-{}", self.number, self.asked);
                let request = Request::new(op, args).by(&member).id(id);
                self.open = Some(Open { aim, request, busy: 0 });
            }
            let Some(open) = self.open.take() else { continue };
            worker.send(&open.request)?;
            let heard = if self.random.percent(KILL_PERCENT) {
                self.kill(&mut worker)?
            } else {
                worker.answer_or_death()?
            };
            let is_dead = worker.is_dead();
            match heard {
                Heard::Answer(_, answer) => held = self.answered(open, &answer),
                Heard::Death if is_dead => {
                    if let Aim::Finish(taken, _) | Aim::Extend(taken) | Aim::Other(taken) =
                        &open.aim
                    {
                        self.left = Some(taken.clone());
                    }
                    self.scene.ledger().repeated += 1;
                    self.open = Some(open);
                }
                Heard::Death => bail!("a worker died unasked"),
                Heard::Nothing => bail!("a worker is silent"),
            }
            if is_dead {
                self.left = held.or(self.left.take());
                return Ok(());
            }
        }
    }

    fn sign_on(&mut self, worker: &mut Worker) -> Result<Member> {
        let life = self.scene.lives.fetch_add(1, Ordering::Relaxed);
        let drawn = Member::drawn(0, &mut self.random);
        let member = Member { name: format!("life-{life}"), ..drawn };
        let process = cotenant_store::host::identity(worker.pid()).context("no process")?;
        let args = json!({
            "kind": "agent", "name": member.name, "ttl_ms": 24 * 3_600_000, "user": "storm",
            "token_digest": digest(&member.token), "process": process,
        });
        let answer = worker.ask(&Request::new("session.sign_on", args))?;
        ensure!(answer["ok"] == true, "cannot sign on: {answer}");
        Ok(member)
    }

    fn kill(&mut self, worker: &mut Worker) -> Result<Heard> {
        let moment = self.random.within(KILL_WITHIN);
        self.scene.ledger().kills += 1;
        match worker.listen(moment)? {
            Heard::Nothing => worker.kill(),
            heard => {
                worker.kill()?;
                Ok(heard)
            }
        }
    }

    /// What to do with what is in one's hands.
    fn choose(&mut self, held: Option<Taken>) -> (Aim, &'static str, Value) {
        let next = || (Aim::Next, "task.next", json!({"wait_ms": WAIT_MS}));
        let Some(taken) = held else {
            let remembers = !self.forgotten.is_empty() && self.random.percent(REMEMBER_PERCENT);
            return if remembers { finishing(self.forgotten.swap_remove(0), true) } else { next() };
        };
        let attempt = json!({"task": taken.task, "fence": taken.fence});
        let fail = |class: &str| json!({"task": taken.task, "fence": taken.fence, "reason": "as it happens", "class": class});
        match self.random.below(100) {
            0..78 => finishing(taken, false),
            78..84 => (Aim::Other(taken.clone()), "task.fail", fail("transient")),
            84..85 => (Aim::Other(taken.clone()), "task.fail", fail("permanent")),
            85..90 => (Aim::Other(taken), "task.release", attempt),
            90..94 => (Aim::Extend(taken), "task.extend", attempt),
            // Its time will run out.
            _ => {
                self.forgotten.push(taken);
                next()
            }
        }
    }

    /// Notes an answer. Tells what is in one's hands now.
    fn answered(&mut self, mut open: Open, answer: &Value) -> Option<Taken> {
        let code = answer["error"]["code"].as_str().unwrap_or_default();
        if code == "BUSY" && open.busy < BUSY_MAX {
            open.busy += 1;
            self.open = Some(open);
            return None;
        }
        let mut ledger = self.scene.ledger();
        match (&open.aim, code) {
            (Aim::Next, "") => {
                let data = &answer["data"];
                if let (Some(task), Some(fence)) =
                    (data["task"]["task"].as_i64(), data["task"]["fence"].as_i64())
                {
                    ledger.granted += 1;
                    return Some(Taken { task, fence });
                }
                let waits = ["ready", "running", "delayed", "failed"];
                if waits.iter().all(|state| data["open"][state] == 0) {
                    self.scene.finish();
                }
            }
            (Aim::Finish(taken, late), "") => {
                // Under its id a repeat tells what the first one did; `already` is another request.
                if answer["data"]["already"] == false {
                    ledger.finished.entry(taken.task).or_default().push(taken.fence);
                    ledger.late += usize::from(*late);
                }
            }
            (Aim::Extend(taken), "") => return Some(taken.clone()),
            (Aim::Finish(..) | Aim::Extend(_) | Aim::Other(_), "FENCED") => ledger.fenced += 1,
            // It may have been asked for in the name of a life that is over by now.
            (_, "SESSION_LOST")
            | (Aim::Finish(..) | Aim::Extend(_) | Aim::Other(_), "CANCELLED")
            | (Aim::Other(_), "") => {}
            _ => ledger.faults.push(format!("{:?} was answered {answer}", open.request)),
        }
        None
    }
}

/// Says that a task is done.
fn finishing(taken: Taken, late: bool) -> (Aim, &'static str, Value) {
    let args = json!({"task": taken.task, "fence": taken.fence, "result": {"by": taken.fence}});
    (Aim::Finish(taken, late), "task.done", args)
}
