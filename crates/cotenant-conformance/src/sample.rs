//! Operations with their usual arguments.

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use cotenant_core::{
    barrier::Arrive,
    claim::{Claim, Item, ItemKind, Mode, Unclaim, Who},
    clock::{DAY, MINUTE},
    data::{Change, Delete, DeleteScope, Get, List, ListScopes, Put, Txn, Update, Write},
    event::{Append, Read, sha256_hex},
    id::{Fence, Rev, Seq, SessionId},
    instruction::{AddInstruction, InstructionRef},
    json::Json,
    lease::{Acquire, Admit, Check, Release, Renew},
    message::{Acknowledge, Inbox, ListMessages, SendMessage},
    metric::ReportMetrics,
    name::{Addressee, SessionRef},
    offer::{AcceptOffer, DeclineOffer, ListOffers, Offer, WithdrawOffer},
    progress::{SetProgress, ShowProgress},
    retention::{ListLeftovers, RemoveLeftovers},
    session::{Lineage, ListSessions, ShowSession, SignOff, SignOn},
    store::Guard,
    task::{AddTasks, NewTask, NextTask},
};

/// The TTL of [`acquire`].
pub(crate) const TTL: u64 = MINUTE;

/// The tokens that the cases drew, by their digests.
static TOKENS: Mutex<Option<HashMap<String, String>>> = Mutex::new(None);

/// Draws a token and answers its digest.
pub(crate) fn token(text: &str) -> String {
    let digest = sha256_hex(text);
    let mut tokens = TOKENS.lock().unwrap_or_else(PoisonError::into_inner);
    tokens.get_or_insert_default().insert(digest.clone(), text.to_owned());
    digest
}

/// The token of a digest, if a case drew it: for a back end that wants to see it.
pub fn token_of(digest: &str) -> Option<String> {
    let tokens = TOKENS.lock().unwrap_or_else(PoisonError::into_inner);
    tokens.as_ref()?.get(digest).cloned()
}

/// A sign-on without a name, under a token of its own.
pub(crate) fn anonymous() -> SignOn {
    static DRAWN: AtomicUsize = AtomicUsize::new(0);
    let number = DRAWN.fetch_add(1, Ordering::Relaxed);
    SignOn::new("claude", "ada", token(&format!("token {number}")))
}

pub(crate) fn sign_on(name: &str) -> SignOn {
    SignOn {
        name: Some(name.into()),
        token_digest: token(&format!("the token of {name}")),
        ..anonymous()
    }
}

pub(crate) fn sign_off() -> SignOff {
    SignOff::default()
}

pub(crate) fn show(session: &str) -> ShowSession {
    ShowSession { session: SessionRef(session.into()) }
}

pub(crate) fn lineage(session: &SessionId) -> Lineage {
    Lineage {
        session: SessionRef(session.0.clone()),
        direction: cotenant_core::session::Direction::Tree,
    }
}

pub(crate) fn every_session() -> ListSessions {
    ListSessions {
        all: true,
        kind: None,
        label: None,
        silent_for_ms: None,
        handoff_ready: false,
        after: None,
        limit: 1_000,
    }
}

pub(crate) fn json(text: &str) -> Json {
    Json::stored(text.to_owned())
}

pub(crate) fn get(scope: &str, key: &str) -> Get {
    Get { scope: scope.into(), key: key.into() }
}

pub(crate) fn put(scope: &str, key: &str, value: &str) -> Put {
    Put {
        scope: scope.into(),
        key: key.into(),
        value: json(value),
        expect: None,
        ephemeral: false,
        ttl_ms: None,
    }
}

pub(crate) fn put_expecting(scope: &str, key: &str, value: &str, rev: i64) -> Put {
    Put { expect: Some(Rev(rev)), ..put(scope, key, value) }
}

pub(crate) fn delete(scope: &str, key: &str) -> Delete {
    Delete { scope: scope.into(), key: key.into(), expect: None }
}

