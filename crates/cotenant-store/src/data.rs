//! Shared data: every write is one event, its number the key's rev.

use cotenant_core::{
    Code, Error, Result,
    data::{
        Change, DELETE_MAX, Delete, DeleteScope, Deleted, DeletedScope, Entries, Entry, Get, List,
        ListScopes, Put, Scopes, Txn, TxnDone, Update, Updated, Write, WriteAnswer, Written, glob,
        glob_prefix,
    },
    event::sha256_hex,
    id::{MAX_INTEGER, Rev, Tick},
    json::{Json, VALUE_BYTES_MAX, merge_patch},
    render::counted,
};
use serde_json::{json, value::RawValue};

use crate::{
    params, projection, session,
    sql::{Query, Row},
    testing::mutant,
    tx::Tx,
};

/// Values up to this size stand in their event in full, larger ones as digest and length: the log
/// must not grow by a megabyte for every write of a large value.
const INLINE_BYTES_MAX: usize = 4 * 1024;

/// A row of `data`.
struct DataRow {
    scope: String,
    key: String,
    value: String,
    rev: i64,
    ver: i64,
    writer: String,
    trust: String,
    at_ms: i64,
    owner: Option<String>,
    expires: Option<Tick>,
}

const SELECT_ONE: &str = "SELECT scope, key, value, rev, ver, writer, trust, at_ms, owner, expires_tick \
     FROM data WHERE scope = $1 AND key = $2";
const SELECT_PAGE: &str = "SELECT scope, key, value, rev, ver, writer, trust, at_ms, owner, expires_tick \
     FROM data WHERE (scope, key) > ($1, $2) AND scope >= $3 AND scope < $4 \
     ORDER BY scope, key LIMIT $5";
const SELECT_OF_SCOPE: &str = "SELECT scope, key, value, rev, ver, writer, trust, at_ms, owner, \
     expires_tick FROM data WHERE scope = $1 ORDER BY key LIMIT $2";
const SELECT_BELOW_SCOPE: &str = "SELECT scope, key, value, rev, ver, writer, trust, at_ms, owner, \
     expires_tick FROM data WHERE scope > $1 AND scope < $2 ORDER BY scope, key LIMIT $3";
const SELECT_OWNED: &str = "SELECT scope, key, value, rev, ver, writer, trust, at_ms, owner, \
     expires_tick FROM data WHERE owner = $1 ORDER BY scope, key";
const SELECT_PLACES_OWNED: &str =
    "SELECT scope, key, rev, ver FROM data WHERE owner = $1 ORDER BY scope, key";
const SELECT_PLACES_OLD: &str = "SELECT scope, key, rev, ver FROM data \
     WHERE scope = $1 AND owner IS NULL AND NOT EXISTS \
     (SELECT 1 FROM event e WHERE e.seq = data.rev AND e.tick >= $2) ORDER BY key";
const SELECT_SCOPES: &str = "SELECT scope, MAX(CASE WHEN owner IS NULL THEN 1 ELSE 0 END) FROM data \
     WHERE scope > $1 AND scope >= $2 AND scope < $3 \
     AND (expires_tick IS NULL OR expires_tick > $4) GROUP BY scope ORDER BY scope LIMIT $5";
const COUNT_KEYS: &str = "SELECT COUNT(*) FROM (SELECT 1 FROM data LIMIT $1) AS found";
const INSERT: &str = "INSERT INTO data (value, rev, ver, writer, trust, at_ms, owner, expires_tick, \
     scope, key) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING";
const UPDATE: &str = "UPDATE data SET value = $1, rev = $2, ver = $3, writer = $4, trust = $5, \
     at_ms = $6, owner = $7, expires_tick = $8 WHERE scope = $9 AND key = $10";
const DELETE: &str = "DELETE FROM data WHERE scope = $1 AND key = $2";

/// Above every name: names are UTF-8, and this is the greatest character.
const ABOVE_ALL: &str = "\u{10ffff}";

