//! One request inside its transaction: steps 4 to 10 of the contract's section 1.

use cotenant_core::{
    Code, Error, Op, Result,
    event::sha256_hex,
    id::{Seq, Tick},
    operation::Effect,
    session::{SignOn, State},
    store::{Reply, Request},
};
use serde_json::value::RawValue;

use crate::{
    barrier,
    bounds::Bounds,
    claim, data, event, handoff, holding, instruction, lease, lineage, message, metric, params,
    progress, retention, session, sign_on,
    sql::{Query, corrupt},
    status, task,
    testing::mutant,
    tx::{Tx, Verdict},
};

/// How long results are remembered, of tick.
const REMEMBERED_MS: i64 = 3_600_000;
/// How many of the newest results are remembered beyond that.
const REMEMBERED: i64 = 100_000;
const SELECT_REQUEST: &str =
    "SELECT digest, result, seq, tick FROM request WHERE actor = $1 AND id = $2";
const INSERT_REQUEST: &str = "INSERT INTO request (actor, id, digest, result, seq, tick) \
     VALUES ($1, $2, $3, $4, $5, $6)";
/// After how many events it is looked whether results can be forgotten.
const FORGET_EVERY: i64 = 256;
/// Only among the oldest: all that are too many, but not yet old enough, would be looked at each time.
const FORGET_REQUESTS: &str = "DELETE FROM request WHERE tick < $1 AND number IN \
     (SELECT number FROM request WHERE number <= (SELECT MAX(number) FROM request) - $2 \
     ORDER BY number LIMIT 1024)";
const SELECT_TIMERS: &str =
    "SELECT tick, kind, id FROM timer WHERE tick <= $1 ORDER BY tick, kind, id LIMIT $2";
/// The planted bug: the newest first.
const SELECT_TIMERS_NEWEST: &str =
    "SELECT tick, kind, id FROM timer WHERE tick <= $1 ORDER BY tick DESC, kind, id LIMIT $2";
const DELETE_TIMER: &str = "DELETE FROM timer WHERE tick = $1 AND kind = $2 AND id = $3";
/// Expired rows settled by one transaction that nobody asked about.
const SETTLED_MAX: i64 = 64;

/// Settles what has expired, the oldest first.
pub(crate) fn ring_timers(tx: &mut Tx<'_>) -> Result<()> {
    if tx.meta.next_timer.is_none_or(|next| next > tx.now) {
        return Ok(());
    }
    let now = tx.now.0;
    let select =
        if mutant("settles_the_newest_first") { SELECT_TIMERS_NEWEST } else { SELECT_TIMERS };
    for mut row in tx.sql.rows(select, params![now, SETTLED_MAX])? {
        let (tick, kind, id) = (row.int()?, row.text()?, row.text()?);
        tx.sql.later(DELETE_TIMER, params![tick, &kind, &id])?;
        match kind.as_str() {
            "session" => session::on_timer(tx, &id)?,
            "lease" => holding::on_timer(tx, &id)?,
            "data" => data::on_timer(tx, &id)?,
            "task" => task::on_timer(tx, &id)?,
            "offer" => handoff::on_timer(tx, &id)?,
            "message" => message::on_timer(tx, &id)?,
            "barrier" => barrier::on_timer(tx, &id)?,
            _ => {}
        }
    }
    Ok(())
}

/// How a request went inside its transaction.
pub(crate) enum Executed {
    Replayed(Reply),
    Done(Box<RawValue>),
    Wait { retry_after_ms: u64 },
    Refused(Error),
}

/// The queries that a request will surely make: of who asks, of a repeat, and of what it is about.
pub(crate) fn foreseen(request: &Request, bounds: &Bounds) -> Vec<Query> {
    let mut queries = Vec::new();
    if let Some(actor) = &request.actor {
        queries.extend(session::foreseen(&actor.session));
        if let Some(id) = &request.request_id {
            queries.push(Query::new(SELECT_REQUEST, params![&actor.session.0, id]));
        }
    }
    match &request.op {
        Op::SignOn(op) => queries.extend(sign_on::foreseen(op)),
        Op::Claim(op) => queries.extend(claim::foreseen(op, request.actor.as_ref(), bounds)),
        Op::Acquire(op) => queries.extend(lease::foreseen(op, request.actor.as_ref(), bounds)),
        Op::Release(op) => {
            queries.extend(lease::foreseen_own(&op.resource, request.actor.as_ref()));
        }
        Op::Renew(op) => queries.extend(lease::foreseen_own(&op.resource, request.actor.as_ref())),
        Op::Get(op) => queries.push(data::foreseen(&op.scope, &op.key)),
        Op::Put(op) => queries.push(data::foreseen(&op.scope, &op.key)),
        Op::Update(op) => queries.push(data::foreseen(&op.scope, &op.key)),
        Op::Delete(op) => queries.push(data::foreseen(&op.scope, &op.key)),
        _ => {}
    }
    queries
}

