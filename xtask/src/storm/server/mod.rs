//! A server that crashes and a network that fails: `PostgreSQL` is killed and started again, connections
//! are cut, packets are late or never come. Writers go on; nothing is lost, nothing is done twice.

mod proxy;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use cotenant_testbed::Server;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::kill::look;
use super::lab::{Bench, Lab};
use super::random::Random;
use super::report::Report;
use super::worker::Worker;
use super::writer::{Writer, Writers};
use proxy::Proxy;

const WRITERS: usize = 6;
/// What a writer may be told; it asks again.
const CODES: [&str; 3] = ["BUSY", "STORE_IO", "TIMEOUT"];
/// The longest time between two failures.
const PEACE: Duration = Duration::from_millis(900);
/// The longest time for which a network is silent, below what a client waits for an answer.
const SILENCE: Duration = Duration::from_millis(2_500);
/// The longest delay of a packet, and how long it is so.
const DELAY: Duration = Duration::from_millis(60);
const DELAYED: Duration = Duration::from_millis(1_500);
/// How long a request may be asked for until it is done, once nothing fails any more.
const PATIENCE: Duration = Duration::from_mins(1);

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// How long things fail.
    pub(crate) time: Duration,
}

/// What fails.
#[derive(Clone, Copy, Debug)]
enum Failure {
    /// The first process of the server is killed.
    Killed,
    /// The server is told to end at once.
    Immediate,
    /// A process that serves a client is killed, which restarts all others.
    Backend,
    /// Connections are closed.
    Cut,
    /// Connections are closed, and the server never hears of it.
    Half,
    /// No packet comes for a while.
    Silent,
    /// No packet comes ever again on the connections that there are.
    Hole,
    /// Packets come late.
    Slow,
}

impl Failure {
    const ALL: [Self; 8] = [
        Self::Killed,
        Self::Immediate,
        Self::Backend,
        Self::Cut,
        Self::Half,
        Self::Silent,
        Self::Hole,
        Self::Slow,
    ];
}

/// Lets a server and its network fail.
pub(crate) fn run(bench: &Bench, seed: u64, size: Size) -> Report {
    let mut report = Report::begin("server", seed);
    let Some(server) = Server::own() else {
        return report.skip("no PostgreSQL here; run: sudo apt-get install -y postgresql");
    };
    let outcome = storm(bench, &server, seed, size, &mut report);
    report.end(outcome)
}

fn storm(bench: &Bench, server: &Server, seed: u64, size: Size, report: &mut Report) -> Result<()> {
    let proxy = Proxy::start(server.port())?;
    let address = server.network_address("postgres", "storm");
    let through = address.replace(&format!(":{}/", server.port()), &format!(":{}/", proxy.port()));
    let lab = Lab::new(bench, &format!("server-{seed}"))?.over(Some(through));
    let members = lab.sign_on(WRITERS, &mut Random::new(seed, 0))?;
    let writers = Writers::new(&lab, &CODES);
    let is_over = AtomicBool::new(false);
    let mut failures = BTreeMap::new();
    let (outcomes, longest): (Vec<Result<()>>, Vec<Duration>) = thread::scope(|scope| {
        let threads: Vec<_> = members
            .iter()
            .enumerate()
            .map(|(number, member)| {
                let random = Random::new(seed, number as u64 + 1);
                let writer = Writer::new(&writers, member, number, random);
                let is_over = &is_over;
                scope.spawn(move || write(writer?, is_over))
            })
            .collect();
        let random = Random::new(seed, u64::MAX);
        let failed = fail_on(server, &proxy, random, size.time, &mut failures);
        is_over.store(true, Ordering::Relaxed);
        let joined = threads.into_iter().map(thread::ScopedJoinHandle::join);
        let joined = joined.map(|one| one.unwrap_or_else(|_| Err(anyhow!("a driver panicked"))));
        let (mut outcomes, mut longest) = (vec![failed], Vec::new());
        for one in joined {
            match one {
                Ok(took) => longest.push(took),
                Err(why) => outcomes.push(Err(why)),
            }
        }
        (outcomes, longest)
    });
    outcomes.into_iter().collect::<Result<()>>()?;
    let refused = writers.refused();
    let mut ledger = writers.into_ledger();
    look(&mut Worker::start(&lab, "afterwards", None)?, &members, &mut ledger)?;
    report.fact("failures", failures.values().sum::<usize>());
    report.fact("of each kind", json!(failures));
    report.fact("connections made", proxy.passed());
    report.fact("requests acknowledged", ledger.acknowledged.len());
    report.fact("answers that it failed, after which it was asked again", refused);
    let longest = longest.into_iter().max().unwrap_or_default();
    report.fact("longest time until a request was done", format!("{:.1} s", longest.as_secs_f64()));
    report.fact("events in the log", ledger.events);
    report.fact("acknowledged and lost", ledger.lost);
    report.faults.extend(ledger.faults);
    lab.end(report)
}

