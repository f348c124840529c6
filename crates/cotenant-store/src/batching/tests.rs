//! What threads do to one another, with a clock that stops a leader inside its transaction.

use std::{
    path::Path,
    sync::{
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{Receiver, channel},
    },
    thread,
};

use cotenant_core::{
    claim::{Claim, Item, Mode},
    clock::Reading,
    data::{Change, Get, Put, Update},
    event::{Append, Redact, sha256_hex},
    id::{Rev, Seq},
    json::Json,
    name::SessionRef,
    process::{Liveness, ProcessIdentity, Processes},
    session::SignOn,
    store::{Actor, Reply},
};
use tempfile::TempDir;

use super::*;
use crate::{
    IfMissing,
    sql::{Clock, Sql},
};

const PATIENCE: Duration = Duration::from_mins(1);
/// A clock at which writers can be stopped, inside their transaction.
#[derive(Clone, Default)]
struct Stage {
    staged: Arc<Staged>,
    /// Whether whoever looks at a process panics.
    poisoned: Arc<AtomicBool>,
}

#[derive(Default)]
struct Staged {
    readings: AtomicUsize,
    stops: AtomicBool,
    /// How many are stopped.
    stopped: Mutex<usize>,
    changed: Condvar,
    panics: AtomicUsize,
}

impl Stage {
    fn stop(&self) {
        self.staged.stops.store(true, Ordering::SeqCst);
    }

    fn wait_until_stopped(&self) {
        let stopped = locked(&self.staged.stopped);
        drop(self.staged.changed.wait_while(stopped, |stopped| *stopped == 0).unwrap());
    }

    fn go(&self) {
        self.staged.stops.store(false, Ordering::SeqCst);
        *locked(&self.staged.stopped) = 0;
        self.staged.changed.notify_all();
    }

    fn readings(&self) -> usize {
        self.staged.readings.load(Ordering::SeqCst)
    }
}

impl Clock for Stage {
    fn reading(&self, _: &mut dyn Sql) -> Result<Reading> {
        self.staged.readings.fetch_add(1, Ordering::SeqCst);
        if self.staged.stops.load(Ordering::SeqCst) {
            let mut stopped = locked(&self.staged.stopped);
            *stopped += 1;
            self.staged.changed.notify_all();
            drop(self.staged.changed.wait_while(stopped, |stopped| *stopped > 0).unwrap());
        }
        let panics = &self.staged.panics;
        let due =
            panics.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        assert!(due != Ok(1), "the clock is broken");
        Ok(Reading { source: "boot".into(), value_ms: 1_000 })
    }

    fn wall_ms(&self) -> i64 {
        1_800_000_000_000
    }
}

impl Processes for Stage {
    fn liveness(&self, _: &ProcessIdentity) -> Liveness {
        assert!(!self.poisoned.load(Ordering::SeqCst), "a process that cannot be looked at");
        Liveness::Alive
    }
}

struct Bench {
    directory: TempDir,
    stage: Stage,
    /// The clock of those who read.
    readers: Stage,
    store: Arc<Batching>,
    actor: Actor,
}

/// Opens a store that believes in a clock.
fn open(directory: &Path, clock: &Stage) -> LocalStore {
    let file = directory.join("cotenant/store.db");
    let (clock, processes) = (Box::new(clock.clone()), Box::new(clock.clone()));
    LocalStore::open_with(&file, IfMissing::Create, clock, processes).unwrap()
}

impl Bench {
    fn new() -> Self {
        let (directory, stage) = (tempfile::tempdir().unwrap(), Stage::default());
        let writes = open(directory.path(), &stage);
        let place = directory.path().to_path_buf();
        // Readers are not stopped.
        let poisoned = Arc::clone(&stage.poisoned);
        let readers = Stage { staged: Arc::default(), poisoned };
        let clock = readers.clone();
        let also = move || Ok(open(&place, &clock));
        let store = Arc::new(Batching::new(writes, also));
        let actor = sign_on(&*store, "a", None);
        Self { directory, stage, readers, store, actor }
    }

