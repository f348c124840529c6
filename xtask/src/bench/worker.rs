//! A process of this program that takes part in a measurement: `cargo xtask bench worker JOB`.
//!
//! It prepares itself, says `ready`, is told on standard input when to begin, does its job, leaves
//! its report in a file, and stays until standard input ends.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use cotenant_core::Code;
use cotenant_core::event::Events;
use cotenant_core::lease::{Granted, Release};
use cotenant_core::process::ProcessIdentity;
use cotenant_core::store::{Actor, Store};
use cotenant_store::postgres::Address;
use cotenant_store::{Batching, IfMissing, LocalStore, combine::Posting, host};
use serde::{Deserialize, Serialize};

use super::asked::{self, CLAIMS_A_SESSION};
use super::bare::{Bare, By, Turn};
use super::services::client::{Names, Queue, Service};
use super::sweep::{self, Doing};
use crate::process::{Group, wait_until};

/// The word that asks for a worker.
pub(crate) const WORD: &str = "worker";
/// How long a worker may take to get ready, and to end after its time.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum What {
    /// Issues are claimed, and stay so.
    Claims,
    /// A lease of one's own is taken and given back, again and again.
    Leases,
}

impl What {
    /// A word for tables.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Claims => "claims",
            Self::Leases => "leases taken and given back",
        }
    }
}

/// A worker's task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Task {
    /// Something through the store.
    Ours(What),
    /// Claims issues with the same statements by hand, under a plain busy timeout.
    ByHand,
    /// Something of a service.
    Service(What, Service),
    /// Claims issues through a store on a server, on so many threads of one process.
    Together(String, u64),
    /// Takes rows of a queue in a table.
    Queue(String),
    /// The part of a session in a team of so many.
    Team(Doing, usize),
    /// Waits for so many events.
    Watch(usize),
}

/// A worker's orders.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    /// What to do.
    pub(crate) task: Task,
    /// The store.
    pub(crate) store: PathBuf,
    /// Tells this worker from the others.
    pub(crate) number: u64,
    /// How long.
    pub(crate) for_ms: u64,
}

/// What a worker reports. Times are those of the kernel's monotonic clock, in nanoseconds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    /// When claims that succeeded began and ended, and the issues.
    pub(crate) claims: Vec<(u64, u64, u64)>,
    /// How many were refused because somebody had the issue.
    pub(crate) refused: usize,
    /// What else went wrong.
    pub(crate) errors: Vec<String>,
    /// The numbers of events, and when they were seen.
    pub(crate) seen: Vec<(i64, u64)>,
    /// Processor time used while nothing happened, in microseconds for each second.
    pub(crate) idle_us: u64,
}

/// Now.
pub(crate) fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// A worker that was started.
pub(crate) struct Worker {
    group: Group,
    report: PathBuf,
}

impl Worker {
    /// Starts a worker and waits until it is ready.
    pub(crate) fn start(job: &Job, folder: &Path) -> Result<Self> {
        let report = folder.join(format!("worker-{}.json", job.number));
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bench", WORD]).arg(serde_json::to_string(job)?).arg(&report);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Ok(Self { group: Group::spawn(&mut command)?, report })
    }

    /// Waits until it is ready.
    pub(crate) fn ready(&mut self) -> Result<()> {
        let stdout = self.group.child().stdout.as_mut().context("no pipe")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        ensure!(line.trim() == "ready", "a worker says `{}`", line.trim());
        Ok(())
    }

    /// Tells it when to begin.
    pub(crate) fn begin(&mut self, at: u64) -> Result<()> {
        let stdin = self.group.child().stdin.as_mut().context("no pipe")?;
        Ok(writeln!(stdin, "{at}")?)
    }

