//! Short ways for a case to ask the store and to insist on an outcome.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel},
    thread,
    time::{Duration, Instant},
};

use cotenant_core::{
    Code, Error, Operation, Result,
    clock::DAY,
    event::{Event, Head, HeadView, Read},
    id::{Seq, SessionId},
    name::SessionRef,
    process::ProcessIdentity,
    session::{SessionView, ShowSession, SignOn, SignedOn, State},
    store::{Actor, Answered, Guard, Outcome, Reply, Request},
};

use crate::{Bench, sample};

/// How long a case waits, in real time, for what must happen; long, for a machine that is busy.
const PATIENCE: Duration = Duration::from_mins(2);
/// How often it looks.
const PAUSE: Duration = Duration::from_millis(2);

/// Runs one operation without an actor.
pub(crate) fn ask<O: Operation>(bench: &dyn Bench, operation: &O) -> Result<O::Answer> {
    bench.store().call(operation, |request| request).map(|answered| answered.answer)
}

/// Runs one operation without an actor that must succeed.
#[track_caller]
pub(crate) fn must<O: Operation>(bench: &dyn Bench, operation: &O) -> O::Answer {
    granted::<O, _>(ask(bench, operation))
}

/// Runs one operation without an actor that must fail with this code.
#[track_caller]
pub(crate) fn refuses<O: Operation>(bench: &dyn Bench, operation: &O, code: Code) -> Error {
    refused::<O>(ask(bench, operation), code)
}

/// Insists on a success.
#[track_caller]
pub(crate) fn granted<O: Operation, T>(result: Result<T>) -> T {
    match result {
        Ok(answer) => answer,
        Err(error) => panic!("`{}` failed: {}", O::NAME, wire(&error)),
    }
}

#[track_caller]
fn refused<O: Operation>(result: Result<O::Answer>, code: Code) -> Error {
    match result {
        Err(error) if error.code == code => error,
        Err(error) => panic!("`{}` must fail with {code}, not {}", O::NAME, wire(&error)),
        Ok(answer) => panic!(
            "`{}` must fail with {code}, but answered {}",
            O::NAME,
            serde_json::to_string(&answer).unwrap_or_default()
        ),
    }
}

/// Insists that an outcome is a failure with this code.
#[track_caller]
pub(crate) fn fails(outcome: Outcome, code: Code, what: &str) -> Error {
    match outcome {
        Err(error) if error.code == code => error,
        Err(error) => panic!("{what} must fail with {code}, not {}", wire(&error)),
        Ok(reply) => panic!("{what} must fail with {code}, but answered {}", reply.data),
    }
}

/// Insists that an outcome is a success.
#[track_caller]
pub(crate) fn succeeds(outcome: Outcome, what: &str) -> Reply {
    match outcome {
        Ok(reply) => reply,
        Err(error) => panic!("{what} failed: {}", wire(&error)),
    }
}

fn wire(error: &Error) -> String {
    serde_json::to_string(&error.to_wire()).unwrap_or_default()
}

/// A session that a case plays.
#[derive(Clone)]
pub(crate) struct Agent<'a> {
    pub(crate) bench: &'a dyn Bench,
    pub(crate) id: SessionId,
    pub(crate) name: String,
    pub(crate) digest: String,
}

impl<'a> Agent<'a> {
    /// Signs on under a name, without a process, for a day.
    #[track_caller]
    pub(crate) fn new(bench: &'a dyn Bench, name: &str) -> Self {
        Self::on(bench, &SignOn { ttl_ms: Some(DAY), ..sample::sign_on(name) })
    }

    /// Signs a person on.
    #[track_caller]
    pub(crate) fn human(bench: &'a dyn Bench, name: &str) -> Self {
        let sign_on = SignOn { kind: "human".into(), ttl_ms: Some(DAY), ..sample::sign_on(name) };
        Self::on(bench, &sign_on)
    }

    /// Signs on without a process, to be lost when this TTL has passed.
    #[track_caller]
    pub(crate) fn brief(bench: &'a dyn Bench, name: &str, ttl_ms: u64) -> Self {
        Self::on(bench, &SignOn { ttl_ms: Some(ttl_ms), ..sample::sign_on(name) })
    }

    /// Signs on with a process.
    #[track_caller]
    pub(crate) fn living(bench: &'a dyn Bench, name: &str, process: &ProcessIdentity) -> Self {
        let process = Some(process.clone());
        Self::on(bench, &SignOn { process, ..sample::sign_on(name) })
    }

    /// Signs on.
    #[track_caller]
    pub(crate) fn on(bench: &'a dyn Bench, sign_on: &SignOn) -> Self {
        Self::of(bench, &must(bench, sign_on))
    }

    /// The session of an answer.
    pub(crate) fn of(bench: &'a dyn Bench, signed_on: &SignedOn) -> Self {
        Self {
            bench,
            id: signed_on.session.clone(),
            name: signed_on.name.clone(),
            digest: signed_on.token_digest.clone(),
        }
    }

    pub(crate) fn actor(&self) -> Actor {
        Actor { session: self.reference(), token_digest: self.digest.clone() }
    }

    /// The same session with a token that is not its own.
    pub(crate) fn impostor(&self) -> Actor {
        Actor { session: self.reference(), token_digest: sample::token("not the token") }
    }

    pub(crate) fn reference(&self) -> SessionRef {
        SessionRef(self.id.0.clone())
    }

    pub(crate) fn request(&self, operation: impl Into<cotenant_core::Op>) -> Request {
        Request::new(operation).by(self.actor())
    }