pub(crate) fn delete_scope(scope: &str) -> DeleteScope {
    DeleteScope { scope: scope.into(), recursive: false, expect_count: None }
}

pub(crate) fn update(scope: &str, key: &str, change: Change) -> Update {
    Update { scope: scope.into(), key: key.into(), change, keep: None }
}

pub(crate) fn writes(ops: Vec<Write>) -> Txn {
    Txn { compares: Vec::new(), ops }
}

pub(crate) fn list(scope: &str) -> List {
    List { scope: scope.into(), key: String::new(), after: None, limit: 1_000, exact: false }
}

pub(crate) fn scopes(pattern: &str) -> ListScopes {
    ListScopes { pattern: pattern.into(), after: None, limit: 1_000 }
}

pub(crate) fn acquire(resource: &str) -> Acquire {
    Acquire {
        resource: resource.into(),
        ttl_ms: TTL,
        slots: None,
        wait_ms: None,
        lock_delay_ms: None,
        note: None,
    }
}

/// An acquisition that waits for an hour of the caller's time.
pub(crate) fn wait_for(resource: &str) -> Acquire {
    Acquire { wait_ms: Some(60 * MINUTE), ..acquire(resource) }
}

pub(crate) fn renew(resource: &str, fence: Fence) -> Renew {
    Renew { resource: resource.into(), fence, ttl_ms: None }
}

pub(crate) fn release(resource: &str, fence: Fence) -> Release {
    Release { resource: resource.into(), fence }
}

pub(crate) fn check(resource: &str, fence: Fence) -> Check {
    Check { resource: resource.into(), fence }
}

pub(crate) fn admit(resource: &str, fence: i64) -> Admit {
    Admit { resource: resource.into(), fence: Fence(fence) }
}

pub(crate) fn guard(resource: &str, fence: Fence) -> Guard {
    Guard { resource: resource.into(), fence }
}

/// An item such as `issue:15`.
pub(crate) fn item(text: &str) -> Item {
    text.parse().unwrap_or_else(|error| panic!("`{text}` is not an item: {error}"))
}

pub(crate) fn path(tree: &str, name: &str) -> Item {
    Item { kind: ItemKind::Path, name: name.into(), tree: Some(tree.into()) }
}

pub(crate) fn claim_items(items: Vec<Item>) -> Claim {
    Claim { items, mode: Mode::Exclusive, intent: None, ttl_ms: None, automatic: false, any: false }
}

pub(crate) fn claim(items: &[&str]) -> Claim {
    claim_items(items.iter().map(|text| item(text)).collect())
}

/// A claim of a path in the tree `t1`.
pub(crate) fn claim_path(name: &str) -> Claim {
    claim_items(vec![path("t1", name)])
}

/// A claim that the first edit of a file in the tree `t1` makes.
pub(crate) fn edit(name: &str) -> Claim {
    Claim { automatic: true, ..claim_path(name) }
}

pub(crate) fn unclaim(items: &[&str]) -> Unclaim {
    Unclaim { items: items.iter().map(|text| item(text)).collect(), all: false }
}

pub(crate) fn who(text: &str) -> Who {
    Who { item: Some(item(text)), pattern: None, session: None }
}

/// A removal of what was not heard of for so many days.
pub(crate) fn remove_leftovers(days: u64) -> RemoveLeftovers {
    RemoveLeftovers { older_than_ms: days * DAY, after: None, limit: 256 }
}

pub(crate) fn leftovers(days: u64) -> ListLeftovers {
    ListLeftovers { older_than_ms: days * DAY, limit: 1_000 }
}

pub(crate) fn note(text: &str) -> Append {
    Append { kind: "user.note".into(), scope: "notes".into(), payload: Json::of(&text) }
}

pub(crate) fn read(after: &str) -> Read {
    Read {
        after: Some(after.into()),
        last: None,
        kind: None,
        scope: None,
        session: None,
        limit: 100,
        wait_ms: None,
    }
}