/// Steps 5 to 10.
pub(crate) fn execute(tx: &mut Tx<'_>, request: &Request) -> Result<Executed> {
    authenticate(tx, request)?;
    let scoped = tx.actor.as_ref().filter(|_| !mutant("request_ids_of_everybody"));
    let actor = scoped.map_or_else(String::new, |actor| actor.id.clone());
    let remembers = request.op.effect() != Effect::Read && !mutant("no_idempotency");
    let id = request.request_id.as_ref().filter(|_| remembers);
    let digest = id.map(|_| fingerprint(&request.op));
    if let (Some(id), Some(digest)) = (id, &digest)
        && let Some(reply) = remembered(tx, &actor, id, digest)?
    {
        return Ok(Executed::Replayed(reply));
    }
    check_state(tx, &request.op)?;
    check_rights(tx, &request.op)?;
    check_quota(tx, &request.op)?;
    if !mutant("guard_outside_transaction") {
        request.guards.iter().try_for_each(|guard| lease::check_guard(tx, guard))?;
    }
    let executed = match dispatch(tx, &request.op)? {
        Verdict::Done(data) => {
            if let (Some(id), Some(digest)) = (id, &digest) {
                remember(tx, &actor, id, digest, &data)?;
            }
            Executed::Done(data)
        }
        // A rehearsal that still waits has nothing to write: its ticket is there already.
        Verdict::Wait { retry_after_ms } if tx.sql.is_snapshot() => {
            return Ok(Executed::Wait { retry_after_ms });
        }
        Verdict::Wait { retry_after_ms } => Executed::Wait { retry_after_ms },
        Verdict::Refused(error) => Executed::Refused(error),
    };
    session::touch(tx)?;
    Ok(executed)
}

/// Step 5: who asks.
pub(crate) fn authenticate(tx: &mut Tx<'_>, request: &Request) -> Result<()> {
    let Some(actor) = &request.actor else { return Ok(()) };
    let unknown = |message: String| {
        Error::new(Code::Unauthenticated, message)
            .hint("sign on with `cotenant sign-on`; `cotenant session list` shows who is here")
    };
    let name = cotenant_core::name::shown(&actor.session.0);
    let row = session::find(tx, &actor.session.0)?
        .ok_or_else(|| unknown(format!("there is no session `{name}`")))?;
    if row.token_digest != actor.token_digest && !mutant("token_unchecked") {
        return Err(unknown(format!("the token is not that of session `{name}`")));
    }
    tx.actor = Some(session::settle(tx, row)?);
    Ok(())
}

/// Step 6: whether the actor's session still takes part.
fn check_state(tx: &mut Tx<'_>, op: &Op) -> Result<()> {
    let Some(actor) = &tx.actor else { return Ok(()) };
    let (name, reason) = (&actor.name, actor.reason.as_deref().unwrap_or("expired"));
    match (actor.state, op) {
        (State::Active | State::Silent, _) | (State::Ended, Op::SignOff(_)) => Ok(()),
        (State::Lost | State::Ended, Op::SignOn(_)) => {
            tx.actor = None;
            Ok(())
        }
        (State::Lost, _) => Err(Error::new(
            Code::SessionLost,
            format!("session `{name}` was lost ({reason}); what it held is no longer its own"),
        )
        .detail("session", &actor.id)
        .detail("reason", reason)
        .hint("sign on again with `cotenant sign-on NAME`; stop work that relied on a lease")),
        (State::Ended, _) => {
            Err(Error::new(Code::SessionEnded, format!("session `{name}` has signed off"))
                .detail("session", &actor.id)
                .hint("sign on again with `cotenant sign-on NAME`"))
        }
    }
}

/// Step 6: what only people may do.
fn check_rights(tx: &mut Tx<'_>, op: &Op) -> Result<()> {
    let what = match op {
        Op::Break(_) => "break a grant",
        Op::Prune(_) => "prune the log",
        Op::RemoveLeftovers(_) => "remove what others left behind",
        Op::Reap(op) if op.force => "end a session that may be alive",
        Op::Redact(op) => return event::check_author(tx, op),
        Op::ApproveInstruction(_) if !mutant("agents_approve") => "approve an instruction",
        Op::RevokeInstruction(_) => "revoke an instruction",
        _ => return Ok(()),
    };
    if tx.actor.as_ref().is_some_and(|actor| actor.kind == "human") {
        return Ok(());
    }
    Err(Error::new(Code::Forbidden, format!("only a person may {what}"))
        .hint("run this at a terminal, without an agent's session"))
}

