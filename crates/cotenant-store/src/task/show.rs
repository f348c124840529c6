//! Looking at tasks: as they stand now, whether anybody has settled them or not.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use cotenant_core::{
    Result,
    id::{SessionId, TaskId, Tick},
    json::Json,
    task::{
        TaskCounts, TaskState,
        rule::{Passage, passage},
        view::{
            GraphEdge, GraphNode, GraphTasks, ListTasks, ShowTask, ShownTask, TaskGraph, TaskView,
            Tasks, about,
        },
    },
};
use serde_json::{Value, json};

use super::{TaskRow, ending, find, require, running_of, task, task_columns};
use crate::{
    params,
    session::{self, SessionRow},
    tx::Tx,
};

/// How many dependants are shown.
const DEPENDANTS: i64 = 1_000;
/// How many ready tasks a refusal names.
const NAMED: i64 = 3;

const SELECT_PAGE: &str =
    concat!("SELECT ", task_columns!(), " FROM task WHERE id > $1 ORDER BY id LIMIT 500");
const SELECT_IDS: &str = "SELECT id FROM task WHERE state = $1 AND id > $2 ORDER BY id";
const SELECT_IDS_OF_QUEUE: &str =
    "SELECT id FROM task WHERE state = $1 AND queue = $2 AND id > $3 ORDER BY id";
const SELECT_DEPENDANTS: &str =
    "SELECT task FROM dependency WHERE needs = $1 ORDER BY task LIMIT $2";
const COUNT: &str = "SELECT state, COUNT(*) FROM task \
     WHERE state IN ('blocked', 'dead', 'delayed', 'failed', 'ready', 'running') GROUP BY state";
const COUNT_OF_QUEUE: &str = "SELECT state, COUNT(*) FROM task \
     WHERE state IN ('blocked', 'dead', 'delayed', 'failed', 'ready', 'running') AND queue = $1 \
     GROUP BY state";
const SELECT_WORKING: &str = "SELECT DISTINCT session FROM task WHERE state = 'running'";
const SELECT_NAMED: &str = concat!(
    "SELECT ",
    task_columns!(),
    " FROM task WHERE state = 'ready' ORDER BY queue, priority DESC, ready_tick, id LIMIT $1"
);

/// The sessions that were looked up for one answer.
#[derive(Default)]
struct Workers(HashMap<String, Option<SessionRow>>);

impl Workers {
    fn of(&mut self, tx: &mut Tx<'_>, row: &TaskRow) -> Result<Option<&SessionRow>> {
        let Some(id) = &row.session else { return Ok(None) };
        if !self.0.contains_key(id) {
            let found = session::find(tx, id)?;
            self.0.insert(id.clone(), found);
        }
        Ok(self.0.get(id).and_then(Option::as_ref))
    }
}

/// Where a task stands now, and when that changes by itself.
fn effective(tx: &Tx<'_>, row: &TaskRow, worker: Option<&SessionRow>) -> (TaskState, Option<Tick>) {
    let state = row.state();
    if row.is_due(tx) {
        return match state {
            TaskState::Running => (row.standing.rescued().state, None),
            _ => (TaskState::Ready, None),
        };
    }
    if state == TaskState::Running && worker.is_some_and(|worker| !worker.effective(tx).is_live()) {
        return match row.standing.rescued().state {
            TaskState::Ready => (TaskState::Delayed, Some(tx.now.after(tx.lock_delay_ms()))),
            state => (state, None),
        };
    }
    let waits = matches!(state, TaskState::Running | TaskState::Failed | TaskState::Delayed);
    (state, row.due.filter(|_| waits))
}

fn view(tx: &mut Tx<'_>, row: TaskRow, workers: &mut Workers) -> Result<TaskView> {
    let worker = workers.of(tx, &row)?;
    let (state, due) = effective(tx, &row, worker);
    let name = worker.map(|worker| worker.name.clone());
    let is_early = matches!(state, TaskState::Blocked | TaskState::Delayed);
    Ok(TaskView {
        task: row.id,
        queue: row.queue,
        state,
        priority: row.priority,
        payload: Json::stored(row.payload),
        attempts: row.standing.attempts,
        max_attempts: row.standing.max_attempts,
        rescues: row.rescues,
        needs: row.needs,
        on_dep_fail: row.on_dep_fail,
        due_in_ms: due.map(|due| due.remaining(tx.now)),
        not_before: row.not_before_ms.filter(|_| is_early).map(Tx::at),
        fence: row.standing.fence,
        session: row.session.map(SessionId),
        name,
        result: row.result.map(Json::stored),
        reason: row.reason,
        dedupe_key: row.dedupe_key,
        creator: row.creator,
        trust: row.trust,
        added: Tx::at(row.added_ms),
        since: Tx::at(row.since_ms),
    })
}