    /// The same store, opened by somebody else.
    fn other(&self, clock: &Stage) -> LocalStore {
        open(self.directory.path(), clock).busy_timeout(Duration::from_millis(100))
    }

    /// Sends a request on a thread of its own.
    fn send(&self, requests: Vec<Request>) -> Pending {
        let (store, (sender, outcome)) = (Arc::clone(&self.store), channel());
        thread::spawn(move || {
            let outcomes = catch_unwind(AssertUnwindSafe(|| store.submit(requests)));
            let _ = sender.send(outcomes.ok());
        });
        Pending(outcome)
    }

    /// Stops a leader inside its transaction.
    fn lead(&self) -> Pending {
        self.stage.stop();
        let leader = self.send(vec![self.put("leader", "0", 0).id("leader")]);
        self.stage.wait_until_stopped();
        leader
    }

    /// Sends requests that queue behind a leader, in this order.
    fn queue(&self, requests: Vec<Vec<Request>>) -> Vec<Pending> {
        let queue = |requests| {
            let before = self.store.queued();
            let pending = self.send(requests);
            self.queued(before + 1);
            pending
        };
        requests.into_iter().map(queue).collect()
    }

    fn queued(&self, count: usize) {
        self.until(|| self.store.queued() == count);
    }

    fn until(&self, holds: impl Fn() -> bool) {
        let begun = Instant::now();
        while !holds() {
            assert!(begun.elapsed() < PATIENCE, "{} are queued", self.store.queued());
            thread::yield_now();
        }
    }

    fn put(&self, key: &str, value: &str, expect: i64) -> Request {
        let (scope, key, value) = ("s".into(), key.into(), Json::stored(value.into()));
        let expect = Some(Rev(expect));
        Request::new(Put { scope, key, value, expect, ephemeral: false, ttl_ms: None })
            .by(self.actor.clone())
    }

    fn add(&self, id: &str) -> Request {
        let (scope, key) = ("s".into(), "n".into());
        let update = Update { scope, key, change: Change::Add(1), keep: None };
        Request::new(update).by(self.actor.clone()).id(id)
    }

    fn get(&self, key: &str) -> Result<cotenant_core::data::Entry> {
        let store: &dyn Store = &*self.store;
        let get = Get { scope: "s".into(), key: key.into() };
        store.call(&get, |request| request).map(|answered| answered.answer)
    }
}

fn sign_on(store: &dyn Store, name: &str, process: Option<ProcessIdentity>) -> Actor {
    let token_digest = sha256_hex("token");
    let new = SignOn::new("agent", "ada", token_digest.clone());
    let operation = SignOn { name: Some(name.into()), process, ..new };
    let signed = store.call(&operation, |request| request).unwrap().answer;
    Actor { session: SessionRef(signed.session.0), token_digest }
}

struct Pending(Receiver<Option<Vec<Outcome>>>);

impl Pending {
    /// The outcomes; none if the call panicked.
    fn outcomes(self) -> Option<Vec<Outcome>> {
        self.0.recv_timeout(PATIENCE).expect("a call never returned")
    }

    fn reply(self) -> Reply {
        self.outcomes().expect("the call panicked").pop().unwrap().unwrap()
    }

    fn error(self) -> Error {
        self.outcomes().expect("the call panicked").pop().unwrap().unwrap_err()
    }
}

#[test]
fn what_comes_meanwhile_shares_one_transaction_in_order() {
    let bench = Bench::new();
    let leader = bench.lead();
    let before = bench.stage.readings();
    let requests = (0..20).map(|n| vec![bench.put(&format!("k{n}"), &n.to_string(), 0)]).collect();
    let pending = bench.queue(requests);
    bench.stage.go();
    let first = leader.reply().seq;
    for (number, pending) in pending.into_iter().enumerate() {
        let (reply, entry) = (pending.reply(), bench.get(&format!("k{number}")).unwrap());
        assert_eq!(reply.seq, Seq(first.0 + 1 + number as i64), "they came in this order");
        assert_eq!(entry.rev, Rev(reply.seq.0), "its own outcome");
    }
    assert_eq!(bench.stage.readings(), before + 1, "one transaction for 20 requests");
}