    /// Waits for its report. It stays until it is let go, because what it claimed is its own only
    /// as long as it lives.
    pub(crate) fn report(&mut self, for_ms: u64) -> Result<Report> {
        let patience = PATIENCE + Duration::from_millis(for_ms);
        let text = wait_until("report of a worker", patience, || {
            if let Some(status) = self.group.child().try_wait()? {
                bail!("a worker ended with {status}");
            }
            Ok(fs::read_to_string(&self.report).ok())
        })?;
        Ok(serde_json::from_str(&text)?)
    }
}

/// Starts workers that all begin at one moment, so long after they are ready. Answers when that was, and
/// what each reports.
pub(crate) fn all(
    jobs: impl Iterator<Item = Job>,
    folder: &Path,
    head_start_ns: u64,
) -> Result<(u64, Vec<Report>)> {
    let started = jobs.map(|job| Ok((Worker::start(&job, folder)?, job.for_ms)));
    let mut workers = started.collect::<Result<Vec<_>>>()?;
    workers.iter_mut().try_for_each(|(worker, _)| worker.ready())?;
    let start = now() + head_start_ns;
    workers.iter_mut().try_for_each(|(worker, _)| worker.begin(start))?;
    let reports = workers.iter_mut().map(|(worker, for_ms)| worker.report(*for_ms));
    Ok((start, reports.collect::<Result<_>>()?))
}

/// Runs a worker: its orders and the file of its report are the arguments.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let [job, file] = arguments else { bail!("a worker needs its orders and a file") };
    let job: Job = serde_json::from_str(job)?;
    let report = match job.task {
        Task::Ours(what) => {
            let mut ours = Ours { store: member(&job)?.0, sessions: Sessions::new(&job)? };
            run_on(&job, what, &mut ours)
        }
        Task::ByHand => {
            let (bare, sessions) = (Bare::open(&job.store, Turn::Busy)?, Sessions::new(&job)?);
            claims(&job, &mut ByHand { bare, sessions })
        }
        Task::Service(what, ref service) => {
            let place = job.store.parent().and_then(Path::parent).and_then(Path::file_name);
            let race = place.unwrap_or_default().to_string_lossy().into_owned();
            let mut names = Rival { names: service.connect()?, race, number: job.number };
            run_on(&job, what, &mut names)
        }
        Task::Together(ref address, threads) => together(&job, address, threads),
        Task::Queue(ref settings) => claims(&job, &mut Queue::connect(settings)?),
        Task::Team(doing, sessions) => sweep::work(&job, doing, sessions),
        Task::Watch(count) => watch(&job, count),
    }?;
    // A report is there when it is whole.
    let draft = format!("{file}.draft");
    fs::write(&draft, serde_json::to_string(&report)?)?;
    fs::rename(draft, file)?;
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}

/// A store for short requests, and the worker as a session of it.
pub(crate) fn member(job: &Job) -> Result<(Posting, Actor)> {
    let turn = || Ok(Duration::from_secs(5));
    let store = cotenant_store::open_for_few(&job.store, IfMissing::Fail, turn)?;
    Ok((store, Sessions::new(job)?.actor))
}

/// Says that this worker is ready and waits for the moment to begin, which it answers.
pub(crate) fn wait_for_the_start() -> Result<u64> {
    println!("ready");
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let at = line.trim().parse().context("the moment to begin")?;
    std::thread::sleep(Duration::from_nanos(u64::saturating_sub(at, now())));
    Ok(at)
}

fn run_on(job: &Job, what: What, way: &mut (impl Claims + Leases)) -> Result<Report> {
    match what {
        What::Claims => claims(job, way),
        What::Leases => leases(job, way),
    }
}

/// One way to claim an issue.
trait Claims {
    /// Claims an issue; false if somebody has it.
    fn claim(&mut self, issue: u64, request: u64) -> Result<bool>;
}

/// One way to hold a lease.
trait Leases {
    /// Takes a lease and gives it back.
    fn take_and_give_back(&mut self, request: u64) -> Result<()>;
}

