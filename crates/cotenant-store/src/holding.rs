//! Rows of `lease`: grants, claims, what is cooling down, and who waits.
//!
//! # Invariants
//! - `held` and `waiting` rows belong to live sessions.
//! - A `cooling` row keeps its resource taken until its tick, for everybody but the next
//!   incarnation of its session.
//! - A `released` row only remembers the fence that was given back last, so that a repeat succeeds;
//!   of those before it the log tells.

use std::fmt::Write as _;

use cotenant_core::{
    Code, Error, Result,
    claim::{AUTOMATIC_MS, Holding, HoldingState, Item, ItemKind, Mode},
    id::{Fence, SessionId, Tick},
    json::Json,
    lease::Resource,
    process::Liveness,
};
use serde_json::json;

use crate::{
    host, params,
    session::{SessionRow, session, session_columns, settle_holder},
    sql::{Query, Row},
    testing::mutant,
    tx::{Settlement, Tx},
};

/// The newest events that are looked at for a fence that was given back.
const RELEASED_MAX: i64 = 20_000;

/// A row of `lease`.
#[derive(Clone, Debug)]
pub(crate) struct LeaseRow {
    pub(crate) resource: Resource,
    pub(crate) session: String,
    pub(crate) state: LeaseState,
    pub(crate) fence: Fence,
    pub(crate) slots: i64,
    pub(crate) mode: Mode,
    pub(crate) automatic: bool,
    pub(crate) ttl_ms: Option<u64>,
    /// When a grant ends, a resource has cooled down, or a wait is over.
    pub(crate) expires: Option<Tick>,
    pub(crate) lock_delay_ms: u64,
    pub(crate) since: Tick,
    pub(crate) since_ms: i64,
    pub(crate) note: Option<String>,
}

/// Where a row stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeaseState {
    Held,
    Cooling,
    Waiting,
    Released,
}

impl LeaseState {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Cooling => "cooling",
            Self::Waiting => "waiting",
            Self::Released => "released",
        }
    }

    fn of(word: &str) -> Result<Self> {
        [Self::Held, Self::Cooling, Self::Waiting, Self::Released]
            .into_iter()
            .find(|state| state.word() == word)
            .ok_or_else(|| {
                Error::new(Code::StoreCorrupt, format!("a lease has the unknown state `{word}`"))
            })
    }
}

macro_rules! lease_columns {
    () => {
        "l.kind, l.name, l.tree, l.session, l.state, l.fence, l.slots, l.mode, l.automatic, l.ttl_ms, \
         l.expires_tick, l.lock_delay_ms, l.since_tick, l.since_ms, l.note"
    };
}
macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT ", lease_columns!(), " FROM lease l WHERE ", $rest)
    };
}
macro_rules! select_with_session {
    ($rest:literal) => {
        concat!(
            "SELECT ",
            lease_columns!(),
            ", ",
            session_columns!(),
            " FROM lease l JOIN session s ON s.id = l.session WHERE ",
            $rest
        )
    };
}

const SELECT_OWN: &str = select!("l.kind = $1 AND l.name = $2 AND l.tree = $3 AND l.session = $4");
const SELECT_BY_SESSION: &str = select!("l.session = $1 ORDER BY l.kind, l.name, l.tree");
const SELECT_NAMED: &str =
    select!("l.kind = $1 AND l.name = $2 AND l.state <> 'released' ORDER BY l.tree, l.session");
const SELECT_BELOW: &str = select!(
    "l.kind = $1 AND l.name >= $2 AND l.name < $3 AND l.state <> 'released' \
     ORDER BY l.name, l.tree, l.session"
);
const SELECT_KIND: &str =
    select!("l.kind = $1 AND l.state <> 'released' ORDER BY l.name, l.tree, l.session");
