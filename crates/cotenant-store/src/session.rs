//! Sessions: sign-on, heartbeat, sign-off, and what happens to those that vanish.

use std::collections::BTreeSet;

use cotenant_core::{
    Code, Error, Result,
    clock::SECOND,
    id::{SessionId, Tick},
    json::Json,
    name::SessionRef,
    offer::HANDOFF_READY,
    process::{Liveness, ProcessIdentity},
    session::{
        ALIASES, Beat, ChangeNative, Heartbeat, ListSessions, NativeChanged, Reap, Reaped,
        Relation, SILENT_MAX_MS, STALE_AFTER_MS, SessionView, Sessions, ShowSession, ShownSession,
        SignOff, SignedOff, State,
    },
};
use serde_json::json;

use crate::{
    barrier, handoff, holding, message, params, sign_on,
    sql::{Query, Row, Sql},
    tx::{Settlement, Tx},
};

/// A row of `session`.
#[derive(Clone, Debug)]
pub(crate) struct SessionRow {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) name_given: bool,
    pub(crate) kind: String,
    pub(crate) native_id: Option<String>,
    pub(crate) state: State,
    pub(crate) user: String,
    pub(crate) purpose: Option<String>,
    pub(crate) labels: String,
    pub(crate) ns: String,
    pub(crate) token_digest: String,
    pub(crate) process: Option<ProcessIdentity>,
    pub(crate) ttl_ms: u64,
    pub(crate) expires: Tick,
    pub(crate) heartbeat: Tick,
    pub(crate) heartbeat_ms: i64,
    pub(crate) since_ms: i64,
    pub(crate) parent: Option<String>,
    pub(crate) relation: Option<String>,
    pub(crate) outcome: Option<String>,
    pub(crate) reason: Option<String>,
}

/// The columns of [`SessionRow`], for statements that read or join it.
macro_rules! session_columns {
    () => {
        "s.id, s.name, s.name_given, s.kind, s.native_id, s.state, s.user, s.purpose, s.labels, s.ns, \
         s.token_digest, s.process, s.ttl_ms, s.expires_tick, s.heartbeat_tick, s.heartbeat_ms, \
         s.since_ms, s.parent, s.relation, s.outcome, s.reason"
    };
}
pub(crate) use session_columns;

const SELECT_BY_ID: &str =
    concat!("SELECT ", session_columns!(), " FROM session s WHERE s.id = $1");
const SELECT_ALIAS: &str = "SELECT session FROM alias WHERE key = $1";
const SELECT_LIVE: &str = concat!(
    "SELECT ",
    session_columns!(),
    " FROM session s WHERE s.state IN ('active', 'silent') ORDER BY s.id DESC LIMIT $1"
);
const SELECT_PAGE: &str = concat!(
    "SELECT ",
    session_columns!(),
    " FROM session s WHERE s.id < $1 ORDER BY s.id DESC LIMIT $2"
);
const SELECT_OVER: &str = concat!(
    "SELECT ",
    session_columns!(),
    " FROM session s WHERE s.id < $1 AND s.state IN ('lost', 'ended') AND s.heartbeat_tick < $2 \
     ORDER BY s.id DESC LIMIT $3"
);
const SELECT_EXPIRED: &str = "SELECT id FROM session \
     WHERE state IN ('active', 'silent') AND expires_tick <= $1 ORDER BY id DESC LIMIT $2";
const COUNT_LIVE: &str = "SELECT COUNT(*) FROM session WHERE state IN ('active', 'silent')";
pub(crate) const UPSERT_ALIAS: &str = "INSERT INTO alias (key, session) VALUES ($1, $2) \
     ON CONFLICT (key) DO UPDATE SET session = excluded.session";
pub(crate) const DELETE_ALIAS: &str = "DELETE FROM alias WHERE key = $1 AND session = $2";
const UPDATE_TOUCH: &str = "UPDATE session SET state = 'active', expires_tick = $1 + ttl_ms, \
     heartbeat_tick = $1, heartbeat_ms = $2 WHERE id IN ($3)";
