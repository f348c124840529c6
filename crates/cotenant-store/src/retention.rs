//! What sessions leave behind that ended long ago.
//!
//! # Invariants
//! - A session is removed only if nothing refers to it: no session that stays came from it, and it
//!   holds nothing, not even a resource that cools down.
//! - Every key that goes is an event, and so is every session.
//!
//! Children are younger than their parents, so the newest are looked at first: a whole lineage goes
//! in one pass.

use std::collections::BTreeSet;

use cotenant_core::{
    Result,
    id::{SessionId, Tick},
    json::Json,
    retention::{Leftover, Leftovers, ListLeftovers, RemoveLeftovers, RemovedLeftovers},
};
use serde_json::json;

use crate::{
    data, holding, lineage, params,
    session::{self, SessionRow, name_key},
    testing::mutant,
    tx::Tx,
};

/// Sessions that are looked at with one statement.
const PAGE: i64 = 1_000;
const DELETE_SESSION: &str = "DELETE FROM session WHERE id = $1";
/// Once at the end: names, conversations and processes that no session has any more.
const DELETE_ALIASES: &str = "DELETE FROM alias WHERE NOT EXISTS \
     (SELECT 1 FROM session s WHERE s.id = alias.session)";
/// Likewise: results are found by their ids, not by who asked. Those of sessions that are over for so long
/// are the oldest, so that what is newer is not looked at.
const DELETE_REQUESTS: &str = "DELETE FROM request WHERE number < COALESCE( \
     (SELECT number FROM request WHERE tick >= $1 ORDER BY number LIMIT 1), 9007199254740991) \
     AND actor <> '' AND NOT EXISTS (SELECT 1 FROM session s WHERE s.id = request.actor)";
const COUNT_CONSUMERS: &str =
    "SELECT COUNT(*) FROM mark WHERE kind = 'consumer' AND seen_tick < $1";
const DELETE_CONSUMERS: &str = "DELETE FROM mark WHERE kind = 'consumer' AND seen_tick < $1";

/// What of a session can go.
struct Going {
    session: SessionRow,
    keys: Vec<data::Place>,
}

impl Going {
    fn view(&self, tx: &Tx<'_>) -> Leftover {
        let row = &self.session;
        Leftover {
            session: SessionId(row.id.clone()),
            name: row.name.clone(),
            kind: row.kind.clone(),
            state: row.state,
            heartbeat_age_ms: row.heartbeat.age(tx.now),
            keys: self.keys.len() as u64,
            token_digest: row.token_digest.clone(),
        }
    }
}

/// Decides on a session that is over and was last heard of before a tick. Those in `gone` are as good as
/// removed. Work that refers to sessions without holding a row of `lease` is to be asked for here.
fn going(
    tx: &mut Tx<'_>,
    session: SessionRow,
    before: Tick,
    gone: &BTreeSet<String>,
) -> Result<Option<Going>> {
    let children = lineage::children(tx, &session.id)?;
    if children.iter().any(|child| !gone.contains(child)) && !mutant("gc_orphans") {
        return Ok(None);
    }
    if holding::holds(tx, &session.id)? {
        return Ok(None);
    }
    let mut keys = data::owned(tx, &session.id)?;
    // Another session may have the name by now, and go on with what is kept under it.
    let named = session::by_alias(tx, &name_key(&session.name))?;
    if named.is_some_and(|named| named.id == session.id) {
        let before = if mutant("gc_takes_new_keys") { Tick(i64::MAX) } else { before };
        keys.extend(data::written_before(tx, &format!("session:{}", session.name), before)?);
    }
    Ok(Some(Going { session, keys }))
}

/// The tick before which somebody must have been heard of for the last time.
fn limit(tx: &Tx<'_>, older_than_ms: u64) -> Tick {
    Tick(tx.now.0.saturating_sub(i64::try_from(older_than_ms).unwrap_or(i64::MAX)))
}

pub(crate) fn list(tx: &mut Tx<'_>, op: &ListLeftovers) -> Result<Leftovers> {
    let before = limit(tx, op.older_than_ms);
    let mut found = Leftovers {
        sessions: Vec::new(),
        sessions_all: 0,
        keys: 0,
        consumers: consumers(tx, before)?,
        kept: 0,
    };
    let mut gone = BTreeSet::new();
    let mut below = None;
    loop {
        let page = session::over_before(tx, below.as_deref(), before, PAGE)?;
        let full = page.len() as i64 == PAGE;
        for row in page {
            below = Some(row.id.clone());
            let Some(going) = going(tx, row, before, &gone)? else {
                found.kept += 1;
                continue;
            };
            gone.insert(going.session.id.clone());
            found.sessions_all += 1;
            found.keys += going.keys.len() as u64;
            if found.sessions.len() < op.limit as usize {
                found.sessions.push(going.view(tx));
            }
        }
        if !full {
            return Ok(found);
        }
    }
}

fn consumers(tx: &mut Tx<'_>, before: Tick) -> Result<u64> {
    let counted = tx.sql.rows(COUNT_CONSUMERS, params![before.0])?.pop();
    counted.map_or(Ok(0), |mut row| row.int().map(|count| count as u64))
}

pub(crate) fn remove(tx: &mut Tx<'_>, op: &RemoveLeftovers) -> Result<RemovedLeftovers> {
    let before = limit(tx, op.older_than_ms);
    let after = op.after.as_ref().map(|after| after.0.as_str());
    let page = session::over_before(tx, after, before, i64::from(op.limit))?;
    let full = page.len() == op.limit as usize;
    let next = page.last().filter(|_| full).map(|row| SessionId(row.id.clone()));
    let mut sessions = Vec::new();
    let gone = BTreeSet::new();
    for row in page {
        if let Some(going) = going(tx, row, before, &gone)? {
            sessions.push(going.view(tx));
            forget(tx, &going)?;
        }
    }
    let mut removed = RemovedLeftovers { sessions, consumers: 0, next };
    if removed.next.is_none() {
        removed.consumers = tx.sql.run(DELETE_CONSUMERS, params![before.0])?;
        tx.sql.run(DELETE_ALIASES, &[])?;
        tx.sql.run(DELETE_REQUESTS, params![before.0])?;
    }
    Ok(removed)
}

fn forget(tx: &mut Tx<'_>, going: &Going) -> Result<()> {
    let row = &going.session;
    for place in &going.keys {
        data::forget(tx, place)?;
    }
    holding::forget_all(tx, &row.id)?;
    lineage::forget(tx, &row.id)?;
    tx.sql.run(DELETE_SESSION, params![&row.id])?;
    let facts =
        json!({"session": row.id, "name": row.name, "state": row.state, "keys": going.keys.len()});
    tx.event("session.forgotten", &format!("session:{}", row.name), &Json::of(&facts)).map(drop)
}
