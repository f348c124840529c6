//! One process on its own: an operation against the same statements written by hand.
//!
//! Both work on stores of the same schema that another connection keeps open, each under the gate,
//! in one durable transaction. What remains is what the rules, the hashes and the seam cost.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use cotenant_core::Op;
use cotenant_core::store::{Actor, Store};
use cotenant_store::{IfMissing, LocalStore};
use tempfile::TempDir;

use super::asked::{self, CLAIMS_A_SESSION};
use super::bare::{Bare, By, Turn};
use super::row::{Limit, Row, short};
use super::run::Measured;
use super::sample::{Contender, Series, Took, combine, interleave};
use super::scene::{attach, scratch};
use super::setting::Setting;

/// The keys that are written in turns.
const KEYS: u64 = 50;

/// A store that another connection keeps open, and how much was done in it.
struct Place {
    directory: TempDir,
    attached: LocalStore,
    done: u64,
    claimed: usize,
    claimer: Option<Actor>,
    putter: Actor,
}

impl Place {
    fn new(setting: &Setting) -> Result<Self> {
        let directory = scratch(setting)?;
        let attached = attach(&directory.path().join("cotenant/store.db"), IfMissing::Create)?;
        let putter = asked::actor(&attached, "putter", None)?;
        Ok(Self { directory, attached, done: 0, claimed: 0, claimer: None, putter })
    }

    fn file(&self) -> std::path::PathBuf {
        self.directory.path().join("cotenant/store.db")
    }

    /// The number of the next operation.
    fn next(&mut self) -> u64 {
        self.done += 1;
        self.done
    }

    /// Who claims next: nobody holds more than a session may.
    fn claimer(&mut self) -> Result<Actor> {
        let fresh = match &self.claimer {
            Some(claimer) if !self.claimed.is_multiple_of(CLAIMS_A_SESSION) => claimer.clone(),
            _ => asked::actor(&self.attached, &format!("claimer-{}", self.claimed), None)?,
        };
        self.claimed += 1;
        self.claimer = Some(fresh.clone());
        Ok(fresh)
    }
}

/// Measures the group.
pub(crate) fn run(setting: &Setting) -> Result<Measured> {
    let (ours, theirs) = (&mut Place::new(setting)?, &mut Place::new(setting)?);
    let store = LocalStore::open(&ours.file(), IfMissing::Fail)?;
    let mut bare = Bare::open(&theirs.file(), Turn::Gate)?;
    let (ours, theirs) = (std::cell::RefCell::new(ours), std::cell::RefCell::new(theirs));
    let bare = std::cell::RefCell::new(&mut bare);
    let series = interleave(
        setting.plan(400),
        [
            Contender::new("data.put", || {
                let mut place = ours.borrow_mut();
                let number = place.next();
                let operation = asked::put(&format!("key{}", number % KEYS), &number.to_string())?;
                submit(&store, operation, &place.putter, number)
            }),
            Contender::new("data.put by hand", || {
                let mut place = theirs.borrow_mut();
                let number = place.next();
                let (key, value) = (format!("key{}", number % KEYS), number.to_string());
                by_hand(&place.putter, number, |by| {
                    bare.borrow_mut().put(by, &key, &value).map(|()| true)
                })
            }),
            Contender::new("claim", || {
                let mut place = ours.borrow_mut();
                let (number, claimer) = (place.next(), place.claimer()?);
                submit(&store, asked::claim(number), &claimer, number)
            }),
            Contender::new("claim by hand", || {
                let mut place = theirs.borrow_mut();
                let (number, claimer) = (place.next(), place.claimer()?);
                by_hand(&claimer, number, |by| bare.borrow_mut().claim(by, number))
            }),
        ],
    )?;
    let rows = [Bare::open(&ours.borrow().file(), Turn::Gate)?.rows()?, bare.borrow().rows()?];
    ensure!(rows[0] == rows[1], "the contenders did not do the same: {rows:?}");

    let [put, put_by_hand, claim, claim_by_hand] = &series;
    let row = |what: &str, ours: &Series, theirs: &Series| {
        let ratio = combine([ours, theirs], |[ours, theirs]| ours / theirs);
        let used = [ours.processor().p50(), theirs.processor().p50()].map(short);
        let [used, used_by_hand] = used;
        let (mine, by_hand) = (short(ours.p50()), short(theirs.p50()));
        let from =
            format!("{mine} ÷ {by_hand} µs; of the processor's time {used} and {used_by_hand} µs");
        Row::new(what, ratio, "×", from).hard(Limit::Most(1.25)).goal(Limit::Most(1.1))
    };
    let rows = vec![
        row("`data.put` ÷ the same by hand", put, put_by_hand),
        row("`claim` ÷ the same by hand", claim, claim_by_hand),
    ];
    Ok((rows, series.iter().map(Series::json).collect()))
}

fn submit(store: &dyn Store, operation: impl Into<Op>, by: &Actor, number: u64) -> Result<Took> {
    let request = asked::request(operation, by, number);
    let (reply, took) = timed(|| store.one(request));
    reply?;
    Ok(took)
}

fn by_hand(
    actor: &Actor,
    number: u64,
    work: impl FnOnce(By<'_>) -> rusqlite::Result<bool>,
) -> Result<Took> {
    let request = asked::request_id(number);
    let by = By { session: &actor.session.0, request: &request };
    let (done, took) = timed(|| work(by));
    ensure!(done?, "operation {number} was refused");
    Ok(took)
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Took) {
    let (start, used) = (Instant::now(), used_by_thread());
    let done = work();
    let wall = start.elapsed();
    (done, Took { wall, processor: used_by_thread().saturating_sub(used) })
}

/// Processor time of this thread.
fn used_by_thread() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::from_secs(now.tv_sec.unsigned_abs())
        + Duration::from_nanos(now.tv_nsec.unsigned_abs())
}
