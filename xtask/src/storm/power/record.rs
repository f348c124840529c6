//! The work that is recorded: it runs in a process of its own, under `strace`, and marks in a file what
//! it asks for and what it was answered, so that the recording has both in one order.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::storm::kill::{Aim, Requests};
use crate::storm::lab::{Bench, Lab, Member, sign_on_args};
use crate::storm::random::Random;
use crate::storm::worker::{Heard, Request, Worker};

/// Sessions that work at once, and those that work alone afterwards.
const WORKERS: usize = 3;
const ALONE: usize = 2;
/// Of a hundred requests, how many kill the process that they were sent to.
const KILLS_PERCENT: u64 = 5;
const KILL_WITHIN: Duration = Duration::from_millis(12);
/// Of so many recordings, one has a request that makes the log outgrow its limit.
const LARGE_EVERY: u64 = 5;
/// The backup of a recording, in a file and as the name of what is marked.
pub(super) const BACKUP: &str = "backup.db";
/// Requests that follow it, of a session that is alone: the next process recovers what a killed one left.
const REQUESTS_AFTER_BACKUP: usize = 160;
/// After so many deaths of one request the storm gives up.
const DEATHS_MAX: usize = 6;
/// The parts of that request, and how long each is.
const LARGE_PARTS: usize = 6;
const LARGE_BYTES: usize = 900 * 1024;

/// A request, or its answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Mark {
    pub(super) id: String,
    pub(super) session: String,
    pub(super) token: String,
    /// What the request is for; a sign-on is for nothing else.
    pub(super) aim: Option<Aim>,
    pub(super) op: String,
    pub(super) args: Value,
    pub(super) answer: Option<Value>,
}

impl Mark {
    fn of(member: &Member, aim: Option<Aim>, request: &Request) -> Self {
        Self {
            id: request.id.clone().unwrap_or_default(),
            session: member.name.clone(),
            token: member.token.clone(),
            aim,
            op: request.op.clone(),
            args: request.args.clone(),
            answer: None,
        }
    }

    /// The request again.
    pub(super) fn request(&self) -> Request {
        let request = Request::new(&self.op, self.args.clone()).id(self.id.clone());
        let member = Member { name: self.session.clone(), token: self.token.clone() };
        if self.aim.is_none() { request } else { request.by(&member) }
    }
}

/// Where marks are made, one call for each.
struct Marks(Mutex<File>);

impl Marks {
    fn make(&self, mark: &Mark) -> Result<()> {
        let line = serde_json::to_string(mark)? + "\n";
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(file.write_all(line.as_bytes())?)
    }
}

/// Does the work: `FOLDER PROGRAM SEED NUMBER REQUESTS [MUTANT]`.
pub(crate) fn record(arguments: &[String]) -> Result<()> {
    let [folder, binary, seed, number, requests, rest @ ..] = arguments else {
        bail!("`storm record` is started by `storm power`")
    };
    let (folder, binary) = (PathBuf::from(folder), PathBuf::from(binary));
    let (seed, number): (u64, u64) = (seed.parse()?, number.parse()?);
    let mutant = rest.first().map(|name| &*name.clone().leak());
    let bench = Bench { binary, folder: folder.clone(), mutant, server: None };
    let lab = Lab::at(&bench, folder.join("scratch"))?;
    let marks = Marks(Mutex::new(File::create(folder.join("marks"))?));
    let members = sign_on(&lab, &marks, &mut Random::new(seed, 0))?;
    let each = requests.parse::<usize>()?.div_ceil(WORKERS);
    let done: Vec<Result<()>> = thread::scope(|scope| {
        let threads: Vec<_> = members
            .iter()
            .enumerate()
            .take(WORKERS)
            .map(|(index, member)| {
                let random = Random::new(seed, index as u64 + 1);
                let (lab, marks) = (&lab, &marks);
                scope.spawn(move || work(lab, marks, (member, index), random, each))
            })
            .collect();
        let joined = threads.into_iter().map(thread::ScopedJoinHandle::join);
        joined.map(|done| done.unwrap_or_else(|_| Err(anyhow!("a driver panicked")))).collect()
    });
    done.into_iter().collect::<Result<()>>()?;
    back_up(&lab, &marks, &members[0])?;
    work(&lab, &marks, (&members[WORKERS], WORKERS), Random::new(seed, 98), REQUESTS_AFTER_BACKUP)?;
    if number % LARGE_EVERY == LARGE_EVERY - 1 {
        outgrow(&lab, &members[0])?;
        work(&lab, &marks, (&members[WORKERS + 1], WORKERS + 1), Random::new(seed, 99), each)?;
    }
    Ok(())
}

