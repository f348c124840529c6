//! The log: append, read, verify, redact, prune.

use cotenant_core::{
    Code, Error, Result,
    clock::DAY,
    data::glob,
    event::{
        Append, Appended, Commit, Committed, Cursor, Event, Events, Hash, HeadView, Header, Prune,
        Pruned, Read, Redact, Redacted, Verified, chain_hash, hex, payload_digest,
    },
    id::{Seq, Tick},
    json::Json,
};
use serde_json::json;

use crate::{
    lease::{mark, set_mark},
    message,
    meta::Meta,
    params,
    sql::{Row, Sql},
    testing::mutant,
    tx::Tx,
};

/// The most events that one read looks at, so that no snapshot lasts long.
const SCAN_MAX: i64 = 20_000;
const SCAN_PAGE: i64 = 500;
/// How long a consumer counts as alive for pruning.
const CONSUMER_MS: u64 = 7 * DAY;

/// The longest pattern that a statement is given.
const PATTERN_BYTES_MAX: usize = 1_000;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT seq, at, tick, kind, scope, session, name, \"user\", trust, payload, salt, \
             payload_digest, hash, writer_version FROM event WHERE ",
            $rest
        )
    };
}

const SELECT_EVENTS: &str = select!("seq > $1 ORDER BY seq LIMIT $2");
const SELECT_NEWEST: &str = select!(
    "seq <= $1 AND kind LIKE $2 ESCAPE '!' AND scope LIKE $3 ESCAPE '!' \
     AND session LIKE $4 ESCAPE '!' ORDER BY seq DESC LIMIT $5"
);
const SELECT_HASH: &str = "SELECT hash FROM event WHERE seq = $1";
const SELECT_AUTHOR: &str =
    "SELECT session, kind, CASE WHEN payload IS NULL THEN 1 ELSE 0 END FROM event WHERE seq = $1";
const UPDATE_ERASE: &str = "UPDATE event SET payload = NULL, salt = NULL WHERE seq = $1";
const DELETE_BEFORE: &str = "DELETE FROM event WHERE seq < $1";
const SELECT_CONSUMERS: &str = "SELECT name, value FROM mark WHERE kind = 'consumer' AND seen_tick >= $1 AND value < $2 ORDER BY value, name";

/// An event with what its hash is made of.
struct EventRow {
    event: Event,
    salt: Option<Vec<u8>>,
    digest: Hash,
    hash: Hash,
}

fn event(mut row: Row) -> Result<EventRow> {
    let (seq, at, tick) = (row.int()?, row.text()?, row.int()?);
    let (kind, scope, session) = (row.text()?, row.text()?, row.text()?);
    let (name, user, trust) = (row.text()?, row.text()?, row.text()?);
    let (payload, salt) = (row.optional_text()?, row.optional_bytes()?);
    let (digest, hash) = (row.hash()?, row.hash()?);
    let event = Event {
        seq: Seq(seq),
        at,
        tick: Tick(tick),
        kind,
        scope,
        session,
        name,
        user,
        trust,
        payload: payload.map(Json::stored),
        payload_digest: hex(&digest),
        hash: hex(&hash),
        writer_version: row.text()?,
    };
    Ok(EventRow { event, salt, digest, hash })
}

pub(crate) fn append(tx: &mut Tx<'_>, op: &Append) -> Result<Appended> {
    Ok(Appended { seq: tx.event(&op.kind, &op.scope, &op.payload)? })
}