const UPDATE_STATE: &str = "UPDATE session SET state = $1, outcome = $2, reason = $3 WHERE id = $4";
const UPDATE_NATIVE: &str = "UPDATE session SET native_id = $1 WHERE id = $2";

/// Reads a row that [`session_columns`] selected.
pub(crate) fn session(row: &mut Row) -> Result<SessionRow> {
    let id = row.text()?;
    let (name, name_given, kind, native_id) =
        (row.text()?, row.int()? != 0, row.text()?, row.optional_text()?);
    let word = row.text()?;
    let state = State::of(&word).ok_or_else(|| {
        Error::new(Code::StoreCorrupt, format!("session {id} has the unknown state `{word}`"))
    })?;
    let (user, purpose, labels, ns, token_digest) =
        (row.text()?, row.optional_text()?, row.text()?, row.text()?, row.text()?);
    let process = row.optional_text()?.map(|text| serde_json::from_str(&text)).transpose();
    let process = process.map_err(|cause| {
        Error::new(Code::StoreCorrupt, format!("the process of session {id} cannot be read"))
            .caused_by(cause)
    })?;
    Ok(SessionRow {
        id,
        name,
        name_given,
        kind,
        native_id,
        state,
        user,
        purpose,
        labels,
        ns,
        token_digest,
        process,
        ttl_ms: row.int()? as u64,
        expires: Tick(row.int()?),
        heartbeat: Tick(row.int()?),
        heartbeat_ms: row.int()?,
        since_ms: row.int()?,
        parent: row.optional_text()?,
        relation: row.optional_text()?,
        outcome: row.optional_text()?,
        reason: row.optional_text()?,
    })
}

impl SessionRow {
    /// Where it stands now, whether anybody has settled it or not.
    pub(crate) fn effective(&self, tx: &Tx<'_>) -> State {
        if !self.state.is_live() || tx.now < self.expires {
            return self.state;
        }
        match tx.liveness(self.process.as_ref()) {
            Liveness::Alive if self.heartbeat.age(tx.now) < SILENT_MAX_MS => State::Silent,
            _ => State::Lost,
        }
    }

    /// As others see it.
    pub(crate) fn view(&self, tx: &Tx<'_>) -> SessionView {
        let state = self.effective(tx);
        let age = self.heartbeat.age(tx.now);
        let process_alive = match tx.liveness(self.process.as_ref()) {
            Liveness::Alive => Some(true),
            Liveness::Dead | Liveness::Rebooted => Some(false),
            Liveness::Unverifiable => None,
        };
        SessionView {
            session: SessionId(self.id.clone()),
            name: self.name.clone(),
            kind: self.kind.clone(),
            state,
            user: self.user.clone(),
            native_id: self.native_id.clone(),
            purpose: self.purpose.clone(),
            labels: serde_json::from_str(&self.labels).unwrap_or_default(),
            ns: self.ns.clone(),
            process: self.process.clone(),
            process_alive,
            since: Tx::at(self.since_ms),
            last_heartbeat: Tx::at(self.heartbeat_ms),
            heartbeat_age_ms: age,
            expires_in_ms: self.expires.remaining(tx.now),
            possibly_abandoned: state.is_live()
                && (age >= STALE_AFTER_MS || process_alive == Some(false)),
            parent: self.parent.clone().map(SessionId),
            relation: self.relation.as_deref().and_then(Relation::of),
            outcome: self.outcome.clone(),
            reason: self.reason.clone(),
            token_digest: self.token_digest.clone(),
        }
    }
}

/// Finds a session by id, or the newest one of a name, conversation or process.
pub(crate) fn find(tx: &mut Tx<'_>, reference: &str) -> Result<Option<SessionRow>> {
    if cotenant_core::id::is_id(reference) {
        return one(tx, SELECT_BY_ID, reference);
    }
    if ALIASES.iter().any(|kind| reference.starts_with(kind)) {
        return by_alias(tx, reference);
    }
    by_alias(tx, &name_key(reference))
}

/// The query for a session that is named by its id.
pub(crate) fn foreseen(reference: &SessionRef) -> Option<Query> {
    cotenant_core::id::is_id(&reference.0).then(|| Query::new(SELECT_BY_ID, params![&reference.0]))
}

