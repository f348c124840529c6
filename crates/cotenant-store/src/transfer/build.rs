//! A store that is carried arrives: it is made whole, checked, and only then seen.

use std::io::BufRead;

use cotenant_core::{
    Code, Error, Result,
    event::Hash,
    render::{counted, counted_are},
};
use serde::Serialize;
use serde_json::json;

use super::{
    file::{Header, Reader},
    gate::{Gate, Way},
    rows::{Step, Sum, Tell, Which, Writer, counts, read},
    table::damaged,
};
use crate::{
    Location,
    admin::PATIENCE,
    create::{self, draft_database, remove_database},
    draft,
    event::Chain,
    host::LocalProcesses,
    meta::{Intent, Meta},
    params,
    place::{Found, look},
    postgres, session,
    sql::{Clock as _, Patience, Sql},
    sqlite::{BootClock, Sqlite, Statements},
    testing::{failpoint, mutant},
    tx::Tx,
};

/// Events checked at a time.
const VERIFY_PAGE: i64 = 2_000;

const SELECT_HASH: &str = "SELECT hash FROM event WHERE seq = $1";

/// What an import did.
#[derive(Clone, Debug, Serialize)]
pub struct Imported {
    /// Where the store is now.
    pub address: String,
    /// The history, which is that of the exported store.
    pub history: String,
    /// The newest event.
    pub seq: i64,
    /// How many rows of all tables.
    pub rows: u64,
    /// How many events were checked; less than `seq` if some were pruned.
    pub events_checked: u64,
    /// Sessions that were live in the export and are lost now.
    pub sessions_lost: u64,
}

/// What stands where a store shall arrive.
pub(super) struct Standing {
    history: String,
    seq: i64,
    hash: Hash,
    fence: i64,
    pub(super) gate: Option<Gate>,
    is_empty: bool,
}

impl Standing {
    pub(super) fn load(sql: &mut dyn Sql) -> Result<Self> {
        let meta = Meta::load(sql, Intent::Carry)?;
        let gate = if meta.is_closed { Gate::load(sql)? } else { None };
        let is_empty = !meta.is_closed && meta.seq == 0 && counts(sql)?.values().all(|n| *n == 0);
        let Meta { history, seq, hash, fence, .. } = meta;
        Ok(Self { history, seq, hash, fence, gate, is_empty })
    }

    /// Whether it is open and goes on from what was carried.
    pub(super) fn follows(&self, carried: &Header) -> bool {
        self.gate.is_none() && self.history == carried.history && self.seq > carried.seq
    }

    /// Whether nothing is lost if this is replaced by what arrives: it is empty, was moved away and is
    /// an earlier state of it, or is what an interrupted move left.
    fn may_go(&self, to: &Location, arriving: &Header, moves: bool) -> Result<()> {
        let is_same = self.history == arriving.history;
        let may_go = match &self.gate {
            None => self.is_empty,
            Some(gate) if gate.way == Way::Here => moves && is_same,
            Some(_) => is_same && self.seq <= arriving.seq,
        };
        if may_go {
            return Ok(());
        }
        let found = match &self.gate {
            Some(gate) => format!(": {}", gate.error().message),
            None => format!(", with {}", counted(self.seq.unsigned_abs(), "event")),
        };
        let what = format!("there is a store at `{to}` already{found}");
        Err(Error::new(Code::PathExists, what)
            .detail("address", to.to_string())
            .detail("history", &self.history)
            .detail("seq", self.seq)
            .hint("name a place where no store is, or move that one away"))
    }
}

/// Makes a store of an export.
///
/// Sessions that were live are refused, or with `lose_sessions` they are lost, as in a restore.
pub fn import(
    input: &mut dyn BufRead,
    to: &Location,
    lose_sessions: bool,
    tell: &mut Tell<'_>,
) -> Result<Imported> {
    let to = &to.resolved();
    let mut reader = Reader::open(input)?;
    let header = reader.header.clone();
    let mut imported = None;
    arrive(to, &header, false, &mut |sql, meta| {
        let mut writer = Writer::default();
        let sum =
            reader.rows(tell, &mut |table, row| writer.write(sql, table, row).map_err(refused))?;
        writer.flush(sql).map_err(refused)?;
        header.save(sql, meta)?;
        let events_checked = check(sql, meta, &header, &sum, tell)?;
        let sessions_lost = lose_live(sql, meta, lose_sessions)?;
        imported = Some(Imported {
            address: to.to_string(),
            history: header.history.clone(),
            seq: meta.seq,
            rows: header.rows.values().sum(),
            events_checked,
            sessions_lost,
        });
        Meta::save_gate(sql, false)
    })?;
    imported.ok_or_else(|| Error::internal("the import wrote nothing"))
}

/// A row that the database does not take is none that a store had.
fn refused(error: Error) -> Error {
    if error.code != Code::Internal {
        return error;
    }
    damaged("it has a row that fits no store").caused_by(error)
}

