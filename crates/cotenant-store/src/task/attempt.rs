//! Taking tasks and finishing them.

use cotenant_core::{
    Code, Error, Result,
    clock::SECOND,
    id::{Fence, TaskId},
    json::Json,
    task::{
        ExtendTask, ExtendedTask, FailTask, FailedTask, FinishTask, FinishedTask, Next, NextTask,
        ReleaseTask, ReleasedTask, TakenTask, TaskState,
        rule::{Call, Leave, retry_delay_ms},
    },
};
use serde_json::json;

use super::{
    TaskRow, Voice,
    ending::{self, conclude, settle_due, settle_row},
    log, require, save, scope, show,
};
use crate::{
    data, params,
    session::{self, WAITER_WRITES_EVERY_MS},
    testing::mutant,
    tx::{Tx, Verdict},
};

/// How often who waits looks whether those that work are alive: a process that dies writes nothing.
const LOOK_EVERY_MS: u64 = SECOND;

const SELECT_FIRST: &str = "SELECT queue, priority, ready_tick, id FROM task \
     WHERE state = 'ready' AND queue = $1 ORDER BY priority DESC, ready_tick, id LIMIT 1";
/// The planted bug: the oldest task first, however urgent another one is.
const SELECT_OLDEST: &str = "SELECT queue, priority, ready_tick, id FROM task \
     WHERE state = 'ready' AND queue = $1 ORDER BY ready_tick, id LIMIT 1";
/// The first of the next queue that has one.
const SELECT_FIRST_BEHIND: &str = "SELECT queue, priority, ready_tick, id FROM task \
     WHERE state = 'ready' AND queue > $1 ORDER BY queue, priority DESC, ready_tick, id LIMIT 1";
const SELECT_WORKING: &str = "SELECT DISTINCT session FROM task WHERE state = 'running'";
const SELECT_SOONEST: &str =
    "SELECT MIN(tick) FROM timer WHERE tick > $1 AND tick <= $2 AND kind = 'task'";

/// A ready task, by what puts it before others.
type Place = (std::cmp::Reverse<i64>, i64, i64);

/// The ready task that comes first in these queues, or in any.
fn first(tx: &mut Tx<'_>, queues: &[String]) -> Result<Option<TaskId>> {
    let mut best: Option<Place> = None;
    let mut consider = |row: &mut crate::sql::Row| -> Result<String> {
        let queue = row.text()?;
        let place = (std::cmp::Reverse(row.int()?), row.int()?, row.int()?);
        if best.as_ref().is_none_or(|best| place < *best) {
            best = Some(place);
        }
        Ok(queue)
    };
    let select = if mutant("priority_ignored") { SELECT_OLDEST } else { SELECT_FIRST };
    for queue in queues {
        if let Some(mut row) = tx.sql.rows(select, params![queue])?.pop() {
            consider(&mut row)?;
        }
    }
    if queues.is_empty() {
        let mut behind = String::new();
        while let Some(mut row) = tx.sql.rows(SELECT_FIRST_BEHIND, params![&behind])?.pop() {
            behind = consider(&mut row)?;
        }
    }
    Ok(best.map(|(_, _, id)| TaskId(id)))
}

pub(crate) fn next(tx: &mut Tx<'_>, op: &NextTask) -> Result<Verdict<Next>> {
    op.visibility_ms.map_or(Ok(()), |ms| tx.check_ttl(ms))?;
    settle_due(tx)?;
    let mut found = first(tx, &op.queues)?;
    let mut is_worked_on = false;
    if found.is_none() {
        let lost;
        (is_worked_on, lost) = look_at_workers(tx)?;
        if lost {
            found = first(tx, &op.queues)?;
        }
    }
    if let Some(id) = found {
        let task = Some(take(tx, id, op)?);
        return Ok(Verdict::Done(Next { task, open: None }));
    }
    if op.wait_ms.unwrap_or(0) > 0 && !tx.wait_over {
        let most = if is_worked_on { LOOK_EVERY_MS } else { WAITER_WRITES_EVERY_MS };
        let until = tx.now.after(most);
        let soonest = tx.sql.rows(SELECT_SOONEST, params![tx.now.0, until.0])?.pop();
        let soonest = soonest.map_or(Ok(None), |mut row| row.optional_int())?;
        let retry_after_ms = soonest.map_or(most, |tick| (tick - tx.now.0).unsigned_abs());
        return Ok(Verdict::Wait { retry_after_ms });
    }
    let open = Some(show::counts_of(tx, &op.queues)?);
    Ok(Verdict::Done(Next { task: None, open }))
}

