//! Operations on a store in this process.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use cotenant_core::claim::{Claim, Item, ItemKind, Mode};
use cotenant_core::data::Put;
use cotenant_core::event::{Append, Head, Read, sha256_hex};
use cotenant_core::id::uuid_v7;
use cotenant_core::json::Json;
use cotenant_core::lease::Acquire;
use cotenant_core::name::SessionRef;
use cotenant_core::process::ProcessIdentity;
use cotenant_core::session::SignOn;
use cotenant_core::store::{Actor, Request, Store};

/// A session makes at most so many claims here, fewer than it may: counting them is part of a
/// claim, so that every contender must hold as many.
pub(crate) const CLAIMS_A_SESSION: usize = 200;

/// A sign-on under a name; its token is that name.
pub(crate) fn sign_on(name: &str, process: Option<ProcessIdentity>) -> SignOn {
    SignOn {
        name: Some(name.to_owned()),
        process,
        purpose: Some("measuring".to_owned()),
        ..SignOn::new("agent", "bench", sha256_hex(name))
    }
}

/// Signs a session on and answers it as an actor.
pub(crate) fn actor(
    store: &dyn Store,
    name: &str,
    process: Option<ProcessIdentity>,
) -> Result<Actor> {
    let operation = sign_on(name, process);
    let signed = store.call(&operation, |request| request)?.answer;
    let session = SessionRef(signed.session.0);
    Ok(Actor { session, token_digest: operation.token_digest })
}

/// Stores a small value.
pub(crate) fn put(key: &str, value: &str) -> Result<Put> {
    let value = Json::parse(value)?;
    let (scope, key) = ("bench".to_owned(), key.to_owned());
    Ok(Put { scope, key, value, expect: None, ephemeral: false, ttl_ms: None })
}

/// Claims an issue.
pub(crate) fn claim(issue: u64) -> Claim {
    Claim {
        items: vec![Item { kind: ItemKind::Issue, name: issue.to_string(), tree: None }],
        mode: Mode::Exclusive,
        intent: Some("measuring".to_owned()),
        ttl_ms: None,
        automatic: false,
        any: false,
    }
}

/// Takes a lease for a minute.
pub(crate) fn acquire(resource: &str) -> Acquire {
    Acquire {
        resource: resource.to_owned(),
        ttl_ms: 60_000,
        slots: None,
        wait_ms: None,
        lock_delay_ms: None,
        note: None,
    }
}

/// Writes an event.
pub(crate) fn append(payload: &str) -> Append {
    let payload = Json::stored(payload.to_owned());
    Append { kind: "user.bench".to_owned(), scope: "bench".to_owned(), payload }
}

/// Reads events behind a cursor.
pub(crate) fn read(after: String, limit: u32, wait_ms: Option<u64>) -> Read {
    let after = Some(after);
    Read { after, last: None, kind: None, scope: None, session: None, limit, wait_ms }
}

/// The cursor behind the newest event.
pub(crate) fn head(store: &dyn Store) -> Result<String> {
    Ok(store.call(&Head {}, |request| request)?.answer.cursor)
}

/// A request in a session's name, under an id that was not used before.
pub(crate) fn request(operation: impl Into<cotenant_core::Op>, by: &Actor, number: u64) -> Request {
    Request::new(operation).by(by.clone()).id(request_id(number))
}

/// The id of a request, as the program draws it: the time, and what tells it from all others of that moment.
pub(crate) fn request_id(number: u64) -> String {
    let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let mut distinct = [0; 10];
    distinct[2..].copy_from_slice(&number.to_be_bytes());
    uuid_v7(u64::try_from(unix_ms).unwrap_or(u64::MAX), distinct)
}

/// Carries out requests as one batch, all of which must succeed.
pub(crate) fn all(store: &dyn Store, requests: Vec<Request>) -> Result<()> {
    store
        .submit(requests)
        .into_iter()
        .try_for_each(|outcome| outcome.map(drop).context("a request of a batch"))
}

/// A session by the name under which [`sign_on`] signed it on.
pub(crate) fn by_name(name: &str) -> Actor {
    Actor { session: SessionRef(name.to_owned()), token_digest: sha256_hex(name) }
}