fn sign_on(lab: &Lab, marks: &Marks, random: &mut Random) -> Result<Vec<Member>> {
    let mut worker = Worker::start(lab, "setup", None)?;
    let mut members = Vec::new();
    for index in 0..WORKERS + ALONE {
        let member = Member::drawn(index, random);
        let request = Request::new("session.sign_on", sign_on_args(&member));
        let request = request.id(format!("sign-on-{index}"));
        let mut mark = Mark::of(&member, None, &request);
        marks.make(&mark)?;
        let answer = ask_until_answered(lab, &mut worker, "setup", &request, None)?;
        ensure!(answer["ok"] == true, "cannot sign on: {answer}");
        mark.answer = Some(answer);
        marks.make(&mark)?;
        members.push(member);
    }
    Ok(members)
}

/// One session's requests; each is repeated until it is answered.
fn work(
    lab: &Lab,
    marks: &Marks,
    (member, number): (&Member, usize),
    mut random: Random,
    requests: usize,
) -> Result<()> {
    let mut choose = Requests::new(member, number);
    let mut worker = Worker::start(lab, &member.name, None)?;
    for _ in 0..requests {
        let (aim, request) = choose.next(&mut random);
        let mut mark = Mark::of(member, Some(aim.clone()), &request);
        marks.make(&mark)?;
        let is_aimed = random.percent(KILLS_PERCENT);
        let moment = random.within(KILL_WITHIN);
        let kill_after = is_aimed.then_some(moment);
        let answer = ask_until_answered(lab, &mut worker, &member.name, &request, kill_after)?;
        if answer["ok"] == true {
            choose.learn(&aim, &answer["data"]);
        }
        mark.answer = Some(answer);
        marks.make(&mark)?;
    }
    Ok(())
}

/// Asks through one process after the other until one lives to answer.
fn ask_until_answered(
    lab: &Lab,
    worker: &mut Worker,
    name: &str,
    request: &Request,
    kill_after: Option<Duration>,
) -> Result<Value> {
    worker.send(request)?;
    let mut heard = match kill_after {
        Some(moment) => {
            thread::sleep(moment);
            worker.kill()?
        }
        None => worker.answer_or_death()?,
    };
    for _ in 0..DEATHS_MAX {
        if worker.is_dead() || matches!(heard, Heard::Death) {
            *worker = Worker::start(lab, name, None)?;
        }
        if let Heard::Answer(_, answer) = heard {
            return Ok(answer);
        }
        worker.send(request)?;
        heard = worker.answer_or_death()?;
    }
    bail!("{DEATHS_MAX} processes died of {request:?}")
}

/// Makes a backup, and marks it when it was acknowledged.
fn back_up(lab: &Lab, marks: &Marks, member: &Member) -> Result<()> {
    let target = lab.file(BACKUP);
    let path = target.to_str().context("a path that is not UTF-8")?;
    let (status, answer) = lab.call(&["backup", path], &[])?;
    ensure!(status.success(), "a backup: {answer}");
    let mut mark = Mark::of(member, None, &Request::new(BACKUP, json!({})));
    mark.answer = Some(answer);
    marks.make(&mark)
}

/// Makes the log longer than its limit, so that it is cut.
fn outgrow(lab: &Lab, member: &Member) -> Result<()> {
    let value = "x".repeat(LARGE_BYTES);
    let put =
        |part| json!({"put": {"scope": "large", "key": format!("part-{part}"), "value": value}});
    let ops: Vec<Value> = (0..LARGE_PARTS).map(put).collect();
    let request = Request::new("data.txn", json!({"ops": ops})).by(member);
    let answer = Worker::start(lab, "large", None)?.ask(&request)?;
    ensure!(answer["ok"] == true, "a large transaction: {answer}");
    Ok(())
}
