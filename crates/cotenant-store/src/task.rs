//! Tasks: queues, attempts with fences, dependencies.
//!
//! Rules are in `cotenant_core::task::rule`; here rows are loaded, decided on and saved. `task/add.rs`
//! adds, `task/attempt.rs` takes and finishes, `task/ending.rs` follows what is over and settles,
//! `task/handing.rs` gives what is accepted to its new runner, `task/show.rs` looks, `task/gauge.rs` tells how
//! much of it is whose.
//!
//! # Invariants
//! - A row has exactly one timer while time alone can change it: a running attempt, a delay, a retry.
//!   Calendar times have theirs behind all ticks, where only [`ending::settle_due`] looks.
//! - Every change of `state`, `attempts` or `fence` has an event that names them all, so that the last
//!   event of a task says how its row must be.
//! - A dedupe key is a row of `mark` as long as its task is not over.

mod add;
mod attempt;
mod ending;
mod gauge;
mod handing;
mod show;

use cotenant_core::{
    Code, Error, Result,
    id::{Fence, TaskId, Tick},
    json::Json,
    task::{
        OnDepFail, TaskState,
        rule::{Ending, Standing},
    },
};
use serde_json::json;

pub(crate) use self::{
    add::add,
    attempt::{check_guard, extend, fail, finish, next, release},
    ending::{cancel, give_back_all, lose_all, on_timer, requeue},
    gauge::Unfinished,
    handing::{Left, fence_of, hand_over, run_by, stand},
    show::{counts, graph, list, ready, show},
};
use crate::{
    params,
    sql::{Query, Row, corrupt},
    tx::Tx,
};

/// The kind of a task's timer.
const TIMER: &str = "task";
/// Where the timers of calendar times begin, behind all ticks: their wall time is added.
const CALENDAR: i64 = 1 << 52;

/// A row of `task`.
#[derive(Clone, Debug)]
struct TaskRow {
    id: TaskId,
    queue: String,
    standing: Standing,
    priority: i64,
    /// Since when it is ready, its place among those of its priority.
    ready: Tick,
    payload: String,
    needs: Vec<TaskId>,
    on_dep_fail: OnDepFail,
    rescues: u32,
    visibility_ms: u64,
    /// When the running attempt ends, the retry begins or the delay is over.
    due: Option<Tick>,
    /// Wall time before which it does not begin.
    not_before_ms: Option<i64>,
    dedupe_key: Option<String>,
    /// The session of the newest attempt.
    session: Option<String>,
    result: Option<String>,
    reason: Option<String>,
    creator: String,
    trust: String,
    added_ms: i64,
    since_ms: i64,
    /// The timer that the stored row has.
    armed: Option<i64>,
}

macro_rules! task_columns {
    () => {
        "id, queue, state, priority, ready_tick, payload, needs, on_dep_fail, attempts, max_attempts, \
         rescues, visibility_ms, due_tick, not_before_ms, dedupe_key, fence, ended, session, result, \
         reason, creator, trust, added_ms, since_ms"
    };
}
use task_columns;

const SELECT_ONE: &str = concat!("SELECT ", task_columns!(), " FROM task WHERE id = $1");
const SELECT_RUNNING_OF: &str = concat!(
    "SELECT ",
    task_columns!(),
    " FROM task WHERE session = $1 AND state = 'running' ORDER BY id"
);
const INSERT: &str = concat!(
    "INSERT INTO task (",
    task_columns!(),
    ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, \
     $19, $20, $21, $22, $23, $24)"
);
const UPDATE: &str = "UPDATE task SET state = $1, ready_tick = $2, attempts = $3, rescues = $4, \
     due_tick = $5, fence = $6, ended = $7, session = $8, result = $9, reason = $10, since_ms = $11 \
     WHERE id = $12";
const DELETE_TIMER: &str = "DELETE FROM timer WHERE tick = $1 AND kind = 'task' AND id = $2";