fn dependants(tx: &mut Tx<'_>, id: TaskId, limit: i64) -> Result<Vec<TaskId>> {
    let rows = tx.sql.rows(SELECT_DEPENDANTS, params![id.0, limit])?;
    rows.into_iter().map(|mut row| row.int().map(TaskId)).collect()
}

pub(crate) fn show(tx: &mut Tx<'_>, op: &ShowTask) -> Result<ShownTask> {
    let row = require(tx, op.task)?;
    let mut waits_for = Vec::new();
    for needed in row.needs.iter().filter(|_| row.state() == TaskState::Blocked) {
        let state = ending::stands(tx, *needed)?;
        if state.is_some_and(|state| passage(state, row.on_dep_fail) != Passage::Open) {
            waits_for.push(*needed);
        }
    }
    let needed_by = dependants(tx, row.id, DEPENDANTS)?;
    let task = view(tx, row, &mut Workers::default())?;
    Ok(ShownTask { task, waits_for, needed_by })
}

/// The stored states that can mean one of these.
fn stored(states: &[TaskState]) -> BTreeSet<TaskState> {
    let mut stored = BTreeSet::new();
    for state in states {
        stored.insert(*state);
        match state {
            TaskState::Ready => {
                stored.extend([TaskState::Delayed, TaskState::Failed, TaskState::Running]);
            }
            TaskState::Dead | TaskState::Delayed => {
                stored.insert(TaskState::Running);
            }
            _ => {}
        }
    }
    stored
}

const OPEN: [TaskState; 6] = [
    TaskState::Blocked,
    TaskState::Delayed,
    TaskState::Ready,
    TaskState::Running,
    TaskState::Failed,
    TaskState::Dead,
];

/// The ids of the tasks that may be in one of these states, in order.
fn candidates(
    tx: &mut Tx<'_>,
    states: &[TaskState],
    queue: Option<&str>,
    after: TaskId,
) -> Result<Vec<TaskId>> {
    let mut ids = Vec::new();
    for state in stored(states) {
        let rows = match queue {
            Some(queue) => {
                tx.sql.rows(SELECT_IDS_OF_QUEUE, params![state.word(), queue, after.0])?
            }
            None => tx.sql.rows(SELECT_IDS, params![state.word(), after.0])?,
        };
        for mut row in rows {
            ids.push(TaskId(row.int()?));
        }
    }
    ids.sort_unstable();
    Ok(ids)
}

pub(crate) fn list(tx: &mut Tx<'_>, op: &ListTasks) -> Result<Tasks> {
    let states = if op.states.is_empty() { &OPEN[..] } else { &op.states };
    let session = match &op.session {
        Some(reference) => Some(session::require(tx, reference)?.id),
        None => None,
    };
    let after = op.after.unwrap_or(TaskId(0));
    let mut workers = Workers::default();
    let mut tasks: Vec<TaskView> = Vec::new();
    for id in candidates(tx, states, op.queue.as_deref(), after)? {
        let Some(row) = find(tx, id)? else { continue };
        if session.is_some() && row.session != session {
            continue;
        }
        let view = view(tx, row, &mut workers)?;
        if !states.contains(&view.state) {
            continue;
        }
        if tasks.len() == op.limit as usize {
            let next = tasks.last().map(|last| last.task);
            return Ok(Tasks { tasks, next });
        }
        tasks.push(view);
    }
    Ok(Tasks { tasks, next: None })
}

/// How the tasks of these queues are stored to stand, or of all.
pub(super) fn counts_of(tx: &mut Tx<'_>, queues: &[String]) -> Result<TaskCounts> {
    let mut counts = TaskCounts::default();
    let mut rows = Vec::new();
    if queues.is_empty() {
        rows = tx.sql.rows(COUNT, &[])?;
    }
    let queues: BTreeSet<&String> = queues.iter().collect();
    for queue in queues {
        rows.extend(tx.sql.rows(COUNT_OF_QUEUE, params![queue])?);
    }
    for mut row in rows {
        let (state, number) = (row.text()?, row.int()?);
        if let Some(count) = TaskState::of(&state).and_then(|state| counts.of(state)) {
            *count += number.unsigned_abs();
        }
    }
    Ok(counts)
}

