//! The write transaction, step by step, and everything around it: batches, waits, rehearsals.
//!
//! # Invariants
//! - Every mutation runs the steps of the contract's section 1 in their order, inside one
//!   transaction; the first step that fails gives the code.
//! - A request that fails leaves no effect, but what was settled for it stays settled.
//! - Inside a transaction there is no network, no subprocess, no foreign code.
//!
//! What needs no transaction is apart: `local/check.rs` is step 1, `local/read.rs` reads, and
//! `local/rehearsal.rs` finds refusals without a turn.

mod check;
mod planted;
mod read;
mod rehearsal;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use cotenant_core::{
    Code, Error, Op, Result,
    operation::Effect,
    process::Processes,
    store::{BATCH_MAX, Outcome, Reply, Request, Store},
};

use self::check::check;
use crate::{
    admin::PATIENCE,
    bounds::Bounds,
    execute::{Executed, execute, foreseen, forget, ring_timers},
    holding,
    meta::{Intent, Meta},
    session,
    sql::{Clock, Durability, Engine, Finish, Patience, Sql, Wake},
    testing::{failpoint, mutant},
    tx::{Settlement, Tx},
};

/// How long a waiter pauses before it tries for its turn again.
const BUSY_PAUSE: Duration = Duration::from_millis(50);
/// A waiter writes at least so often, which keeps its session and the clock alive.
const WAITER_WRITES_EVERY: Duration = Duration::from_millis(session::WAITER_WRITES_EVERY_MS);

/// How long a writer waits for its turn, asked when it has to wait.
type BusyTimeout = Box<dyn Fn() -> Result<Duration> + Send + Sync>;

/// A store in a database that this process opens itself.
pub struct LocalStore {
    engine: Mutex<Box<dyn Engine>>,
    wake: Arc<dyn Wake>,
    /// What the last transaction left behind.
    bounds: Mutex<Bounds>,
    clock: Box<dyn Clock>,
    processes: Box<dyn Processes>,
    busy_timeout: BusyTimeout,
}

/// What became of a request in one pass.
enum Step {
    Done(Outcome),
    Wait { retry_after_ms: u64 },
    Unwanted,
}

/// A request on its way into a transaction.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) request: &'a Request,
    /// Asked inside the transaction, with the write lock held: whether it is still wanted. Whoever
    /// wants it then waits for its outcome.
    pub(crate) wanted: Option<&'a dyn Fn() -> bool>,
}

impl<'a> From<&'a Request> for Asked<'a> {
    fn from(request: &'a Request) -> Self {
        Self { request, wanted: None }
    }
}

impl LocalStore {
    /// A store over an engine, with the clocks and processes it shall believe in.
    pub(crate) fn over(
        engine: Box<dyn Engine>,
        clock: Box<dyn Clock>,
        processes: Box<dyn Processes>,
        busy_timeout: Duration,
    ) -> Self {
        let wake = engine.wake();
        let busy_timeout: BusyTimeout = Box::new(move || Ok(busy_timeout));
        let bounds = Mutex::default();
        Self { engine: Mutex::new(engine), wake, bounds, clock, processes, busy_timeout }
    }

    /// Sets how long a writer waits for its turn; 5 s unless set.
    #[must_use]
    pub fn busy_timeout(self, timeout: Duration) -> Self {
        self.busy_timeout_by(move || Ok(timeout))
    }

    /// As [`Self::busy_timeout`], found out when a writer has to wait, which is seldom.
    #[must_use]
    pub fn busy_timeout_by(
        mut self,
        timeout: impl Fn() -> Result<Duration> + Send + Sync + 'static,
    ) -> Self {
        self.busy_timeout = Box::new(timeout);
        self
    }

    /// How long a writer waits for its turn.
    pub(crate) fn patience(&self) -> Result<Duration> {
        (self.busy_timeout)()
    }

    fn patience_since(&self, since: Instant) -> Result<Patience> {
        Ok(Patience::Until(since + self.patience()?))
    }

    /// What tells waiters that something was committed.
    pub fn wake(&self) -> Arc<dyn Wake> {
        Arc::clone(&self.wake)
    }

    fn bounds(&self) -> MutexGuard<'_, Bounds> {
        self.bounds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a body on the engine.
    pub(crate) fn with_engine<T>(&self, body: impl FnOnce(&mut dyn Engine) -> T) -> T {
        let mut engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        body(engine.as_mut())
    }