#[test]
fn each_has_the_outcome_of_its_own_request() {
    let bench = Bench::new();
    let leader = bench.lead();
    let pending = bench.queue(vec![
        vec![bench.put("x", "1", 0)],
        vec![bench.put("x", "2", 0)],
        vec![bench.put("x", "3", 0)],
        vec![bench.put("y", "1", 0), bench.put("y", "2", 0), bench.put("z", "1", 0)],
        vec![bench.add("n")],
    ]);
    bench.stage.go();
    leader.reply();
    let codes: Vec<Vec<Option<Code>>> = pending
        .into_iter()
        .map(|pending| {
            let outcomes = pending.outcomes().unwrap();
            outcomes.into_iter().map(|outcome| outcome.err().map(|error| error.code)).collect()
        })
        .collect();
    let mismatch = Some(Code::RevMismatch);
    let told = [vec![None], vec![mismatch], vec![mismatch], vec![None, mismatch, None], vec![None]];
    assert_eq!(codes, told);
}

#[test]
fn at_most_so_many_share_a_transaction_and_all_are_carried_out() {
    let bench = Bench::new();
    let leader = bench.lead();
    let before = bench.stage.readings();
    let count = 3 * TOGETHER_MAX;
    let pending = bench.queue((0..count).map(|n| vec![bench.add(&format!("r{n}"))]).collect());
    bench.stage.go();
    leader.reply();
    for pending in pending {
        pending.reply();
    }
    assert_eq!(bench.get("n").unwrap().value.text(), count.to_string());
    assert_eq!(bench.stage.readings(), before + 3);
}

#[test]
fn reads_and_refusals_wait_for_no_turn() {
    let bench = Bench::new();
    (&*bench.store as &dyn Store).one(bench.put("x", "1", 0)).unwrap();
    let leader = bench.lead();
    assert_eq!(bench.get("x").unwrap().value.text(), "1");
    assert_eq!(bench.send(vec![bench.put("x", "2", 0)]).error().code, Code::RevMismatch);
    assert_eq!(bench.store.queued(), 0);
    bench.stage.go();
    leader.reply();
}

#[test]
fn an_answer_waits_for_nobody_who_tries_its_request() {
    let bench = Bench::new();
    let leader = bench.lead();
    let trying = locked(&bench.store.rehearsing);
    let began = Instant::now();
    let queued = bench.queue(vec![vec![bench.add("r")]]).pop().unwrap();
    bench.until(|| began.elapsed() > 3 * REHEARSED_AFTER);
    bench.stage.go();
    leader.reply();
    let answer = queued.0.recv_timeout(Duration::from_secs(10));
    assert!(answer.is_ok(), "it waits for another one to be tried");
    drop(trying);
}

#[test]
fn what_was_taken_from_the_queue_is_not_tried() {
    let bench = Bench::new();
    let taken = Unit::new(vec![bench.put("x", "1", 7)], Instant::now(), true);
    assert!(matches!(bench.store.rehearse(&taken), Rehearsal::NoNeed));
    assert!(bench.store.reads.get().is_none());
}

#[test]
fn a_transaction_that_panics_is_carried_out_one_by_one() {
    let bench = Bench::new();
    let leader = bench.lead();
    let without_id = Request { request_id: None, ..bench.add("-") };
    let mut requests: Vec<_> = (0..5).map(|n| vec![bench.add(&format!("r{n}"))]).collect();
    requests.push(vec![without_id]);
    let mut pending = bench.queue(requests);
    // The next reading is that of the transaction of all of them.
    bench.stage.staged.panics.store(2, Ordering::SeqCst);
    bench.stage.go();
    leader.reply();
    let unknown = pending.pop().unwrap();
    assert_eq!(unknown.error().code, Code::Internal, "nobody knows whether it took effect");
    for pending in pending {
        pending.reply();
    }
    assert_eq!(bench.get("n").unwrap().value.text(), "5");
    bench.send(vec![bench.add("afterwards")]).reply();
}

