//! Sign-on: who is the same, who is busy, who goes on where an earlier one stopped.

use cotenant_core::{
    Code, Error, Result,
    claim::Holding,
    clock::SECOND,
    id::{SessionId, uuid_v7},
    json::Json,
    process::Liveness,
    session::{IfBusy, Relation, SignOn, SignedOn, State, TTL_UNVERIFIABLE_MS, TTL_VERIFIABLE_MS},
};
use serde_json::json;

use crate::{
    handoff, holding, lineage, message, params,
    session::{
        DELETE_ALIAS, SessionRow, UPSERT_ALIAS, all_live, by_alias, foreseen_alias, name_key,
        native_key, process_key, require, set_native, settle, settle_holder, touch,
    },
    sql::Query,
    testing::mutant,
    tx::{Tx, random},
};

const INSERT_SESSION: &str = "INSERT INTO session (id, name, name_given, kind, native_id, state, \"user\", \
     purpose, labels, ns, token_digest, process, ttl_ms, expires_tick, heartbeat_tick, heartbeat_ms, \
     since_ms, parent, relation) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)";
const SELECT_LAST_ID: &str = "SELECT MAX(id) FROM session";
const UPDATE_NAME: &str = "UPDATE session SET name = $1, name_given = 1 WHERE id = $2";
const UPDATE_PARENT: &str = "UPDATE session SET parent = $1, relation = $2 WHERE id = $3";
const UPDATE_PURPOSE: &str = "UPDATE session SET purpose = $1 WHERE id = $2";

/// The queries that a sign-on will surely make.
pub(crate) fn foreseen(op: &SignOn) -> Vec<Query> {
    let native = op.native_id.as_ref().map(|native| native_key(&op.kind, native));
    let name = op.name.as_ref().map(|name| name_key(name));
    let process = op.process.as_ref().filter(|_| op.native_id.is_none()).map(process_key);
    [native, name, process].into_iter().flatten().map(|key| foreseen_alias(&key)).collect()
}

pub(crate) fn sign_on(tx: &mut Tx<'_>, op: &SignOn) -> Result<SignedOn> {
    let parent = match &op.parent {
        Some(parent) => Some(require(tx, parent)?),
        None => None,
    };
    let mut by_native = match &op.native_id {
        Some(native) => by_alias(tx, &native_key(&op.kind, native))?,
        None => None,
    };
    let mut by_name = match &op.name {
        Some(name) => by_alias(tx, &name_key(name))?,
        None => None,
    };
    by_native = by_native.map(|row| settle_holder(tx, row)).transpose()?;
    by_name = by_name.map(|row| settle_holder(tx, row)).transpose()?;

    let busy = |row: &&SessionRow| row.state.is_live() && !mutant("conversation_twice");
    if let Some(row) = by_native.as_ref().filter(busy) {
        if is_same(tx, row, op) {
            match &op.name {
                Some(name) if *name != row.name && row.name_given => {}
                Some(name) if *name != row.name => {
                    return match by_name {
                        Some(named) if named.state.is_live() && !is_same(tx, &named, op) => {
                            Err(agent_busy(tx, &named))
                        }
                        Some(named) if named.state.is_live() => existing(tx, named, op),
                        earlier => take_name(tx, row.clone(), name, earlier, op),
                    };
                }
                _ => return existing(tx, row.clone(), op),
            }
        } else if op.if_busy == IfBusy::Fork {
            let busy = row.clone();
            return fork_off(tx, op, &busy);
        } else {
            return Err(agent_busy(tx, row));
        }
    }
    if let Some(row) = by_name.as_ref().filter(|row| row.state.is_live()) {
        if is_same(tx, row, op) {
            if let Some(native) = op.native_id.as_ref().filter(|_| row.native_id == op.native_id) {
                // Of several sessions in one conversation it goes by the one named last.
                let key = native_key(&op.kind, native);
                tx.sql.later(UPSERT_ALIAS, params![&key, &row.id])?;
            }
            return existing(tx, row.clone(), op);
        }
        if op.if_busy == IfBusy::Fork {
            let busy = row.clone();
            return fork_off(tx, op, &busy);
        }
        return Err(agent_busy(tx, row));
    }
    if op.native_id.is_none()
        && let Some(row) = adoptable(tx, op)?
    {
        return match &op.name {
            Some(name) if *name != row.name => take_name(tx, row, name, by_name, op),
            _ => existing(tx, row, op),
        };
    }
    let earlier: Vec<SessionRow> = dead_incarnations(by_native, by_name);
    create(
        tx,
        op,
        parent.as_ref().map(|row| (row, op.relation.unwrap_or(Relation::Spawn))),
        &earlier,
        None,
    )
}