    /// Carries out writes in one transaction; they wait for their turn since then.
    fn write(&self, requests: &[Asked<'_>], wait_over: bool, since: Instant) -> Vec<Step> {
        let soft = requests.iter().all(|asked| asked.request.op.effect() == Effect::Soft);
        let durability = if soft { Durability::Process } else { Durability::Full };
        match self.attempt(Patience::Try, durability, requests, wait_over) {
            Err(error) if error.code == Code::Busy => {}
            result => return spread(result, requests.len()),
        }
        let rehearsed: Vec<Option<Step>> =
            requests.iter().map(|asked| self.rehearse(asked.request, wait_over)).collect();
        let rest: Vec<Asked<'_>> = requests
            .iter()
            .zip(&rehearsed)
            .filter(|(_, step)| step.is_none())
            .map(|(asked, _)| *asked)
            .collect();
        if rest.is_empty() {
            return rehearsed.into_iter().flatten().collect();
        }
        let result = self
            .patience_since(since)
            .and_then(|patience| self.attempt(patience, durability, &rest, wait_over));
        let mut written = spread(result, rest.len()).into_iter();
        rehearsed.into_iter().filter_map(|step| step.or_else(|| written.next())).collect()
    }

    fn attempt(
        &self,
        patience: Patience,
        durability: Durability,
        requests: &[Asked<'_>],
        wait_over: bool,
    ) -> Result<Vec<Step>> {
        if mutant("guard_outside_transaction") {
            self.check_guards_outside(requests)?;
        }
        let mut pass = Pass { durability, requests, wait_over, wanted: vec![None; requests.len()] };
        // A savepoint keeps a copy of every page that is changed behind it, and most requests that fail do
        // so before they change anything.
        if let Some(steps) = self.transact(patience, &mut pass, Savepoints::None)? {
            return Ok(steps);
        }
        let steps = self.transact(patience, &mut pass, Savepoints::EachRequest)?;
        steps.ok_or_else(|| Error::internal("a transaction with savepoints must run again"))
    }

    /// Runs requests in one transaction. Answers `None`, without effect, if that needs savepoints.
    fn transact(
        &self,
        patience: Patience,
        pass: &mut Pass<'_>,
        savepoints: Savepoints,
    ) -> Result<Option<Vec<Step>>> {
        let mut steps = Vec::new();
        let mut again = false;
        let mut late = Vec::new();
        let mut erasing = false;
        let mut bounds = Bounds::default();
        self.with_engine(|engine| {
            engine.write(patience, pass.durability, &mut |sql| {
                steps.clear();
                let mut tx = self.begin(sql, pass.wait_over)?;
                if savepoints == Savepoints::None {
                    tx.bounds = std::mem::take(&mut *self.bounds()).when_at(&tx.meta.hash);
                }
                // A savepoint would make it all unknown again.
                if tx.sql.is_far() && savepoints == Savepoints::None {
                    let requests = pass.requests.iter();
                    let queries =
                        requests.flat_map(|asked| foreseen(asked.request, &tx.bounds)).collect();
                    tx.sql.foresee(queries)?;
                }
                let mut changed = false;
                for (asked, wanted) in pass.requests.iter().zip(&mut pass.wanted) {
                    let wanted = wanted.get_or_insert_with(|| asked.wanted.is_none_or(|ask| ask()));
                    if !*wanted {
                        steps.push(Step::Unwanted);
                        continue;
                    }
                    if savepoints == Savepoints::EachRequest {
                        steps.push(in_savepoint(&mut tx, asked.request, &mut changed)?);
                        continue;
                    }
                    match bare(&mut tx, asked.request, &mut changed)? {
                        Bare::Over(step) => steps.push(step),
                        Bare::ToUndo(error) => {
                            // What else is in the transaction stays, so all of it runs again.
                            let settled = tx.settled && !mutant("refusal_undoes_settling");
                            again = pass.requests.len() > 1 || settled;
                            steps.push(Step::Done(Err(error)));
                            return Ok(Finish::Rollback);
                        }
                    }
                }
                let failed = |step: &Step| matches!(step, Step::Done(Err(_)) | Step::Unwanted);
                let refused = !changed && steps.iter().all(failed);
                erasing = (!refused || tx.settled) && tx.meta.erasing != 0;
                let settled = tx.settled && !(refused && mutant("refusal_undoes_settling"));
                if !changed && !settled {
                    return Ok(if refused { Finish::Rollback } else { Finish::Unchanged });
                }
                failpoint("txn.effect")?;
                late = std::mem::take(&mut tx.late_events);
                forget(&mut tx)?;
                tx.meta.save(tx.sql)?;
                if savepoints == Savepoints::None {
                    bounds = std::mem::take(&mut tx.bounds).after(&tx.meta.hash);
                }
                Ok(Finish::Commit)
            })
        })?;
        *self.bounds() = bounds;
        if !late.is_empty() {
            let patience = self.patience_since(Instant::now())?;
            self.with_engine(|engine| {
                engine.write(patience, pass.durability, &mut |sql| {
                    late.iter().try_for_each(|row| row.insert(sql))?;
                    Ok(Finish::Commit)
                })
            })?;
        }
        if erasing && let Err(error) = self.finish_erasing() {
            // Whoever only writes while that is outstanding has done what was asked for.
            let steps = pass.requests.iter().zip(&mut steps);
            for (_, step) in steps.filter(|(asked, _)| matches!(asked.request.op, Op::Redact(_))) {
                *step = Step::Done(self::again(&error));
            }
        }
        Ok((!again).then_some(steps))
    }

    /// Steps 3 and 4: schema gate, clock, settling of what has expired.
    fn begin<'a>(&'a self, sql: &'a mut dyn Sql, wait_over: bool) -> Result<Tx<'a>> {
        let mut meta = Meta::load(sql, Intent::Write)?;
        failpoint("txn.schema")?;
        let reading = self.clock.reading(sql)?;
        let step_max = self.clock.step_max();
        let cut = meta.is_cut(&reading, step_max);
        let replaced = meta.advance(&reading, step_max)?;
        failpoint("txn.tick")?;
        let mut tx = self.tx(sql, meta, wait_over);
        // Kept even if the request fails: repeated refusals would each begin at the same tick else, and
        // what they wait for would never expire.
        tx.settled = cut && !mutant("cut_step_undone");
        if replaced {
            tx.settled = true;
            session::settle_reboot(&mut tx)?;
        }
        if !mutant("no_settle") {
            ring_timers(&mut tx)?;
        }
        failpoint("txn.settled")?;
        Ok(tx)
    }

    fn tx<'a>(&'a self, sql: &'a mut dyn Sql, meta: Meta, wait_over: bool) -> Tx<'a> {
        let mut tx = Tx::new(sql, meta, self.clock.wall_ms(), self.processes.as_ref());
        tx.wait_over = wait_over;
        tx.is_shared = self.clock.step_max().is_some();
        tx
    }

    /// Carries out one write, waiting for it to become possible if asked to.
    fn write_one(&self, request: &Request) -> Outcome {
        let wait = request.op.wait_ms().unwrap_or(0);
        let until = Instant::now() + Duration::from_millis(wait);
        let mut written: Option<Instant> = None;
        loop {
            let seen = self.wake.value();
            let over = Instant::now() >= until;
            let fresh = written.is_some_and(|at| at.elapsed() < WAITER_WRITES_EVERY);
            let rehearsed = if fresh { self.rehearse(request, over) } else { None };
            let step = if let Some(step) = rehearsed {
                step
            } else {
                written = Some(Instant::now());
                self.write(&[request.into()], over, Instant::now()).pop().unwrap_or_else(|| {
                    Step::Done(Err(Error::internal("the transaction gave no outcome")))
                })
            };
            match step {
                // Whoever waits for an hour does not give up after the first 5 s in which its turn did not come.
                Step::Done(Err(error))
                    if error.code == Code::Busy && !over && !mutant("busy_ends_a_wait") =>
                {
                    self.wake.wait(seen, (Instant::now() + BUSY_PAUSE).min(until));
                }
                Step::Done(outcome) => return outcome,
                Step::Wait { retry_after_ms } => {
                    let retry = Instant::now() + Duration::from_millis(retry_after_ms.max(1));
                    self.wake.wait(seen, retry.min(until));
                }
                Step::Unwanted => return Err(Error::internal("nobody wants the request")),
            }
        }
    }

    /// Runs a body in a write transaction of its own, after what has expired was settled. Everything that
    /// is settled stays.
    pub(crate) fn administer(&self, body: &mut dyn FnMut(&mut Tx<'_>) -> Result<()>) -> Result<()> {
        self.write_alone(&mut |sql| {
            let mut tx = self.begin(sql, false)?;
            body(&mut tx)?;
            tx.meta.save(tx.sql)?;
            Ok(Finish::Commit)
        })
    }

    /// As [`Self::administer`], of a store that may be closed. Nothing is settled, and the clock stands
    /// still: it goes on from where it is, as if no time had passed.
    pub(crate) fn carry(&self, body: &mut dyn FnMut(&mut Tx<'_>) -> Result<Finish>) -> Result<()> {
        self.write_alone(&mut |sql| {
            let mut meta = Meta::load(sql, Intent::Carry)?;
            meta.stand_at(self.clock.reading(sql)?);
            let mut tx = self.tx(sql, meta, false);
            let finish = body(&mut tx)?;
            if finish == Finish::Commit {
                tx.meta.save(tx.sql)?;
            }
            Ok(finish)
        })
    }

    fn write_alone(&self, body: &mut dyn FnMut(&mut dyn Sql) -> Result<Finish>) -> Result<()> {
        let patience = Patience::Until(Instant::now() + PATIENCE);
        self.with_engine(|engine| engine.write(patience, Durability::Full, body))
    }

    /// Whether a payload was erased whose traces remain.
    pub(crate) fn is_erasing(&self) -> Result<bool> {
        let mut erasing = false;
        self.with_engine(|engine| {
            engine.read(&mut |sql| {
                erasing = Meta::load(sql, Intent::Read)?.erasing != 0;
                Ok(())
            })
        })?;
        Ok(erasing)
    }

    /// Rewrites the database after a payload was erased, and notes that it is done.
    pub(crate) fn finish_erasing(&self) -> Result<()> {
        let patience = self.patience_since(Instant::now())?;
        self.with_engine(|engine| {
            if !mutant("erased_stays_on_disk") {
                engine.erase(patience)?;
            }
            engine.write(patience, Durability::Full, &mut |sql| {
                let mut meta = Meta::load(sql, Intent::Write)?;
                meta.erasing = 0;
                meta.save(sql)?;
                Ok(Finish::Commit)
            })
        })
    }
}

impl Store for LocalStore {
    fn submit(&self, requests: Vec<Request>) -> Vec<Outcome> {
        if requests.len() > BATCH_MAX {
            let error = || {
                Error::new(Code::TooLarge, format!("more than {BATCH_MAX} requests in one batch"))
            };
            return requests.iter().map(|_| Err(error())).collect();
        }
        let checked: Vec<Result<Request>> = requests.into_iter().map(check).collect();
        let batched = checked.len() > 1
            && checked.iter().flatten().all(|request| {
                request.op.effect() == Effect::Write && request.op.wait_ms().unwrap_or(0) == 0
            });
        if batched {
            let good: Vec<Asked<'_>> = checked.iter().flatten().map(Asked::from).collect();
            let mut steps = self.write(&good, false, Instant::now()).into_iter();
            let mut next = || match steps.next() {
                Some(Step::Done(outcome)) => outcome,
                _ => Err(Error::internal("the transaction gave no outcome")),
            };
            return checked
                .iter()
                .map(|request| request.as_ref().err().map_or_else(&mut next, again))
                .collect();
        }
        checked.into_iter().map(|request| self.single(&request?)).collect()
    }
}

/// The same error once more, for an outcome of its own.
pub(crate) fn again(error: &Error) -> Outcome {
    Err(error.to_wire().into())
}

impl LocalStore {
    /// Carries out writes that answer at once in one transaction; none for one that nobody wants any
    /// more when its turn comes. They wait for it since then.
    pub(crate) fn together(&self, requests: &[Asked<'_>], since: Instant) -> Vec<Option<Outcome>> {
        let checked: Vec<Result<Request>> =
            requests.iter().map(|asked| check(asked.request.clone())).collect();
        let good: Vec<Asked<'_>> = checked
            .iter()
            .zip(requests)
            .filter_map(|(checked, asked)| {
                Some(Asked { request: checked.as_ref().ok()?, ..*asked })
            })
            .collect();
        let mut steps =
            if good.is_empty() { Vec::new() } else { self.write(&good, false, since) }.into_iter();
        let mut next = || match steps.next() {
            Some(Step::Done(outcome)) => Some(outcome),
            Some(Step::Unwanted) => None,
            _ => Some(Err(Error::internal("the transaction gave no outcome"))),
        };
        let outcomes = checked.iter().map(|checked| match checked {
            Ok(_) => next(),
            Err(error) => Some(again(error)),
        });
        outcomes.collect()
    }

    fn single(&self, request: &Request) -> Outcome {
        let outcome = match (&request.op, request.op.effect()) {
            (Op::Read(op), _) => self.read_events(request, op),
            (Op::Verify(op), _) => self.verify(op),
            (Op::Update(op), _) if mutant("update_outside_transaction") => {
                self.update_outside(request, op)
            }
            (_, Effect::Read) => self.read(request),
            (_, Effect::Write | Effect::Soft) => self.write_one(request),
        };
        failpoint("reply.before")?;
        outcome
    }
}

/// What runs in one transaction, perhaps twice.
struct Pass<'a> {
    durability: Durability,
    requests: &'a [Asked<'a>],
    wait_over: bool,
    /// Whether each is still wanted, once that was asked.
    wanted: Vec<Option<bool>>,
}

/// Whether requests can be undone one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Savepoints {
    None,
    EachRequest,
}

/// How a request went that cannot be undone alone.
enum Bare {
    Over(Step),
    /// It failed after it had changed something.
    ToUndo(Error),
}

fn bare(tx: &mut Tx<'_>, request: &Request, changed: &mut bool) -> Result<Bare> {
    let (before, written) = (tx.meta.clone(), tx.sql.written());
    tx.settlements.clear();
    tx.actor = None;
    match execute(tx, request) {
        Ok(executed) => Ok(Bare::Over(step(tx, executed, changed))),
        Err(error) if is_of_store(error.code) => Err(error),
        Err(error) if tx.sql.written() == written => {
            tx.meta = before;
            tx.meta.seq += i64::from(mutant("gap_after_a_failure"));
            Ok(Bare::Over(Step::Done(Err(error))))
        }
        Err(error) if mutant("batch_keeps_what_failed") => Ok(Bare::Over(Step::Done(Err(error)))),
        Err(error) => Ok(Bare::ToUndo(error)),
    }
}

/// Runs a request inside its savepoint.
fn in_savepoint(tx: &mut Tx<'_>, request: &Request, changed: &mut bool) -> Result<Step> {
    let before = tx.meta.clone();
    tx.settlements.clear();
    tx.actor = None;
    tx.sql.run("SAVEPOINT request", &[])?;
    match execute(tx, request) {
        Ok(executed) => {
            tx.sql.run("RELEASE SAVEPOINT request", &[])?;
            Ok(step(tx, executed, changed))
        }
        Err(error) => {
            tx.sql.run("ROLLBACK TO SAVEPOINT request", &[])?;
            tx.sql.run("RELEASE SAVEPOINT request", &[])?;
            tx.meta = before;
            tx.actor = None;
            for settlement in std::mem::take(&mut tx.settlements) {
                match settlement {
                    Settlement::Session(id) => session::settle_again(tx, &id)?,
                    Settlement::Lease(id) => holding::on_timer(tx, &id)?,
                    Settlement::Task(id) => crate::task::on_timer(tx, &id.to_string())?,
                }
            }
            if is_of_store(error.code) {
                return Err(error);
            }
            Ok(Step::Done(Err(error)))
        }
    }
}

/// What became of a request that did not fail. Only a repeat changes nothing.
fn step(tx: &Tx<'_>, executed: Executed, changed: &mut bool) -> Step {
    *changed |= !matches!(executed, Executed::Replayed(_));
    match executed {
        Executed::Replayed(reply) => Step::Done(Ok(reply)),
        Executed::Done(data) => {
            let reply = Reply { data, seq: tx.meta.head(), tick: tx.now, replayed: false };
            Step::Done(Ok(reply))
        }
        Executed::Wait { retry_after_ms } => Step::Wait { retry_after_ms },
        Executed::Refused(error) => Step::Done(Err(error)),
    }
}

/// One result for every request of a transaction that failed as a whole.
fn spread(result: Result<Vec<Step>>, count: usize) -> Vec<Step> {
    match result {
        Ok(steps) => steps,
        Err(error) => {
            let mut steps: Vec<Step> = (1..count).map(|_| Step::Done(again(&error))).collect();
            steps.push(Step::Done(Err(error)));
            steps
        }
    }
}

/// Whether a failure is the database's and ends the whole transaction.
pub(crate) fn is_of_store(code: Code) -> bool {
    matches!(
        code,
        Code::Busy
            | Code::StoreFull
            | Code::StoreReadonly
            | Code::StoreIo
            | Code::StoreCorrupt
            | Code::StoreForeign
            | Code::Internal
    )
}