/// The number behind which a cursor stands, checked against the log.
fn position(tx: &mut Tx<'_>, cursor: &Cursor) -> Result<i64> {
    let (history, seq, hash8) = match cursor {
        Cursor::Start => return Ok(tx.meta.pruned_seq),
        Cursor::Head => return Ok(tx.meta.seq),
        Cursor::At { history, seq, hash8 } => (history, seq.0, hash8),
    };
    let changed = || {
        Error::new(Code::HistoryChanged, "the cursor belongs to another history of this store")
            .detail("history", &tx.meta.history)
            .hint("the store was restored or replaced; read again from `start`")
    };
    if *history != tx.meta.history {
        return Err(changed());
    }
    if seq > tx.meta.seq {
        return Err(Error::new(
            Code::CursorAhead,
            format!("the cursor is at event {seq}, the log ends at {}", tx.meta.seq),
        )
        .detail("head", tx.meta.seq)
        .hint("the store lost events, perhaps it is an older copy; read again from `start`"));
    }
    if seq < tx.meta.pruned_seq {
        let oldest = tx.meta.pruned_seq + 1;
        return Err(Error::new(Code::Compacted, format!("the events before {oldest} were pruned"))
            .detail("oldest", oldest)
            .hint("read again from `start`, and expect a gap"));
    }
    let hash = if seq == tx.meta.pruned_seq {
        Some(tx.meta.pruned_hash)
    } else {
        tx.sql.rows(SELECT_HASH, params![seq])?.pop().map(|mut row| row.hash()).transpose()?
    };
    match hash {
        Some(hash) if hex(&hash[..4]) == *hash8 => Ok(seq),
        _ => Err(changed()),
    }
}

/// Whether a reader asked for an event.
fn is_wanted(op: &Read, event: &Event) -> bool {
    op.kind.as_ref().is_none_or(|kind| glob(kind, &event.kind))
        && op.scope.as_ref().is_none_or(|scope| glob(scope, &event.scope))
        && op.session.as_ref().is_none_or(|session| session.0 == event.session)
}

pub(crate) fn read(tx: &mut Tx<'_>, op: &Read) -> Result<Events> {
    if let Some(count) = op.last {
        return newest(tx, op, count);
    }
    let cursor = op.after.as_deref().unwrap_or("start").parse::<Cursor>()?;
    let start = position(tx, &cursor)?;
    let mut last = (start, None);
    let mut events: Vec<Event> = Vec::new();
    let wanted = op.limit as usize;
    'scan: while last.0 < tx.meta.seq && last.0 - start < SCAN_MAX {
        let rows = tx.sql.rows(SELECT_EVENTS, params![last.0, SCAN_PAGE])?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            let row = event(row)?;
            last = (row.event.seq.0, Some(row.hash));
            if is_wanted(op, &row.event) {
                events.push(row.event);
                if events.len() == wanted && !mutant("cursor_skips") {
                    break 'scan;
                }
            }
        }
    }
    if mutant("cursor_skips") {
        events.truncate(wanted);
    }
    let cursor = match last {
        (seq, Some(hash)) => tx.meta.cursor(seq, &hash),
        (seq, None) if seq == tx.meta.seq => tx.meta.cursor(seq, &tx.meta.hash),
        (seq, None) => tx.meta.cursor(seq, &tx.meta.pruned_hash),
    };
    Ok(Events { events, cursor: cursor.to_string(), more: last.0 < tx.meta.seq })
}

/// The newest events that match, found from the head backwards.
///
/// The statement may give too much, since `LIKE` takes upper for lower case in `SQLite`. Only then
/// it is run again, further back.
fn newest(tx: &mut Tx<'_>, op: &Read, count: u32) -> Result<Events> {
    let session = op.session.as_ref().map(|session| session.0.as_str());
    let [kind, scope, session] = [op.kind.as_deref(), op.scope.as_deref(), session].map(like);
    let (mut events, mut before, mut page) = (Vec::new(), tx.meta.seq, i64::from(count));
    loop {
        let rows = tx.sql.rows(SELECT_NEWEST, params![before, &kind, &scope, &session, page])?;
        let more = rows.len() as i64 == page;
        for row in rows {
            let event = event(row)?.event;
            before = event.seq.0 - 1;
            if is_wanted(op, &event) {
                events.push(event);
            }
        }
        if !more || events.len() >= count as usize {
            break;
        }
        page = SCAN_PAGE;
    }
    events.truncate(count as usize);
    events.reverse();
    Ok(Events { events, cursor: head(tx).cursor, more: false })
}

/// A pattern as `LIKE` takes it, with `!` before what is special there.
fn like(pattern: Option<&str>) -> String {
    let Some(pattern) = pattern.filter(|pattern| pattern.len() <= PATTERN_BYTES_MAX) else {
        return "%".to_owned();
    };
    let mut text = String::with_capacity(pattern.len());
    for character in pattern.chars() {
        if matches!(character, '!' | '%' | '_') {
            text.push('!');
        }
        text.push(if character == '*' { '%' } else { character });
    }
    text
}

