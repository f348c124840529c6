//! What is over, what follows from it, and what ends by itself.

use cotenant_core::{
    Code, Error, Result,
    id::TaskId,
    task::{
        CancelTask, CancelledTask, RequeueTask, RequeuedTask, TaskState,
        rule::{Passage, Standing, passage},
    },
};
use serde_json::json;

use super::{CALENDAR, TaskRow, Voice, add, find, log, require, running_of, save};
use crate::{
    lease, params,
    session::SessionRow,
    testing::mutant,
    tx::{Settlement, Tx},
};

/// Why a task was cancelled that nobody called off.
pub(super) const NEED_FAILED: &str = "a task that it needs failed for good";
/// Why a task is dead whose attempts all ended by themselves.
const EXHAUSTED: &str = "exhausted: every attempt ran out of time or lost its session";

const SELECT_STATE: &str = "SELECT state FROM task WHERE id = $1";
const SELECT_DEPENDANTS: &str = "SELECT task FROM dependency WHERE needs = $1 ORDER BY task";
const DELETE_MARK: &str = "DELETE FROM mark WHERE kind = $1 AND name = $2 AND value = $3";
const SELECT_DUE: &str = "SELECT tick, id FROM timer WHERE tick >= $1 AND tick <= $2 AND kind = 'task' \
     ORDER BY tick, id";

/// What followed when a task was over.
#[derive(Default)]
pub(super) struct Followed {
    /// Tasks that waited for it and are ready now.
    pub(super) unblocked: u64,
    /// Tasks that were cancelled with it.
    pub(super) cancelled: u64,
}

/// Writes a task that is over, and does what follows for those that need it.
pub(super) fn conclude(
    tx: &mut Tx<'_>,
    voice: Voice,
    row: TaskRow,
    what: &str,
    facts: serde_json::Value,
) -> Result<Followed> {
    let row = TaskRow { due: None, ..row };
    save(tx, &row)?;
    log(tx, voice, &row, what, facts)?;
    drop_mark(tx, &row)?;
    follow(tx, voice, row.id, row.state())
}

fn drop_mark(tx: &mut Tx<'_>, row: &TaskRow) -> Result<()> {
    match row.mark() {
        Some(_) if mutant("dedupe_for_ever") => Ok(()),
        Some(name) => tx.sql.run(DELETE_MARK, params![add::DEDUPE, &name, row.id.0]).map(drop),
        None => Ok(()),
    }
}

/// Goes from a task that is over to all that need it, directly or not.
fn follow(tx: &mut Tx<'_>, voice: Voice, id: TaskId, state: TaskState) -> Result<Followed> {
    let mut followed = Followed::default();
    if mutant("dependants_stay_blocked") {
        return Ok(followed);
    }
    let mut over = vec![(id, state)];
    while let Some((id, state)) = over.pop() {
        for mut found in tx.sql.rows(SELECT_DEPENDANTS, params![id.0])? {
            let Some(row) = find(tx, TaskId(found.int()?))? else { continue };
            if row.state() != TaskState::Blocked {
                continue;
            }
            match passage(state, row.on_dep_fail) {
                Passage::Open if is_free(tx, &row)? => {
                    let row = TaskRow { since_ms: tx.wall_ms, ..row.queued(tx) };
                    save(tx, &row)?;
                    log(tx, voice, &row, "ready", json!({"reason": "dependencies"}))?;
                    followed.unblocked += u64::from(row.state() == TaskState::Ready);
                }
                Passage::Open | Passage::Shut => {}
                Passage::Cancels => {
                    let row = cancelled(tx, row, NEED_FAILED.to_owned());
                    save(tx, &row)?;
                    log(
                        tx,
                        voice,
                        &row,
                        "cancelled",
                        json!({"reason": NEED_FAILED, "because_of": id}),
                    )?;
                    drop_mark(tx, &row)?;
                    followed.cancelled += 1;
                    over.push((row.id, TaskState::Cancelled));
                }
            }
        }
    }
    Ok(followed)
}

