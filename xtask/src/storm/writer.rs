//! A session that writes on where the store may fail, and remembers what it was told.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Result, anyhow, ensure};
use serde_json::Value;

use super::kill::{Acknowledged, Aim, Ledger, Requests};
use super::lab::{Lab, Member};
use super::random::Random;
use super::worker::{Heard, Request, Worker};

/// What the writers of a storm share.
pub(crate) struct Writers<'a> {
    lab: &'a Lab,
    /// What they may be told besides the answer.
    codes: &'static [&'static str],
    ledger: Mutex<Ledger>,
    refused: AtomicUsize,
}

impl<'a> Writers<'a> {
    /// Nobody has written yet.
    pub(crate) fn new(lab: &'a Lab, codes: &'static [&'static str]) -> Self {
        let (ledger, refused) = (Mutex::new(Ledger::default()), AtomicUsize::new(0));
        Self { lab, codes, ledger, refused }
    }

    /// How many requests were refused for the store's sake.
    pub(crate) fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    /// Everything that was acknowledged.
    pub(crate) fn into_ledger(self) -> Ledger {
        self.ledger.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One session and its process.
pub(crate) struct Writer<'a> {
    writers: &'a Writers<'a>,
    session: String,
    worker: Worker,
    requests: Requests,
    /// For choices that are not about requests, too.
    pub(crate) random: Random,
    /// The last refusal.
    pub(crate) refusal: Value,
}

impl<'a> Writer<'a> {
    /// The session with this number.
    pub(crate) fn new(
        writers: &'a Writers<'a>,
        member: &Member,
        number: usize,
        random: Random,
    ) -> Result<Self> {
        let worker = Worker::start(writers.lab, &member.name, None)?;
        let (session, refusal) = (member.name.clone(), Value::Null);
        let requests = Requests::new(member, number);
        Ok(Self { writers, session, worker, requests, random, refusal })
    }

    /// What it asks for next.
    pub(crate) fn next(&mut self) -> (Aim, Request) {
        self.requests.next(&mut self.random)
    }

    /// Whether it was done, or refused for what others hold. Otherwise it may be asked for again.
    pub(crate) fn ask(&mut self, aim: &Aim, request: &Request) -> Result<bool> {
        self.worker.send(request)?;
        let Heard::Answer(_, answer) = self.worker.answer_or_death()? else {
            return Err(anyhow!("a process died of {aim:?}"));
        };
        if answer["ok"] == true {
            self.requests.learn(aim, &answer["data"]);
            let (session, aim) = (self.session.clone(), aim.clone());
            let data = answer["data"].clone();
            self.writers.ledger().acknowledged.push(Acknowledged { session, aim, data });
            return Ok(true);
        }
        let code = answer["error"]["code"].as_str().unwrap_or_default();
        if code == "HELD" {
            return Ok(true);
        }
        ensure!(self.writers.codes.contains(&code), "{aim:?}: {answer}");
        self.writers.refused.fetch_add(1, Ordering::Relaxed);
        self.refusal = answer;
        Ok(false)
    }
}