/// Finds the newest session of an alias, in two halves: both can be asked ahead, and a new name has none.
pub(crate) fn by_alias(tx: &mut Tx<'_>, key: &str) -> Result<Option<SessionRow>> {
    match tx.sql.rows(SELECT_ALIAS, params![key])?.pop() {
        Some(mut row) => one(tx, SELECT_BY_ID, &row.text()?),
        None => Ok(None),
    }
}

/// The query for who has an alias.
pub(crate) fn foreseen_alias(key: &str) -> Query {
    Query::new(SELECT_ALIAS, params![key])
}

/// Finds a session, or fails.
pub(crate) fn require(tx: &mut Tx<'_>, reference: &SessionRef) -> Result<SessionRow> {
    find(tx, &reference.0)?.ok_or_else(|| {
        Error::new(
            Code::NotFound,
            format!("there is no session `{}`", cotenant_core::name::shown(&reference.0)),
        )
        .hint("`cotenant session list` shows who is here")
    })
}

fn one(tx: &mut Tx<'_>, sql: &'static str, key: &str) -> Result<Option<SessionRow>> {
    tx.sql.rows(sql, params![key])?.pop().map(|mut row| session(&mut row)).transpose()
}

pub(crate) fn name_key(name: &str) -> String {
    format!("name:{name}")
}

/// The alias of a conversation.
pub(crate) fn native_key(kind: &str, native_id: &str) -> String {
    format!("native:{kind}:{native_id}")
}

/// The alias of a process.
pub(crate) fn process_key(process: &ProcessIdentity) -> String {
    format!(
        "process:{}/{}/{}/{}/{}",
        process.host, process.boot, process.namespace, process.pid, process.started
    )
}

/// Brings a session to its true state: silent or lost once its TTL has passed.
pub(crate) fn settle(tx: &mut Tx<'_>, row: SessionRow) -> Result<SessionRow> {
    if !row.state.is_live() || tx.now < row.expires || crate::testing::mutant("no_settle") {
        return Ok(row);
    }
    match tx.liveness(row.process.as_ref()) {
        Liveness::Alive if row.heartbeat.age(tx.now) < SILENT_MAX_MS => {
            if row.state != State::Silent {
                tx.sql.run(
                    UPDATE_STATE,
                    params![State::Silent.word(), None::<&str>, None::<&str>, &row.id],
                )?;
                tx.settled = true;
                tx.settlements.push(Settlement::Session(row.id.clone()));
            }
            tx.arm(tx.now.after(row.ttl_ms), "session", &row.id)?;
            Ok(SessionRow { state: State::Silent, ..row })
        }
        Liveness::Alive => lose(tx, row, "silent"),
        Liveness::Dead => lose(tx, row, "dead"),
        Liveness::Rebooted => lose(tx, row, "reboot"),
        Liveness::Unverifiable => lose(tx, row, "expired"),
    }
}

/// As [`settle`], and looks at the process even if the TTL has not passed: before anybody is told
/// that this session holds something.
pub(crate) fn settle_holder(tx: &mut Tx<'_>, row: SessionRow) -> Result<SessionRow> {
    let row = settle(tx, row)?;
    if !row.state.is_live() || crate::testing::mutant("no_settle") {
        return Ok(row);
    }
    match tx.liveness(row.process.as_ref()) {
        Liveness::Dead => lose(tx, row, "dead"),
        Liveness::Rebooted => lose(tx, row, "reboot"),
        Liveness::Alive | Liveness::Unverifiable => Ok(row),
    }
}

/// Loses a session: what it holds cools down, what goes with it is deleted, in one transaction.
pub(crate) fn lose(tx: &mut Tx<'_>, row: SessionRow, reason: &str) -> Result<SessionRow> {
    tx.settled = true;
    tx.settlements.push(Settlement::Session(row.id.clone()));
    let cooling = holding::cool_all(tx, &row)?;
    let keys = crate::data::drop_owned(tx, &row.id)?;
    let tasks = crate::task::lose_all(tx, &row, reason)?;
    message::on_over(tx, &row, reason)?;
    barrier::on_over(tx, &row, reason)?;
    tx.sql.run(UPDATE_STATE, params![State::Lost.word(), None::<&str>, reason, &row.id])?;
    let facts = json!({"session": row.id, "name": row.name, "reason": reason, "cooling": cooling, "keys": keys, "tasks": tasks});
    tx.event_of_store("session.lost", &format!("session:{}", row.name), &facts)?;
    Ok(SessionRow { state: State::Lost, reason: Some(reason.to_owned()), ..row })
}