/// Without a conversation id, the session that the same process signed on before is meant, unless
/// another name was given to it.
fn adoptable(tx: &mut Tx<'_>, op: &SignOn) -> Result<Option<SessionRow>> {
    let Some(process) = &op.process else { return Ok(None) };
    let found = by_alias(tx, &process_key(process))?;
    let Some(row) = found.map(|row| settle_holder(tx, row)).transpose()? else { return Ok(None) };
    let fits = match &op.name {
        Some(name) => row.name == *name || !row.name_given,
        None => true,
    };
    Ok((row.state.is_live() && row.kind == op.kind && fits).then_some(row))
}

/// Whether the caller is the process that the session lives with, or proves to be the session.
fn is_same(tx: &Tx<'_>, row: &SessionRow, op: &SignOn) -> bool {
    let proven = tx.actor.as_ref().is_some_and(|actor| actor.id == row.id);
    proven
        || row.token_digest == op.token_digest
        || (row.process.is_some() && row.process == op.process)
}

/// The refusal of a name or conversation that another live process has.
pub(crate) fn agent_busy(tx: &Tx<'_>, row: &SessionRow) -> Error {
    let process = row.process.as_ref();
    let place = process.map_or_else(
        || ", without a process".to_owned(),
        |process| format!(", by another live process, {}", process.pid),
    );
    Error::new(
        Code::AgentBusy,
        format!(
            "`{}` is signed on already{place}, last heard of {} ago",
            row.name,
            cotenant_core::clock::in_words(row.heartbeat.age(tx.now))
        ),
    )
    .detail("session", &row.id)
    .detail("name", &row.name)
    .detail("kind", &row.kind)
    .detail("pid", process.map(|process| process.pid))
    .detail("host", process.map(|process| process.host.as_str()))
    .detail("since", Tx::at(row.since_ms))
    .hint(match row.process {
        Some(_) => "choose another name, or end that process; two processes on one conversation lose one of them",
        None => "go on as that session with `--session NAME`, or choose another name",
    })
}

fn dead_incarnations(
    by_native: Option<SessionRow>,
    by_name: Option<SessionRow>,
) -> Vec<SessionRow> {
    let mut earlier: Vec<SessionRow> = Vec::new();
    for row in [by_native, by_name].into_iter().flatten() {
        if !row.state.is_live() && earlier.iter().all(|known| known.id != row.id) {
            earlier.push(row);
        }
    }
    earlier
}

fn existing(tx: &mut Tx<'_>, row: SessionRow, op: &SignOn) -> Result<SignedOn> {
    let mut row = row;
    if row.native_id.is_none()
        && let Some(native) = &op.native_id
    {
        set_native(tx, &mut row, native)?;
    }
    if let Some(purpose) =
        op.purpose.as_ref().filter(|purpose| row.purpose.as_ref() != Some(purpose))
    {
        tx.sql.run(UPDATE_PURPOSE, params![purpose, &row.id])?;
        let facts = Json::of(&json!({"purpose": purpose}));
        row.purpose = Some(purpose.clone());
        tx.actor = Some(row.clone());
        tx.event("session.purpose", &format!("session:{}", row.name), &facts)?;
    }
    if let Some(process) = row.process.clone() {
        tx.sql.later(UPSERT_ALIAS, params![&process_key(&process), &row.id])?;
    }
    tx.actor = Some(row.clone());
    touch(tx)?;
    Ok(SignedOn {
        session: SessionId(row.id),
        name: row.name,
        ns: row.ns,
        existing: true,
        token_digest: row.token_digest,
        parent: row.parent.map(SessionId),
        relation: row.relation.as_deref().and_then(Relation::of),
        forked_from: None,
        inherited: Vec::new(),
        expires_in_ms: row.ttl_ms,
    })
}

