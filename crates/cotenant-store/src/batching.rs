//! Requests of many threads in one transaction.
//!
//! In a process that carries out requests for many, whoever finds nobody leading leads: it takes what
//! is queued, the oldest first, carries all of it out in one transaction with one flush, gives everyone
//! the own outcome, and hands over to the oldest of those who came meanwhile. While one transaction is
//! flushed, the next one fills up. It is the same on every engine.
//!
//! Those who were just answered often ask again at once. A leader waits for as many as the last transaction
//! had, while more of them come, for a part of what it took at most; for else they would form two groups
//! that take turns, each paying for a transaction of its own.
//!
//! # Invariants
//! - At most one thread leads. Whoever leads has its own requests in the transaction, so nobody works
//!   for others when its own are done.
//! - Requests are carried out in the order in which they came, but for those that a panic or a busy
//!   store sends back.
//! - Whatever becomes of a leader, those whose requests it took are told, and somebody leads after it.
//! - Reads and requests that wait have connections of their own: they wait for no writer's turn.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError},
    time::{Duration, Instant},
};

use cotenant_core::{
    Code, Error, Result,
    operation::Effect,
    store::{BATCH_MAX, Outcome, Request, Store},
};

use crate::{
    LocalStore,
    local::{Asked, again},
    testing::{failpoint, mutant},
};

/// After this time in the queue a request is tried on a snapshot: a refusal needs no turn.
const REHEARSED_AFTER: Duration = Duration::from_millis(20);

/// The most requests that threads have in one transaction, which the flush is a small part of then. More
/// would keep others from their turn.
const TOGETHER_MAX: usize = 32;

/// A store whose requests of many threads are carried out together.
pub struct Batching {
    /// Only the leader uses it.
    writes: LocalStore,
    reads: OnceLock<LocalStore>,
    waits: OnceLock<LocalStore>,
    /// Whoever tries a request before its turn.
    rehearsing: Mutex<()>,
    open: Box<dyn Fn() -> Result<LocalStore> + Send + Sync>,
    queue: Mutex<Queue>,
    /// Tells a leader that gathers that all it waits for are in the queue.
    complete: Condvar,
}

/// What part of the time of the last transaction a leader waits for one more of those whom it answered.
const GATHERING_ONE_PART: u32 = 16;

/// What part of it a leader waits for all of them.
const GATHERING_PART: u32 = 4;

/// The longest such wait: a transaction may have taken long for reasons of its own.
const GATHERING_MAX: Duration = Duration::from_millis(5);

#[derive(Default)]
struct Queue {
    led: bool,
    units: VecDeque<Arc<Unit>>,
    /// How many units a leader gathers, its own among them.
    awaited: Option<usize>,
    /// How many units the last two shared transactions had, and how long the last one took.
    sizes: [usize; 2],
    took: Duration,
}

/// What one thread asked for at once.
struct Unit {
    requests: Vec<Request>,
    since: Instant,
    /// Whether it shares its transaction with others.
    shares: bool,
    told: Mutex<Option<Told>>,
    changed: Condvar,
}

/// What a thread is told that waits for its turn.
enum Told {
    /// To lead.
    Lead,
    /// What became of its requests.
    Done(Vec<Outcome>),
    /// That a transaction with others panicked.
    Panicked,
}

/// What came of trying a request before its turn.
enum Rehearsal {
    Refused(Outcome),
    /// Nothing; there is no need to try again.
    NoNeed,
    /// Nothing yet.
    OthersAre,
}

impl Unit {
    fn new(requests: Vec<Request>, since: Instant, shares: bool) -> Arc<Self> {
        let (told, changed) = (Mutex::default(), Condvar::new());
        Arc::new(Self { requests, since, shares, told, changed })
    }

    fn tell(&self, told: Told) {
        *locked(&self.told) = Some(told);
        self.changed.notify_one();
    }