/// Settles the live sessions of earlier boots of this host at once: nobody sees a part of it.
pub(crate) fn settle_reboot(tx: &mut Tx<'_>) -> Result<()> {
    for mut row in tx.sql.rows(SELECT_LIVE, params![i64::MAX])? {
        let row = session(&mut row)?;
        if tx.liveness(row.process.as_ref()) == Liveness::Rebooted {
            lose(tx, row, "reboot")?;
        }
    }
    Ok(())
}

/// Settles all sessions that are live, those of dead processes too. Answers the names of the others.
pub(crate) fn settle_live(tx: &mut Tx<'_>) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for mut row in tx.sql.rows(SELECT_LIVE, params![i64::MAX])? {
        let row = session(&mut row)?;
        let row = settle_holder(tx, row)?;
        if row.state.is_live() {
            names.push(row.name);
        }
    }
    Ok(names)
}

/// The names of the sessions that are live as the rows have it.
pub(crate) fn names_of_live(sql: &mut dyn Sql) -> Result<Vec<String>> {
    let rows = sql.rows(SELECT_LIVE, params![i64::MAX])?;
    rows.into_iter().map(|mut row| Ok(session(&mut row)?.name)).collect()
}

/// Loses every live session, as a restore does; what they held is free at once.
pub(crate) fn lose_all(tx: &mut Tx<'_>, reason: &str) -> Result<u64> {
    let mut lost = 0;
    for mut row in tx.sql.rows(SELECT_LIVE, params![i64::MAX])? {
        let row = session(&mut row)?;
        let id = row.id.clone();
        lose(tx, row, reason)?;
        holding::forget_all(tx, &id)?;
        lost += 1;
    }
    Ok(lost)
}

/// Settles a session again whose settling was undone with the request that caused it.
pub(crate) fn settle_again(tx: &mut Tx<'_>, id: &str) -> Result<()> {
    match one(tx, SELECT_BY_ID, id)? {
        Some(row) => settle_holder(tx, row).map(drop),
        None => Ok(()),
    }
}

/// What a timer of a session does when it rings.
pub(crate) fn on_timer(tx: &mut Tx<'_>, id: &str) -> Result<()> {
    let Some(row) = one(tx, SELECT_BY_ID, id)? else { return Ok(()) };
    if !row.state.is_live() {
        return Ok(());
    }
    if tx.now < row.expires {
        return tx.arm(row.expires, "session", id);
    }
    settle(tx, row).map(drop)
}

/// Extends the actor's life by its TTL.
pub(crate) fn touch(tx: &mut Tx<'_>) -> Result<()> {
    let Some(actor) = &mut tx.actor else { return Ok(()) };
    let expires = tx.now.after(actor.ttl_ms);
    if (actor.expires, actor.heartbeat, actor.state) == (expires, tx.now, State::Active) {
        return Ok(());
    }
    actor.expires = expires;
    actor.heartbeat = tx.now;
    actor.state = State::Active;
    tx.sql.later(UPDATE_TOUCH, params![tx.now.0, tx.wall_ms, &actor.id])
}

pub(crate) fn heartbeat(tx: &mut Tx<'_>, _: &Heartbeat) -> Result<Beat> {
    // The transaction extends the actor's life after every operation; this one does nothing else.
    Ok(Beat { expires_in_ms: tx.actor()?.ttl_ms })
}

