//! A user: a home, a clone, one process, and the sessions that it acts for.

use std::collections::HashMap;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::super::lab::{Bench, Lab, Member, sign_on_args};
use super::super::random::Random;
use super::super::worker::{Request, Worker};
use super::{Held, ITEMS, SHARED};

/// Codes after which the same request is sent again.
const AGAIN: [&str; 2] = ["BUSY", "STORE_IO"];

/// A place with a clone of its own, over a store on a server.
pub(super) fn machine(bench: &Bench, name: &str, address: &str) -> Result<Lab> {
    let lab = Lab::new(bench, name)?.with(&[("COTENANT_STORE", address.into())]);
    let made = Command::new("git").args(["init", "-q"]).arg(lab.file("")).status()?;
    ensure!(made.success(), "git cannot make a repository");
    Ok(lab)
}

/// A user.
pub(super) struct User {
    worker: Worker,
    sessions: Vec<Session>,
    random: Random,
    _lab: Lab,
}

struct Session {
    member: Member,
    /// What was added to its own counter and acknowledged.
    tokens: i64,
    /// The item that it holds.
    item: Option<u64>,
}

/// What a user's sessions did.
#[derive(Default)]
pub(super) struct Tally {
    /// Added to the shared counter, and acknowledged.
    pub(super) shared: i64,
    /// Claims of what somebody else held.
    pub(super) refused: u64,
    /// How long each kind of request took.
    pub(super) took: HashMap<&'static str, Vec<Duration>>,
    /// What must not be.
    pub(super) faults: Vec<String>,
}

impl User {
    /// A user whose sessions are signed on.
    pub(super) fn new(
        bench: &Bench,
        seed: u64,
        number: usize,
        sessions: usize,
        address: &str,
    ) -> Result<Self> {
        let lab = machine(bench, &format!("user-{number}"), address)?;
        let mut worker = Worker::start(&lab, "rpc", None)?;
        let mut random = Random::new(seed, number as u64);
        let mut signed_on = Vec::new();
        for session in 0..sessions {
            let member = Member::drawn(number * sessions + session, &mut random);
            let answer = worker.ask(&Request::new("session.sign_on", sign_on_args(&member)))?;
            ensure!(answer["ok"] == true, "cannot sign on: {answer}");
            signed_on.push(Session { member, tokens: 0, item: None });
        }
        Ok(Self { worker, sessions: signed_on, random, _lab: lab })
    }

    /// Sends a request, again where that is what one does.
    pub(super) fn ask(&mut self, request: &Request) -> Result<Value> {
        loop {
            let answer = self.worker.ask(request)?;
            let code = answer["error"]["code"].as_str().unwrap_or_default();
            if !AGAIN.contains(&code) {
                return Ok(answer);
            }
        }
    }

    /// Works until the end. Each session keeps a counter of its own, adds to the one of all, writes to
    /// the log, and takes and gives back items.
    pub(super) fn work(&mut self, held: &Held, end: Instant) -> Result<Tally> {
        let mut tally = Tally::default();
        while Instant::now() < end {
            let index = self.random.index(self.sessions.len());
            match self.random.below(10) {
                0..=3 => self.count(index, &mut tally)?,
                4 => self.share(index, &mut tally)?,
                5 => self.log(index, &mut tally)?,
                6 => self.compare(index, &mut tally)?,
                _ => self.take_turns(index, held, &mut tally)?,
            }
        }
        for index in 0..self.sessions.len() {
            self.compare(index, &mut tally)?;
        }
        Ok(tally)
    }

    /// Asks in a session's name and notes how long it took.
    fn act(
        &mut self,
        index: usize,
        (what, op): (&'static str, &str),
        args: Value,
        tally: &mut Tally,
    ) -> Result<Value> {
        let id = format!("{:016x}", self.random.below(u64::MAX));
        let request = Request::new(op, args).by(&self.sessions[index].member).id(id);
        let begun = Instant::now();
        let answer = self.ask(&request)?;
        tally.took.entry(what).or_default().push(begun.elapsed());
        Ok(answer)
    }

    fn count(&mut self, index: usize, tally: &mut Tally) -> Result<()> {
        let tokens = i64::try_from(self.random.below(1_000))?;
        let scope = format!("session/{}", self.sessions[index].member.name);
        let args = json!({"scope": scope, "key": "tokens", "change": {"add": tokens}});
        let answer = self.act(index, ("update", "data.update"), args, tally)?;
        ensure!(answer["ok"] == true, "an addition was refused: {answer}");
        self.sessions[index].tokens += tokens;
        Ok(())
    }

    fn share(&mut self, index: usize, tally: &mut Tally) -> Result<()> {
        let args = json!({"scope": SHARED, "key": "sum", "change": {"add": 1}});
        let answer = self.act(index, ("update of one key by all", "data.update"), args, tally)?;
        ensure!(answer["ok"] == true, "an addition was refused: {answer}");
        tally.shared += 1;
        Ok(())
    }

    fn log(&mut self, index: usize, tally: &mut Tally) -> Result<()> {
        let payload = json!({"by": self.sessions[index].member.name});
        let args = json!({"kind": "user.work", "scope": SHARED, "payload": payload});
        let answer = self.act(index, ("append", "event.append"), args, tally)?;
        ensure!(answer["ok"] == true, "an event was refused: {answer}");
        Ok(())
    }

    /// What a session finds of its own is what it put there.
    fn compare(&mut self, index: usize, tally: &mut Tally) -> Result<()> {
        let name = self.sessions[index].member.name.clone();
        let args = json!({"scope": format!("session/{name}"), "key": "tokens"});
        let answer = self.act(index, ("get", "data.get"), args, tally)?;
        let found = answer["data"]["value"].as_i64().unwrap_or_default();
        let tokens = self.sessions[index].tokens;
        if found != tokens {
            tally.faults.push(format!("session {name} has {found} tokens, acknowledged {tokens}"));
        }
        Ok(())
    }

    fn take_turns(&mut self, index: usize, held: &Held, tally: &mut Tally) -> Result<()> {
        let items = |item: u64| json!({"items": [{"kind": "issue", "name": item.to_string()}]});
        if let Some(item) = self.sessions[index].item.take() {
            held.give_back(item);
            let answer = self.act(index, ("unclaim", "unclaim"), items(item), tally)?;
            ensure!(answer["ok"] == true, "giving back was refused: {answer}");
            return Ok(());
        }
        let item = self.random.below(ITEMS);
        let answer = self.act(index, ("claim", "claim"), items(item), tally)?;
        if answer["ok"] == true {
            let name = self.sessions[index].member.name.clone();
            if let Some(other) = held.take(item, &name) {
                tally.faults.push(format!("issue {item} was given to {name} and {other}"));
            }
            self.sessions[index].item = Some(item);
        } else {
            let code = answer["error"]["code"].as_str().context("neither granted nor refused")?;
            ensure!(code == "CLAIMED", "a claim was refused: {answer}");
            tally.refused += 1;
        }
        Ok(())
    }
}