/// Gives a session whose name was drawn another one. If an earlier session had it, this one goes on
/// where that one stopped.
fn take_name(
    tx: &mut Tx<'_>,
    row: SessionRow,
    name: &str,
    earlier: Option<SessionRow>,
    op: &SignOn,
) -> Result<SignedOn> {
    let mut row = rename(tx, row, name)?;
    let mut inherited = Vec::new();
    if let Some(earlier) = earlier.filter(|earlier| earlier.id != row.id) {
        if mutant("lineage_cycle") || !lineage::comes_from(tx, &earlier.id, &row.id)? {
            let seq = tx.meta.head();
            lineage::add_edge(tx, &earlier.id, &row.id, Relation::Resume, seq, None)?;
            if row.parent.is_none() {
                tx.sql
                    .run(UPDATE_PARENT, params![&earlier.id, Relation::Resume.word(), &row.id])?;
                row.parent = Some(earlier.id.clone());
                row.relation = Some(Relation::Resume.word().to_owned());
            }
        }
        inherited = pass_on(tx, &earlier, &row)?;
    }
    Ok(SignedOn { inherited, ..existing(tx, row, op)? })
}

/// What an earlier incarnation leaves to the next: what it still holds, unread messages, its draft.
fn pass_on(tx: &mut Tx<'_>, from: &SessionRow, to: &SessionRow) -> Result<Vec<Holding>> {
    message::pass_on(tx, from, to)?;
    handoff::pass_on(tx, from, to)?;
    holding::pass_on(tx, from, to)
}

fn rename(tx: &mut Tx<'_>, row: SessionRow, name: &str) -> Result<SessionRow> {
    let before = row.name.clone();
    tx.sql.later(DELETE_ALIAS, params![&name_key(&before), &row.id])?;
    tx.sql.later(UPSERT_ALIAS, params![&name_key(name), &row.id])?;
    tx.sql.run(UPDATE_NAME, params![name, &row.id])?;
    let row = SessionRow { name: name.to_owned(), name_given: true, ..row };
    tx.actor = Some(row.clone());
    tx.event(
        "session.renamed",
        &format!("session:{name}"),
        &Json::of(&json!({"before": before, "name": name})),
    )?;
    Ok(row)
}

/// Signs on beside a live session of the same conversation or name, as a fork of it.
fn fork_off(tx: &mut Tx<'_>, op: &SignOn, busy: &SessionRow) -> Result<SignedOn> {
    if let Some(process) = &op.process {
        let mine =
            by_alias(tx, &process_key(process))?.map(|row| settle_holder(tx, row)).transpose()?;
        if let Some(row) = mine.filter(|row| row.state.is_live() && row.kind == op.kind) {
            return existing(tx, row, op);
        }
    }
    let mut number = 2;
    let name = loop {
        let candidate = format!("{}-{number}", busy.name);
        let taken = by_alias(tx, &name_key(&candidate))?.map(|row| settle(tx, row)).transpose()?;
        if taken.is_none_or(|row| !row.state.is_live()) {
            break candidate;
        }
        number += 1;
    };
    let op = SignOn { name: Some(name), ..op.clone() };
    create(tx, &op, Some((busy, Relation::Fork)), &[], Some(busy))
}

