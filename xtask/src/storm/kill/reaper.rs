//! One session of a kill storm: it asks through one process after the other, and each dies.

use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::Value;

use super::ledger::{Kill, Ledger};
use super::request::{Aim, Requests};
use super::{POINTS, Storm};
use crate::storm::lab::Member;
use crate::storm::random::Random;
use crate::storm::worker::{Heard, Request, SENT, Worker};

/// Requests of one process; then it ends unharmed.
const REQUESTS_MAX: usize = 24;
/// After so many deaths of one request, a process without a failpoint repeats it in peace.
const DEATHS_MAX: usize = 4;
/// How often a request is repeated that found the store busy.
const BUSY_MAX: usize = 10;
/// Of a hundred requests of a process that dies at any time, how many the driver tries to hit.
const AIMED_PERCENT: u64 = 50;
/// The longest time from a request to the kill that is meant for it, at first.
const KILL_WITHIN: Duration = Duration::from_millis(8);

/// A request that has no answer yet.
struct Open {
    aim: Aim,
    request: Request,
    /// How far the processes came that died of it.
    deaths: Vec<String>,
    /// How often the store was busy, which means no effect.
    busy: usize,
}

/// How a process will die.
enum Doom {
    Failpoint(String),
    AnyTime,
    None,
}

/// One session.
pub(super) struct Reaper<'a> {
    storm: &'a Storm<'a>,
    name: String,
    random: Random,
    requests: Requests,
    open: Option<Open>,
    /// Follows how long an answer takes, so that kills come while one is under way.
    patience: Duration,
}

impl<'a> Reaper<'a> {
    /// A session that has done nothing yet.
    pub(super) fn new(
        storm: &'a Storm<'a>,
        member: &Member,
        random: Random,
        number: usize,
    ) -> Self {
        Self {
            storm,
            name: member.name.clone(),
            random,
            requests: Requests::new(member, number),
            open: None,
            patience: KILL_WITHIN,
        }
    }

    /// Goes on until enough processes were killed and nothing is left open.
    pub(super) fn reap(mut self) -> Result<()> {
        while !self.storm.is_over() {
            self.life()?;
        }
        while let Some(open) = self.open.take() {
            let mut worker = Worker::start(self.storm.lab, &self.name, None)?;
            let answer = worker.ask(&open.request)?;
            self.answered(open, &answer);
        }
        Ok(())
    }

    fn ledger(&self) -> MutexGuard<'a, Ledger> {
        self.storm.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn doom(&mut self) -> Doom {
        if self.open.as_ref().is_some_and(|open| open.deaths.len() >= DEATHS_MAX) {
            return Doom::None;
        }
        if self.random.percent(self.storm.size.failpoints_percent) {
            let point = *self.random.pick(&POINTS);
            return Doom::Failpoint(format!("{point}=kill@{}", 1 + self.random.below(3)));
        }
        Doom::AnyTime
    }

    /// One process, from start to death.
    fn life(&mut self) -> Result<()> {
        let doom = self.doom();
        let failpoint = match &doom {
            Doom::Failpoint(text) => Some(text.as_str()),
            _ => None,
        };
        let mut worker = Worker::start(self.storm.lab, &self.name, failpoint)?;
        for _ in 0..REQUESTS_MAX {
            let open = match self.open.take() {
                Some(open) => open,
                None if self.storm.is_over() => break,
                None => {
                    let (aim, request) = self.requests.next(&mut self.random);
                    Open { aim, request, deaths: Vec::new(), busy: 0 }
                }
            };
            worker.send(&open.request)?;
            let by_driver = matches!(doom, Doom::AnyTime) && self.random.percent(AIMED_PERCENT);
            let heard =
                if by_driver { self.hunt(&mut worker)? } else { worker.answer_or_death()? };
            match heard {
                Heard::Answer(_, answer) => self.answered(open, &answer),
                Heard::Death if by_driver || failpoint.is_some() => {
                    self.died(open, &worker, !by_driver)?;
                    return Ok(());
                }
                Heard::Death => bail!("process {} died unasked of {:?}", worker.pid(), open.aim),
                Heard::Nothing => bail!("process {} is silent", worker.pid()),
            }
            if worker.is_dead() {
                return Ok(());
            }
            if matches!(doom, Doom::None) {
                break;
            }
        }
        Ok(())
    }

    /// Kills a process at a random moment, if it has not answered by then.
    fn hunt(&mut self, worker: &mut Worker) -> Result<Heard> {
        let moment = self.random.within(self.patience);
        match worker.listen(moment)? {
            Heard::Nothing => {}
            heard => {
                // Answers come sooner than thought.
                self.patience = self.patience.mul_f64(0.9).max(Duration::from_micros(200));
                return Ok(heard);
            }
        }
        self.patience = self.patience.mul_f64(1.05).min(KILL_WITHIN);
        let heard = worker.kill()?;
        if matches!(heard, Heard::Answer(..)) {
            self.ledger().late += 1;
        }
        Ok(heard)
    }

    fn died(&mut self, mut open: Open, worker: &Worker, by_failpoint: bool) -> Result<()> {
        let stage = worker.stage()?;
        self.ledger().kills.push(Kill { stage: stage.clone(), by_failpoint });
        if stage != SENT {
            self.storm.killed();
        }
        open.deaths.push(stage);
        self.open = Some(open);
        Ok(())
    }

    fn answered(&mut self, mut open: Open, answer: &Value) {
        if answer["error"]["code"] == "BUSY" && open.busy < BUSY_MAX {
            open.busy += 1;
            self.open = Some(open);
            return;
        }
        self.ledger().answered(&self.name, &open.aim, &open.deaths, answer);
        if answer["ok"] == true {
            self.requests.learn(&open.aim, &answer["data"]);
        }
    }
}