/// Whether nothing that a task needs is in its way. The last ones are looked at first: tasks are mostly
/// done in the order in which they were added, so that the first look finds one that is not.
fn is_free(tx: &mut Tx<'_>, row: &TaskRow) -> Result<bool> {
    for needed in row.needs.iter().rev() {
        if stands(tx, *needed)?
            .is_some_and(|state| passage(state, row.on_dep_fail) != Passage::Open)
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Where a task stands as it is stored.
pub(super) fn stands(tx: &mut Tx<'_>, id: TaskId) -> Result<Option<TaskState>> {
    let Some(mut row) = tx.sql.rows(SELECT_STATE, params![id.0])?.pop() else { return Ok(None) };
    Ok(TaskState::of(&row.text()?))
}

fn cancelled(tx: &Tx<'_>, row: TaskRow, reason: String) -> TaskRow {
    TaskRow {
        standing: Standing { state: TaskState::Cancelled, ..row.standing },
        due: None,
        reason: Some(reason),
        since_ms: tx.wall_ms,
        ..row
    }
}

pub(crate) fn cancel(tx: &mut Tx<'_>, op: &CancelTask) -> Result<CancelledTask> {
    let row = require(tx, op.task)?;
    let row = settle_row(tx, row)?;
    match row.state() {
        TaskState::Cancelled => return Ok(CancelledTask { already: true, followed: 0 }),
        state @ (TaskState::Done | TaskState::Dead) => {
            return Err(not_as_expected(
                &row,
                format!("task {} is {} already", row.id, state.word()),
            ));
        }
        _ => {}
    }
    let reason = op.reason.clone();
    let row = TaskRow { reason, ..cancelled(tx, row, String::new()) };
    let followed = conclude(tx, Voice::Actor, row, "cancelled", json!({"reason": op.reason}))?;
    Ok(CancelledTask { already: false, followed: followed.cancelled })
}

fn not_as_expected(row: &TaskRow, message: String) -> Error {
    Error::new(Code::RevMismatch, message)
        .detail("task", row.id)
        .detail("state", row.state())
        .hint(format!("`cotenant task show {}` tells more", row.id))
}

pub(crate) fn requeue(tx: &mut Tx<'_>, op: &RequeueTask) -> Result<RequeuedTask> {
    let row = require(tx, op.task)?;
    let row = settle_row(tx, row)?;
    if !matches!(row.state(), TaskState::Dead | TaskState::Cancelled) {
        let message =
            format!("task {} is {}, neither dead nor cancelled", row.id, row.state().word());
        return Err(not_as_expected(&row, message));
    }
    if let Some(key) = &row.dedupe_key {
        if let Some(other) = add::holder(tx, &row.queue, key)? {
            let message = format!("task {} has the dedupe key of task {} now", other.id, row.id);
            return Err(not_as_expected(&row, message).detail("other", other.id));
        }
        lease::set_mark(tx, add::DEDUPE, &super::mark_of(&row.queue, key), row.id.0)?;
    }
    let row = TaskRow {
        standing: row.standing.requeued(),
        rescues: 0,
        result: None,
        since_ms: tx.wall_ms,
        ..row
    };
    let row = if is_free(tx, &row)? {
        row.queued(tx)
    } else {
        TaskRow { standing: Standing { state: TaskState::Blocked, ..row.standing }, ..row }
    };
    save(tx, &row)?;
    log(tx, Voice::Actor, &row, "requeued", json!({}))?;
    Ok(RequeuedTask { state: row.state() })
}

/// Gives a running task back in the name of the actor: the attempt does not count.
pub(super) fn give_back(tx: &mut Tx<'_>, row: TaskRow) -> Result<()> {
    let row = TaskRow {
        standing: row.standing.released(),
        due: None,
        ready: tx.now,
        since_ms: tx.wall_ms,
        ..row
    };
    save(tx, &row)?;
    log(tx, Voice::Actor, &row, "released", json!({}))
}

/// The session signs off: what it works on is ready at once.
pub(crate) fn give_back_all(tx: &mut Tx<'_>, session: &str) -> Result<u64> {
    let rows = running_of(tx, session)?;
    let count = rows.len() as u64;
    rows.into_iter().try_for_each(|row| give_back(tx, row))?;
    Ok(count)
}

/// The session was lost: what it works on can be taken after the lock delay; after a restore at once,
/// and the attempt, which never was in this store's future, does not count.
pub(crate) fn lose_all(tx: &mut Tx<'_>, holder: &SessionRow, reason: &str) -> Result<u64> {
    let rows = running_of(tx, &holder.id)?;
    let count = rows.len() as u64;
    for row in rows {
        if reason == "restore" {
            let row = TaskRow {
                standing: row.standing.released(),
                due: None,
                ready: tx.now,
                since_ms: tx.wall_ms,
                ..row
            };
            save(tx, &row)?;
            log(tx, Voice::Store, &row, "released", json!({"reason": reason}))?;
        } else {
            let delay = if mutant("no_lock_delay") { 0 } else { tx.lock_delay_ms() };
            rescue(tx, row, "lost", delay)?;
        }
    }
    Ok(count)
}

/// Ends a running attempt that did not end itself.
fn rescue(tx: &mut Tx<'_>, row: TaskRow, why: &str, delay_ms: u64) -> Result<TaskRow> {
    let rescued = row.standing.rescued();
    let ended = row.due.filter(|due| tx.now >= *due).unwrap_or(tx.now);
    let due = (delay_ms > 0).then(|| tx.now.after(delay_ms));
    let row =
        TaskRow { standing: rescued, rescues: row.rescues + 1, since_ms: tx.wall_ms, due, ..row };
    let facts = json!({"reason": why, "session": row.session});
    if row.state() == TaskState::Dead {
        let row = TaskRow { reason: Some(EXHAUSTED.to_owned()), ..row };
        conclude(tx, Voice::Store, row.clone(), "exhausted", facts)?;
        return Ok(TaskRow { due: None, armed: None, ..row });
    }
    let mut row = TaskRow { ready: ended, ..row };
    if row.due.is_some() {
        row.standing.state = TaskState::Delayed;
    }
    save(tx, &row)?;
    log(tx, Voice::Store, &row, "rescued", facts)?;
    row.armed = row.timer();
    Ok(row)
}

/// Brings a task to its true state: attempts run out, delays and retries become ready.
pub(super) fn settle_row(tx: &mut Tx<'_>, row: TaskRow) -> Result<TaskRow> {
    if !row.is_due(tx) || mutant("no_settle") {
        return Ok(row);
    }
    if row.state() == TaskState::Running && mutant("visibility_never_ends") {
        return Ok(row);
    }
    tx.settled = true;
    tx.settlements.push(Settlement::Task(row.id));
    let why = match row.state() {
        TaskState::Running => return rescue(tx, row, "visibility", 0),
        TaskState::Failed => "retry",
        _ => "delay",
    };
    let mut row = TaskRow {
        standing: Standing { state: TaskState::Ready, ..row.standing },
        ready: row.due.unwrap_or(tx.now),
        due: None,
        since_ms: tx.wall_ms,
        ..row
    };
    save(tx, &row)?;
    log(tx, Voice::Store, &row, "ready", json!({"reason": why}))?;
    row.armed = None;
    Ok(row)
}

/// Settles all tasks whose time has come, however many.
pub(super) fn settle_due(tx: &mut Tx<'_>) -> Result<()> {
    for id in due(tx)? {
        settle(tx, id)?;
    }
    Ok(())
}

/// The tasks whose time has come, as the timers say.
pub(super) fn due(tx: &mut Tx<'_>) -> Result<Vec<TaskId>> {
    let mut due = Vec::new();
    for (from, to) in [(0, tx.now.0), (CALENDAR, CALENDAR.saturating_add(tx.wall_ms))] {
        for mut row in tx.sql.rows(SELECT_DUE, params![from, to])? {
            let (_, id) = (row.int()?, row.text()?);
            due.extend(id.parse().map(TaskId));
        }
    }
    Ok(due)
}

/// Settles a task, for a timer that rang or a settling that was undone.
pub(crate) fn on_timer(tx: &mut Tx<'_>, id: &str) -> Result<()> {
    id.parse().map_or(Ok(()), |id| settle(tx, TaskId(id)))
}

fn settle(tx: &mut Tx<'_>, id: TaskId) -> Result<()> {
    let Some(row) = find(tx, id)? else { return Ok(()) };
    if row.is_due(tx) {
        return settle_row(tx, row).map(drop);
    }
    // It rang early.
    row.timer()
        .map_or(Ok(()), |tick| tx.arm(cotenant_core::id::Tick(tick), super::TIMER, &id.to_string()))
}
