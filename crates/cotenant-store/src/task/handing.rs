//! Tasks that change hands: what a session works on, and what an offer of it gives to whoever accepts.

use cotenant_core::{
    Result,
    claim::{Holding, HoldingState, Mode},
    id::{Fence, Seq, SessionId, TaskId},
    task::{TakenTask, TaskState},
};
use serde_json::json;

use super::{
    TaskRow, Voice, attempt::as_taken, ending::settle_row, find, log, require, running_of, save,
    scope,
};
use crate::{
    handoff,
    session::{self, SessionRow},
    testing::mutant,
    tx::Tx,
};

/// How a task stands that nobody can be given, and who runs it.
pub(crate) struct Left {
    pub(crate) state: TaskState,
    pub(crate) runner: Option<Holding>,
}

/// The fence of a session's running attempt at a task.
pub(crate) fn fence_of(tx: &mut Tx<'_>, id: TaskId, session: &str) -> Result<Option<Fence>> {
    let Some(row) = find(tx, id)? else { return Ok(None) };
    let row = settle_row(tx, row)?;
    let runs = row.state() == TaskState::Running && row.session.as_deref() == Some(session);
    Ok(row.standing.fence.filter(|_| runs))
}

/// The tasks that a session works on.
pub(crate) fn run_by(tx: &mut Tx<'_>, session: &str) -> Result<Vec<TaskId>> {
    let rows = running_of(tx, session)?;
    Ok(rows.into_iter().filter(|row| !row.is_due(tx)).map(|row| row.id).collect())
}

/// How a task stands and who runs it, if there is one of this number.
pub(crate) fn stand(tx: &mut Tx<'_>, id: TaskId) -> Result<Option<Left>> {
    let Some(row) = find(tx, id)? else { return Ok(None) };
    let (row, runner) = settled(tx, &row)?;
    Ok(Some(left(tx, &row, runner)))
}

/// A task in its true state, with the session of its newest attempt: a loss gives it back, and so does time.
fn settled(tx: &mut Tx<'_>, row: &TaskRow) -> Result<(TaskRow, Option<SessionRow>)> {
    let runner = match &row.session {
        Some(session) => session::find(tx, session)?,
        None => None,
    };
    let runner = runner.map(|runner| session::settle_holder(tx, runner)).transpose()?;
    let row = require(tx, row.id)?;
    Ok((settle_row(tx, row)?, runner))
}

fn left(tx: &Tx<'_>, row: &TaskRow, runner: Option<SessionRow>) -> Left {
    let state = row.state();
    let runner = runner.filter(|_| state == TaskState::Running).map(|runner| Holding {
        resource: scope(row.id),
        tree: None,
        state: HoldingState::Held,
        mode: Mode::Exclusive,
        fence: row.standing.fence.unwrap_or(Fence(0)),
        since: Tx::at(row.since_ms),
        held_for_ms: tx.wall_ms.saturating_sub(row.since_ms).unsigned_abs(),
        expires_in_ms: row.due.map(|due| due.remaining(tx.now)),
        heartbeat_age_ms: runner.heartbeat.age(tx.now),
        automatic: false,
        note: None,
        purpose: runner.purpose.clone(),
        host: None,
        pid: None,
        session: SessionId(runner.id),
        name: runner.name,
        kind: runner.kind,
        user: runner.user,
    });
    Left { state, runner }
}

/// Gives a task to the actor, who accepts this offer of it; or says how it stands.
pub(crate) fn hand_over(
    tx: &mut Tx<'_>,
    id: TaskId,
    offer: Seq,
    giver: &str,
) -> Result<std::result::Result<TakenTask, Left>> {
    let actor = tx.actor()?.id.clone();
    let row = require(tx, id)?;
    let (row, runner) = settled(tx, &row)?;
    let of_giver = match &row.session {
        Some(session) => *session == actor || handoff::stands_for(tx, session, giver)?,
        None => false,
    };
    let before = row.standing.fence.filter(|_| row.state() == TaskState::Running);
    let of_giver = of_giver || mutant("anybodys_task_is_handed_over");
    let kept = before.filter(|_| mutant("giver_keeps_its_attempt"));
    let fence = kept.unwrap_or_else(|| tx.fence());
    let Some(mut standing) = row.standing.handed_over(of_giver, fence) else {
        return Ok(Err(left(tx, &row, runner)));
    };
    if mutant("handing_over_counts_an_attempt") {
        standing.attempts = (row.standing.attempts + 1).min(standing.max_attempts);
    }
    // What the giver had left of its time stays, and it is enough to begin with.
    let due = tx.now.after(row.visibility_ms);
    let due = row.due.filter(|left| before.is_some() && *left > due).unwrap_or(due);
    let row = TaskRow {
        standing,
        due: Some(due),
        session: Some(actor.clone()),
        since_ms: tx.wall_ms,
        ..row
    };
    save(tx, &row)?;
    let visible_for_ms = due.remaining(tx.now);
    let facts = json!({"session": actor, "from": giver, "offer": offer, "before": before,
        "resource": scope(id), "visible_for_ms": visible_for_ms});
    log(tx, Voice::Actor, &row, "moved", facts)?;
    Ok(Ok(as_taken(row, visible_for_ms)))
}
