//! Barriers: who has arrived, when one opens, what breaks it.
//!
//! A barrier has a row of its own, with an empty session, and one for each party. A party's row says what it
//! is told at its next arrival: a generation may end while it is not asking.
//!
//! # Invariants
//! - `waiting` rows are those of live sessions, and of the generation that is being filled.
//! - A generation opens or breaks once, in the transaction of the arrival, the loss or the timer that ends it.

use cotenant_core::{
    Code, Error, Result,
    barrier::{Arrive, Arrived, BARRIER_TIMEOUT_MS, BarrierView},
    id::Tick,
    json::Json,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    params,
    session::{self, SessionRow, WAITER_WRITES_EVERY_MS, settle_holder},
    sql::{Row, corrupt},
    testing::mutant,
    tx::{Tx, Verdict},
};

const SELECT_ONE: &str = "SELECT session, state, generation, parties, expires_tick, why \
     FROM barrier WHERE name = $1 AND session = $2";
const SELECT_PARTIES: &str = "SELECT session, state, generation, parties, expires_tick, why \
     FROM barrier WHERE name = $1 AND session <> '' ORDER BY session";
const SELECT_OF_SESSION: &str = "SELECT name FROM barrier WHERE session = $1 ORDER BY name";
const SELECT_FILLING: &str =
    "SELECT name FROM barrier WHERE session = $1 AND state = $2 ORDER BY name";
const UPSERT: &str = "INSERT INTO barrier (name, session, state, generation, parties, expires_tick, why) \
     VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (name, session) DO UPDATE SET \
     state = excluded.state, generation = excluded.generation, parties = excluded.parties, \
     expires_tick = excluded.expires_tick, why = excluded.why";
const DELETE: &str = "DELETE FROM barrier WHERE name = $1 AND session = $2";

/// A row of `barrier`: the barrier itself, or a party.
#[derive(Clone, Debug)]
struct BarrierRow {
    session: String,
    state: BarrierState,
    generation: i64,
    parties: i64,
    expires: Option<Tick>,
    why: Option<String>,
}

/// Where a barrier or a party of it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BarrierState {
    /// Of the barrier: some have arrived, others not yet.
    Filling,
    /// Of the barrier: all were there.
    Idle,
    /// Of both: a party went, or the time was over; the party does not know yet.
    Broken,
    /// Of a party: it has arrived.
    Waiting,
    /// Of a party: all were there, which it does not know yet.
    Open,
    /// Of a party: it knows that the generation broke.
    Told,
}

impl BarrierState {
    const ALL: [Self; 6] =
        [Self::Filling, Self::Idle, Self::Broken, Self::Waiting, Self::Open, Self::Told];

    const fn word(self) -> &'static str {
        match self {
            Self::Filling => "filling",
            Self::Idle => "idle",
            Self::Broken => "broken",
            Self::Waiting => "waiting",
            Self::Open => "open",
            Self::Told => "told",
        }
    }
}

/// Why a generation broke.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Why {
    /// A party went.
    Gone { session: String, name: String, reason: String },
    /// Not all came in time.
    Timeout { arrived: Vec<String>, missing: i64 },
}

fn barrier(mut row: Row) -> Result<BarrierRow> {
    let (session, word) = (row.text()?, row.text()?);
    let state = BarrierState::ALL
        .into_iter()
        .find(|state| state.word() == word)
        .ok_or_else(|| corrupt(format!("a barrier has the unknown state `{word}`")))?;
    Ok(BarrierRow {
        session,
        state,
        generation: row.int()?,
        parties: row.int()?,
        expires: row.optional_int()?.map(Tick),
        why: row.optional_text()?,
    })
}

impl BarrierRow {
    /// Whether its time has not passed.
    fn is_in_time(&self, now: Tick) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}

fn load(tx: &mut Tx<'_>, name: &str, session: &str) -> Result<Option<BarrierRow>> {
    tx.sql.rows(SELECT_ONE, params![name, session])?.pop().map(barrier).transpose()
}