fn create(
    tx: &mut Tx<'_>,
    op: &SignOn,
    parent: Option<(&SessionRow, Relation)>,
    earlier: &[SessionRow],
    forked_from: Option<&SessionRow>,
) -> Result<SignedOn> {
    check_live(tx, op)?;
    tx.meta.sessions += 1;
    let number = base36(tx.meta.sessions);
    let (name, name_given) = match &op.name {
        Some(name) => (name.clone(), forked_from.is_none()),
        None => (draw_name(tx, &op.kind, &number)?, false),
    };
    // To other machines no process is verifiable.
    let verifiable = !tx.is_shared && tx.liveness(op.process.as_ref()) == Liveness::Alive;
    let ttl_ms =
        op.ttl_ms.unwrap_or(if verifiable { TTL_VERIFIABLE_MS } else { TTL_UNVERIFIABLE_MS });
    // A second session of one conversation must not take over its id: the first one keeps it.
    let native_id = op.native_id.clone();
    let first_parent = parent
        .as_ref()
        .filter(|(_, relation)| relation.is_parent())
        .map(|(row, relation)| (row.id.clone(), *relation))
        .or_else(|| earlier.first().map(|row| (row.id.clone(), Relation::Resume)));
    let row = SessionRow {
        id: next_id(tx)?,
        name,
        name_given,
        kind: op.kind.clone(),
        native_id,
        state: State::Active,
        user: op.user.clone(),
        purpose: op.purpose.clone(),
        labels: Json::of(&op.labels).text().to_owned(),
        ns: format!("s{number}"),
        token_digest: op.token_digest.clone(),
        process: op.process.clone(),
        ttl_ms,
        expires: tx.now.after(ttl_ms),
        heartbeat: tx.now,
        heartbeat_ms: tx.wall_ms,
        since_ms: tx.wall_ms,
        parent: first_parent.as_ref().map(|(id, _)| id.clone()),
        relation: first_parent.as_ref().map(|(_, relation)| relation.word().to_owned()),
        outcome: None,
        reason: None,
    };
    insert(tx, &row, forked_from.is_none())?;
    tx.actor = Some(row.clone());
    let facts = json!({
        "session": row.id, "name": row.name, "kind": row.kind, "native_id": row.native_id, "ns": row.ns,
        "purpose": row.purpose, "labels": op.labels, "ttl_ms": ttl_ms, "parent": row.parent,
        "relation": row.relation, "pid": op.process.as_ref().map(|process| process.pid),
    });
    let seq = tx.event("session.on", &format!("session:{}", row.name), &Json::of(&facts))?;
    let mut edges: Vec<(String, Relation)> =
        parent.iter().map(|(from, relation)| (from.id.clone(), *relation)).collect();
    edges.extend(earlier.iter().map(|from| (from.id.clone(), Relation::Resume)));
    for (from, relation) in edges {
        lineage::add_edge(tx, &from, &row.id, relation, seq, op.purpose.as_deref())?;
    }
    let mut inherited = Vec::new();
    for from in earlier {
        inherited.extend(pass_on(tx, from, &row)?);
    }
    Ok(SignedOn {
        session: SessionId(row.id),
        name: row.name,
        ns: row.ns,
        existing: false,
        token_digest: row.token_digest,
        parent: row.parent.map(SessionId),
        relation: row.relation.as_deref().and_then(Relation::of),
        forked_from: forked_from.map(|busy| busy.name.clone()),
        inherited,
        expires_in_ms: ttl_ms,
    })
}

/// Fails if there are as many live sessions as there may be. People always come in: they are needed to
/// end one.
fn check_live(tx: &mut Tx<'_>, op: &SignOn) -> Result<()> {
    let Some(most) = op.live_max.filter(|_| op.kind != "human") else { return Ok(()) };
    let most = most as usize;
    let mut live = all_live(tx)?;
    live.retain(|row| row.kind != "human");
    if live.len() >= most && !mutant("the_dead_count") {
        let settled = live.into_iter().map(|row| settle_holder(tx, row));
        live = settled.collect::<Result<_>>()?;
        live.retain(|row| row.state.is_live());
    }
    if live.len() < most || mutant("any_number_signs_on") {
        return Ok(());
    }
    let names: Vec<&str> = live.iter().map(|row| row.name.as_str()).collect();
    let shown =
        names.iter().take(10).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    Err(Error::new(
        Code::Quota,
        format!("{} of at most {most} sessions are live: {shown}", live.len()),
    )
    .detail("limit", most)
    .detail("sessions", &names)
    .retry_after(SECOND)
    .hint("sign one off, or raise `max` under `[sessions]` in the configuration"))
}