/// Refuses sessions that are live in what arrives, or ends them.
fn lose_live(sql: &mut dyn Sql, meta: &mut Meta, lose_sessions: bool) -> Result<u64> {
    let live = session::names_of_live(sql)?;
    if live.is_empty() {
        return Ok(0);
    }
    if !lose_sessions {
        return Err(Error::new(
            Code::LiveSessions,
            format!(
                "{} live in the export: {}",
                counted_are(live.len() as u64, "session"),
                live.join(", ")
            ),
        )
        .detail("sessions", &live)
        .hint("let them sign off and export again, or confirm with `--yes`: they will be lost"));
    }
    let mut tx = Tx::new(sql, meta.clone(), wall_ms(meta), &LocalProcesses);
    let lost = session::lose_all(&mut tx, "import")?;
    let facts = json!({"sessions_lost": lost});
    tx.event_of_store("store.imported", "store", &facts)?;
    tx.meta.save(tx.sql)?;
    *meta = tx.meta;
    Ok(lost)
}

/// Wall time, which on a server is that of its clock.
fn wall_ms(meta: &Meta) -> i64 {
    BootClock.wall_ms().max(meta.source_value)
}

/// Makes a store at a place, in which a body writes the rows. Nobody sees it before the body is done.
pub(super) fn arrive(
    to: &Location,
    header: &Header,
    moves: bool,
    body: &mut dyn FnMut(&mut dyn Sql, &mut Meta) -> Result<()>,
) -> Result<()> {
    let mut put = |sql: &mut dyn Sql, before: Option<&Standing>| {
        let mut meta = Meta::load(sql, Intent::Carry)?;
        let reading = sql.reading().map_or_else(|| BootClock.reading(sql), Ok)?;
        meta.stand_at(reading);
        meta.fence = meta.fence.max(before.map_or(0, |before| before.fence));
        body(sql, &mut meta)?;
        if let Some(before) = before {
            check_contains(sql, &meta, before)?;
        }
        failpoint("arrive.checked")
    };
    let may_go = |standing: &Standing| standing.may_go(to, header, moves);
    match to {
        Location::Server(address) => postgres::make(address, &mut |sql, is_new| {
            if is_new {
                put(sql, None)?;
            } else {
                let standing = Standing::load(sql)?;
                may_go(&standing)?;
                sql.run(postgres::EMPTY, &[])?;
                put(sql, Some(&standing))?;
            }
            postgres::AFTER_FILLING
                .iter()
                .try_for_each(|sentence| sql.rows(sentence, &[]).map(drop))
        }),
        Location::File(file) => match look(file) {
            Ok(Found::Store(path)) => {
                let mut engine = Sqlite::open(&path)?;
                let standing = Standing::load(&mut Statements::of(engine.connection()))?;
                may_go(&standing)?;
                let draft = draft::beside(&path)?;
                let patience = Patience::Until(std::time::Instant::now() + PATIENCE);
                let made =
                    draft_database(&draft, &mut |sql| put(sql, Some(&standing))).and_then(|()| {
                        engine
                            .replace_content(&draft, patience, &|sql| may_go(&Standing::load(sql)?))
                    });
                remove_database(&draft);
                made
            }
            Err(error) if error.code != Code::StoreMissing => Err(error),
            _ => {
                if create::make(file, &mut |sql| put(sql, None))? {
                    return Ok(());
                }
                let what = format!("another process made a store at `{to}` just now");
                Err(Error::new(Code::PathExists, what).detail("address", to.to_string()))
            }
        },
    }
}

/// Fails unless what arrived goes on where the store that it replaces stopped.
fn check_contains(sql: &mut dyn Sql, meta: &Meta, before: &Standing) -> Result<()> {
    if before.is_empty || before.seq <= meta.pruned_seq {
        return Ok(());
    }
    let found = sql.rows(SELECT_HASH, params![before.seq])?.pop();
    if found.map(|mut row| row.hash()).transpose()? == Some(before.hash) {
        return Ok(());
    }
    Err(Error::new(
        Code::PathExists,
        format!(
            "the store there went another way: its event {} is not in what arrives",
            before.seq
        ),
    )
    .detail("seq", before.seq)
    .hint("name a place where no store is"))
}

/// Reads all rows back, which must add up to what was sent, and checks the log's chain. Answers how many
/// events were checked.
pub(super) fn check(
    sql: &mut dyn Sql,
    meta: &Meta,
    header: &Header,
    sent: &Sum,
    tell: &mut Tell<'_>,
) -> Result<u64> {
    let line = header.line()?;
    let mut found = Sum::begin(&line, &header.rows, Step::Checking);
    read(sql, Which::All, &mut found, tell, &mut |_, _, _| Ok(()))?;
    if found.digest() != sent.digest() {
        return Err(damaged("what arrived is not what was sent"));
    }
    if mutant("import_skips_chain_check") {
        return Ok(0);
    }
    let mut chain = Chain::begin(meta, None);
    loop {
        let Some(verdict) = chain.step(sql, meta, VERIFY_PAGE)? else { continue };
        return match verdict.why {
            None => Ok(verdict.checked),
            Some(why) => Err(Error::new(Code::StoreCorrupt, format!("the log is damaged: {why}"))
                .detail("first_bad", verdict.first_bad)
                .hint(
                    "nothing was made; `cotenant event verify` looks at the store it comes from",
                )),
        };
    }
}
