//! Adding tasks.

use std::collections::{BTreeSet, HashMap};

use cotenant_core::{
    Code, Error, Result,
    clock::parse_rfc3339,
    id::{TaskId, Tick},
    task::{
        AddTasks, AddedTask, AddedTasks, NewTask, TaskState,
        rule::{self, Passage, Standing, passage},
    },
};
use serde_json::json;

use super::{TaskRow, Voice, ending, find, foreseen, insert, log, mark_of};
use crate::{data, lease, params, sql::Query, testing::mutant, tx::Tx};

/// The kind of the rows of `mark` that hold dedupe keys.
pub(super) const DEDUPE: &str = "dedupe";

/// How much is asked for at once, where each look is a round trip.
const AHEAD: usize = 200;

const INSERT_DEPENDENCY: &str =
    "INSERT INTO dependency (needs, task) VALUES ($1, $2) ON CONFLICT DO NOTHING";

/// The task of a queue that has a dedupe key and is not over.
pub(super) fn holder(tx: &mut Tx<'_>, queue: &str, key: &str) -> Result<Option<TaskRow>> {
    let Some(id) = lease::mark(tx, DEDUPE, &mark_of(queue, key))? else { return Ok(None) };
    let Some(row) = find(tx, TaskId(id))? else { return Ok(None) };
    let row = ending::settle_row(tx, row)?;
    let counts = !row.state().is_over() || mutant("dedupe_for_ever");
    Ok(Some(row).filter(|_| counts))
}

pub(crate) fn add(tx: &mut Tx<'_>, op: &AddTasks) -> Result<AddedTasks> {
    let order = rule::order(&op.tasks).map_err(|ring| cycle(&ring))?;
    op.tasks.iter().try_for_each(|task| tx.check_ttl(task.visibility_ms))?;
    let (ids, mut states) = identify(tx, &op.tasks)?;
    let mut rows: Vec<Option<TaskRow>> = vec![None; op.tasks.len()];
    for place in order {
        let Id::New(id) = ids[place] else { continue };
        let row = prepare(tx, &op.tasks[place], id, &ids, &mut states)?;
        states.insert(id, row.state());
        rows[place] = Some(row);
    }
    let mut added = Vec::with_capacity(rows.len());
    for (place, row) in rows.into_iter().enumerate() {
        let (task, deduplicated) = match ids[place] {
            Id::New(id) => (id, false),
            Id::Known(id) => (id, true),
        };
        if let Some(row) = row {
            write(tx, &row, &op.tasks[place])?;
        }
        let state = states.get(&task).copied().unwrap_or(TaskState::Ready);
        added.push(AddedTask { task, state, deduplicated });
    }
    Ok(AddedTasks { tasks: added })
}

fn cycle(ring: &[usize]) -> Error {
    let places: Vec<String> = ring.iter().chain(ring.first()).map(ToString::to_string).collect();
    Error::new(
        Code::Cycle,
        format!("the new tasks at places {} need each other in a ring", places.join(" → ")),
    )
    .detail("cycle", ring)
    .hint("leave one of these dependencies out; places count from 0")
}

/// Which task a place of the request means.
#[derive(Clone, Copy)]
enum Id {
    New(TaskId),
    Known(TaskId),
}

impl Id {
    const fn task(self) -> TaskId {
        match self {
            Self::New(id) | Self::Known(id) => id,
        }
    }
}

fn unknown(needed: TaskId) -> Error {
    Error::new(Code::NotFound, format!("there is no task {needed} to wait for"))
        .detail("task", needed)
        .hint("`cotenant task list` shows them; tasks of the same request go into `needs_new`")
}

/// Asks ahead for what will be looked up, where each look is a round trip.
fn foresee<T>(tx: &mut Tx<'_>, of: &[T], query: impl Fn(&T) -> Option<Query>) -> Result<()> {
    if tx.sql.is_far() { tx.sql.foresee(of.iter().filter_map(query).collect()) } else { Ok(()) }
}

