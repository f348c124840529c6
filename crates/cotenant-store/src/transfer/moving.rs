//! A store takes over from another one.

use cotenant_core::{Code, Error, Result, render::counted_are};
use serde::Serialize;
use serde_json::json;

use super::{
    build::{Standing, arrive, check},
    file::Header,
    gate::{Gate, Way},
    rows::{Progress, Step, Sum, Tell, Which, Writer, read},
};
use crate::{
    IfMissing, LocalStore, Location, session,
    sql::{Finish, Sql},
    testing::{failpoint, mutant},
};

/// How often a copy is made anew because somebody wrote to the old store meanwhile.
const COPIES_MAX: usize = 5;

/// What a move did.
#[derive(Clone, Debug, Serialize)]
pub struct Moved {
    /// Where the store was.
    pub from: String,
    /// Where it is now.
    pub to: String,
    /// The history, which goes on.
    pub history: String,
    /// The newest event that was carried.
    pub seq: i64,
    /// Whether an earlier try had done a part of it, or all.
    pub resumed: bool,
    /// How many events were checked now; none if an earlier try did that.
    pub events_checked: u64,
}

/// What a copy adds up to.
struct Copied {
    header: Header,
    digest: String,
    without_events: String,
    events_checked: u64,
}

/// Moves a store to another place. Whoever repeats an interrupted move finishes it.
pub fn relocate(from: &Location, to: &Location, tell: &mut Tell<'_>) -> Result<Moved> {
    let (from, to) = (&from.resolved(), &to.resolved());
    if from.to_string() == to.to_string() {
        return Err(Error::invalid(format!("the store is at `{to}` already"))
            .hint("name another place with `--to`"));
    }
    let old = LocalStore::open_at(from, IfMissing::Fail)?;
    let standing = seen(&old, Standing::load)?;
    let resumed = match standing.gate {
        None => false,
        Some(gate) if gate.way == Way::Here => return Err(gate.error()),
        Some(gate) => {
            if let Some(moved) = finish(from, to, &old, &gate)? {
                return Ok(moved);
            }
            if gate.other != to.to_string() {
                return Err(gate.error());
            }
            true
        }
    };
    for _ in 0..COPIES_MAX {
        if !resumed {
            settle(&old)?;
        }
        let copied = copy(from, to, &old, tell)?;
        failpoint("move.arrived")?;
        tell(Progress { step: Step::Arrived, done: 0, rows: 0 });
        if resumed || retire(to, &old, &copied)? {
            failpoint("move.retired")?;
            tell(Progress { step: Step::Retired, done: 0, rows: 0 });
            open(from, to, &copied.digest)?;
            failpoint("move.opened")?;
            return Ok(Moved {
                from: from.to_string(),
                to: to.to_string(),
                history: copied.header.history,
                seq: copied.header.seq,
                resumed,
                events_checked: copied.events_checked,
            });
        }
    }
    Err(Error::new(Code::Busy, "the store was written to each time while it was copied")
        .hint("stop what writes to it, then repeat; until then it stays where it is"))
}

/// What a snapshot shows.
fn seen<T>(store: &LocalStore, mut look: impl FnMut(&mut dyn Sql) -> Result<T>) -> Result<T> {
    let mut seen = None;
    store.with_engine(|engine| {
        engine.read(&mut |sql| {
            seen = Some(look(sql)?);
            Ok(())
        })
    })?;
    seen.ok_or_else(|| Error::internal("a snapshot showed nothing"))
}

/// What somebody is told who uses a store that is closed.
pub(crate) fn refusal(store: &LocalStore) -> Option<Error> {
    let standing = seen(store, Standing::load).ok()?;
    standing.gate.map(|gate| gate.error())
}

/// Finishes a move after which the old store is closed, if the new one has arrived.
fn finish(from: &Location, to: &Location, old: &LocalStore, gate: &Gate) -> Result<Option<Moved>> {
    let new = match LocalStore::open_at(to, IfMissing::Fail)
        .and_then(|new| seen(&new, Standing::load))
    {
        Ok(new) => new,
        Err(error) if matches!(error.code, Code::NotFound | Code::StoreMissing) => return Ok(None),
        Err(error) => return Err(error),
    };
    let header = seen(old, |sql| Header::of(sql, None))?;
    match &new.gate {
        Some(arriving) if arriving.way == Way::Here && arriving.digest == gate.digest => {
            open(from, to, &gate.digest)?;
        }
        None if new.follows(&header) && gate.other == to.to_string() => {}
        _ => return Ok(None),
    }
    Ok(Some(Moved {
        from: from.to_string(),
        to: to.to_string(),
        history: header.history,
        seq: header.seq,
        resumed: true,
        events_checked: 0,
    }))
}