/// Reads a row that `task_columns` selected.
fn task(row: &mut Row) -> Result<TaskRow> {
    let (id, queue, word) = (TaskId(row.int()?), row.text()?, row.text()?);
    let damaged = |what: &str| corrupt(format!("task {id} has the unknown {what}"));
    let state = TaskState::of(&word).ok_or_else(|| damaged(&format!("state `{word}`")))?;
    let (priority, ready, payload) = (row.int()?, Tick(row.int()?), row.text()?);
    let needs = row.text()?;
    let needs = serde_json::from_str(&needs).map_err(|_| damaged(&format!("needs `{needs}`")))?;
    let word = row.text()?;
    let on_dep_fail = OnDepFail::of(&word).ok_or_else(|| damaged(&format!("policy `{word}`")))?;
    let mut number = || {
        let number = row.int()?;
        u32::try_from(number).map_err(|_| damaged(&format!("count {number}")))
    };
    let (attempts, max_attempts, rescues) = (number()?, number()?, number()?);
    let (visibility_ms, due, not_before_ms) =
        (row.int()? as u64, row.optional_int()?.map(Tick), row.optional_int()?);
    let (dedupe_key, fence) = (row.optional_text()?, row.optional_int()?.map(Fence));
    let ended = row.optional_text()?.map(|word| {
        Ending::of(&word).ok_or_else(|| damaged(&format!("end of an attempt `{word}`")))
    });
    let standing = Standing { state, attempts, max_attempts, fence, ended: ended.transpose()? };
    let mut task = TaskRow {
        id,
        queue,
        standing,
        priority,
        ready,
        payload,
        needs,
        on_dep_fail,
        rescues,
        visibility_ms,
        due,
        not_before_ms,
        dedupe_key,
        session: row.optional_text()?,
        result: row.optional_text()?,
        reason: row.optional_text()?,
        creator: row.text()?,
        trust: row.text()?,
        added_ms: row.int()?,
        since_ms: row.int()?,
        armed: None,
    };
    task.armed = task.timer();
    Ok(task)
}

impl TaskRow {
    fn state(&self) -> TaskState {
        self.standing.state
    }

    /// The timer that the row must have.
    fn timer(&self) -> Option<i64> {
        match self.state() {
            TaskState::Running | TaskState::Failed => self.due.map(|due| due.0),
            TaskState::Delayed => {
                self.due.map(|due| due.0).or(self.not_before_ms.map(|ms| CALENDAR + ms))
            }
            _ => None,
        }
    }

    /// Whether time has changed what the row says.
    fn is_due(&self, tx: &Tx<'_>) -> bool {
        let due = self.due.is_none_or(|due| tx.now >= due);
        match self.state() {
            TaskState::Running | TaskState::Failed => due,
            TaskState::Delayed => due && self.not_before_ms.is_none_or(|ms| tx.wall_ms >= ms),
            _ => false,
        }
    }

    /// Lets the task wait in its queue, or for its time if that has not come.
    fn queued(self, tx: &Tx<'_>) -> Self {
        let due = self.due.filter(|due| tx.now < *due);
        let too_early = self.not_before_ms.is_some_and(|ms| tx.wall_ms < ms);
        let state = if due.is_some() || too_early { TaskState::Delayed } else { TaskState::Ready };
        Self { standing: Standing { state, ..self.standing }, due, ready: tx.now, ..self }
    }

    /// The name of its row of `mark`.
    fn mark(&self) -> Option<String> {
        self.dedupe_key.as_ref().map(|key| mark_of(&self.queue, key))
    }
}

/// The name of the row of `mark` that says which task has a dedupe key of a queue.
fn mark_of(queue: &str, key: &str) -> String {
    format!("{queue}\n{key}")
}

fn find(tx: &mut Tx<'_>, id: TaskId) -> Result<Option<TaskRow>> {
    tx.sql.rows(SELECT_ONE, params![id.0])?.pop().map(|mut row| task(&mut row)).transpose()
}