fn save(tx: &mut Tx<'_>, name: &str, row: &BarrierRow) -> Result<()> {
    tx.sql
        .run(
            UPSERT,
            params![
                name,
                &row.session,
                row.state.word(),
                row.generation,
                row.parties,
                row.expires.map(|tick| tick.0),
                row.why.as_ref(),
            ],
        )
        .map(drop)
}

fn delete(tx: &mut Tx<'_>, name: &str, session: &str) -> Result<()> {
    tx.sql.run(DELETE, params![name, session]).map(drop)
}

/// The parties that have arrived for a generation, with their sessions. A call that stopped waiting without
/// a word has left.
fn parties(tx: &mut Tx<'_>, name: &str, generation: i64) -> Result<Vec<(BarrierRow, SessionRow)>> {
    let mut found = Vec::new();
    for row in tx.sql.rows(SELECT_PARTIES, params![name])? {
        let row = barrier(row)?;
        let arrived = row.state == BarrierState::Waiting && row.generation == generation;
        if arrived
            && row.is_in_time(tx.now)
            && let Some(session) = session::find(tx, &row.session)?
        {
            found.push((row, session));
        }
    }
    Ok(found)
}

/// The barriers that wait for parties, by name.
pub(crate) fn filling(tx: &mut Tx<'_>, most: usize) -> Result<Vec<BarrierView>> {
    let mut found = Vec::new();
    for mut row in tx.sql.rows(SELECT_FILLING, params!["", BarrierState::Filling.word()])? {
        let name = row.text()?;
        let Some(row) = load(tx, &name, "")? else { continue };
        let mut there = parties(tx, &name, row.generation)?;
        there.retain(|(_, session)| session.effective(tx).is_live());
        let Some(expires) = row.expires.filter(|_| row.is_in_time(tx.now)) else { continue };
        if !there.is_empty() && found.len() < most {
            found.push(BarrierView {
                name,
                generation: row.generation,
                parties: u32::try_from(row.parties).unwrap_or(u32::MAX),
                arrived: names(&there),
                expires_in_ms: expires.remaining(tx.now),
            });
        }
    }
    Ok(found)
}

fn names(parties: &[(BarrierRow, SessionRow)]) -> Vec<String> {
    parties.iter().map(|(_, session)| session.name.clone()).collect()
}

fn scope(name: &str) -> String {
    format!("barrier:{name}")
}

/// The barrier in its true state: its time may be over, a party's process may be dead.
fn settled(tx: &mut Tx<'_>, name: &str, actor: &str) -> Result<Option<BarrierRow>> {
    let Some(row) = load(tx, name, "")? else { return Ok(None) };
    if row.state != BarrierState::Filling {
        return Ok(Some(row));
    }
    if !row.is_in_time(tx.now) {
        time_is_over(tx, name, &row)?;
        return load(tx, name, "");
    }
    let mut changed = false;
    for (party, session) in parties(tx, name, row.generation)? {
        // A loss breaks the barrier.
        changed |= party.session != actor && !settle_holder(tx, session)?.state.is_live();
    }
    if changed { load(tx, name, "") } else { Ok(Some(row)) }
}

pub(crate) fn arrive(tx: &mut Tx<'_>, op: &Arrive) -> Result<Verdict<Arrived>> {
    let actor = tx.actor()?.clone();
    let barrier = settled(tx, &op.name, &actor.id)?;
    let own = load(tx, &op.name, &actor.id)?;
    match &own {
        Some(own) if own.state == BarrierState::Open => {
            delete(tx, &op.name, &actor.id)?;
            let arrived = own.why.as_deref().map(serde_json::from_str).transpose();
            let arrived = arrived.map_err(|cause| {
                corrupt("the parties of a barrier cannot be read").caused_by(cause)
            })?;
            return Ok(Verdict::Done(answer(op, own, true, arrived.unwrap_or_default())));
        }
        Some(own) if own.state == BarrierState::Broken => return tell(tx, op, own, &actor),
        _ => {}
    }
    let Some(barrier) = barrier else { return join(tx, op, None, own, &actor) };
    let told = own.as_ref().is_some_and(|own| own.generation == barrier.generation);
    if barrier.state == BarrierState::Broken && !told && barrier.is_in_time(tx.now) {
        let late = BarrierRow { session: actor.id.clone(), ..barrier };
        return tell(tx, op, &late, &actor);
    }
    join(tx, op, Some(barrier), own, &actor)
}