pub(crate) fn head(tx: &Tx<'_>) -> HeadView {
    HeadView {
        history: tx.meta.history.clone(),
        seq: tx.meta.head(),
        hash: hex(&tx.meta.hash),
        cursor: tx.meta.cursor(tx.meta.seq, &tx.meta.hash).to_string(),
    }
}

pub(crate) fn commit(tx: &mut Tx<'_>, op: &Commit) -> Result<Committed> {
    let stored = mark(tx, "consumer", &op.consumer)?;
    let Some(cursor) = &op.cursor else {
        return match stored {
            None => Ok(Committed { cursor: Cursor::Start.to_string() }),
            Some(seq) if seq < tx.meta.pruned_seq => {
                let oldest = tx.meta.pruned_seq + 1;
                Err(Error::new(Code::Compacted, format!("the events before {oldest} were pruned"))
                    .detail("oldest", oldest))
            }
            Some(seq) => {
                let hash = match tx.sql.rows(SELECT_HASH, params![seq])?.pop() {
                    Some(mut row) => row.hash()?,
                    None => tx.meta.pruned_hash,
                };
                Ok(Committed { cursor: tx.meta.cursor(seq, &hash).to_string() })
            }
        };
    };
    let seq = position(tx, &cursor.parse()?)?;
    let behind = |stored: &i64| seq < *stored && !mutant("consumer_goes_back");
    if let Some(stored) = stored.filter(behind) {
        return Err(Error::new(
            Code::CursorBehind,
            format!("consumer `{}` stands at event {stored} already", op.consumer),
        )
        .detail("seq", stored)
        .hint("two readers use one consumer name; give each its own"));
    }
    set_mark(tx, "consumer", &op.consumer, seq)?;
    Ok(Committed { cursor: cursor.clone() })
}

/// Fails unless the actor may erase the event: its author, or a person.
pub(crate) fn check_author(tx: &mut Tx<'_>, op: &Redact) -> Result<()> {
    let actor = tx.actor()?.clone();
    let author = author(tx, op.seq)?;
    if actor.kind == "human" || author.is_none_or(|(author, ..)| author == actor.id) {
        return Ok(());
    }
    Err(Error::new(Code::Forbidden, "only its author or a person may erase an event"))
}

/// Who wrote an event, of what kind it is, and whether its payload was erased.
fn author(tx: &mut Tx<'_>, seq: Seq) -> Result<Option<(String, String, bool)>> {
    let row = tx.sql.rows(SELECT_AUTHOR, params![seq.0])?.pop();
    row.map(|mut row| Ok((row.text()?, row.text()?, row.int()? != 0))).transpose()
}

pub(crate) fn redact(tx: &mut Tx<'_>, op: &Redact) -> Result<Redacted> {
    let Some((_, kind, erased)) = author(tx, op.seq)? else {
        return Err(Error::new(Code::NotFound, format!("there is no event {}", op.seq)));
    };
    if erased {
        return Ok(Redacted { already: true });
    }
    tx.sql.run(UPDATE_ERASE, params![op.seq.0])?;
    if kind == "message.sent" {
        message::erase(tx, op.seq)?;
    }
    tx.meta.erasing = 1;
    let facts = Json::of(&json!({"seq": op.seq, "reason": op.reason}));
    tx.event("event.redacted", &format!("event:{}", op.seq), &facts)?;
    Ok(Redacted { already: false })
}

pub(crate) fn prune(tx: &mut Tx<'_>, op: &Prune) -> Result<Pruned> {
    let last = op.before.0 - 1;
    if last > tx.meta.seq {
        return Err(Error::invalid(format!("the log ends at event {}", tx.meta.seq)));
    }
    if last <= tx.meta.pruned_seq {
        return Ok(Pruned { removed: 0, oldest: Seq(tx.meta.pruned_seq + 1) });
    }
    let since = tx.now.0 - CONSUMER_MS as i64;
    if !op.force
        && let Some(mut row) =
            tx.sql.rows(SELECT_CONSUMERS, params![since, last])?.into_iter().next()
    {
        let (consumer, seq) = (row.text()?, row.int()?);
        return Err(Error::new(
            Code::CursorBehind,
            format!("consumer `{consumer}` has read only up to event {seq}"),
        )
        .detail("consumer", consumer)
        .detail("seq", seq)
        .hint("let it catch up, or use `--force`"));
    }
    let hash = tx
        .sql
        .rows(SELECT_HASH, params![last])?
        .pop()
        .ok_or_else(|| Error::new(Code::StoreCorrupt, format!("event {last} is missing")))?
        .hash()?;
    let facts = Json::of(&json!({"before": op.before, "hash": hex(&hash), "force": op.force}));
    tx.event("event.pruned", "event", &facts)?;
    let removed = tx.sql.run(DELETE_BEFORE, params![op.before.0])?;
    tx.meta.pruned_seq = last;
    tx.meta.pruned_hash = hash;
    Ok(Pruned { removed, oldest: op.before })
}