/// An id greater than all before it, whatever the wall clock did (RFC 9562, section 6.2).
fn next_id(tx: &mut Tx<'_>) -> Result<String> {
    let mut bytes = [0u8; 10];
    random(&mut bytes)?;
    let last = if tx.last_session.is_some() {
        tx.last_session.take()
    } else {
        let row = tx.sql.rows(SELECT_LAST_ID, &[])?.pop();
        row.map_or(Ok(None), |mut row| row.optional_text())?
    };
    let wall = u64::try_from(tx.wall_ms).unwrap_or(0);
    let id = following_id(last.as_deref(), wall, bytes);
    tx.last_session = Some(id.clone());
    Ok(id)
}

fn following_id(last: Option<&str>, wall: u64, mut random: [u8; 10]) -> String {
    let hex = |range: std::ops::Range<usize>| {
        last.and_then(|id| u64::from_str_radix(&id.get(range)?.replace('-', ""), 16).ok())
    };
    let (mut ms, mut counter) = (wall, 0);
    if let (Some(last_ms), Some(last_counter)) = (hex(0..13), hex(15..18))
        && last_ms >= wall
    {
        (ms, counter) = (last_ms + (last_counter + 1) / 4096, (last_counter + 1) % 4096);
    }
    let counter = u16::try_from(counter).unwrap_or_default().to_be_bytes();
    random[..2].copy_from_slice(&counter);
    uuid_v7(ms, random)
}

fn insert(tx: &mut Tx<'_>, row: &SessionRow, takes_native: bool) -> Result<()> {
    let process = row.process.as_ref();
    tx.sql.later(
        INSERT_SESSION,
        params![
            &row.id,
            &row.name,
            i64::from(row.name_given),
            &row.kind,
            row.native_id.as_ref(),
            row.state.word(),
            &row.user,
            row.purpose.as_ref(),
            &row.labels,
            &row.ns,
            &row.token_digest,
            process.map(Json::of).as_ref().map(Json::text),
            row.ttl_ms as i64,
            row.expires.0,
            row.heartbeat.0,
            row.heartbeat_ms,
            row.since_ms,
            row.parent.as_ref(),
            row.relation.as_ref(),
        ],
    )?;
    let mut keys = vec![name_key(&row.name)];
    if takes_native && let Some(native) = &row.native_id {
        keys.push(native_key(&row.kind, native));
    }
    keys.extend(process.map(process_key));
    for key in keys {
        tx.sql.later(UPSERT_ALIAS, params![&key, &row.id])?;
    }
    tx.arm(row.expires, "session", &row.id)
}

/// A name that nobody has: the kind and a number of the store.
fn draw_name(tx: &mut Tx<'_>, kind: &str, number: &str) -> Result<String> {
    let mut name = format!("{kind}-{number}");
    while by_alias(tx, &name_key(&name))?.is_some() {
        name.push('x');
    }
    Ok(name)
}

fn base36(number: i64) -> String {
    let digits = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut number = number.max(0);
    let mut text = String::new();
    while number > 0 || text.is_empty() {
        let digit = usize::try_from(number % 36).unwrap_or_default();
        text.insert(0, char::from(digits[digit]));
        number /= 36;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_rise_whatever_the_clock_does() {
        let mut last: Option<String> = None;
        for wall in [5_000, 5_000, 4_000, 6_000, 6_000, 1] {
            let next = following_id(last.as_deref(), wall, [255; 10]);
            assert!(cotenant_core::id::is_id(&next), "{next}");
            assert!(last.as_ref().is_none_or(|last| *last < next), "{last:?} {next}");
            last = Some(next);
        }
        let full = "00000000-1388-7fff-bfff-ffffffffffff";
        assert!(following_id(Some(full), 5_000, [0; 10]).as_str() > full);
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(base36(0), "0");
        assert_eq!(base36(35), "z");
        assert_eq!(base36(36), "10");
    }
}