    /// Waits to be told, for that long at most.
    fn wait(&self, at_most: Option<Duration>) -> Option<Told> {
        let untold = |told: &mut Option<Told>| told.is_none();
        let told = locked(&self.told);
        let mut told = match at_most {
            None => self.changed.wait_while(told, untold).unwrap_or_else(PoisonError::into_inner),
            Some(at_most) => {
                let waited = self.changed.wait_timeout_while(told, at_most, untold);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        told.take()
    }
}

/// How requests are carried out.
enum Way {
    Read,
    /// They may wait for long for what they ask for.
    Wait,
    /// In a transaction with others.
    Shared,
    /// One after the other.
    Single,
}

impl Way {
    fn of(requests: &[Request]) -> Self {
        if requests.len() > BATCH_MAX {
            // It is refused at once.
            Self::Read
        } else if requests.iter().all(|request| request.op.effect() == Effect::Read) {
            Self::Read
        } else if requests.iter().any(|request| request.op.wait_ms().unwrap_or(0) > 0) {
            Self::Wait
        } else if requests.iter().all(|request| request.op.effect() != Effect::Read) {
            Self::Shared
        } else {
            Self::Single
        }
    }
}

impl Batching {
    /// Shares a store among threads; `open` opens it again, for those who read or wait.
    pub fn new(
        store: LocalStore,
        open: impl Fn() -> Result<LocalStore> + Send + Sync + 'static,
    ) -> Self {
        let (reads, waits, queue) = (OnceLock::new(), OnceLock::new(), Mutex::default());
        let complete = Condvar::new();
        let rehearsing = Mutex::default();
        Self { writes: store, reads, waits, rehearsing, open: Box::new(open), queue, complete }
    }

    /// How many threads wait for their turn to write.
    pub fn queued(&self) -> usize {
        locked(&self.queue).units.len()
    }

    fn also<'a>(&self, cell: &'a OnceLock<LocalStore>) -> Result<&'a LocalStore> {
        if let Some(store) = cell.get() {
            return Ok(store);
        }
        let store = (self.open)()?;
        Ok(cell.get_or_init(|| store))
    }

    fn submit_to(&self, cell: &OnceLock<LocalStore>, requests: Vec<Request>) -> Vec<Outcome> {
        match self.also(cell) {
            Ok(store) => store.submit(requests),
            Err(error) => requests.iter().map(|_| again(&error)).collect(),
        }
    }

    /// Has writes carried out when their turn has come.
    fn take_turn(&self, requests: Vec<Request>, shares: bool) -> Vec<Outcome> {
        let mut unit = Unit::new(requests, Instant::now(), shares);
        let mut leads = self.enter(&unit, false);
        loop {
            match if leads { self.lead(&unit) } else { self.wait(&unit) } {
                Told::Lead => leads = true,
                Told::Done(outcomes) if !leads && self.has_time_left(&unit, &outcomes) => {
                    leads = self.enter(&unit, true);
                }
                Told::Done(outcomes) => return outcomes,
                // Under the same ids, what took effect before the panic does not do so again.
                Told::Panicked if may_repeat(&unit.requests) => {
                    unit = Unit::new(unit.requests.clone(), unit.since, false);
                    leads = self.enter(&unit, true);
                }
                Told::Panicked => {
                    let panicked = Error::internal("a transaction with others panicked");
                    return unit.requests.iter().map(|_| again(&panicked)).collect();
                }
            }
        }
    }

    /// Waits in the queue.
    fn wait(&self, unit: &Arc<Unit>) -> Told {
        let mut wants_rehearsal = true;
        loop {
            if let Some(told) = unit.wait(wants_rehearsal.then_some(REHEARSED_AFTER)) {
                return told;
            }
            match self.rehearse(unit) {
                Rehearsal::Refused(outcome) => return Told::Done(vec![outcome]),
                Rehearsal::NoNeed => wants_rehearsal = false,
                Rehearsal::OthersAre => {}
            }
        }
    }