pub(crate) fn change_native(tx: &mut Tx<'_>, op: &ChangeNative) -> Result<NativeChanged> {
    let mut actor = tx.actor()?.clone();
    if actor.native_id.as_ref() == Some(&op.native_id) {
        return Ok(NativeChanged { before: actor.native_id, changed: false });
    }
    let taken = by_alias(tx, &native_key(&actor.kind, &op.native_id))?;
    if let Some(other) = taken.filter(|other| other.id != actor.id) {
        let other = settle_holder(tx, other)?;
        if other.state.is_live() {
            return Err(sign_on::agent_busy(tx, &other));
        }
    }
    let before = actor.native_id.clone();
    set_native(tx, &mut actor, &op.native_id)?;
    tx.actor = Some(actor);
    Ok(NativeChanged { before, changed: true })
}

pub(crate) fn set_native(tx: &mut Tx<'_>, row: &mut SessionRow, native: &str) -> Result<()> {
    let before = row.native_id.replace(native.to_owned());
    if let Some(before) = &before {
        tx.sql.later(DELETE_ALIAS, params![&native_key(&row.kind, before), &row.id])?;
    }
    tx.sql.later(UPSERT_ALIAS, params![&native_key(&row.kind, native), &row.id])?;
    tx.sql.run(UPDATE_NATIVE, params![native, &row.id])?;
    tx.actor = Some(row.clone());
    let facts = json!({"before": before, "native_id": native});
    tx.event("session.native", &format!("session:{}", row.name), &Json::of(&facts)).map(drop)
}

pub(crate) fn sign_off(tx: &mut Tx<'_>, op: &SignOff) -> Result<SignedOff> {
    let actor = tx.actor()?.clone();
    if actor.state == State::Ended {
        return Ok(SignedOff { already: true, ..SignedOff::default() });
    }
    let (leases, claims, tickets) = holding::release_all(tx, &actor)?;
    let keys = crate::data::drop_owned(tx, &actor.id)?;
    let tasks = crate::task::give_back_all(tx, &actor.id)?;
    let offers = handoff::open_of(tx, &actor.id)?;
    let outcome = outcome(op, !offers.is_empty())?;
    message::on_over(tx, &actor, "ended")?;
    barrier::on_over(tx, &actor, "ended")?;
    let facts = json!({"session": actor.id, "outcome": outcome, "note": op.note,
        "leases": leases, "claims": claims, "keys": keys, "tickets": tickets, "tasks": tasks});
    tx.event("session.off", &format!("session:{}", actor.name), &Json::of(&facts))?;
    tx.sql.run(UPDATE_STATE, params![State::Ended.word(), outcome, op.note.as_ref(), &actor.id])?;
    // Nothing extends the life of a session that has ended.
    tx.actor = None;
    Ok(SignedOff { leases, claims, keys, tickets, tasks, offers, already: false })
}

/// How a session ended: with an open offer it is ready to be taken over, unless it says otherwise.
fn outcome(op: &SignOff, has_offer: bool) -> Result<&str> {
    let given = op.outcome.as_deref();
    if !matches!(given, None | Some("ended" | HANDOFF_READY)) {
        return Ok(given.unwrap_or_default());
    }
    if has_offer {
        return Ok(HANDOFF_READY);
    }
    if given == Some(HANDOFF_READY) {
        return Err(Error::invalid(
            "the session has no open offer, so that nobody could take it over",
        )
        .hint("make one first: `cotenant handoff offer`"));
    }
    Ok(given.unwrap_or("done"))
}

pub(crate) fn reap(tx: &mut Tx<'_>, op: &Reap) -> Result<Reaped> {
    let row = require(tx, &op.session)?;
    let row = settle_holder(tx, row)?;
    let done = |row: SessionRow, already| Reaped {
        session: SessionId(row.id),
        name: row.name,
        reason: row.reason.or(row.outcome).unwrap_or_default(),
        already,
    };
    if !row.state.is_live() {
        let already = !tx.settled;
        return Ok(done(row, already));
    }
    if op.force {
        return lose(tx, row, "forced").map(|row| done(row, false));
    }
    let alive = tx.liveness(row.process.as_ref()) == Liveness::Alive;
    let fact =
        if alive { "its process is alive" } else { "its process cannot be judged from here" };
    Err(Error::new(Code::NotDead, format!("session `{}` is not dead: {fact}", row.name))
        .detail("session", &row.id)
        .detail("name", &row.name)
        .detail("pid", row.process.as_ref().map(|process| process.pid))
        .detail("expires_in_ms", row.expires.remaining(tx.now))
        .hint("wait for its TTL, or as a person use `--force`"))
}