const SELECT_HELD_OF_KIND: &str = select!("l.session = $1 AND l.kind = $2 AND l.state = 'held'");
const SELECT_LISTED: &str = select_with_session!(
    "l.kind = $1 AND l.state <> 'released' ORDER BY l.name, l.tree, l.session"
);
const SELECT_HELD_BY: &str = select_with_session!(
    "l.session = $1 AND l.state <> 'released' ORDER BY l.kind, l.name, l.tree"
);
/// Two statements cost less than one that does both: most rows are new, and a short process prepares
/// each statement anew.
const INSERT_LEASE: &str = "INSERT INTO lease (state, fence, slots, mode, automatic, ttl_ms, \
     expires_tick, lock_delay_ms, since_tick, since_ms, note, kind, name, tree, session) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) ON CONFLICT DO NOTHING";
const UPDATE_LEASE: &str = "UPDATE lease SET state = $1, fence = $2, slots = $3, mode = $4, \
     automatic = $5, ttl_ms = $6, expires_tick = $7, lock_delay_ms = $8, since_tick = $9, \
     since_ms = $10, note = $11 WHERE kind = $12 AND name = $13 AND tree = $14 AND session = $15";
/// Where each statement is a round trip, one costs less than two.
const UPSERT_LEASE: &str = "INSERT INTO lease (state, fence, slots, mode, automatic, ttl_ms, \
     expires_tick, lock_delay_ms, since_tick, since_ms, note, kind, name, tree, session) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) \
     ON CONFLICT (kind, name, tree, session) DO UPDATE SET state = excluded.state, \
     fence = excluded.fence, slots = excluded.slots, mode = excluded.mode, \
     automatic = excluded.automatic, ttl_ms = excluded.ttl_ms, \
     expires_tick = excluded.expires_tick, lock_delay_ms = excluded.lock_delay_ms, \
     since_tick = excluded.since_tick, since_ms = excluded.since_ms, note = excluded.note";
const DELETE_LEASE: &str =
    "DELETE FROM lease WHERE kind = $1 AND name = $2 AND tree = $3 AND session = $4";
const SELECT_RELEASED: &str = "SELECT payload FROM event WHERE seq > $1 AND kind = $2 \
     AND scope = $3 AND session = $4 AND payload IS NOT NULL ORDER BY seq DESC";

/// The three key columns of a resource.
pub(crate) fn key(resource: &Resource) -> (&'static str, &str, &str) {
    match resource {
        Resource::Lease(name) => ("lease", name, ""),
        Resource::Claim(item) => {
            (item.kind.word(), &item.name, item.tree.as_deref().unwrap_or_default())
        }
    }
}

fn noun(resource: &Resource) -> &'static str {
    if matches!(resource, Resource::Lease(_)) { "lease" } else { "claim" }
}

fn lease(row: &mut Row) -> Result<LeaseRow> {
    let (kind, name, tree) = (row.text()?, row.text()?, row.text()?);
    let resource = match ItemKind::of(&kind) {
        Some(kind) => {
            Resource::Claim(Item { kind, name, tree: (!tree.is_empty()).then_some(tree) })
        }
        None => Resource::Lease(name),
    };
    Ok(LeaseRow {
        resource,
        session: row.text()?,
        state: LeaseState::of(&row.text()?)?,
        fence: Fence(row.int()?),
        slots: row.int()?,
        mode: if row.text()? == "advisory" { Mode::Advisory } else { Mode::Exclusive },
        automatic: row.int()? != 0,
        ttl_ms: row.optional_int()?.map(|ms| ms as u64),
        expires: row.optional_int()?.map(Tick),
        lock_delay_ms: row.int()? as u64,
        since: Tick(row.int()?),
        since_ms: row.int()?,
        note: row.optional_text()?,
    })
}

fn lease_and_session(mut row: Row) -> Result<(LeaseRow, SessionRow)> {
    Ok((lease(&mut row)?, session(&mut row)?))
}