/// Step 6: how much a session may hold.
fn check_quota(tx: &mut Tx<'_>, op: &Op) -> Result<()> {
    match op {
        Op::Acquire(op) => lease::check_quota(tx, op),
        Op::Claim(op) => claim::check_quota(tx, op),
        Op::Offer(_) => handoff::check_offers(tx),
        Op::AcceptOffer(op) => handoff::check_quota(tx, op),
        _ => Ok(()),
    }
}

/// What a repeat must have in common with the first try: the operation and its arguments, save the
/// token of a sign-on, which each try draws anew. The session keeps the first one.
fn fingerprint(op: &Op) -> String {
    let arguments = match op {
        Op::SignOn(op) => {
            Op::SignOn(SignOn { token_digest: String::new(), ..op.clone() }).arguments()
        }
        op => op.arguments(),
    };
    sha256_hex(&format!("{}\n{arguments}", op.name()))
}

fn remembered(tx: &mut Tx<'_>, actor: &str, id: &str, digest: &str) -> Result<Option<Reply>> {
    let Some(mut row) = tx.sql.rows(SELECT_REQUEST, params![actor, id])?.pop() else {
        return Ok(None);
    };
    let (known, result) = (row.text()?, row.text()?);
    let (seq, tick) = (row.int()?, row.int()?);
    if known != digest {
        return Err(Error::new(
            Code::IdempotencyMismatch,
            "the request id was used for another operation or other arguments",
        )
        .hint("draw a new request id for every new action"));
    }
    let data = RawValue::from_string(result).map_err(|error| {
        Error::new(Code::StoreCorrupt, "a remembered result is damaged").caused_by(error)
    })?;
    Ok(Some(Reply { data, seq: Seq(seq), tick: Tick(tick), replayed: true }))
}

fn remember(tx: &mut Tx<'_>, actor: &str, id: &str, digest: &str, data: &RawValue) -> Result<()> {
    let (seq, tick) = (tx.meta.seq, tx.now.0);
    tx.sql.later(INSERT_REQUEST, params![actor, id, digest, data.get(), seq, tick])
}

/// Forgets results that are old and too many, once a transaction and not each time.
pub(crate) fn forget(tx: &mut Tx<'_>) -> Result<()> {
    if tx.meta.seq / FORGET_EVERY == tx.begun_at / FORGET_EVERY {
        return Ok(());
    }
    tx.sql.later(FORGET_REQUESTS, params![tx.now.0 - REMEMBERED_MS, REMEMBERED])
}

/// An answer as JSON.
pub(crate) fn raw(answer: &impl serde::Serialize) -> Result<Box<RawValue>> {
    serde_json::value::to_raw_value(answer)
        .map_err(|error| corrupt("the store holds a value that is not JSON").caused_by(error))
}