#[test]
fn a_request_that_panics_ends_its_own_call_only() {
    let bench = Bench::new();
    let process = ProcessIdentity {
        host: "h".into(),
        boot: "b".into(),
        namespace: "n".into(),
        pid: 1,
        started: 1,
    };
    let holder = sign_on(&*bench.store, "holder", Some(process));
    let claim = |actor: &Actor| {
        let items: Vec<Item> = vec!["issue:1".parse().unwrap()];
        let (mode, intent, ttl_ms) = (Mode::Exclusive, None, None);
        Request::new(Claim { items, mode, intent, ttl_ms, automatic: false, any: false })
            .by(actor.clone())
            .id("claim")
    };
    (&*bench.store as &dyn Store).one(claim(&holder)).unwrap();
    bench.stage.poisoned.store(true, Ordering::SeqCst);
    let leader = bench.lead();
    let read = bench.readers.readings();
    let requests = [bench.add("r0"), claim(&bench.actor), bench.add("r1"), bench.add("r2")];
    let pending = bench.queue(requests.into_iter().map(|request| vec![request]).collect());
    // All of them rehearse, and the one panics.
    bench.until(|| bench.readers.readings() >= read + 4);
    assert_eq!(bench.store.queued(), 4, "a panic leaves nobody's place in the queue empty");
    bench.stage.go();
    leader.reply();
    let panicked: Vec<bool> =
        pending.into_iter().map(|pending| pending.outcomes().is_none()).collect();
    assert_eq!(panicked, [false, true, false, false]);
    assert_eq!(bench.get("n").unwrap().value.text(), "3");
    bench.send(vec![bench.add("afterwards")]).reply();
}

#[test]
fn a_store_that_stays_busy_is_told_to_each_without_effect() {
    let bench = Bench::new();
    let place = bench.directory.path().to_path_buf();
    let also = move || Ok(open(&place, &Stage::default()));
    let store = Arc::new(Batching::new(bench.other(&Stage::default()), also));
    // Somebody else is in a transaction.
    let other = Stage::default();
    other.stop();
    let (slow, put) = (bench.other(&other), bench.put("other", "1", 0));
    let slow = thread::spawn(move || (&slow as &dyn Store).one(put));
    other.wait_until_stopped();
    thread::scope(|scope| {
        for number in 0..8 {
            let (store, add) = (&store, bench.add(&format!("r{number}")));
            scope.spawn(move || {
                let error = (&**store as &dyn Store).one(add).unwrap_err();
                assert_eq!(error.code, Code::Busy, "{error:?}");
            });
        }
    });
    other.go();
    slow.join().unwrap().unwrap();
    assert_eq!(bench.get("n").unwrap_err().code, Code::NotFound, "BUSY means no effect");
    (&*store as &dyn Store).one(bench.add("r0")).unwrap();
    assert_eq!(bench.get("n").unwrap().value.text(), "1");
}

#[test]
fn a_redaction_that_leaves_traces_is_told_alone() {
    let bench = Bench::new();
    let file = bench.directory.path().join("cotenant/store.db");
    let store: &dyn Store = &*bench.store;
    let (kind, payload) = ("user.note".into(), Json::of(&"secret"));
    let note = Append { kind, scope: "s".into(), payload };
    let seq = store.one(Request::new(note).by(bench.actor.clone())).unwrap().seq;
    // A reader keeps a snapshot in which it is still there.
    let reader = rusqlite::Connection::open(&file).unwrap();
    reader.execute_batch("BEGIN; SELECT COUNT(*) FROM event").unwrap();
    let redact = || {
        let redact = Redact { seq, reason: "a secret".into() };
        Request::new(redact).by(bench.actor.clone()).id("redact")
    };
    let hurried = bench.other(&Stage::default());
    let mut outcomes = hurried.submit(vec![redact(), bench.add("n")]);
    outcomes.pop().unwrap().unwrap();
    assert_eq!(outcomes.pop().unwrap().unwrap_err().code, Code::Busy);
    reader.execute_batch("COMMIT").unwrap();
    assert!((&hurried as &dyn Store).one(redact()).unwrap().replayed);
    assert_eq!(bench.get("n").unwrap().value.text(), "1");
}
