//! The baseline: what somebody who knows the tables would write with bare `rusqlite`, without a
//! seam, rules or refusals. The same statements, in the same transaction, on the same schema.
//!
//! What it leaves out is what is measured: hashing, checking, JSON, names, errors. Digests are
//! bytes of the right length.

mod sql;

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use rusqlite::{
    Connection, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior, params,
};

/// How writers wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// A lock on a file before each transaction.
    Gate,
    /// The database's own busy timeout.
    Busy,
}

/// A database of ours, opened without our help.
pub(crate) struct Bare {
    connection: Connection,
    gate: Option<File>,
}

/// The row that every transaction reads and writes back.
struct Meta {
    seq: i64,
    hash: [u8; 32],
    pruned_seq: i64,
    pruned_hash: [u8; 32],
    tick: i64,
    source: String,
    source_value: i64,
    sources_replaced: String,
    fence: i64,
    sessions: i64,
    erasing: i64,
}

/// The parts of an event that differ.
struct Event<'a> {
    kind: &'a str,
    scope: &'a str,
    payload: &'a str,
}

/// Who asks, under which id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct By<'a> {
    /// The id of the session.
    pub(crate) session: &'a str,
    /// The id of the request.
    pub(crate) request: &'a str,
}

const AT: &str = "2026-01-01T00:00:00.000Z";
const DIGEST: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const WALL_MS: i64 = 1_800_000_000_000;