    /// Leads if nobody does, else enters the queue.
    fn enter(&self, unit: &Arc<Unit>, again: bool) -> bool {
        let mut queue = locked(&self.queue);
        if !queue.led {
            queue.led = true;
            return true;
        }
        if again || mutant("batch_newest_first") {
            queue.units.push_front(Arc::clone(unit));
        } else {
            queue.units.push_back(Arc::clone(unit));
        }
        // To wake a leader for each one that comes would cost more than its waiting saves.
        if queue.awaited.is_some_and(|awaited| queue.units.len() + 1 >= awaited) {
            self.complete.notify_one();
        }
        false
    }

    /// Takes a request that is refused as things stand out of the queue. One thread does so at a time: the
    /// others would wait for its connection, and not see that their turn has come.
    fn rehearse(&self, unit: &Arc<Unit>) -> Rehearsal {
        let [request] = &unit.requests[..] else { return Rehearsal::NoNeed };
        let place = |queue: &Queue| queue.units.iter().position(|queued| Arc::ptr_eq(queued, unit));
        if place(&locked(&self.queue)).is_none() {
            return Rehearsal::NoNeed;
        }
        let turn = if mutant("rehearsals_queue_up") {
            self.rehearsing.lock().map_err(TryLockError::from)
        } else {
            self.rehearsing.try_lock()
        };
        let _alone = match turn {
            Err(TryLockError::WouldBlock) => return Rehearsal::OthersAre,
            Err(TryLockError::Poisoned(alone)) => alone.into_inner(),
            Ok(alone) => alone,
        };
        let Ok(reads) = self.also(&self.reads) else { return Rehearsal::NoNeed };
        // A request that panics does so in its turn: whoever is in the queue must be there to lead.
        let rehearsed = catch_unwind(AssertUnwindSafe(|| reads.rehearsed(request)));
        let Ok(Some(outcome)) = rehearsed else { return Rehearsal::NoNeed };
        let mut queue = locked(&self.queue);
        let Some(place) = place(&queue) else { return Rehearsal::NoNeed };
        queue.units.remove(place);
        Rehearsal::Refused(outcome)
    }

    /// Whether a unit found the store busy in somebody else's time and has time of its own left.
    fn has_time_left(&self, unit: &Unit, outcomes: &[Outcome]) -> bool {
        let busy = |outcome: &Outcome| outcome.as_ref().is_err_and(|e| e.code == Code::Busy);
        let patience = self.writes.patience();
        outcomes.iter().all(busy) && patience.is_ok_and(|patience| unit.since.elapsed() < patience)
    }

    /// Carries out a unit of this thread with those queued behind it, and hands over.
    fn lead(&self, own: &Arc<Unit>) -> Told {
        let mut lead = Lead { batching: self, units: self.take(own) };
        let carried_out = catch_unwind(AssertUnwindSafe(|| self.carry_out(&lead.units)));
        match carried_out {
            Ok(outcomes) => {
                let mut units = std::mem::take(&mut lead.units);
                drop(lead);
                if mutant("batch_crosses_outcomes") {
                    units[1..].reverse();
                }
                let mut outcomes = outcomes.into_iter();
                let own = outcomes.next().unwrap_or_default();
                for (unit, outcomes) in units[1..].iter().zip(outcomes) {
                    unit.tell(Told::Done(outcomes));
                }
                Told::Done(own)
            }
            // Whose request it was is seen when each is carried out alone.
            Err(_) if lead.units.len() > 1 => Told::Panicked,
            Err(panic) => {
                drop(lead);
                resume_unwind(panic)
            }
        }
    }