impl LeaseRow {
    /// Whether it is a grant that has not run out.
    pub(crate) fn is_current(&self, now: Tick) -> bool {
        self.state == LeaseState::Held && self.expires.is_none_or(|expires| now < expires)
    }

    /// When a resource is free whose grant ended against the will of its holder.
    fn cooled(&self, ended: Tick) -> Tick {
        ended.after(if mutant("no_lock_delay") { 0 } else { self.lock_delay_ms })
    }

    fn timer_id(&self) -> String {
        let (kind, name, tree) = key(&self.resource);
        [kind, name, tree, &self.session].join("\n")
    }

    fn noun(&self) -> &'static str {
        noun(&self.resource)
    }

    /// As others see it.
    pub(crate) fn view(&self, holder: &SessionRow, tx: &Tx<'_>) -> Holding {
        let (resource, tree) = match &self.resource {
            Resource::Lease(name) => (name.clone(), None),
            Resource::Claim(item) => (item.to_string(), item.tree.clone()),
        };
        let expired = self.state == LeaseState::Held
            && !mutant("shown_as_stored")
            && (!self.is_current(tx.now) || !holder.effective(tx).is_live());
        let state = match self.state {
            LeaseState::Waiting => HoldingState::Waiting,
            LeaseState::Held if !expired => HoldingState::Held,
            _ => HoldingState::Cooling,
        };
        let until = if state == HoldingState::Cooling && expired {
            Some(self.expires.unwrap_or(tx.now).after(self.lock_delay_ms))
        } else {
            self.expires
        };
        let process = holder.process.as_ref();
        Holding {
            resource,
            tree,
            state,
            mode: self.mode,
            session: SessionId(holder.id.clone()),
            name: holder.name.clone(),
            kind: holder.kind.clone(),
            user: holder.user.clone(),
            fence: self.fence,
            since: Tx::at(self.since_ms),
            held_for_ms: self.since.age(tx.now),
            expires_in_ms: until.map(|tick| tick.remaining(tx.now)),
            heartbeat_age_ms: holder.heartbeat.age(tx.now),
            automatic: self.automatic,
            note: self.note.clone(),
            purpose: holder.purpose.clone(),
            host: process.map(|p| p.host.clone()).filter(|id| *id != host::this_host().id),
            pid: process.map(|process| process.pid),
        }
    }
}

/// Whether readers should see a row at all: what has cooled down is free, whoever settles it.
fn is_visible(view: &Holding) -> bool {
    match view.state {
        HoldingState::Cooling => view.expires_in_ms.is_some_and(|ms| ms > 0),
        HoldingState::Waiting => view.expires_in_ms != Some(0),
        HoldingState::Held => true,
    }
}

/// Writes a row and asks to look at it when it ends.
pub(crate) fn save(tx: &mut Tx<'_>, row: &LeaseRow) -> Result<()> {
    let (kind, name, tree) = key(&row.resource);
    let values = params![
        row.state.word(),
        row.fence.0,
        row.slots,
        row.mode.word(),
        i64::from(row.automatic),
        row.ttl_ms.map(|ms| ms as i64),
        row.expires.map(|tick| tick.0),
        row.lock_delay_ms as i64,
        row.since.0,
        row.since_ms,
        row.note.as_ref(),
        kind,
        name,
        tree,
        &row.session,
    ];
    if row.state != LeaseState::Released {
        tx.bounds.added(&row.session);
    }
    if tx.sql.is_far() {
        tx.sql.later(UPSERT_LEASE, values)?;
    } else if tx.sql.run(INSERT_LEASE, values)? == 0 {
        tx.sql.run(UPDATE_LEASE, values)?;
    }
    match row.expires {
        Some(expires) if row.state != LeaseState::Released => {
            tx.arm(expires, "lease", &row.timer_id())
        }
        _ => Ok(()),
    }
}

/// Deletes a row.
pub(crate) fn delete(tx: &mut Tx<'_>, row: &LeaseRow) -> Result<()> {
    let (kind, name, tree) = key(&row.resource);
    tx.sql.later(DELETE_LEASE, params![kind, name, tree, &row.session])
}