/// The id of every place: that of the event to come, or of the task that has its dedupe key; and how
/// the latter stand.
fn identify(tx: &mut Tx<'_>, tasks: &[NewTask]) -> Result<(Vec<Id>, HashMap<TaskId, TaskState>)> {
    let begun = tx.next_seq();
    let mut states = HashMap::new();
    let mut known = Vec::with_capacity(tasks.len());
    for some in tasks.chunks(AHEAD) {
        foresee(tx, some, |task| {
            let key = task.dedupe_key.as_ref()?;
            Some(lease::foreseen_mark(DEDUPE, &mark_of(&task.queue, key)))
        })?;
        for task in some {
            let found = match &task.dedupe_key {
                Some(key) => holder(tx, &task.queue, key)?,
                None => None,
            };
            if let Some(row) = &found {
                states.insert(row.id, row.state());
            }
            known.push(found.map(|row| row.id));
        }
    }
    let needed: BTreeSet<TaskId> = tasks.iter().flat_map(|task| &task.needs).copied().collect();
    let needed: Vec<TaskId> = needed.into_iter().filter(|id| !states.contains_key(id)).collect();
    for some in needed.chunks(AHEAD) {
        foresee(tx, some, |id| Some(foreseen(*id)))?;
        for id in some {
            let row = find(tx, *id)?.ok_or_else(|| unknown(*id))?;
            states.insert(*id, ending::settle_row(tx, row)?.state());
        }
    }
    if tx.next_seq() != begun {
        // One that was settled may have taken others with it.
        for (id, state) in &mut states {
            *state = ending::stands(tx, *id)?.unwrap_or(*state);
        }
    }
    let mut keys: HashMap<(&str, &str), TaskId> = HashMap::new();
    let mut ids = Vec::with_capacity(tasks.len());
    // Settling takes numbers of the log; these are given out behind it.
    let mut next = tx.next_seq();
    for (task, known) in tasks.iter().zip(known) {
        let key = task.dedupe_key.as_ref().map(|key| (task.queue.as_str(), key.as_str()));
        let same = key.and_then(|key| keys.get(&key).copied());
        if let Some(id) = known.or(same) {
            ids.push(Id::Known(id));
            continue;
        }
        ids.push(Id::New(TaskId(next)));
        if let Some(key) = key {
            keys.insert(key, TaskId(next));
        }
        next += 1;
    }
    Ok((ids, states))
}

/// The row of a new task, with its state from those that it needs.
fn prepare(
    tx: &mut Tx<'_>,
    task: &NewTask,
    id: TaskId,
    ids: &[Id],
    states: &mut HashMap<TaskId, TaskState>,
) -> Result<TaskRow> {
    let new = task.needs_new.iter().map(|place| ids[*place as usize].task());
    let mut needs: Vec<TaskId> = task.needs.iter().copied().chain(new).collect();
    needs.sort_unstable();
    needs.dedup();
    let not_before_ms = task.not_before.as_deref().map(parse_rfc3339).transpose()?;
    let actor = tx.actor()?.name.clone();
    let row = TaskRow {
        id,
        queue: task.queue.clone(),
        standing: Standing {
            state: TaskState::Blocked,
            attempts: 0,
            max_attempts: task.max_attempts,
            fence: None,
            ended: None,
        },
        priority: task.priority,
        ready: Tick(0),
        payload: task.payload.text().to_owned(),
        needs,
        on_dep_fail: task.on_dep_fail,
        rescues: 0,
        visibility_ms: task.visibility_ms,
        due: task.delay_ms.filter(|ms| *ms > 0).map(|ms| tx.now.after(ms)),
        not_before_ms,
        dedupe_key: task.dedupe_key.clone(),
        session: None,
        result: None,
        reason: None,
        creator: actor,
        trust: tx.trust().to_owned(),
        added_ms: tx.wall_ms,
        since_ms: tx.wall_ms,
        armed: None,
    };
    let state = |needed: &TaskId| states.get(needed).copied().unwrap_or(TaskState::Ready);
    let passages: Vec<Passage> =
        row.needs.iter().map(|needed| passage(state(needed), row.on_dep_fail)).collect();
    Ok(if passages.contains(&Passage::Cancels) {
        let standing = Standing { state: TaskState::Cancelled, ..row.standing };
        TaskRow { standing, due: None, reason: Some(ending::NEED_FAILED.to_owned()), ..row }
    } else if passages.contains(&Passage::Shut) {
        row
    } else {
        row.queued(tx)
    })
}