/// Checks a stretch of the chain. Carried from one snapshot to the next, so that none lasts long.
pub(crate) struct Chain {
    at: i64,
    hash: Hash,
    checked: u64,
    kept: Option<(Cursor, bool)>,
}

impl Chain {
    /// Begins at the oldest event that is kept.
    pub(crate) fn begin(meta: &Meta, kept: Option<Cursor>) -> Self {
        Self {
            at: meta.pruned_seq,
            hash: meta.pruned_hash,
            checked: 0,
            kept: kept.map(|cursor| (cursor, false)),
        }
    }

    /// Checks up to `most` further events. Answers the verdict once it is known.
    pub(crate) fn step(
        &mut self,
        sql: &mut dyn Sql,
        meta: &Meta,
        most: i64,
    ) -> Result<Option<Verified>> {
        if self.at < meta.pruned_seq {
            // Pruned meanwhile: what is gone need not be checked.
            (self.at, self.hash) = (meta.pruned_seq, meta.pruned_hash);
        }
        let rows = sql.rows(SELECT_EVENTS, params![self.at, most])?;
        let read = rows.len() as i64;
        for row in rows {
            let row = event(row)?;
            if let Some(why) = self.fault(&row) {
                return Ok(Some(self.verdict(Some((self.at + 1, why)))));
            }
            self.at += 1;
            self.hash = row.hash;
            self.checked += 1;
            if let Some((Cursor::At { history, seq, hash8 }, found)) = &mut self.kept
                && seq.0 == self.at
            {
                *found = *history == meta.history && hex(&row.hash[..4]) == *hash8;
            }
        }
        if read == most {
            return Ok(None);
        }
        if self.at != meta.seq || self.hash != meta.hash {
            let why = format!("the log ends at event {}, the head says {}", self.at, meta.seq);
            return Ok(Some(self.verdict(Some((self.at + 1, why)))));
        }
        if let Some((cursor @ Cursor::At { seq, .. }, false)) = &self.kept
            && seq.0 > meta.pruned_seq
        {
            let why =
                format!("the log does not contain the head `{cursor}` that was kept elsewhere");
            return Ok(Some(self.verdict(Some((seq.0, why)))));
        }
        Ok(Some(self.verdict(None)))
    }

    fn fault(&self, row: &EventRow) -> Option<String> {
        let event = &row.event;
        if event.seq.0 != self.at + 1 {
            return Some(format!("event {} is missing", self.at + 1));
        }
        if let (Some(payload), Some(salt)) = (&event.payload, &row.salt)
            && payload_digest(salt, payload.text()) != row.digest
        {
            return Some("its payload was changed".to_owned());
        }
        let header = Header {
            seq: event.seq.0,
            at: &event.at,
            tick: event.tick.0,
            kind: &event.kind,
            scope: &event.scope,
            session: &event.session,
            name: &event.name,
            user: &event.user,
            trust: if mutant("hash_without_trust") { "" } else { &event.trust },
            writer_version: &event.writer_version,
        };
        (chain_hash(&self.hash, &header, &row.digest) != row.hash)
            .then(|| "its hash does not follow from the event before".to_owned())
    }

    fn verdict(&self, fault: Option<(i64, String)>) -> Verified {
        Verified {
            ok: fault.is_none(),
            checked: self.checked,
            first_bad: fault.as_ref().map(|(seq, _)| Seq(*seq)),
            why: fault.map(|(_, why)| why),
        }
    }
}