/// The row of a session for a resource, settled.
pub(crate) fn own(tx: &mut Tx<'_>, resource: &Resource, session: &str) -> Result<Option<LeaseRow>> {
    let (kind, name, tree) = key(resource);
    let found = tx.sql.rows(SELECT_OWN, params![kind, name, tree, session])?.pop();
    let Some(row) = found.map(|mut row| lease(&mut row)).transpose()? else { return Ok(None) };
    settle_row(tx, row)
}

/// Everything that concerns a name of a kind: for a path, also what is above and below it.
pub(crate) fn around(
    tx: &mut Tx<'_>,
    kind: &'static str,
    name: &str,
) -> Result<Vec<(LeaseRow, SessionRow)>> {
    let mut rows = tx.sql.rows(SELECT_NAMED, params![kind, name])?;
    if kind == ItemKind::Path.word() {
        for above in cotenant_core::name::directories_above(name) {
            rows.extend(tx.sql.rows(SELECT_NAMED, params![kind, above])?);
        }
        if name == "." {
            rows = tx.sql.rows(SELECT_KIND, params![kind])?;
        } else {
            // `0` follows `/`, so that the range holds exactly what begins with `name/`.
            let (first, end) = if mutant("paths_by_bytes") {
                (name.to_owned(), format!("{name}\u{10ffff}"))
            } else {
                (format!("{name}/"), format!("{name}0"))
            };
            rows.extend(tx.sql.rows(SELECT_BELOW, params![kind, &first, &end])?);
        }
    }
    // One by one: mostly nobody is here, or one session, and a joined statement costs a short
    // process more than the few it reads.
    let mut found = Vec::with_capacity(rows.len());
    for mut row in rows {
        let lease = lease(&mut row)?;
        if let Some(holder) = crate::session::find(tx, &lease.session)? {
            found.push((lease, holder));
        }
    }
    Ok(found)
}

/// As [`around`], in its true state: expired grants end, the holdings of dead processes cool down.
pub(crate) fn around_settled(
    tx: &mut Tx<'_>,
    kind: &'static str,
    name: &str,
) -> Result<Vec<(LeaseRow, SessionRow)>> {
    let before = around(tx, kind, name)?;
    if mutant("no_settle") {
        return Ok(before);
    }
    let mut changed = false;
    for (row, holder) in &before {
        let live = holder.state.is_live();
        let settled = settle_holder(tx, holder.clone())?;
        let still_live = settled.state.is_live();
        changed |= live != still_live || row.expires.is_some_and(|expires| tx.now >= expires);
        if still_live || !live {
            settle_row(tx, row.clone())?;
        }
    }
    if changed { around(tx, kind, name) } else { Ok(before) }
}

/// Brings a row to its true state; `None` once the resource is free of it.
pub(crate) fn settle_row(tx: &mut Tx<'_>, row: LeaseRow) -> Result<Option<LeaseRow>> {
    let Some(expires) = row.expires.filter(|expires| tx.now >= *expires) else {
        return Ok(Some(row));
    };
    if mutant("no_settle") {
        return Ok(Some(row));
    }
    match row.state {
        LeaseState::Released => Ok(Some(row)),
        LeaseState::Cooling | LeaseState::Waiting => {
            note_settled(tx, &row);
            delete(tx, &row)?;
            Ok(None)
        }
        LeaseState::Held => {
            note_settled(tx, &row);
            let facts = json!({"resource": row.resource.to_string(), "session": row.session, "fence": row.fence});
            tx.event_of_store(&format!("{}.expired", row.noun()), &scope(&row.resource), &facts)?;
            let cooled = row.cooled(expires);
            if row.automatic || tx.now >= cooled {
                delete(tx, &row)?;
                return Ok(None);
            }
            let row = LeaseRow { state: LeaseState::Cooling, expires: Some(cooled), ..row };
            save(tx, &row)?;
            Ok(Some(row))
        }
    }
}