fn answer(op: &Arrive, row: &BarrierRow, open: bool, arrived: Vec<String>) -> Arrived {
    Arrived {
        name: op.name.clone(),
        generation: row.generation,
        open,
        parties: u32::try_from(row.parties).unwrap_or(u32::MAX),
        arrived,
    }
}

/// Tells a party that its generation broke, and notes that it knows.
fn tell(
    tx: &mut Tx<'_>,
    op: &Arrive,
    row: &BarrierRow,
    actor: &SessionRow,
) -> Result<Verdict<Arrived>> {
    let why = row.why.as_deref().map(serde_json::from_str::<Why>).transpose();
    let why =
        why.map_err(|cause| corrupt("why a barrier broke cannot be read").caused_by(cause))?;
    let told = BarrierRow {
        session: actor.id.clone(),
        state: BarrierState::Told,
        expires: None,
        ..row.clone()
    };
    save(tx, &op.name, &told)?;
    let error = match why {
        Some(Why::Timeout { arrived, missing }) => {
            timeout(op, &arrived, missing, row.parties, "broke when its time was over")
        }
        Some(Why::Gone { session, name, reason }) => Error::new(
            Code::Cancelled,
            format!("barrier `{}` is broken: `{name}` {}", op.name, in_words(&reason)),
        )
        .detail("session", session)
        .detail("name", name)
        .detail("reason", reason),
        None => Error::new(Code::Cancelled, format!("barrier `{}` is broken", op.name)),
    };
    let error = error.detail("generation", row.generation).hint(
        "decide whether the work can go on without it; arriving again begins the barrier anew",
    );
    Ok(Verdict::Refused(error))
}

fn in_words(reason: &str) -> String {
    if reason == "ended" { "signed off".to_owned() } else { format!("was lost ({reason})") }
}

fn timeout(op: &Arrive, arrived: &[String], missing: i64, parties: i64, how: &str) -> Error {
    let are = if missing == 1 { "is" } else { "are" };
    Error::new(
        Code::Timeout,
        format!("barrier `{}` {how}: {missing} of {parties} parties {are} missing", op.name),
    )
    .detail("arrived", arrived)
    .detail("missing", missing)
}

/// Arrives at the generation that is being filled, or begins one.
fn join(
    tx: &mut Tx<'_>,
    op: &Arrive,
    barrier: Option<BarrierRow>,
    own: Option<BarrierRow>,
    actor: &SessionRow,
) -> Result<Verdict<Arrived>> {
    let last = barrier.as_ref().map_or(0, |barrier| barrier.generation);
    let filling = barrier.filter(|barrier| barrier.state == BarrierState::Filling);
    let there = match &filling {
        Some(filling) => parties(tx, &op.name, filling.generation)?,
        None => Vec::new(),
    };
    let mut is_there = false;
    let mut others_are = false;
    for (party, _) in &there {
        if party.session == actor.id { is_there = true } else { others_are = true }
    }
    let barrier = match filling {
        Some(barrier) if others_are && barrier.parties != i64::from(op.parties) => {
            return Err(Error::new(
                Code::SlotsMismatch,
                format!(
                    "barrier `{}` waits for {} parties, not {}",
                    op.name, barrier.parties, op.parties
                ),
            )
            .detail("parties", barrier.parties)
            .hint(format!("arrive with `--parties {}`", barrier.parties)));
        }
        Some(barrier) if others_are || (is_there && barrier.parties == i64::from(op.parties)) => {
            barrier
        }
        // Whoever is alone there, or first again after all have left, says how it shall be.
        _ => begin(tx, op, last + 1)?,
    };
    let own = own.filter(|own| is_there && own.generation == barrier.generation);
    let mut arrived: Vec<_> =
        there.into_iter().filter(|(party, _)| party.generation == barrier.generation).collect();
    if own.is_none() {
        let row = BarrierRow {
            session: actor.id.clone(),
            state: BarrierState::Waiting,
            expires: None,
            why: None,
            ..barrier.clone()
        };
        arrived.push((row, actor.clone()));
    }
    let early = i64::from(mutant("barrier_opens_early"));
    if arrived.len() as i64 + early >= barrier.parties {
        return open(tx, op, &barrier, &arrived, actor);
    }
    wait(tx, op, &barrier, own.as_ref(), &arrived, actor)
}