/// A task of a queue.
pub(crate) fn task(queue: &str) -> NewTask {
    NewTask { queue: queue.into(), ..NewTask::new(Json::of(&"work")) }
}

pub(crate) fn add(tasks: &[NewTask]) -> AddTasks {
    AddTasks { tasks: tasks.to_vec() }
}

/// The next task of a queue.
pub(crate) fn next(queue: &str) -> NextTask {
    NextTask { queues: vec![queue.into()], ..NextTask::default() }
}

/// A reading of so many of the newest events.
pub(crate) fn newest(last: u32) -> Read {
    Read { after: None, last: Some(last), ..read("start") }
}

pub(crate) fn progress(subject: &str, phase: &str, percent: u8) -> SetProgress {
    SetProgress { subject: subject.into(), phase: phase.into(), percent, message: None }
}

pub(crate) fn show_progress(pattern: Option<&str>) -> ShowProgress {
    ShowProgress { pattern: pattern.map(str::to_owned), after: None, limit: 1_000 }
}

/// An offer to everybody of items such as `issue:15` or `lease:deploy`.
pub(crate) fn offer(items: &[&str]) -> Offer {
    offer_items(items.to_vec(), None)
}

pub(crate) fn offer_items(items: Vec<&str>, payload: Option<Json>) -> Offer {
    let read = |text: &str| {
        text.parse().unwrap_or_else(|error| panic!("`{text}` cannot be offered: {error}"))
    };
    Offer {
        to: Addressee::Everybody,
        payload,
        items: items.into_iter().map(read).collect(),
        ttl_ms: None,
    }
}

/// A session as an addressee.
pub(crate) fn to(session: &str) -> Addressee {
    Addressee::Session(SessionRef(session.into()))
}

pub(crate) fn accept(offer: Seq) -> AcceptOffer {
    AcceptOffer { offer }
}

pub(crate) fn decline(offer: Seq) -> DeclineOffer {
    DeclineOffer { offer, reason: None }
}

pub(crate) fn withdraw(offer: Seq) -> WithdrawOffer {
    WithdrawOffer { offer }
}

/// The open offers.
pub(crate) fn offers() -> ListOffers {
    ListOffers { all: false, from: None, acceptor: None, after: None, limit: 1_000 }
}

pub(crate) fn send(session: &str, text: &str) -> SendMessage {
    SendMessage { to: to(session), text: text.into(), ttl_ms: None }
}

pub(crate) fn inbox() -> Inbox {
    Inbox::default()
}

/// What a session has not read.
pub(crate) fn messages(session: &str) -> ListMessages {
    ListMessages { session: SessionRef(session.into()), all: false, after: None, limit: 1_000 }
}

pub(crate) fn ack(messages: &[Seq]) -> Acknowledge {
    Acknowledge { messages: messages.to_vec() }
}

pub(crate) fn arrive(name: &str, parties: u32) -> Arrive {
    Arrive { name: name.into(), parties, timeout_ms: None, wait_ms: None }
}

/// An instruction for the project.
pub(crate) fn instruct(text: &str) -> AddInstruction {
    AddInstruction::new(text)
}

/// The reference to an instruction by its number.
pub(crate) fn number(id: Rev) -> InstructionRef {
    InstructionRef(id.to_string())
}

/// A report of counters and gauges, of one source.
pub(crate) fn metrics(seq: i64, counters: &[(&str, i64)], gauges: &[(&str, i64)]) -> ReportMetrics {
    let numbers = |numbers: &[(&str, i64)]| {
        numbers.iter().map(|(name, number)| ((*name).to_owned(), *number)).collect()
    };
    ReportMetrics {
        source: "test".into(),
        model: None,
        counters: numbers(counters),
        gauges: numbers(gauges),
        seq,
        thresholds: Vec::new(),
    }
}