    /// A unit, and what is queued behind it and may share its transaction.
    fn take(&self, own: &Arc<Unit>) -> Vec<Arc<Unit>> {
        let (mut units, mut count) = (vec![Arc::clone(own)], own.requests.len());
        let mut queue = self.gathered(own);
        while let Some(next) = queue.units.front() {
            count += next.requests.len();
            if !own.shares || !next.shares || count > TOGETHER_MAX {
                break;
            }
            units.extend(queue.units.pop_front());
        }
        units
    }

    /// The queue, once those are back who were just answered, or do not come.
    fn gathered(&self, own: &Unit) -> MutexGuard<'_, Queue> {
        let mut queue = locked(&self.queue);
        // Those of the last transaction, and those who queued while it ran.
        let wanted = queue.sizes.iter().sum::<usize>().min(TOGETHER_MAX);
        if !own.shares || wanted <= 2 {
            return queue;
        }
        let at_most = |part| (queue.took / part).min(GATHERING_MAX);
        let (one, all) = (at_most(GATHERING_ONE_PART), at_most(GATHERING_PART));
        let began = Instant::now();
        queue.awaited = Some(wanted);
        loop {
            let before = queue.units.len();
            if before + 1 >= wanted || began.elapsed() >= all {
                break;
            }
            let more = self.complete.wait_timeout(queue, one);
            queue = more.unwrap_or_else(PoisonError::into_inner).0;
            if queue.units.len() == before {
                break;
            }
        }
        queue.awaited = None;
        queue
    }

    fn carry_out(&self, units: &[Arc<Unit>]) -> Vec<Vec<Outcome>> {
        let [first, ..] = units else { return Vec::new() };
        if !first.shares {
            return vec![self.writes.submit(first.requests.clone())];
        }
        let requests = units.iter().flat_map(|unit| &unit.requests);
        let asked: Vec<Asked<'_>> = requests.map(Asked::from).collect();
        let began = Instant::now();
        let mut outcomes = self.writes.together(&asked, first.since).into_iter().flatten();
        let mut queue = locked(&self.queue);
        queue.sizes = [queue.sizes[1], units.len()];
        queue.took = began.elapsed();
        drop(queue);
        units.iter().map(|unit| outcomes.by_ref().take(unit.requests.len()).collect()).collect()
    }
}

/// The turn of a thread. At its end somebody else leads, and whoever was not told is.
struct Lead<'a> {
    batching: &'a Batching,
    /// Its own unit first.
    units: Vec<Arc<Unit>>,
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        for unit in self.units.iter().skip(1) {
            unit.tell(Told::Panicked);
        }
        let mut queue = locked(&self.batching.queue);
        match queue.units.pop_front() {
            Some(next) => next.tell(Told::Lead),
            None => queue.led = false,
        }
    }
}

impl Store for Batching {
    fn submit(&self, requests: Vec<Request>) -> Vec<Outcome> {
        match Way::of(&requests) {
            Way::Read => self.submit_to(&self.reads, requests),
            Way::Wait => self.submit_to(&self.waits, requests),
            Way::Single => twice(&requests, || self.take_turn(requests.clone(), false)),
            Way::Shared => twice(&requests, || {
                let mut outcomes = self.take_turn(requests.clone(), true);
                if let [outcome] = &mut outcomes[..]
                    && let Err(error) = failpoint("reply.before")
                {
                    *outcome = Err(error);
                }
                outcomes
            }),
        }
    }
}

/// Carries requests out, and once more after a panic: nobody knows whether they took effect before it,
/// and whoever is told of a bug shall be sure that they did not.
fn twice(requests: &[Request], carry_out: impl Fn() -> Vec<Outcome>) -> Vec<Outcome> {
    catch_unwind(AssertUnwindSafe(&carry_out)).unwrap_or_else(|panic| {
        if may_repeat(requests) { carry_out() } else { resume_unwind(panic) }
    })
}

/// Whether requests take effect once however often they are carried out.
fn may_repeat(requests: &[Request]) -> bool {
    requests.iter().all(|request| request.request_id.is_some()) && !mutant("batch_panics_together")
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