/// Writes until it is over; each request is asked for until it is done. Answers the longest time that one
/// took.
fn write(mut writer: Writer<'_>, is_over: &AtomicBool) -> Result<Duration> {
    let mut longest = Duration::ZERO;
    while !is_over.load(Ordering::Relaxed) {
        let (aim, request) = writer.next();
        let begun = Instant::now();
        let mut over_since = None;
        while !writer.ask(&aim, &request)? {
            if is_over.load(Ordering::Relaxed) {
                let since = *over_since.get_or_insert_with(Instant::now);
                if since.elapsed() > PATIENCE {
                    bail!("{aim:?} is never done: {}", writer.refusal);
                }
            }
        }
        longest = longest.max(begun.elapsed());
    }
    Ok(longest)
}

/// Lets one thing after the other fail.
fn fail_on(
    server: &Server,
    proxy: &Proxy,
    mut random: Random,
    time: Duration,
    failures: &mut BTreeMap<String, usize>,
) -> Result<()> {
    let end = Instant::now() + time;
    let mut kinds = Vec::new();
    while Instant::now() < end {
        thread::sleep(random.within(PEACE));
        if kinds.is_empty() {
            kinds.extend(Failure::ALL);
            random.shuffle(&mut kinds);
        }
        let failure = kinds.pop().context("no failure left")?;
        *failures.entry(format!("{failure:?}")).or_default() += 1;
        match failure {
            Failure::Killed => {
                signal(server.pid(), Signal::KILL)?;
                server.start_again();
            }
            Failure::Immediate => {
                signal(server.pid(), Signal::QUIT)?;
                server.start_again();
            }
            Failure::Backend => kill_backend(server)?,
            Failure::Cut => proxy.cut(true),
            Failure::Half => proxy.cut(false),
            Failure::Silent => {
                proxy.silence(true);
                thread::sleep(random.within(SILENCE));
                proxy.silence(false);
            }
            Failure::Hole => proxy.swallow(),
            Failure::Slow => {
                proxy.delay(random.within(DELAY));
                thread::sleep(DELAYED);
                proxy.delay(Duration::ZERO);
            }
        }
    }
    Ok(())
}

fn signal(pid: u32, signal: Signal) -> Result<()> {
    let pid = Pid::from_raw(pid.cast_signed()).context("a process without an id")?;
    Ok(kill_process(pid, signal)?)
}

/// Kills a process that serves one of our clients, if one does now.
fn kill_backend(server: &Server) -> Result<()> {
    let Some(mut client) = server.find_client() else { return Ok(()) };
    let row = client.query_opt(
        "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' \
         AND pid <> pg_backend_pid() ORDER BY pid LIMIT 1",
        &[],
    );
    let Ok(Some(row)) = row else { return Ok(()) };
    let pid: i32 = row.get(0);
    match kill_process(Pid::from_raw(pid).context("a process without an id")?, Signal::KILL) {
        // It went by itself.
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(why) => Err(why.into()),
    }
}