/// The query for a task.
fn foreseen(id: TaskId) -> Query {
    Query::new(SELECT_ONE, params![id.0])
}

fn require(tx: &mut Tx<'_>, id: TaskId) -> Result<TaskRow> {
    find(tx, id)?.ok_or_else(|| {
        Error::new(Code::NotFound, format!("there is no task {id}"))
            .detail("task", id)
            .hint("`cotenant task list` shows them")
    })
}

/// What a session works on.
fn running_of(tx: &mut Tx<'_>, session: &str) -> Result<Vec<TaskRow>> {
    let rows = tx.sql.rows(SELECT_RUNNING_OF, params![session])?;
    rows.into_iter().map(|mut row| task(&mut row)).collect()
}

fn insert(tx: &mut Tx<'_>, row: &TaskRow) -> Result<()> {
    let needs = Json::of(&row.needs);
    let Standing { state, attempts, max_attempts, fence, ended } = row.standing;
    tx.sql.later(
        INSERT,
        params![
            row.id.0,
            &row.queue,
            state.word(),
            row.priority,
            row.ready.0,
            &row.payload,
            needs.text(),
            row.on_dep_fail.word(),
            i64::from(attempts),
            i64::from(max_attempts),
            i64::from(row.rescues),
            row.visibility_ms as i64,
            row.due.map(|due| due.0),
            row.not_before_ms,
            row.dedupe_key.as_ref(),
            fence.map(|fence| fence.0),
            ended.map(Ending::word),
            row.session.as_ref(),
            row.result.as_ref(),
            row.reason.as_ref(),
            &row.creator,
            &row.trust,
            row.added_ms,
            row.since_ms,
        ],
    )?;
    arm(tx, row)
}

/// Writes back what can change, and asks to look at the row when time changes it.
fn save(tx: &mut Tx<'_>, row: &TaskRow) -> Result<()> {
    let Standing { state, attempts, fence, ended, .. } = row.standing;
    tx.sql.later(
        UPDATE,
        params![
            state.word(),
            row.ready.0,
            i64::from(attempts),
            i64::from(row.rescues),
            row.due.map(|due| due.0),
            fence.map(|fence| fence.0),
            ended.map(Ending::word),
            row.session.as_ref(),
            row.result.as_ref(),
            row.reason.as_ref(),
            row.since_ms,
            row.id.0,
        ],
    )?;
    arm(tx, row)
}

fn arm(tx: &mut Tx<'_>, row: &TaskRow) -> Result<()> {
    let timer = row.timer();
    if timer == row.armed {
        return Ok(());
    }
    let id = row.id.to_string();
    if let Some(armed) = row.armed {
        tx.sql.later(DELETE_TIMER, params![armed, &id])?;
    }
    timer.map_or(Ok(()), |tick| tx.arm(Tick(tick), TIMER, &id))
}

/// In whose name something happens to a task.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Voice {
    Actor,
    Store,
}

/// Logs what happened to a task, with how it stands now.
fn log(
    tx: &mut Tx<'_>,
    voice: Voice,
    row: &TaskRow,
    what: &str,
    more: serde_json::Value,
) -> Result<()> {
    let mut facts = json!({
        "task": row.id, "queue": row.queue, "state": row.state(),
        "attempts": row.standing.attempts, "fence": row.standing.fence,
    });
    if let (Some(facts), serde_json::Value::Object(more)) = (facts.as_object_mut(), more) {
        facts.extend(more);
    }
    let (kind, scope) = (format!("task.{what}"), scope(row.id));
    match voice {
        Voice::Actor => tx.event(&kind, &scope, &Json::of(&facts)),
        Voice::Store => tx.event_of_store(&kind, &scope, &facts),
    }
    .map(drop)
}

/// The scope under which events of a task are logged, and the name by which a guard means it.
fn scope(id: TaskId) -> String {
    format!("task:{id}")
}