pub(crate) fn show(tx: &mut Tx<'_>, op: &ShowSession) -> Result<ShownSession> {
    let row = require(tx, &op.session)?;
    let holds = holding::of_session(tx, &row)?;
    Ok(ShownSession { session: row.view(tx), holds })
}

pub(crate) fn list(tx: &mut Tx<'_>, op: &ListSessions) -> Result<Sessions> {
    let limit = op.limit as usize;
    let ready = if op.handoff_ready { Some(handoff::givers(tx)?) } else { None };
    let mut sessions = Vec::new();
    let mut below = op.after.as_ref().map_or_else(|| "~".to_owned(), |id| id.0.clone());
    loop {
        let rows = tx.sql.rows(SELECT_PAGE, params![&below, 1_000])?;
        let full = rows.len() == 1_000;
        for mut row in rows {
            let row = session(&mut row)?;
            below.clone_from(&row.id);
            let view = row.view(tx);
            let is_ready = |ready: &BTreeSet<String>| {
                view.outcome.as_deref() == Some(HANDOFF_READY) && ready.contains(&view.session.0)
            };
            let wanted = ready.as_ref().map_or(op.all || view.state.is_live(), is_ready)
                && op.kind.as_ref().is_none_or(|kind| *kind == view.kind)
                && op.label.as_ref().is_none_or(|label| view.labels.contains(label))
                && op.silent_for_ms.is_none_or(|least| view.heartbeat_age_ms >= least);
            if wanted {
                if sessions.len() == limit {
                    let next = sessions.last().map(|last: &SessionView| last.session.clone());
                    return Ok(Sessions { sessions, next });
                }
                sessions.push(view);
            }
        }
        if !full {
            return Ok(Sessions { sessions, next: None });
        }
    }
}

/// All live sessions, the newest first.
pub(crate) fn all_live(tx: &mut Tx<'_>) -> Result<Vec<SessionRow>> {
    let rows = tx.sql.rows(SELECT_LIVE, params![i64::MAX])?;
    let mut found =
        rows.into_iter().map(|mut row| session(&mut row)).collect::<Result<Vec<_>>>()?;
    found.retain(|row| row.effective(tx).is_live());
    Ok(found)
}

/// Sessions that are over and were last heard of before a tick, below an id, the newest first.
pub(crate) fn over_before(
    tx: &mut Tx<'_>,
    below: Option<&str>,
    before: Tick,
    limit: i64,
) -> Result<Vec<SessionRow>> {
    let rows = tx.sql.rows(SELECT_OVER, params![below.unwrap_or("~"), before.0, limit])?;
    rows.into_iter().map(|mut row| session(&mut row)).collect()
}

/// How many sessions are looked at that may have been lost.
const EXPIRED: i64 = 1_000;

/// The newest sessions whose TTL has passed and that nobody has settled yet.
pub(crate) fn expired(tx: &mut Tx<'_>) -> Result<Vec<String>> {
    let rows = tx.sql.rows(SELECT_EXPIRED, params![tx.now.0, EXPIRED])?;
    rows.into_iter().map(|mut row| row.text()).collect()
}

/// The newest live sessions, and how many there are in all.
pub(crate) fn live(tx: &mut Tx<'_>, limit: u32) -> Result<(Vec<SessionView>, u64)> {
    let mut views = Vec::new();
    for mut row in tx.sql.rows(SELECT_LIVE, params![i64::from(limit)])? {
        let row = session(&mut row)?;
        if row.effective(tx).is_live() {
            views.push(row.view(tx));
        }
    }
    let all = tx.sql.rows(COUNT_LIVE, &[])?.pop().map_or(Ok(0), |mut row| row.int())?;
    Ok((views, all as u64))
}

/// The time within which a waiting client writes again, so that the clock moves.
pub(crate) const WAITER_WRITES_EVERY_MS: u64 = 10 * SECOND;
