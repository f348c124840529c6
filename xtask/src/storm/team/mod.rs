//! A team: users with a home and a clone each, and many sessions, over one server. Nothing is lost,
//! nothing of one session becomes another's, and who watches misses nothing.

mod idle;
mod user;
mod watch;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use self::idle::Idle;
use self::user::{Tally, User};
use self::watch::Watcher;
use super::lab::Bench;
use super::report::Report;
use super::worker::Request;
use crate::bench::sample::Sample;
use crate::engine::Engine;

/// What the sessions share.
const SHARED: &str = "team";
/// Watchers, each on a machine of its own.
const WATCHERS: usize = 2;
/// How many items the sessions are after.
const ITEMS: u64 = 200;

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Users, each with a home, a clone and a process.
    pub(crate) users: usize,
    /// Sessions of each user.
    pub(crate) sessions: usize,
    /// How long they work.
    pub(crate) time: Duration,
}

/// Who holds which item, as far as those know who were told.
#[derive(Debug, Default)]
struct Held(Mutex<HashMap<u64, String>>);

impl Held {
    /// Notes that an item was granted. Answers who has it already.
    fn take(&self, item: u64, session: &str) -> Option<String> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.insert(item, session.to_owned()).filter(|other| other != session)
    }

    /// Notes that an item is about to be given back.
    fn give_back(&self, item: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&item);
    }
}

/// Lets a team work.
pub(crate) fn run(bench: &Bench, seed: u64, size: Size) -> Report {
    let mut report = Report::begin("team", seed);
    let outcome = storm(bench, seed, size, &mut report);
    report.end(outcome)
}

fn storm(bench: &Bench, seed: u64, size: Size, report: &mut Report) -> Result<()> {
    let server = Engine::Postgres.server()?.context("no server")?;
    let address = server.network_address("postgres", &format!("team-{seed}"));
    let mut users = Vec::new();
    for number in 0..size.users {
        users.push(User::new(bench, seed, number, size.sessions, &address)?);
    }
    let mut watchers = Vec::new();
    for number in 0..WATCHERS {
        watchers.push(Watcher::start(bench, number, &address)?);
    }
    let _idle = Idle::start(bench, &address)?;
    let first = users.first_mut().context("a team without users")?;
    let before = idle::fence(first)?.context("the idle window holds nothing")?;
    let (held, end) = (Held::default(), Instant::now() + size.time);
    let tallies: Vec<Result<(User, Tally)>> = thread::scope(|scope| {
        let working: Vec<_> = users
            .into_iter()
            .map(|mut user| {
                let held = &held;
                scope.spawn(move || user.work(held, end).map(|tally| (user, tally)))
            })
            .collect();
        let join = |handle: thread::ScopedJoinHandle<'_, Result<(User, Tally)>>| {
            handle.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a user's thread panicked")))
        };
        working.into_iter().map(join).collect()
    });
    let (mut sum, mut took, mut refused, mut last) = (0, HashMap::new(), 0, None);
    for outcome in tallies {
        let (user, tally) = outcome?;
        sum += tally.shared;
        refused += tally.refused;
        report.faults.extend(tally.faults);
        for (what, sample) in tally.took {
            took.entry(what).or_insert_with(Vec::new).extend(sample);
        }
        last = Some(user);
    }
    let mut user = last.context("a team without users")?;
    let shared = user.ask(&Request::new("data.get", json!({"scope": SHARED, "key": "sum"})))?;
    report.expect(shared["data"]["value"] == sum, || {
        format!("the sum of all is {}, acknowledged {sum}", shared["data"]["value"])
    });
    let newest = user.ask(&Request::new("event.head", json!({})))?["data"]["seq"].clone();
    let newest = newest.as_i64().context("a log without events")?;
    let mut events = 0;
    for watcher in &mut watchers {
        let got = watcher.up_to(newest)?;
        report.expect(got.missed == 0, || format!("a watcher missed {} events", got.missed));
        events += got.events;
    }
    let after = idle::fence(&mut user)?;
    report.expect(after == Some(before), || "the idle window lost what it held".to_owned());
    ensure!(events > 0, "nobody saw anything");
    report.fact("users, each with a home, a clone and a process", size.users);
    report.fact("sessions", size.users * size.sessions);
    report.fact("seconds of work", size.time.as_secs());
    report.fact("events that watchers saw", events);
    report.fact("claims refused because somebody else held the item", refused);
    let mut all = 0;
    let mut kinds: Vec<_> = took.into_iter().collect();
    kinds.sort_by_key(|(what, _)| *what);
    for (what, durations) in kinds {
        let sample = Sample::of(durations);
        all += sample.len();
        let ms = |per_mille| format!("{:.1} ms", sample.quantile(per_mille) / 1e3);
        let figures = json!({"count": sample.len(), "p50": ms(500), "p99": ms(990)});
        report.fact(what, figures);
    }
    report.fact("requests", all);
    Ok(())
}