fn write(tx: &mut Tx<'_>, row: &TaskRow, task: &NewTask) -> Result<()> {
    let facts = json!({
        "priority": row.priority, "needs": row.needs, "on_dep_fail": row.on_dep_fail,
        "max_attempts": row.standing.max_attempts, "visibility_ms": row.visibility_ms,
        "delay_ms": task.delay_ms, "not_before": task.not_before, "dedupe_key": row.dedupe_key,
        "payload": data::shown(&task.payload),
    });
    log(tx, Voice::Actor, row, "added", facts)?;
    insert(tx, row)?;
    for needed in &row.needs {
        tx.sql.later(INSERT_DEPENDENCY, params![needed.0, row.id.0])?;
    }
    match row.mark() {
        Some(name) if !row.state().is_over() => lease::set_mark(tx, DEDUPE, &name, row.id.0),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use cotenant_core::{json::Json, session::SignOn};

    use super::*;
    use crate::{
        create,
        host::LocalProcesses,
        meta::{Intent, Meta},
        session, sign_on,
        sql::{Param, Row, Sql},
        sqlite::{Sqlite, Statements},
    };

    /// A database to which each statement is a round trip, unless it can wait or was asked for ahead.
    struct Far<'a> {
        near: Statements<'a>,
        foreseen: Vec<Query>,
        trips: Vec<&'static str>,
    }

    impl Sql for Far<'_> {
        fn run(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<u64> {
            self.trips.push(sql);
            self.near.run(sql, params)
        }

        fn rows(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<Vec<Row>> {
            if !self.foreseen.contains(&Query::new(sql, params)) {
                self.trips.push(sql);
            }
            self.near.rows(sql, params)
        }

        fn later(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<()> {
            self.near.run(sql, params).map(drop)
        }

        fn foresee(&mut self, queries: Vec<Query>) -> Result<()> {
            self.trips.push("ahead");
            self.foreseen = queries;
            Ok(())
        }

        fn is_far(&self) -> bool {
            true
        }

        fn written(&self) -> u64 {
            self.near.written()
        }
    }

    #[test]
    fn adding_many_takes_few_round_trips() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("store.db");
        create::create(&file).unwrap();
        let database = Sqlite::open(&file).unwrap();
        database.connection().execute_batch("BEGIN IMMEDIATE").unwrap();
        let near = Statements::of(database.connection());
        let mut far = Far { near, foreseen: Vec::new(), trips: Vec::new() };
        let meta = Meta::load(&mut far, Intent::Write).unwrap();
        let mut tx = Tx::new(&mut far, meta, 1_795_000_000_000, &LocalProcesses);
        let signed = sign_on::sign_on(&mut tx, &SignOn::new("claude", "ada", "0".repeat(64)));
        tx.actor = session::find(&mut tx, &signed.unwrap().session.0).unwrap();
        let tasks = |needs: &[TaskId]| {
            let task = |number: usize| NewTask {
                needs: needs.get(number).copied().into_iter().collect(),
                dedupe_key: Some(format!("{}-{number}", needs.len())),
                ..NewTask::new(Json::of(&number))
            };
            AddTasks { tasks: (0..500).map(task).collect() }
        };
        let first = add(&mut tx, &tasks(&[])).unwrap();
        let first: Vec<TaskId> = first.tasks.iter().map(|added| added.task).collect();
        let second = add(&mut tx, &tasks(&first)).unwrap();
        assert!(second.tasks.iter().all(|added| added.state == TaskState::Blocked));
        drop(tx);
        let trips: Vec<&str> =
            far.trips.into_iter().filter(|sql| sql.contains("task") || *sql == "ahead").collect();
        // Three for the keys of each, three for what the second ones need.
        assert_eq!(trips, ["ahead"; 9]);
    }
}