fn note_settled(tx: &mut Tx<'_>, row: &LeaseRow) {
    tx.settled = true;
    tx.settlements.push(Settlement::Lease(row.timer_id()));
}

/// What a timer of a row does when it rings.
pub(crate) fn on_timer(tx: &mut Tx<'_>, id: &str) -> Result<()> {
    let mut parts = id.split('\n');
    let mut part = || parts.next().unwrap_or_default().to_owned();
    let (kind, name, tree, session) = (part(), part(), part(), part());
    let found = tx.sql.rows(SELECT_OWN, params![&kind, &name, &tree, &session])?.pop();
    let Some(row) = found.map(|mut row| lease(&mut row)).transpose()? else { return Ok(()) };
    match row.expires {
        Some(expires) if tx.now < expires && row.state != LeaseState::Released => {
            tx.arm(expires, "lease", id)
        }
        _ => settle_row(tx, row).map(drop),
    }
}

/// The scope under which events of a resource are logged.
pub(crate) fn scope(resource: &Resource) -> String {
    match resource {
        Resource::Lease(name) => format!("lease:{name}"),
        Resource::Claim(item) => item.to_string(),
    }
}

/// Logs what the actor did with a row.
pub(crate) fn log(tx: &mut Tx<'_>, row: &LeaseRow, what: &str) -> Result<()> {
    let facts = json!({
        "resource": row.resource.to_string(), "session": row.session, "fence": row.fence,
        "mode": row.mode, "automatic": row.automatic, "note": row.note,
        "ttl_ms": row.ttl_ms, "slots": row.slots,
    });
    tx.event(&format!("{}.{what}", row.noun()), &scope(&row.resource), &Json::of(&facts)).map(drop)
}