/// Steps 8 and 9: the one place that knows which function carries out which operation.
pub(crate) fn dispatch(tx: &mut Tx<'_>, op: &Op) -> Result<Verdict<Box<RawValue>>> {
    let data = match op {
        Op::SignOn(op) => raw(&sign_on::sign_on(tx, op)?),
        Op::Heartbeat(op) => raw(&session::heartbeat(tx, op)?),
        Op::ChangeNative(op) => raw(&session::change_native(tx, op)?),
        Op::SignOff(op) => raw(&session::sign_off(tx, op)?),
        Op::Reap(op) => raw(&session::reap(tx, op)?),
        Op::ShowSession(op) => raw(&session::show(tx, op)?),
        Op::ListSessions(op) => raw(&session::list(tx, op)?),
        Op::Lineage(op) => raw(&lineage::show(tx, op)?),
        Op::Get(op) => raw(&data::get(tx, op)?),
        Op::List(op) => raw(&data::list(tx, op)?),
        Op::Put(op) => raw(&data::put(tx, op)?),
        Op::Delete(op) => raw(&data::delete(tx, op)?),
        Op::DeleteScope(op) => raw(&data::delete_scope(tx, op)?),
        Op::Txn(op) => raw(&data::txn(tx, op)?),
        Op::Update(op) => raw(&data::update(tx, op)?),
        Op::ListScopes(op) => raw(&data::list_scopes(tx, op)?),
        Op::Acquire(op) => {
            return Ok(match lease::acquire(tx, op)? {
                Verdict::Done(granted) => Verdict::Done(raw(&granted)?),
                Verdict::Wait { retry_after_ms } => Verdict::Wait { retry_after_ms },
                Verdict::Refused(error) => Verdict::Refused(error),
            });
        }
        Op::Renew(op) => raw(&lease::renew(tx, op)?),
        Op::Release(op) => raw(&lease::release(tx, op)?),
        Op::Check(op) => raw(&lease::check(tx, op)?),
        Op::Admit(op) => raw(&lease::admit(tx, op)?),
        Op::Break(op) => raw(&lease::break_grants(tx, op)?),
        Op::ListLeases(op) => raw(&lease::list(tx, op)?),
        Op::Claim(op) => raw(&claim::claim(tx, op)?),
        Op::Unclaim(op) => raw(&claim::unclaim(tx, op)?),
        Op::Who(op) => raw(&claim::who(tx, op)?),
        Op::Append(op) => raw(&event::append(tx, op)?),
        Op::Read(op) => raw(&event::read(tx, op)?),
        Op::Commit(op) => raw(&event::commit(tx, op)?),
        Op::Redact(op) => raw(&event::redact(tx, op)?),
        Op::Prune(op) => raw(&event::prune(tx, op)?),
        Op::Verify(_) => Err(Error::internal("verifying runs page by page")),
        Op::Head(_) => raw(&event::head(tx)),
        Op::ShowStatus(op) => raw(&status::show(tx, op)?),
        Op::ListLeftovers(op) => raw(&retention::list(tx, op)?),
        Op::RemoveLeftovers(op) => raw(&retention::remove(tx, op)?),
        Op::AddTasks(op) => raw(&task::add(tx, op)?),
        Op::NextTask(op) => {
            return Ok(match task::next(tx, op)? {
                Verdict::Done(next) => Verdict::Done(raw(&next)?),
                Verdict::Wait { retry_after_ms } => Verdict::Wait { retry_after_ms },
                Verdict::Refused(error) => Verdict::Refused(error),
            });
        }
        Op::ExtendTask(op) => raw(&task::extend(tx, op)?),
        Op::FinishTask(op) => raw(&task::finish(tx, op)?),
        Op::FailTask(op) => raw(&task::fail(tx, op)?),
        Op::ReleaseTask(op) => raw(&task::release(tx, op)?),
        Op::CancelTask(op) => raw(&task::cancel(tx, op)?),
        Op::RequeueTask(op) => raw(&task::requeue(tx, op)?),
        Op::ShowTask(op) => raw(&task::show(tx, op)?),
        Op::ListTasks(op) => raw(&task::list(tx, op)?),
        Op::GraphTasks(op) => raw(&task::graph(tx, op)?),
        Op::SetProgress(op) => raw(&progress::set(tx, op)?),
        Op::ShowProgress(op) => raw(&progress::show(tx, op)?),
        Op::Offer(op) => raw(&handoff::offer(tx, op)?),
        Op::AcceptOffer(op) => raw(&handoff::accept(tx, op)?),
        Op::DeclineOffer(op) => raw(&handoff::decline(tx, op)?),
        Op::WithdrawOffer(op) => raw(&handoff::withdraw(tx, op)?),
        Op::ListOffers(op) => raw(&handoff::list(tx, op)?),
        Op::Draft(op) => raw(&handoff::draft(tx, op)?),
        Op::SendMessage(op) => raw(&message::send(tx, op)?),
        Op::Inbox(op) => return message::verdict(message::inbox(tx, op)?),
        Op::ListMessages(op) => raw(&message::list(tx, op)?),
        Op::Acknowledge(op) => raw(&message::acknowledge(tx, op)?),
        Op::Arrive(op) => return message::verdict(barrier::arrive(tx, op)?),
        Op::AddInstruction(op) => raw(&instruction::add(tx, op)?),
        Op::ApproveInstruction(op) => raw(&instruction::approve(tx, op)?),
        Op::RevokeInstruction(op) => raw(&instruction::revoke(tx, op)?),
        Op::ListInstructions(op) => raw(&instruction::list(tx, op)?),
        Op::Effective(op) => raw(&instruction::effective(tx, op)?),
        Op::ListConflicts(_) => raw(&instruction::list_conflicts(tx)?),
        Op::ReportMetrics(op) => raw(&metric::report(tx, op)?),
        Op::ShowMetrics(op) => raw(&metric::show(tx, op)?),
    }?;
    Ok(Verdict::Done(data))
}