/// Begins a generation.
fn begin(tx: &mut Tx<'_>, op: &Arrive, generation: i64) -> Result<BarrierRow> {
    let expires = tx.now.after(op.timeout_ms.unwrap_or(BARRIER_TIMEOUT_MS));
    let row = BarrierRow {
        session: String::new(),
        state: BarrierState::Filling,
        generation,
        parties: i64::from(op.parties),
        expires: Some(expires),
        why: None,
    };
    save(tx, &op.name, &row)?;
    tx.arm(expires, "barrier", &op.name)?;
    Ok(row)
}

fn open(
    tx: &mut Tx<'_>,
    op: &Arrive,
    barrier: &BarrierRow,
    arrived: &[(BarrierRow, SessionRow)],
    actor: &SessionRow,
) -> Result<Verdict<Arrived>> {
    let names = names(arrived);
    let facts = json!({"name": op.name, "generation": barrier.generation, "parties": names});
    tx.event("barrier.opened", &scope(&op.name), &Json::of(&facts))?;
    let why = Json::of(&names).text().to_owned();
    for (party, _) in arrived.iter().filter(|(party, _)| party.session != actor.id) {
        let row = BarrierRow {
            state: BarrierState::Open,
            expires: None,
            why: Some(why.clone()),
            ..party.clone()
        };
        save(tx, &op.name, &row)?;
    }
    delete(tx, &op.name, &actor.id)?;
    let idle = BarrierRow { state: BarrierState::Idle, expires: None, ..barrier.clone() };
    save(tx, &op.name, &idle)?;
    Ok(Verdict::Done(answer(op, barrier, true, names)))
}

/// Lets an arrival stand, and has the caller wait if it wants to.
fn wait(
    tx: &mut Tx<'_>,
    op: &Arrive,
    barrier: &BarrierRow,
    own: Option<&BarrierRow>,
    arrived: &[(BarrierRow, SessionRow)],
    actor: &SessionRow,
) -> Result<Verdict<Arrived>> {
    let wait_ms = op.wait_ms.filter(|wait| *wait > 0);
    let Some(wait_ms) = wait_ms else {
        if own.is_none_or(|own| own.expires.is_some()) {
            stand(tx, op, barrier, own.is_none(), None, actor)?;
        }
        return Ok(Verdict::Done(answer(op, barrier, false, names(arrived))));
    };
    // What stands without a call stays when a call gives up.
    let stands = own.is_some_and(|own| own.expires.is_none());
    if tx.wait_over {
        if !stands {
            if own.is_some() {
                let facts = json!({"name": op.name, "generation": barrier.generation});
                tx.event("barrier.left", &scope(&op.name), &Json::of(&facts))?;
            }
            delete(tx, &op.name, &actor.id)?;
        }
        let others: Vec<String> =
            names(arrived).into_iter().filter(|name| stands || *name != actor.name).collect();
        let missing = barrier.parties - arrived.len() as i64;
        let how = format!("is not open after {}", cotenant_core::clock::in_words(wait_ms));
        return Ok(Verdict::Refused(timeout(op, &others, missing, barrier.parties, &how).hint(
            if stands {
                "your arrival stands; arrive again to go on waiting"
            } else {
                "your arrival was taken back; arrive again to go on waiting"
            },
        )));
    }
    // A call that goes on waiting need not write each time it looks.
    let fresh = |own: &BarrierRow| {
        own.expires.is_none_or(|expires| expires.remaining(tx.now) >= wait_ms / 2)
    };
    if !own.is_some_and(fresh) {
        let until = tx.now.after(wait_ms);
        stand(tx, op, barrier, own.is_none(), Some(until), actor)?;
    }
    let left = barrier.expires.map_or(u64::MAX, |expires| expires.remaining(tx.now));
    Ok(Verdict::Wait { retry_after_ms: left.clamp(1, WAITER_WRITES_EVERY_MS) })
}