/// Settles the sessions that work on tasks. Answers whether there are any, and whether one was lost.
fn look_at_workers(tx: &mut Tx<'_>) -> Result<(bool, bool)> {
    let (mut any, mut lost) = (false, false);
    for mut row in tx.sql.rows(SELECT_WORKING, &[])? {
        if let Some(session) = session::find(tx, &row.text()?)? {
            any = true;
            lost |= !session::settle_holder(tx, session)?.state.is_live();
        }
    }
    Ok((any, lost))
}

/// Begins an attempt.
fn take(tx: &mut Tx<'_>, id: TaskId, op: &NextTask) -> Result<TakenTask> {
    let actor = tx.actor()?.id.clone();
    let row = require(tx, id)?;
    let visible_for_ms = op.visibility_ms.unwrap_or(row.visibility_ms);
    let fence = tx.fence();
    let mut standing = row.standing.taken(fence);
    if mutant("attempts_not_counted") {
        standing.attempts = row.standing.attempts;
    }
    let row = TaskRow {
        standing,
        due: Some(tx.now.after(visible_for_ms)),
        session: Some(actor.clone()),
        since_ms: tx.wall_ms,
        ..row
    };
    save(tx, &row)?;
    log(
        tx,
        Voice::Actor,
        &row,
        "taken",
        json!({"session": actor, "visible_for_ms": visible_for_ms}),
    )?;
    Ok(as_taken(row, visible_for_ms))
}

/// A running attempt as whoever makes it is told.
pub(super) fn as_taken(row: TaskRow, visible_for_ms: u64) -> TakenTask {
    TakenTask {
        task: row.id,
        fence: row.standing.fence.unwrap_or(Fence(0)),
        attempt: row.standing.attempts,
        max_attempts: row.standing.max_attempts,
        visible_for_ms,
        queue: row.queue,
        priority: row.priority,
        payload: Json::stored(row.payload),
        creator: row.creator,
        trust: row.trust,
        reason: row.reason,
    }
}

/// The task that the holder of a fence speaks of, if it may do what it wants; none if it did before.
fn admitted(tx: &mut Tx<'_>, id: TaskId, fence: Fence, call: Call) -> Result<(TaskRow, bool)> {
    let row = require(tx, id)?;
    let row = settle_row(tx, row)?;
    let leave = match row.standing.leave(fence, call) {
        Leave::Superseded if mutant("stale_completion_accepted") => Leave::Granted,
        leave => leave,
    };
    match leave {
        Leave::Granted => Ok((row, false)),
        Leave::Already => Ok((row, true)),
        leave => Err(refusal(tx, &row, fence, leave)?),
    }
}

fn refusal(tx: &mut Tx<'_>, row: &TaskRow, fence: Fence, leave: Leave) -> Result<Error> {
    let id = row.id;
    let actor = tx.actor()?.id.clone();
    let holder = match &row.session {
        Some(session) => session::find(tx, session)?.map(|session| session.name),
        None => None,
    };
    let state = row.state();
    let (code, message, hint) = match leave {
        Leave::Cancelled => {
            let message = format!("task {id} was cancelled");
            (Code::Cancelled, message, "stop this work and take another one: `cotenant task next`")
        }
        Leave::OutOfTime => {
            let message =
                format!("this attempt at task {id} ran out of time; it is {}", state.word());
            let hint =
                "nobody has taken it again: if it is finished, `cotenant task done` still counts";
            (Code::Fenced, message, hint)
        }
        Leave::Ended(ending) => {
            let message = format!("this attempt at task {id} ended before: {}", ending.word());
            (Code::Fenced, message, "take the next task: `cotenant task next`")
        }
        Leave::Granted | Leave::Already | Leave::Superseded => {
            // Whether an older fence ever was one of this task, nobody remembers.
            let is_own = row.session.as_ref().is_some_and(|session| *session == actor);
            let whose = match &holder {
                Some(_) if is_own => "your newest attempt".to_owned(),
                Some(name) => format!("the newest attempt, by `{name}`,"),
                None => "an attempt".to_owned(),
            };
            let message = format!(
                "fence {fence} is not that of {whose} at task {id}, which is {}",
                state.word()
            );
            let hint = match (state, is_own) {
                (TaskState::Running, true) => "`cotenant task show` tells the fence that counts",
                (TaskState::Running, false) => {
                    "stop this work; what you have may be of use to who works on it now"
                }
                _ => "stop this work, and take a task again: `cotenant task next`",
            };
            (Code::Fenced, message, hint)
        }
    };
    Ok(Error::new(code, message)
        .detail("task", id)
        .detail("fence", fence)
        .detail("state", state)
        .detail("attempts", row.standing.attempts)
        .detail("holder", holder)
        .detail("reason", &row.reason)
        .hint(hint))
}