    /// Sends a request as it is.
    pub(crate) fn send(&self, request: Request) -> Outcome {
        self.bench.store().one(request)
    }

    /// Runs an operation in the session's name.
    pub(crate) fn ask<O: Operation>(&self, operation: &O) -> Result<Answered<O::Answer>> {
        self.bench.store().call(operation, |request| request.by(self.actor()))
    }

    /// Runs an operation that must succeed.
    #[track_caller]
    pub(crate) fn must<O: Operation>(&self, operation: &O) -> O::Answer {
        granted::<O, _>(self.ask(operation)).answer
    }

    /// Runs an operation that must succeed, for its place in the log and on the clock.
    #[track_caller]
    pub(crate) fn answered<O: Operation>(&self, operation: &O) -> Answered<O::Answer> {
        granted::<O, _>(self.ask(operation))
    }

    /// Runs an operation that must fail with this code.
    #[track_caller]
    pub(crate) fn refused<O: Operation>(&self, operation: &O, code: Code) -> Error {
        refused::<O>(self.ask(operation).map(|answered| answered.answer), code)
    }

    /// Runs an operation that is guarded by a fence.
    pub(crate) fn guarded<O: Operation>(&self, operation: &O, guard: Guard) -> Result<O::Answer> {
        self.bench
            .store()
            .call(operation, |request| request.by(self.actor()).guarded_by([guard]))
            .map(|answered| answered.answer)
    }

    /// Runs an operation that must fail with `FENCED` under this guard.
    #[track_caller]
    pub(crate) fn fenced_by<O: Operation>(&self, operation: &O, guard: Guard) -> Error {
        refused::<O>(self.guarded(operation, guard), Code::Fenced)
    }

    /// The session as others see it.
    #[track_caller]
    pub(crate) fn view(&self) -> SessionView {
        must(self.bench, &ShowSession { session: self.reference() }).session
    }

    pub(crate) fn state(&self) -> State {
        self.view().state
    }

    /// Starts a call that waits, on a connection of its own.
    pub(crate) fn start(&self, operation: impl Into<cotenant_core::Op>) -> Pending {
        pending(self.bench, self.request(operation))
    }
}

/// A call on its way, on a thread and connection of its own.
pub(crate) struct Pending(Receiver<Outcome>);

/// Sends a request on another connection.
pub(crate) fn pending(bench: &dyn Bench, request: Request) -> Pending {
    let store = bench.second();
    let (sender, receiver) = channel();
    thread::spawn(move || sender.send(store.one(request)));
    Pending(receiver)
}

impl Pending {
    /// Waits for the outcome.
    #[track_caller]
    pub(crate) fn outcome(self) -> Outcome {
        match self.0.recv_timeout(PATIENCE) {
            Ok(outcome) => outcome,
            Err(RecvTimeoutError::Timeout) => panic!("the waiting call never returned"),
            Err(RecvTimeoutError::Disconnected) => panic!("the waiting call panicked"),
        }
    }

    /// The outcome, once there is one.
    #[track_caller]
    pub(crate) fn poll(&self) -> Option<Outcome> {
        match self.0.try_recv() {
            Ok(outcome) => Some(outcome),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => panic!("the waiting call panicked"),
        }
    }

    /// Insists that the call still waits.
    #[track_caller]
    pub(crate) fn still_waits(&self, what: &str) {
        let outcome = self.poll();
        assert!(outcome.is_none(), "{what} must wait, but got {outcome:?}");
    }
}

/// Reads an answer.
#[track_caller]
pub(crate) fn answer<O: Operation>(reply: &Reply) -> O::Answer {
    serde_json::from_str(reply.data.get())
        .unwrap_or_else(|error| panic!("the answer of `{}` cannot be read: {error}", O::NAME))
}

/// Looks again until a condition holds.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "it never happened that {what}");
        thread::park_timeout(PAUSE);
    }
}

/// The newest event.
#[track_caller]
pub(crate) fn head(bench: &dyn Bench) -> HeadView {
    must(bench, &Head {})
}

/// The number of the newest event.
#[track_caller]
pub(crate) fn head_seq(bench: &dyn Bench) -> i64 {
    head(bench).seq.0
}

/// Every event that is kept.
#[track_caller]
pub(crate) fn log(bench: &dyn Bench) -> Vec<Event> {
    log_after(bench, "start")
}

/// Every event behind a cursor.
#[track_caller]
pub(crate) fn log_after(bench: &dyn Bench, cursor: &str) -> Vec<Event> {
    let mut all = Vec::new();
    let mut after = cursor.to_owned();
    loop {
        let page = must(bench, &Read { limit: 1_000, ..sample::read(&after) });
        all.extend(page.events);
        if !page.more {
            return all;
        }
        assert_ne!(page.cursor, after, "a cursor with more behind it must move");
        after = page.cursor;
    }
}

/// The event of a number.
#[track_caller]
pub(crate) fn event(bench: &dyn Bench, seq: Seq) -> Event {
    log(bench)
        .into_iter()
        .find(|event| event.seq == seq)
        .unwrap_or_else(|| panic!("the log has no event {seq}"))
}

/// How many events of this kind the log has.
#[track_caller]
pub(crate) fn count(bench: &dyn Bench, kind: &str) -> usize {
    log(bench).iter().filter(|event| event.kind == kind).count()
}

/// Whether a text names a session, by name or by id.
pub(crate) fn names(text: &str, agent: &Agent<'_>) -> bool {
    text.contains(&format!("\"{}\"", agent.name)) || text.contains(&agent.id.0)
}