impl Bare {
    /// Opens the database of a store.
    pub(crate) fn open(file: &Path, turn: Turn) -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(file, flags)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.set_prepared_statement_cache_capacity(64);
        let gate = match turn {
            Turn::Gate => {
                connection.pragma_update(None, "wal_autocheckpoint", 250)?;
                Some(File::options().write(true).open(file.with_file_name("gate"))?)
            }
            Turn::Busy => None,
        };
        Ok(Self { connection, gate })
    }

    /// Stores a value.
    pub(crate) fn put(&mut self, by: By<'_>, key: &str, value: &str) -> rusqlite::Result<()> {
        self.write(by, |tx, by, meta, actor| {
            let before: Option<(i64, i64)> = tx
                .prepare_cached(sql::SELECT_ONE)?
                .query_row(params!["bench", key], |row| Ok((row.get(3)?, row.get(4)?)))
                .optional()?;
            let (rev, ver) = before.unwrap_or_default();
            let payload =
                format!(r#"{{"key":"{key}","ver":{ver},"value":{value},"overwrote":{rev}}}"#);
            let event = Event { kind: "data.put", scope: "bench", payload: &payload };
            append(tx, meta, by, actor, &event)?;
            let (seq, none) = (meta.seq, None::<i64>);
            let trust = "agent";
            let values =
                params![value, seq, ver + 1, actor, trust, WALL_MS, none, none, "bench", key];
            if before.is_some() || tx.prepare_cached(sql::INSERT)?.execute(values)? == 0 {
                tx.prepare_cached(sql::UPDATE)?.execute(values)?;
            }
            Ok(Some(format!(r#"{{"rev":{seq},"ver":{ver},"overwrote":{rev}}}"#)))
        })
        .map(drop)
    }

    /// Claims an issue; false if somebody has it.
    pub(crate) fn claim(&mut self, by: By<'_>, issue: u64) -> rusqlite::Result<bool> {
        let name = issue.to_string();
        self.write(by, |tx, by, meta, actor| {
            let mut named = tx.prepare_cached(sql::SELECT_NAMED)?;
            if named.exists(params!["issue", name])? {
                return Ok(None);
            }
            let _: i64 = tx
                .prepare_cached(sql::COUNT_ROWS)?
                .query_row(params![by.session], |row| row.get(0))?;
            meta.fence = (meta.fence + 1).max(WALL_MS);
            let (fence, none) = (meta.fence, None::<i64>);
            tx.prepare_cached(sql::INSERT_LEASE)?.execute(params![
                "held", fence, 1, "exclusive", 0, none, none, 5_000, meta.tick, WALL_MS,
                "measuring", "issue", name, "", by.session
            ])?;
            let scope = format!("issue:{name}");
            let payload = format!(
                r#"{{"resource":"{scope}","session":"{}","fence":{fence},"mode":"exclusive","automatic":false,"note":"measuring","ttl_ms":null,"slots":1}}"#,
                by.session
            );
            append(tx, meta, by, actor, &Event { kind: "claim.granted", scope: &scope, payload: &payload })?;
            tx.prepare_cached(sql::SELECT_ONE)?.exists(params![scope, "claimed_by"])?;
            Ok(Some(format!(
                r#"{{"items":[{{"item":"{scope}","resource":"{scope}","fence":{fence},"already_held":false}}],"overlaps":[],"warnings":[]}}"#
            )))
        })
    }

    /// How many rows each table has, to see that two contenders did the same.
    pub(crate) fn rows(&self) -> Result<Vec<(String, i64)>> {
        let mut tables = self.connection.prepare(sql::SELECT_TABLES)?;
        let names = tables.query_map([], |row| row.get::<_, String>(0))?;
        names
            .map(|name| {
                let name = name?;
                let count = format!("SELECT COUNT(*) FROM {name}");
                let count = self.connection.query_row(&count, [], |row| row.get(0))?;
                Ok((name, count))
            })
            .collect()
    }

    /// The steps around an operation: gate, transaction, clock, actor, remembered result, sign of
    /// life. An operation that answers nothing is undone.
    fn write(
        &mut self,
        by: By<'_>,
        body: impl FnOnce(&Transaction<'_>, By<'_>, &mut Meta, &str) -> rusqlite::Result<Option<String>>,
    ) -> rusqlite::Result<bool> {
        if let Some(gate) = &self.gate {
            // A lock that cannot be had leaves the database's own.
            let _ = gate.lock();
        }
        let done = steps(&mut self.connection, by, body);
        if let Some(gate) = &self.gate {
            let _ = gate.unlock();
        }
        done
    }
}

fn steps(
    connection: &mut Connection,
    by: By<'_>,
    body: impl FnOnce(&Transaction<'_>, By<'_>, &mut Meta, &str) -> rusqlite::Result<Option<String>>,
) -> rusqlite::Result<bool> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut meta = load(&tx)?;
    let actor: String =
        tx.prepare_cached(sql::SELECT_BY_ID)?.query_row([by.session], |row| row.get(1))?;
    tx.prepare_cached(sql::SELECT_REQUEST)?.exists(params![by.session, by.request])?;
    let Some(result) = body(&tx, by, &mut meta, &actor)? else {
        tx.rollback()?;
        return Ok(false);
    };
    tx.prepare_cached(sql::INSERT_REQUEST)?
        .execute(params![by.session, by.request, DIGEST, result, meta.seq, meta.tick])?;
    if meta.seq % 256 == 0 {
        tx.prepare_cached(sql::FORGET_REQUESTS)?
            .execute(params![meta.tick - 3_600_000, 100_000])?;
    }
    tx.prepare_cached(sql::UPDATE_TOUCH)?.execute(params![meta.tick, WALL_MS, by.session])?;
    save(&tx, &meta)?;
    tx.commit()?;
    Ok(true)
}

fn load(tx: &Transaction<'_>) -> rusqlite::Result<Meta> {
    tx.prepare_cached(sql::SELECT_META_TIMER)?.query_row([], |row| {
        Ok(Meta {
            seq: row.get(5)?,
            hash: row.get(6)?,
            pruned_seq: row.get(7)?,
            pruned_hash: row.get(8)?,
            tick: row.get(9)?,
            source: row.get(10)?,
            source_value: row.get(11)?,
            sources_replaced: row.get(12)?,
            fence: row.get(13)?,
            sessions: row.get(14)?,
            erasing: row.get(15)?,
        })
    })
}

fn save(tx: &Transaction<'_>, meta: &Meta) -> rusqlite::Result<()> {
    tx.prepare_cached(sql::UPDATE_META)?
        .execute(params![
            meta.seq,
            meta.hash,
            meta.pruned_seq,
            meta.pruned_hash,
            meta.tick,
            meta.source,
            meta.source_value,
            meta.sources_replaced,
            meta.fence,
            meta.sessions,
            meta.erasing,
        ])
        .map(drop)
}

fn append(
    tx: &Transaction<'_>,
    meta: &mut Meta,
    by: By<'_>,
    actor: &str,
    event: &Event<'_>,
) -> rusqlite::Result<()> {
    meta.seq += 1;
    meta.hash = [meta.seq.to_le_bytes()[0]; 32];
    let (salt, digest) = ([1u8; 16], [2u8; 32]);
    tx.prepare_cached(sql::INSERT_EVENT)?
        .execute(params![
            meta.seq,
            AT,
            meta.tick,
            event.kind,
            event.scope,
            by.session,
            actor,
            "bench",
            "agent",
            event.payload,
            salt,
            digest,
            meta.hash,
            "0.1.0",
        ])
        .map(drop)
}