pub(crate) fn extend(tx: &mut Tx<'_>, op: &ExtendTask) -> Result<ExtendedTask> {
    op.visibility_ms.map_or(Ok(()), |ms| tx.check_ttl(ms))?;
    let (row, _) = admitted(tx, op.task, op.fence, Call::Extend)?;
    let visible_for_ms = op.visibility_ms.unwrap_or(row.visibility_ms);
    // A sign of life, like a renewal: it changes no state and is no event.
    let row = TaskRow { due: Some(tx.now.after(visible_for_ms)), ..row };
    save(tx, &row)?;
    Ok(ExtendedTask { visible_for_ms })
}

pub(crate) fn finish(tx: &mut Tx<'_>, op: &FinishTask) -> Result<FinishedTask> {
    let (row, already) = admitted(tx, op.task, op.fence, Call::Finish)?;
    if already {
        return Ok(FinishedTask { state: row.state(), already, unblocked: 0 });
    }
    let result = op.result.as_ref().map(|result| result.text().to_owned());
    let row = TaskRow {
        standing: row.standing.finished(),
        due: None,
        result,
        reason: None,
        since_ms: tx.wall_ms,
        ..row
    };
    let facts = json!({"result": op.result.as_ref().map(data::shown)});
    let followed = conclude(tx, Voice::Actor, row, "done", facts)?;
    Ok(FinishedTask { state: TaskState::Done, already, unblocked: followed.unblocked })
}

pub(crate) fn fail(tx: &mut Tx<'_>, op: &FailTask) -> Result<FailedTask> {
    let (row, already) = admitted(tx, op.task, op.fence, Call::Fail)?;
    let remaining = |row: &TaskRow, tx: &Tx<'_>| match row.state() {
        TaskState::Failed => row.due.map(|due| due.remaining(tx.now)),
        _ => None,
    };
    if already {
        let retry_in_ms = remaining(&row, tx);
        return Ok(FailedTask { state: row.state(), already, retry_in_ms });
    }
    let standing = row.standing.failed(op.class);
    let delay = match standing.state {
        TaskState::Failed if mutant("retry_without_delay") => Some(0),
        TaskState::Failed => Some(retry_delay_ms(row.id, standing.attempts)),
        _ => None,
    };
    let row = TaskRow {
        standing,
        due: delay.map(|ms| tx.now.after(ms)),
        reason: Some(op.reason.clone()),
        since_ms: tx.wall_ms,
        ..row
    };
    let facts = json!({"reason": op.reason, "class": op.class, "retry_in_ms": delay});
    if row.state().is_over() {
        conclude(tx, Voice::Actor, row, "failed", facts)?;
        return Ok(FailedTask { state: TaskState::Dead, already, retry_in_ms: None });
    }
    save(tx, &row)?;
    log(tx, Voice::Actor, &row, "failed", facts)?;
    Ok(FailedTask { state: row.state(), already, retry_in_ms: delay })
}

pub(crate) fn release(tx: &mut Tx<'_>, op: &ReleaseTask) -> Result<ReleasedTask> {
    let (row, already) = admitted(tx, op.task, op.fence, Call::Release)?;
    if !already {
        ending::give_back(tx, row)?;
    }
    Ok(ReleasedTask { already })
}

/// Fails with `FENCED` unless the actor works on the task with exactly that fence.
pub(crate) fn check_guard(tx: &mut Tx<'_>, id: TaskId, fence: Fence) -> Result<()> {
    let actor = tx.actor()?.id.clone();
    let row = require(tx, id).map_err(|error| Error { code: Code::Fenced, ..error })?;
    let is_own = row.session.as_ref() == Some(&actor) || mutant("task_guard_of_anybody");
    let is_current = row.state() == TaskState::Running
        && row.standing.fence == Some(fence)
        && is_own
        && !row.is_due(tx);
    if is_current {
        return Ok(());
    }
    Err(Error::new(Code::Fenced, format!("fence {fence} of `{}` is not current", scope(id)))
        .detail("resource", scope(id))
        .detail("fence", fence)
        .detail("state", row.state())
        .hint("stop this work; the task was taken from you, finished or cancelled"))
}