fn stand(
    tx: &mut Tx<'_>,
    op: &Arrive,
    barrier: &BarrierRow,
    is_new: bool,
    until: Option<Tick>,
    actor: &SessionRow,
) -> Result<()> {
    if is_new {
        let facts =
            json!({"name": op.name, "generation": barrier.generation, "parties": barrier.parties});
        tx.event("barrier.arrived", &scope(&op.name), &Json::of(&facts))?;
    }
    let row = BarrierRow {
        session: actor.id.clone(),
        state: BarrierState::Waiting,
        expires: until,
        why: None,
        ..barrier.clone()
    };
    save(tx, &op.name, &row)
}

/// Breaks the generation that is being filled: all who have arrived are told at their next arrival.
fn break_(tx: &mut Tx<'_>, name: &str, row: &BarrierRow, why: &Why) -> Result<()> {
    let parties = parties(tx, name, row.generation)?;
    let facts =
        json!({"name": name, "generation": row.generation, "why": why, "parties": names(&parties)});
    tx.event_of_store("barrier.broken", &scope(name), &facts)?;
    let why = Some(Json::of(why).text().to_owned());
    for (party, _) in parties {
        let party =
            BarrierRow { state: BarrierState::Broken, expires: None, why: why.clone(), ..party };
        save(tx, name, &party)?;
    }
    save(tx, name, &BarrierRow { state: BarrierState::Broken, why, ..row.clone() })
}

fn time_is_over(tx: &mut Tx<'_>, name: &str, row: &BarrierRow) -> Result<()> {
    tx.settled = true;
    let arrived = names(&parties(tx, name, row.generation)?);
    let missing = row.parties - arrived.len() as i64;
    break_(tx, name, row, &Why::Timeout { arrived, missing })
}

/// A session is over: where it waits, nobody waits for it any longer.
pub(crate) fn on_over(tx: &mut Tx<'_>, session: &SessionRow, reason: &str) -> Result<()> {
    for mut row in tx.sql.rows(SELECT_OF_SESSION, params![&session.id])? {
        let name = row.text()?;
        let Some(own) = load(tx, &name, &session.id)? else { continue };
        delete(tx, &name, &session.id)?;
        let barrier = load(tx, &name, "")?;
        let filling = barrier.filter(|barrier| {
            barrier.state == BarrierState::Filling
                && own.state == BarrierState::Waiting
                && own.generation == barrier.generation
        });
        if let Some(barrier) = filling.filter(|_| !mutant("barrier_waits_for_the_lost")) {
            let why = Why::Gone {
                session: session.id.clone(),
                name: session.name.clone(),
                reason: reason.to_owned(),
            };
            break_(tx, &name, &barrier, &why)?;
        }
    }
    Ok(())
}

/// What a timer of a barrier does when it rings.
pub(crate) fn on_timer(tx: &mut Tx<'_>, name: &str) -> Result<()> {
    let Some(row) = load(tx, name, "")? else { return Ok(()) };
    match row.expires {
        Some(expires) if row.state == BarrierState::Filling && tx.now < expires => {
            tx.arm(expires, "barrier", name)
        }
        Some(_) if row.state == BarrierState::Filling => time_is_over(tx, name, &row),
        _ => Ok(()),
    }
}