fn data(mut row: Row) -> Result<DataRow> {
    Ok(DataRow {
        scope: row.text()?,
        key: row.text()?,
        value: row.text()?,
        rev: row.int()?,
        ver: row.int()?,
        writer: row.text()?,
        trust: row.text()?,
        at_ms: row.int()?,
        owner: row.optional_text()?,
        expires: row.optional_int()?.map(Tick),
    })
}

impl DataRow {
    fn is_there(&self, now: Tick) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }

    fn entry(self, now: Tick) -> Entry {
        Entry {
            scope: self.scope,
            key: self.key,
            value: Json::stored(self.value),
            rev: Rev(self.rev),
            ver: self.ver,
            writer: self.writer,
            trust: self.trust,
            at: Tx::at(self.at_ms),
            expires_in_ms: self.expires.map(|expires| expires.remaining(now)),
            ephemeral: self.owner.is_some(),
            projected: false,
        }
    }
}

fn load(tx: &mut Tx<'_>, scope: &str, key: &str) -> Result<Option<DataRow>> {
    let found = tx.sql.rows(SELECT_ONE, params![scope, key])?.pop().map(data).transpose()?;
    let Some(row) = found else { return Ok(None) };
    Ok(if is_there(tx, &row)? { Some(row) } else { None })
}

/// Whether a key is there now, whether anybody has settled it or not.
fn is_there(tx: &mut Tx<'_>, row: &DataRow) -> Result<bool> {
    if !row.is_there(tx.now) {
        return Ok(false);
    }
    match &row.owner {
        Some(_) if mutant("ephemeral_keys_stay") => Ok(true),
        Some(owner) => {
            let owner = session::find(tx, owner)?;
            Ok(owner.is_some_and(|owner| owner.effective(tx).is_live()))
        }
        None => Ok(true),
    }
}

/// The value of a key, for rules that look at what people keep by hand.
pub(crate) fn value(tx: &mut Tx<'_>, scope: &str, key: &str) -> Result<Option<String>> {
    Ok(load(tx, scope, key)?.map(|row| row.value))
}

/// The least text above all that begin with a prefix.
fn end_of(prefix: &str) -> String {
    if prefix.is_empty() { ABOVE_ALL.to_owned() } else { format!("{prefix}{ABOVE_ALL}") }
}

pub(crate) fn get(tx: &mut Tx<'_>, op: &Get) -> Result<Entry> {
    let now = tx.now;
    if mutant("projections_win")
        && let Some(entry) = projection::entry(tx, &op.scope, &op.key)?
    {
        return Ok(entry);
    }
    let entry = match load(tx, &op.scope, &op.key)? {
        Some(row) => Some(row.entry(now)),
        None => projection::entry(tx, &op.scope, &op.key)?,
    };
    entry.ok_or_else(|| {
        Error::new(Code::NotFound, format!("there is no key `{}` in scope `{}`", op.key, op.scope))
    })
}

pub(crate) fn list(tx: &mut Tx<'_>, op: &List) -> Result<Entries> {
    let limit = op.limit as usize;
    let (first, end) = if op.exact {
        // Names have no control characters, so that nothing lies between.
        (op.scope.clone(), format!("{}\u{1}", op.scope))
    } else {
        (op.scope.clone(), end_of(&op.scope))
    };
    let mut after = op.after.clone().unwrap_or_default();
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let page = i64::from(op.limit) + 1;
        let rows = tx.sql.rows(SELECT_PAGE, params![&after.0, &after.1, &first, &end, page])?;
        let full = rows.len() as i64 == page;
        for row in rows {
            let row = data(row)?;
            after = (row.scope.clone(), row.key.clone());
            if row.key.starts_with(&op.key) && is_there(tx, &row)? {
                if entries.len() == limit {
                    let last = entries.last().map(|last| (last.scope.clone(), last.key.clone()));
                    let next = if mutant("page_skips") { Some(after) } else { last };
                    return Ok(Entries { entries, next });
                }
                entries.push(row.entry(tx.now));
            }
        }
        if !full {
            return Ok(Entries { entries, next: None });
        }
    }
}

