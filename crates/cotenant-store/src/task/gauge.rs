//! How much unfinished work is whose: gauges that are computed when they are shown.
//!
//! Nothing is kept of them, and only so much is looked at, however many tasks there are: the newest
//! of the store, what a session runs, and some of those that these need.

use std::collections::HashMap;

use cotenant_core::{
    Result,
    id::TaskId,
    metric::{TASKS_LOOKED_UP_MAX, TASKS_NEWEST_MAX},
    task::TaskState,
};

use super::running_of;
use crate::{
    params,
    session::SessionRow,
    sql::{Row, corrupt},
    testing::mutant,
    tx::Tx,
};

const SELECT_NEWEST: &str = "SELECT id, state, needs, creator, session, added_ms FROM task \
     ORDER BY id DESC LIMIT $1";
const SELECT_NEEDS: &str = "SELECT state, needs FROM task WHERE id = $1";

/// What is known of a task.
struct Known {
    is_over: bool,
    needs: Vec<TaskId>,
}

/// A task that a session added and that is not over.
struct Added {
    task: TaskId,
    at_ms: i64,
    /// Who runs it.
    runs: Option<String>,
}

/// The unfinished tasks of a store, as far as they are looked at for one answer.
pub(crate) struct Unfinished {
    known: HashMap<TaskId, Known>,
    /// By the name of who added them.
    added: HashMap<String, Vec<Added>>,
    /// How many tasks may still be looked up.
    left: usize,
    /// The longest chain below a task; none while it is being followed.
    depths: HashMap<TaskId, Option<i64>>,
}

fn read(state: &str, needs: &str) -> Result<(TaskState, Known)> {
    let state = TaskState::of(state).ok_or_else(|| corrupt("a task has an unknown state"))?;
    let needs = serde_json::from_str(needs)
        .map_err(|cause| corrupt("what a task needs cannot be read").caused_by(cause))?;
    let is_over = state.is_over() && !mutant("finished_tasks_are_a_chain");
    Ok((state, Known { is_over, needs }))
}

impl Unfinished {
    /// Looks at the newest tasks.
    pub(crate) fn look(tx: &mut Tx<'_>) -> Result<Self> {
        let rows = tx.sql.rows(SELECT_NEWEST, params![TASKS_NEWEST_MAX])?;
        let mut found = Self {
            known: HashMap::with_capacity(rows.len()),
            added: HashMap::new(),
            left: TASKS_LOOKED_UP_MAX,
            depths: HashMap::new(),
        };
        rows.into_iter().try_for_each(|row| found.take(row))?;
        Ok(found)
    }

    fn take(&mut self, mut row: Row) -> Result<()> {
        let task = TaskId(row.int()?);
        let (state, known) = read(&row.text()?, &row.text()?)?;
        let (creator, session, at_ms) = (row.text()?, row.optional_text()?, row.int()?);
        if !state.is_over() {
            let runs = session.filter(|_| state == TaskState::Running);
            self.added.entry(creator).or_default().push(Added { task, at_ms, runs });
        }
        self.known.insert(task, known);
        Ok(())
    }

    /// How many unfinished tasks are a session's, and the longest chain of unfinished ones that those need.
    pub(crate) fn of(&mut self, tx: &mut Tx<'_>, session: &SessionRow) -> Result<(i64, i64)> {
        if self.known.is_empty() || !session.effective(tx).is_live() {
            return Ok((0, 0));
        }
        let running = running_of(tx, &session.id)?.into_iter();
        let mut own: Vec<TaskId> =
            running.filter(|row| !row.is_due(tx)).map(|row| row.id).collect();
        for added in self.added.get(&session.name).into_iter().flatten() {
            // A name can be that of an earlier session too; what another one runs is that one's work.
            let is_own = added.at_ms >= session.since_ms
                && (added.runs.as_ref().is_none_or(|by| *by == session.id)
                    || mutant("what_others_run_counts"));
            if is_own && !own.contains(&added.task) {
                own.push(added.task);
            }
        }
        let mut deepest = 0;
        for task in &own {
            deepest = deepest.max(self.depth(tx, *task)?);
        }
        Ok((own.len() as i64, deepest))
    }

    /// The longest chain of unfinished tasks below one. A chain may be long, so that it is followed without
    /// a stack of calls; a ring, which only a damaged store has, ends where it began.
    fn depth(&mut self, tx: &mut Tx<'_>, task: TaskId) -> Result<i64> {
        let mut open = vec![task];
        while let Some(task) = open.last().copied() {
            let depth = self.depths.get(&task).copied();
            if let Some(Some(_)) = depth {
                open.pop();
                continue;
            }
            let needs = self.unfinished_needs(tx, task)?;
            if depth.is_none() {
                self.depths.insert(task, None);
                open.extend(needs.into_iter().filter(|it| !self.depths.contains_key(it)));
            } else {
                let below = needs.iter().map(|it| self.depth_of(*it) + 1);
                self.depths.insert(task, Some(below.max().unwrap_or(0)));
                open.pop();
            }
        }
        Ok(self.depth_of(task))
    }

    fn depth_of(&self, task: TaskId) -> i64 {
        self.depths.get(&task).copied().flatten().unwrap_or(0)
    }

    /// What a task needs that is not over, as far as it may be looked up.
    fn unfinished_needs(&mut self, tx: &mut Tx<'_>, task: TaskId) -> Result<Vec<TaskId>> {
        self.require(tx, task)?;
        let needs = self.known.get(&task).map(|known| known.needs.clone()).unwrap_or_default();
        for needed in &needs {
            self.require(tx, *needed)?;
        }
        let is_open = |id: &TaskId| self.known.get(id).is_some_and(|known| !known.is_over);
        Ok(needs.into_iter().filter(is_open).collect())
    }

    fn require(&mut self, tx: &mut Tx<'_>, task: TaskId) -> Result<()> {
        if self.left == 0 || self.known.contains_key(&task) {
            return Ok(());
        }
        self.left -= 1;
        if let Some(mut row) = tx.sql.rows(SELECT_NEEDS, params![task.0])?.pop() {
            let (_, known) = read(&row.text()?, &row.text()?)?;
            self.known.insert(task, known);
        }
        Ok(())
    }
}