/// How the tasks stand now. Only those that time or a loss has changed are looked at one by one.
pub(crate) fn counts(tx: &mut Tx<'_>) -> Result<TaskCounts> {
    let mut counts = counts_of(tx, &[])?;
    let mut changed: BTreeMap<TaskId, TaskRow> = BTreeMap::new();
    for id in ending::due(tx)? {
        if let Some(row) = find(tx, id)? {
            changed.insert(id, row);
        }
    }
    let mut workers = Workers::default();
    for mut row in tx.sql.rows(SELECT_WORKING, &[])? {
        let Some(worker) = session::find(tx, &row.text()?)? else { continue };
        if !worker.effective(tx).is_live() {
            changed.extend(running_of(tx, &worker.id)?.into_iter().map(|row| (row.id, row)));
        }
        workers.0.insert(worker.id.clone(), Some(worker));
    }
    for row in changed.values() {
        let worker = workers.of(tx, row)?;
        let (now, _) = effective(tx, row, worker);
        if let Some(count) = counts.of(row.state()) {
            *count = count.saturating_sub(1);
        }
        if let Some(count) = counts.of(now) {
            *count += 1;
        }
    }
    Ok(counts)
}

/// A few ready tasks, for somebody who cannot have what was asked for.
pub(crate) fn ready(tx: &mut Tx<'_>) -> Result<Vec<Value>> {
    let rows = tx.sql.rows(SELECT_NAMED, params![NAMED])?;
    let named = rows.into_iter().map(|mut row| {
        let row = task(&mut row)?;
        Ok(json!({"task": row.id, "queue": row.queue, "about": about(&Json::stored(row.payload))}))
    });
    named.collect()
}

pub(crate) fn graph(tx: &mut Tx<'_>, op: &GraphTasks) -> Result<TaskGraph> {
    let limit = op.limit as usize;
    let (rows, more) = match op.task {
        Some(task) => around(tx, task, limit)?,
        None => of_queue(tx, op, limit)?,
    };
    let mut workers = Workers::default();
    let (mut nodes, mut edges) = (Vec::with_capacity(rows.len()), Vec::new());
    for row in rows.values() {
        let worker = workers.of(tx, row)?;
        let (state, _) = effective(tx, row, worker);
        let needs = row.needs.iter().filter(|needed| rows.contains_key(needed));
        edges.extend(needs.map(|needed| GraphEdge { task: row.id, needs: *needed }));
        let about = about(&Json::stored(row.payload.clone()));
        nodes.push(GraphNode { task: row.id, queue: row.queue.clone(), state, about });
    }
    Ok(TaskGraph { nodes, edges, more })
}

type Rows = BTreeMap<TaskId, TaskRow>;

/// A task with all that it is connected with.
fn around(tx: &mut Tx<'_>, task: TaskId, limit: usize) -> Result<(Rows, bool)> {
    let mut rows = Rows::new();
    let first = require(tx, task)?;
    let mut seen = HashSet::from([task]);
    let mut open = vec![first];
    while let Some(row) = open.pop() {
        if rows.len() == limit {
            return Ok((rows, true));
        }
        let mut near = row.needs.clone();
        near.extend(dependants(tx, row.id, i64::MAX)?);
        for id in near {
            if seen.insert(id)
                && let Some(row) = find(tx, id)?
            {
                open.push(row);
            }
        }
        rows.insert(row.id, row);
    }
    Ok((rows, false))
}

/// The tasks of a queue, or all, and what they need.
fn of_queue(tx: &mut Tx<'_>, op: &GraphTasks, limit: usize) -> Result<(Rows, bool)> {
    let mut rows = Rows::new();
    let is_wanted = |row: &TaskRow| {
        op.queue.as_ref().is_none_or(|queue| *queue == row.queue)
            && (op.all || !matches!(row.state(), TaskState::Done | TaskState::Cancelled))
    };
    let mut after = 0;
    loop {
        let page = tx.sql.rows(SELECT_PAGE, params![after])?;
        if page.is_empty() {
            return Ok((rows, false));
        }
        for mut found in page {
            let row = task(&mut found)?;
            after = row.id.0;
            if !is_wanted(&row) {
                continue;
            }
            let mut family = row.needs.clone();
            family.retain(|needed| !rows.contains_key(needed));
            if rows.len() + family.len() + 1 > limit {
                return Ok((rows, true));
            }
            for needed in family {
                if let Some(needed) = find(tx, needed)? {
                    rows.insert(needed.id, needed);
                }
            }
            rows.insert(row.id, row);
        }
    }
}