fn holds_any(tx: &mut Tx<'_>, scope: &str) -> Result<bool> {
    for row in tx.sql.rows(SELECT_OF_SCOPE, params![scope, i64::MAX])? {
        let row = data(row)?;
        if is_there(tx, &row)? {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(crate) fn list_scopes(tx: &mut Tx<'_>, op: &ListScopes) -> Result<Scopes> {
    let prefix = glob_prefix(&op.pattern);
    let end = end_of(prefix);
    let limit = op.limit as usize;
    let mut projected = projection::scopes(tx, op)?.into_iter().peekable();
    let mut after = op.after.clone().unwrap_or_default();
    // One more than asked for, if there are more.
    let mut scopes: Vec<String> = Vec::new();
    while scopes.len() <= limit {
        let now = tx.now.0;
        let rows = tx.sql.rows(SELECT_SCOPES, params![&after, prefix, &end, now, 1_000])?;
        let full = rows.len() == 1_000;
        for mut row in rows {
            let scope = row.text()?;
            after.clone_from(&scope);
            // Ephemeral keys are there as long as their sessions are.
            let lasting = row.int()? != 0;
            if scopes.len() <= limit
                && glob(&op.pattern, &scope)
                && (lasting || holds_any(tx, &scope)?)
            {
                scopes.extend(std::iter::from_fn(|| projected.next_if(|next| *next < scope)));
                if !mutant("scopes_twice") {
                    projected.next_if_eq(&scope);
                }
                scopes.push(scope);
            }
        }
        if !full {
            scopes.extend(projected);
            break;
        }
    }
    let more = scopes.len() > limit;
    scopes.truncate(limit);
    let next = if more { scopes.last().cloned() } else { None };
    Ok(Scopes { scopes, next })
}

/// How many keys there are, counted up to a limit.
pub(crate) fn count(tx: &mut Tx<'_>, limit: i64) -> Result<u64> {
    tx.sql
        .rows(COUNT_KEYS, params![limit])?
        .pop()
        .map_or(Ok(0), |mut row| row.int().map(|n| n as u64))
}

/// A value as its event shows it.
pub(crate) fn shown(value: &Json) -> serde_json::Value {
    if value.text().len() <= INLINE_BYTES_MAX {
        json!({"value": value})
    } else {
        json!({"sha256": sha256_hex(value.text()), "bytes": value.text().len()})
    }
}

fn rev_mismatch(scope: &str, key: &str, expected: Rev, found: Option<&DataRow>) -> Error {
    let message = match found {
        Some(row) if expected.0 == 0 => {
            format!("`{scope}` `{key}` exists already, written by `{}`", row.writer)
        }
        Some(row) => format!(
            "`{scope}` `{key}` has rev {}, not {expected}; `{}` wrote it meanwhile",
            row.rev, row.writer
        ),
        None => format!("`{scope}` `{key}` does not exist, so it has not rev {expected}"),
    };
    Error::new(Code::RevMismatch, message)
        .detail("rev", found.map_or(0, |row| row.rev))
        .detail("value", found.map(|row| Json::stored(row.value.clone())))
        .hint("read it again and decide anew, or use `data update`, which loses nothing")
}

/// Stores a value as the next event.
fn write(
    tx: &mut Tx<'_>,
    place: (&str, &str),
    value: &Json,
    before: Option<&DataRow>,
    event: (&str, serde_json::Value),
    lifetime: (Option<String>, Option<Tick>),
) -> Result<Written> {
    let (scope, key) = place;
    let ver = before.map_or(1, |row| row.ver + 1);
    let rev = tx.next_seq();
    let mut facts = json!({"key": key, "ver": ver});
    if let (Some(facts), serde_json::Value::Object(change)) = (facts.as_object_mut(), event.1) {
        facts.extend(change);
        if let Some(before) = before {
            facts.insert("overwrote".to_owned(), before.rev.into());
        }
    }
    tx.event(event.0, scope, &Json::of(&facts))?;
    let writer = tx.actor()?.name.clone();
    let (owner, expires) = lifetime;
    let (trust, wall) = (tx.trust(), tx.wall_ms);
    let values = params![
        value.text(),
        rev,
        ver,
        &writer,
        trust,
        wall,
        owner.as_ref(),
        expires.map(|tick| tick.0),
        scope,
        key,
    ];
    // A key that is gone for everybody may still have its row.
    if before.is_some() || tx.sql.run(INSERT, values)? == 0 {
        tx.sql.later(UPDATE, values)?;
    }
    if let Some(expires) = expires {
        tx.arm(expires, "data", &format!("{scope}\n{key}"))?;
    }
    Ok(Written { rev: Rev(rev), ver, overwrote: before.map(|row| Rev(row.rev)) })
}

/// The query for a key.
pub(crate) fn foreseen(scope: &str, key: &str) -> Query {
    Query::new(SELECT_ONE, params![scope, key])
}

pub(crate) fn put(tx: &mut Tx<'_>, op: &Put) -> Result<Written> {
    let before = load(tx, &op.scope, &op.key)?;
    if let Some(expected) = op.expect
        && before.as_ref().map_or(0, |row| row.rev) != expected.0
    {
        return Err(rev_mismatch(&op.scope, &op.key, expected, before.as_ref()));
    }
    let owner = if op.ephemeral { Some(tx.actor()?.id.clone()) } else { None };
    let expires = op.ttl_ms.map(|ttl| tx.now.after(ttl));
    let event = ("data.put", shown(&op.value));
    write(tx, (&op.scope, &op.key), &op.value, before.as_ref(), event, (owner, expires))
}

pub(crate) fn delete(tx: &mut Tx<'_>, op: &Delete) -> Result<Deleted> {
    let before = load(tx, &op.scope, &op.key)?;
    if let Some(expected) = op.expect
        && before.as_ref().map_or(0, |row| row.rev) != expected.0
    {
        return Err(rev_mismatch(&op.scope, &op.key, expected, before.as_ref()));
    }
    let Some(row) = before else {
        let held_by = projection::holder(tx, &op.scope, Some(&op.key))?;
        return Ok(Deleted { existed: false, held_by });
    };
    let facts = json!({"key": row.key, "rev": row.rev, "ver": row.ver});
    tx.event("data.deleted", &row.scope, &Json::of(&facts))?;
    tx.sql.run(DELETE, params![&row.scope, &row.key])?;
    Ok(Deleted { existed: true, held_by: None })
}

pub(crate) fn delete_scope(tx: &mut Tx<'_>, op: &DeleteScope) -> Result<DeletedScope> {
    let limit = DELETE_MAX as i64 + 1;
    let mut rows = tx.sql.rows(SELECT_OF_SCOPE, params![&op.scope, limit])?;
    if op.recursive {
        // `0` follows `/`, so that the range holds exactly what begins with `scope/`.
        let (first, end) = if mutant("scopes_by_prefix") {
            (op.scope.clone(), end_of(&op.scope))
        } else {
            (format!("{}/", op.scope), format!("{}0", op.scope))
        };
        rows.extend(tx.sql.rows(SELECT_BELOW_SCOPE, params![&first, &end, limit])?);
    }
    let mut doomed = Vec::new();
    for row in rows {
        let row = data(row)?;
        if is_there(tx, &row)? {
            doomed.push(row);
        }
    }
    if doomed.len() > DELETE_MAX {
        return Err(Error::new(
            Code::TooLarge,
            format!("scope `{}` holds more than {DELETE_MAX} keys", op.scope),
        )
        .detail("limit", DELETE_MAX)
        .hint("delete its keys, or the scopes below it, one after the other"));
    }
    if let Some(expected) = op.expect_count.filter(|expected| *expected != doomed.len() as u64) {
        return Err(Error::new(
            Code::RevMismatch,
            format!(
                "scope `{}` holds {}, not {expected}",
                op.scope,
                counted(doomed.len() as u64, "key")
            ),
        )
        .detail("count", doomed.len()));
    }
    for row in &doomed {
        let facts = json!({"key": row.key, "rev": row.rev, "ver": row.ver});
        tx.event("data.deleted", &row.scope, &Json::of(&facts))?;
        tx.sql.run(DELETE, params![&row.scope, &row.key])?;
    }
    let held_by = projection::holder(tx, &op.scope, None)?;
    Ok(DeletedScope { deleted: doomed.len() as u64, held_by })
}

pub(crate) fn txn(tx: &mut Tx<'_>, op: &Txn) -> Result<TxnDone> {
    let mut failed = Vec::new();
    let compared = if mutant("txn_compares_one") { 1 } else { usize::MAX };
    for (index, compare) in op.compares.iter().enumerate().take(compared) {
        let row = load(tx, &compare.scope, &compare.key)?;
        let rev = row.as_ref().map_or(0, |row| row.rev);
        let ver = row.as_ref().map_or(0, |row| row.ver);
        let holds = compare.rev.is_none_or(|wanted| wanted.0 == rev)
            && compare.ver.is_none_or(|wanted| wanted == ver)
            && compare.exists.is_none_or(|wanted| wanted == row.is_some());
        if !holds {
            failed.push(index);
        }
    }
    if !failed.is_empty() {
        return Err(Error::new(Code::RevMismatch, "a condition of the transaction does not hold")
            .detail("failed", &failed)
            .hint("read the keys again and decide anew"));
    }
    let mut results = Vec::with_capacity(op.ops.len());
    for write in &op.ops {
        results.push(match write {
            Write::Put(op) => WriteAnswer::Put(put(tx, op)?),
            Write::Delete(op) => WriteAnswer::Delete(delete(tx, op)?),
            Write::Update(op) => WriteAnswer::Update(update(tx, op)?),
        });
    }
    Ok(TxnDone { results })
}

fn type_mismatch(op: &Update, needed: &str) -> Error {
    Error::new(Code::TypeMismatch, format!("`{}` `{}` is not {needed}", op.scope, op.key))
        .hint("`data get` shows what it is; `data set` replaces it")
}

pub(crate) fn update(tx: &mut Tx<'_>, op: &Update) -> Result<Updated> {
    let before = load(tx, &op.scope, &op.key)?;
    let text = before.as_ref().map(|row| row.value.as_str());
    let (new, change, value, length) = match &op.change {
        Change::Add(number) => {
            let old = match text {
                Some(text) => {
                    text.trim().parse::<i64>().map_err(|_| type_mismatch(op, "a whole number"))?
                }
                None => 0,
            };
            let sum = old
                .checked_add(*number)
                .filter(|sum| sum.unsigned_abs() <= MAX_INTEGER as u64)
                .ok_or_else(|| Error::invalid("the sum is beyond 2^53-1"))?;
            (Json::of(&sum), json!({"add": number}), Some(sum), None)
        }
        Change::Append(item) => {
            let mut items: Vec<Box<RawValue>> = match text {
                Some(text) => {
                    serde_json::from_str(text).map_err(|_| type_mismatch(op, "an array"))?
                }
                None => Vec::new(),
            };
            items.push(RawValue::from_string(item.text().to_owned()).map_err(|error| {
                Error::internal("a checked value cannot be read").caused_by(error)
            })?);
            if let Some(keep) = op.keep {
                let surplus = items.len().saturating_sub(keep as usize);
                items.drain(..surplus);
            }
            let change = json!({"append": shown(item), "keep": op.keep});
            let length = items.len() as u64;
            (Json::of(&items), change, None, Some(length))
        }
        Change::Merge(patch) => {
            let old = text.filter(|_| !mutant("merge_replaces")).unwrap_or("{}");
            if !old.trim_start().starts_with('{') {
                return Err(type_mismatch(op, "an object"));
            }
            let new = Json::stored(merge_patch(old, patch.text())?);
            (new, json!({"merge": shown(patch)}), None, None)
        }
    };
    if new.text().len() > VALUE_BYTES_MAX {
        return Err(Error::new(
            Code::TooLarge,
            format!("`{}` `{}` would have {} bytes", op.scope, op.key, new.text().len()),
        )
        .detail("bytes_max", VALUE_BYTES_MAX)
        .hint("say how many of the newest items to `keep`, or use another key"));
    }
    new.check()?;
    // An update leaves the key's lifetime as it was.
    let lifetime = before.as_ref().map_or((None, None), |row| (row.owner.clone(), row.expires));
    let event = ("data.updated", change);
    let written = write(tx, (&op.scope, &op.key), &new, before.as_ref(), event, lifetime)?;
    Ok(Updated { rev: written.rev, ver: written.ver, value, length })
}

/// Where a key is.
pub(crate) struct Place {
    scope: String,
    key: String,
    rev: i64,
    ver: i64,
}

fn place(mut row: Row) -> Result<Place> {
    Ok(Place { scope: row.text()?, key: row.text()?, rev: row.int()?, ver: row.int()? })
}

/// The keys that should have gone with a session.
pub(crate) fn owned(tx: &mut Tx<'_>, session: &str) -> Result<Vec<Place>> {
    tx.sql.rows(SELECT_PLACES_OWNED, params![session])?.into_iter().map(place).collect()
}

/// The lasting keys of a scope that nobody has written since a tick. What wrote those whose event was
/// pruned is older than the log.
pub(crate) fn written_before(tx: &mut Tx<'_>, scope: &str, before: Tick) -> Result<Vec<Place>> {
    tx.sql.rows(SELECT_PLACES_OLD, params![scope, before.0])?.into_iter().map(place).collect()
}

/// Deletes a key that was left behind.
pub(crate) fn forget(tx: &mut Tx<'_>, place: &Place) -> Result<()> {
    let Place { scope, key, rev, ver } = place;
    let facts = json!({"key": key, "rev": rev, "ver": ver, "reason": "left behind"});
    tx.event("data.deleted", scope, &Json::of(&facts))?;
    tx.sql.run(DELETE, params![scope, key]).map(drop)
}

/// Deletes the ephemeral keys of a session. Answers how many.
pub(crate) fn drop_owned(tx: &mut Tx<'_>, session: &str) -> Result<u64> {
    if mutant("ephemeral_keys_stay") {
        return Ok(0);
    }
    let rows = tx.sql.rows(SELECT_OWNED, params![session])?;
    let count = rows.len() as u64;
    for row in rows {
        expire(tx, &data(row)?, "session")?;
    }
    Ok(count)
}

fn expire(tx: &mut Tx<'_>, row: &DataRow, reason: &str) -> Result<()> {
    let facts = json!({"key": row.key, "rev": row.rev, "ver": row.ver, "reason": reason});
    tx.event_of_store("data.expired", &row.scope, &facts)?;
    tx.sql.run(DELETE, params![&row.scope, &row.key]).map(drop)
}

/// What a timer of a key does when it rings.
pub(crate) fn on_timer(tx: &mut Tx<'_>, id: &str) -> Result<()> {
    let (scope, key) = id.split_once('\n').unwrap_or((id, ""));
    let found = tx.sql.rows(SELECT_ONE, params![scope, key])?.pop().map(data).transpose()?;
    match found {
        Some(row) if !row.is_there(tx.now) => {
            tx.settled = true;
            expire(tx, &row, "ttl")
        }
        Some(DataRow { expires: Some(expires), .. }) => tx.arm(expires, "data", id),
        _ => Ok(()),
    }
}