/// Brings all sessions to their true state, and erases for good what was erased: nobody could do that once
/// the store is closed. Fails if sessions are live then.
fn settle(old: &LocalStore) -> Result<()> {
    if old.is_erasing()? {
        old.finish_erasing()?;
    }
    let mut live = Vec::new();
    old.administer(&mut |tx| {
        live = session::settle_live(tx)?;
        Ok(())
    })?;
    refuse(&live)
}

fn refuse(live: &[String]) -> Result<()> {
    if live.is_empty() {
        return Ok(());
    }
    let first = live.first().map_or("NAME", String::as_str);
    Err(Error::new(
        Code::LiveSessions,
        format!("{} live: {}", counted_are(live.len() as u64, "session"), live.join(", ")),
    )
    .detail("sessions", live)
    .hint(format!(
        "let each sign off, e.g. `cotenant sign-off --session {first}`, or end those that are gone \
         with `cotenant session reap NAME`; then repeat"
    )))
}

/// Copies one snapshot of the old store to the new place, where it is checked and stays closed.
fn copy(from: &Location, to: &Location, old: &LocalStore, tell: &mut Tell<'_>) -> Result<Copied> {
    let expected = seen(old, |sql| Header::of(sql, None))?;
    let mut copied = None;
    arrive(to, &expected, true, &mut |sql, meta| {
        let (header, sum) = seen(old, |from| {
            refuse(&session::names_of_live(from)?)?;
            let header = Header::of(from, None)?;
            let mut sum = Sum::begin(&header.line()?, &header.rows, Step::Copying);
            let mut writer = Writer::default();
            read(from, Which::All, &mut sum, tell, &mut |table, row, _| {
                writer.write(sql, table, row)
            })?;
            writer.flush(sql)?;
            Ok((header, sum))
        })?;
        failpoint("move.copied")?;
        header.save(sql, meta)?;
        let events_checked = check(sql, meta, &header, &sum, tell)?;
        let (digest, without_events) = (sum.digest(), sum.without_events());
        let gate = Gate { way: Way::Here, digest: digest.clone(), other: from.to_string() };
        gate.close(sql, meta)?;
        copied = Some(Copied { header, digest, without_events, events_checked });
        Ok(())
    })?;
    copied.ok_or_else(|| Error::internal("the copy read nothing"))
}

/// Closes the old store, if it is still what was copied. Answers whether it was.
fn retire(to: &Location, old: &LocalStore, copied: &Copied) -> Result<bool> {
    let mut is_same = false;
    old.carry(&mut |tx| {
        if tx.meta.is_closed {
            return Err(Gate::refusal(tx.sql));
        }
        is_same = mutant("move_does_not_look_again") || is_as_copied(tx.sql, copied)?;
        if !is_same {
            return Ok(Finish::Rollback);
        }
        let gate = Gate { way: Way::Away, digest: copied.digest.clone(), other: to.to_string() };
        if !mutant("move_leaves_the_old_store_open") {
            gate.close(tx.sql, &tx.meta)?;
        }
        failpoint("move.retiring")?;
        Ok(Finish::Commit)
    })?;
    Ok(is_same)
}

fn is_as_copied(sql: &mut dyn Sql, copied: &Copied) -> Result<bool> {
    let header = Header::of(sql, None)?;
    let mut sum = Sum::begin(&header.line()?, &header.rows, Step::Checking);
    read(sql, Which::WithoutEvents, &mut sum, &mut |_| {}, &mut |_, _, _| Ok(()))?;
    Ok(sum.without_events() == copied.without_events)
}

/// Opens the new store. Its log says from where it came.
fn open(from: &Location, to: &Location, digest: &str) -> Result<()> {
    let new = LocalStore::open_at(to, IfMissing::Fail)?;
    new.carry(&mut |tx| {
        match Gate::load(tx.sql)? {
            Some(gate) if gate.way == Way::Here && gate.digest == digest => {}
            _ => {
                return Err(Error::new(
                    Code::Busy,
                    format!("another move changed what is at `{to}` meanwhile"),
                )
                .hint("repeat the same command"));
            }
        }
        Gate::open(tx.sql)?;
        let facts = json!({"from": from.to_string(), "to": to.to_string()});
        tx.event_of_store("store.moved", "store", &facts)?;
        Ok(Finish::Commit)
    })
}