/// Whether a session gave a resource back with this fence, as far as the newest events tell.
///
/// Its number does not tell: a lower one may be that of another session, or of a grant that ended
/// otherwise.
pub(crate) fn was_released(
    tx: &mut Tx<'_>,
    resource: &Resource,
    session: &str,
    fence: Fence,
) -> Result<bool> {
    if fence.0 > tx.meta.fence {
        return Ok(false);
    }
    let kind = format!("{}.released", noun(resource));
    let oldest = tx.meta.seq - RELEASED_MAX;
    let rows = tx.sql.rows(SELECT_RELEASED, params![oldest, &kind, &scope(resource), session])?;
    for mut row in rows {
        let facts = Json::stored(row.text()?).value()?;
        if facts["fence"] == fence.0 && facts["resource"] == resource.to_string() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn all_of(tx: &mut Tx<'_>, session: &str) -> Result<Vec<LeaseRow>> {
    let rows = tx.sql.rows(SELECT_BY_SESSION, params![session])?;
    rows.into_iter().map(|mut row| lease(&mut row)).collect()
}

/// The session was lost: what it held cools down; its tickets are dropped.
pub(crate) fn cool_all(tx: &mut Tx<'_>, holder: &SessionRow) -> Result<u64> {
    let mut cooling = 0;
    for row in all_of(tx, &holder.id)? {
        match row.state {
            LeaseState::Held => {
                let facts = json!({"resource": row.resource.to_string(), "session": row.session, "fence": row.fence});
                tx.event_of_store(&format!("{}.lost", row.noun()), &scope(&row.resource), &facts)?;
                let ended = row.expires.filter(|expires| tx.now >= *expires).unwrap_or(tx.now);
                let cooled = row.cooled(ended);
                save(tx, &LeaseRow { state: LeaseState::Cooling, expires: Some(cooled), ..row })?;
                cooling += 1;
            }
            LeaseState::Cooling => {}
            LeaseState::Waiting | LeaseState::Released => delete(tx, &row)?,
        }
    }
    Ok(cooling)
}

/// The session signs off: all it held is free at once. Counts leases, claims and tickets.
pub(crate) fn release_all(tx: &mut Tx<'_>, holder: &SessionRow) -> Result<(u64, u64, u64)> {
    let (mut leases, mut claims, mut tickets) = (0, 0, 0);
    for row in all_of(tx, &holder.id)? {
        match row.state {
            LeaseState::Held => {
                log(tx, &row, "released")?;
                if row.noun() == "lease" { leases += 1 } else { claims += 1 }
            }
            LeaseState::Waiting => tickets += 1,
            LeaseState::Cooling | LeaseState::Released => {}
        }
        delete(tx, &row)?;
    }
    Ok((leases, claims, tickets))
}

/// Whether a session holds something, waits for it or keeps it taken after its loss.
pub(crate) fn holds(tx: &mut Tx<'_>, session: &str) -> Result<bool> {
    let now = tx.now;
    let over = |row: &LeaseRow| match row.state {
        LeaseState::Released => true,
        LeaseState::Cooling => row.expires.is_some_and(|expires| now >= expires),
        LeaseState::Held | LeaseState::Waiting => false,
    };
    Ok(!all_of(tx, session)?.iter().all(over))
}

/// Forgets all rows of a session.
pub(crate) fn forget_all(tx: &mut Tx<'_>, session: &str) -> Result<()> {
    all_of(tx, session)?.iter().try_for_each(|row| delete(tx, row))
}

/// The next incarnation takes over what its earlier one held, with new fences.
pub(crate) fn pass_on(tx: &mut Tx<'_>, from: &SessionRow, to: &SessionRow) -> Result<Vec<Holding>> {
    let mut passed = Vec::new();
    for row in all_of(tx, &from.id)? {
        let cooling =
            row.state == LeaseState::Cooling && row.expires.is_some_and(|tick| tx.now < tick);
        delete(tx, &row)?;
        if !cooling {
            continue;
        }
        let lifetime = if row.automatic { Some(AUTOMATIC_MS) } else { row.ttl_ms };
        let row = LeaseRow {
            session: to.id.clone(),
            state: LeaseState::Held,
            fence: if mutant("heirs_keep_fences") { row.fence } else { tx.fence() },
            expires: lifetime.map(|ms| tx.now.after(ms)),
            since: tx.now,
            since_ms: tx.wall_ms,
            ..row
        };
        save(tx, &row)?;
        log(tx, &row, "passed")?;
        passed.push(row.view(to, tx));
    }
    Ok(passed)
}

/// What a session holds and waits for, as others see it.
pub(crate) fn of_session(tx: &mut Tx<'_>, row: &SessionRow) -> Result<Vec<Holding>> {
    let rows = tx.sql.rows(SELECT_HELD_BY, params![&row.id])?;
    let rows: Vec<_> = rows.into_iter().map(lease_and_session).collect::<Result<_>>()?;
    Ok(views(tx, &rows))
}

/// The items that a session has claimed.
pub(crate) fn claimed_by(tx: &mut Tx<'_>, session: &str) -> Result<Vec<Item>> {
    let rows = all_of(tx, session)?;
    let items = rows.into_iter().filter_map(|row| match row.resource {
        Resource::Claim(item) if row.state == LeaseState::Held => Some(item),
        _ => None,
    });
    Ok(items.collect())
}

/// What a session holds of a kind.
pub(crate) fn held_by(tx: &mut Tx<'_>, session: &str, kind: &'static str) -> Result<Vec<LeaseRow>> {
    let rows = tx.sql.rows(SELECT_HELD_OF_KIND, params![session, kind])?;
    rows.into_iter().map(|mut row| lease(&mut row)).collect()
}

/// Everything of a kind, by its name.
pub(crate) fn rows_of_kind(
    tx: &mut Tx<'_>,
    kind: &'static str,
) -> Result<Vec<(LeaseRow, SessionRow)>> {
    let rows = tx.sql.rows(SELECT_LISTED, params![kind])?;
    rows.into_iter().map(lease_and_session).collect()
}

/// Everything of a kind, as others see it.
pub(crate) fn of_kind(tx: &mut Tx<'_>, kind: &'static str) -> Result<Vec<Holding>> {
    let rows = rows_of_kind(tx, kind)?;
    Ok(views(tx, &rows))
}

/// Rows as others see them; what is free is left out.
pub(crate) fn views(tx: &Tx<'_>, rows: &[(LeaseRow, SessionRow)]) -> Vec<Holding> {
    let views = rows.iter().map(|(row, holder)| row.view(holder, tx));
    views.filter(is_visible).collect()
}

/// The query for a name.
pub(crate) fn foreseen(resource: &Resource) -> Query {
    let (kind, name, _) = key(resource);
    Query::new(SELECT_NAMED, params![kind, name])
}

/// The query for the row of a session.
pub(crate) fn foreseen_own(resource: &Resource, session: &str) -> Query {
    let (kind, name, tree) = key(resource);
    Query::new(SELECT_OWN, params![kind, name, tree, session])
}

/// The refusal that names what is taken, by whom, and all who are in the way.
pub(crate) fn refusal(tx: &Tx<'_>, in_the_way: &[(LeaseRow, SessionRow)]) -> Error {
    let holders: Vec<Holding> =
        in_the_way.iter().map(|(row, holder)| row.view(holder, tx)).collect();
    let cooling = holders.iter().all(|holder| holder.state == HoldingState::Cooling);
    let is_lease = in_the_way.iter().all(|(row, _)| row.noun() == "lease");
    let code = match (cooling, is_lease) {
        (true, _) => Code::Cooling,
        (false, true) => Code::Held,
        (false, false) => Code::Claimed,
    };
    let wait = holders.iter().filter_map(|holder| holder.expires_in_ms);
    let retry = if cooling { wait.max() } else { wait.min() };
    let first =
        holders.iter().find(|holder| holder.state == HoldingState::Held).or(holders.first());
    let mut message = match first {
        Some(holder) if cooling => format!(
            "`{}` was held by `{}`, whose session was lost; it is free in {}",
            holder.resource,
            holder.name,
            cotenant_core::clock::in_words(holder.expires_in_ms.unwrap_or(0).max(1))
        ),
        Some(holder) if holder.state == HoldingState::Waiting => {
            format!("`{}` is free for `{}`, who waited first", holder.resource, holder.name)
        }
        Some(holder) => {
            let until = holder.expires_in_ms.map_or_else(
                || "as long as its session lives".to_owned(),
                |ms| {
                    format!(
                        "and for another {} without a renewal",
                        cotenant_core::clock::in_words(ms)
                    )
                },
            );
            format!(
                "`{}` is held by `{}`, for {} now, {until}",
                holder.resource,
                holder.name,
                cotenant_core::clock::in_words(holder.held_for_ms)
            )
        }
        None => "something is in the way".to_owned(),
    };
    if holders.len() > 1 {
        let _ = write!(message, " (and {} more)", holders.len() - 1);
    }
    let error = Error::new(code, message)
        .detail("holder", first.map(|holder| &holder.name))
        .detail("holders", &holders)
        .hint(match code {
            Code::Cooling => "repeat then, or wait with `--wait 1m`",
            Code::Held => "wait with `--wait 5m`, or do something else first",
            _ => "take something else, wait with `--wait 5m`, or ask the holder",
        });
    match retry {
        Some(ms) => error.retry_after(ms),
        None => error,
    }
}

/// Whether a session may be woken at all, so that waiting for it makes sense.
pub(crate) fn is_dead(tx: &Tx<'_>, row: &SessionRow) -> bool {
    matches!(tx.liveness(row.process.as_ref()), Liveness::Dead | Liveness::Rebooted)
}