/// The sessions of a worker, each for as many claims as one may hold.
struct Sessions {
    store: LocalStore,
    me: Option<ProcessIdentity>,
    number: u64,
    actor: Actor,
    claimed: usize,
}

impl Sessions {
    fn new(job: &Job) -> Result<Self> {
        let store = LocalStore::open(&job.store, IfMissing::Fail)?;
        let me = host::identity(std::process::id());
        let actor = asked::actor(&store, &format!("worker-{}-0", job.number), me.clone())?;
        Ok(Self { store, me, number: job.number, actor, claimed: 0 })
    }

    fn claimed(&mut self) -> Result<()> {
        self.claimed += 1;
        if self.claimed.is_multiple_of(CLAIMS_A_SESSION) {
            let name = format!("worker-{}-{}", self.number, self.claimed);
            self.actor = asked::actor(&self.store, &name, self.me.clone())?;
        }
        Ok(())
    }
}

struct Ours {
    store: Posting,
    sessions: Sessions,
}

impl Claims for Ours {
    fn claim(&mut self, issue: u64, request: u64) -> Result<bool> {
        let store: &dyn Store = &self.store;
        let request = asked::request(asked::claim(issue), &self.sessions.actor, request);
        match store.one(request) {
            Ok(_) => self.sessions.claimed().map(|()| true),
            Err(error) if error.code == Code::Claimed => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl Leases for Ours {
    fn take_and_give_back(&mut self, request: u64) -> Result<()> {
        let store: &dyn Store = &self.store;
        let resource = format!("lease-{}", self.sessions.number);
        let take = asked::request(asked::acquire(&resource), &self.sessions.actor, 2 * request);
        let taken: Granted = serde_json::from_str(store.one(take)?.data.get())?;
        let give_back = Release { resource, fence: taken.fence };
        store.one(asked::request(give_back, &self.sessions.actor, 2 * request + 1))?;
        Ok(())
    }
}

struct ByHand {
    bare: Bare,
    sessions: Sessions,
}

impl Claims for ByHand {
    fn claim(&mut self, issue: u64, request: u64) -> Result<bool> {
        let request = asked::request_id(request);
        let by = By { session: &self.sessions.actor.session.0, request: &request };
        let claimed = self.bare.claim(by, issue)?;
        if claimed {
            self.sessions.claimed()?;
        }
        Ok(claimed)
    }
}

/// A client of a service.
struct Rival {
    names: Box<dyn Names>,
    /// Tells its names from those of other races, which stay in the service.
    race: String,
    number: u64,
}

impl Claims for Rival {
    fn claim(&mut self, issue: u64, request: u64) -> Result<bool> {
        self.names.take(&format!("{}:issue:{issue}", self.race), request)
    }
}

impl Leases for Rival {
    fn take_and_give_back(&mut self, request: u64) -> Result<()> {
        let name = format!("lease-{}", self.number);
        ensure!(self.names.take(&name, request)?, "{name} is held by somebody else");
        self.names.give_back(&name)
    }
}

impl Claims for Queue {
    fn claim(&mut self, _: u64, request: u64) -> Result<bool> {
        self.take(request).map(|_| true)
    }
}

/// One of the threads that share a store.
struct Sharer {
    store: Arc<dyn Store>,
    name: String,
    actor: Actor,
    claimed: usize,
}

impl Claims for Sharer {
    fn claim(&mut self, issue: u64, request: u64) -> Result<bool> {
        let request = asked::request(asked::claim(issue), &self.actor, request);
        match self.store.one(request) {
            Ok(_) => {}
            Err(error) if error.code == Code::Claimed => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        self.claimed += 1;
        if self.claimed.is_multiple_of(CLAIMS_A_SESSION) {
            let name = format!("{}-{}", self.name, self.claimed);
            self.actor = asked::actor(self.store.as_ref(), &name, None)?;
        }
        Ok(true)
    }
}

/// Lets threads share one store, and reports what all of them did.
fn together(job: &Job, address: &str, threads: u64) -> Result<Report> {
    let address = Address::parse(address, None)?;
    let open = move || LocalStore::open_postgres(&address, IfMissing::Create);
    let store: Arc<dyn Store> = Arc::new(Batching::new(open()?, open));
    // Another race of the same run leaves its sessions and claims behind.
    let run = std::process::id();
    let mut sharers = (0..threads)
        .map(|number| {
            let name = format!("sharer-{run}-{number}");
            let actor = asked::actor(store.as_ref(), &name, None)?;
            Ok(Sharer { store: Arc::clone(&store), name, actor, claimed: 0 })
        })
        .collect::<Result<Vec<_>>>()?;
    let end = wait_for_the_start()? + job.for_ms * 1_000_000;
    let base = u64::from(run) << 24;
    let reports: Vec<Report> = std::thread::scope(|scope| {
        let working: Vec<_> = sharers
            .iter_mut()
            .zip(1..)
            .map(|(sharer, number)| scope.spawn(move || claims_until(sharer, base + number, end)))
            .collect();
        working.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    let mut all = Report::default();
    for report in reports {
        all.claims.extend(report.claims);
        all.errors.extend(report.errors);
        all.refused += report.refused;
    }
    Ok(all)
}

fn claims(job: &Job, way: &mut dyn Claims) -> Result<Report> {
    let end = wait_for_the_start()? + job.for_ms * 1_000_000;
    Ok(claims_until(way, job.number + 1, end))
}

fn claims_until(way: &mut dyn Claims, number: u64, end: u64) -> Report {
    // Far apart in the row that `next` walks along, or all would draw the same issues.
    let mut draw = number.wrapping_mul(0xd1b5_4a32_d192_ed03);
    let mut report = Report::default();
    let mut request = number << 40;
    let mut drawn = HashSet::new();
    while now() < end {
        request += 1;
        let issue = next(&mut draw) % super::contention::ISSUES;
        // To claim again what it holds already would count as a claim.
        if !drawn.insert(issue) {
            continue;
        }
        let began = now();
        match way.claim(issue, request) {
            Ok(true) => report.claims.push((began, now(), issue)),
            Ok(false) => report.refused += 1,
            Err(error) => report.errors.push(format!("{error:#}")),
        }
    }
    report
}

fn leases(job: &Job, way: &mut dyn Leases) -> Result<Report> {
    let mut report = Report::default();
    let end = wait_for_the_start()? + job.for_ms * 1_000_000;
    let mut request = job.number << 40;
    while now() < end {
        request += 1;
        let began = now();
        match way.take_and_give_back(request) {
            Ok(()) => report.claims.push((began, now(), request)),
            Err(error) => report.errors.push(format!("{error:#}")),
        }
    }
    Ok(report)
}

/// The next of a row of numbers that look drawn by lot.
pub(crate) fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn watch(job: &Job, count: usize) -> Result<Report> {
    let store = LocalStore::open(&job.store, IfMissing::Fail)?;
    let store: &dyn Store = &store;
    let mut cursor = asked::head(store)?;
    let mut report = Report::default();
    wait_for_the_start()?;
    let (begun, used) = (now(), processor_time());
    while report.seen.len() < count && now() < begun + job.for_ms * 1_000_000 {
        let read = asked::read(cursor, 1_000, Some(1_500));
        let events: Events = store.call(&read, |request| request)?.answer;
        let at = now();
        if report.seen.is_empty() && events.events.is_empty() {
            let seconds = Duration::from_nanos(at - begun).as_secs().max(1);
            report.idle_us = processor_time().saturating_sub(used) / seconds;
        }
        report.seen.extend(events.events.iter().map(|event| (event.seq.0, at)));
        cursor = events.cursor;
    }
    Ok(report)
}

/// Processor time of this process in microseconds.
fn processor_time() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    now.tv_sec.unsigned_abs() * 1_000_000 + now.tv_nsec.unsigned_abs() / 1_000
}
