//! Looks whether every task ended as the log and the ledger say.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::Ledger;
use crate::storm::lab::Member;
use crate::storm::report::Report;
use crate::storm::worker::{Request, Worker};

/// The states of a task that can still go on.
const OPEN: [&str; 5] = ["blocked", "delayed", "ready", "running", "failed"];

/// What is known of a task from its events.
#[derive(Default)]
struct Told {
    state: String,
    needs: Vec<i64>,
    policy: String,
    done: usize,
}

pub(super) fn look(
    worker: &mut Worker,
    ledger: &Ledger,
    count: usize,
    report: &mut Report,
) -> Result<()> {
    let told = replay(worker, report)?;
    let tasks = tasks(worker)?;
    report.expect(tasks.len() == count, || format!("{} of {count} tasks are there", tasks.len()));
    let mut states: BTreeMap<String, usize> = BTreeMap::new();
    for task in &tasks {
        let id = task["task"].as_i64().unwrap_or_default();
        let state = task["state"].as_str().unwrap_or_default();
        *states.entry(state.to_owned()).or_default() += 1;
        let finished = ledger.finished.get(&id).map_or(&[][..], Vec::as_slice);
        match (state, finished) {
            ("done", [fence]) => {
                report.expect(task["fence"] == *fence, || {
                    format!("an old attempt finished task {id}: {fence}, not {}", task["fence"])
                });
                report.expect(task["result"]["by"] == *fence, || {
                    format!("task {id} has the result {}, not that of {fence}", task["result"])
                });
            }
            ("done", fences) => report.fault(format!("task {id} was finished by {fences:?}")),
            (_, [_, ..]) => {
                report.fault(format!("an old attempt finished task {id}, which is {state}"));
            }
            ("dead" | "cancelled", []) => {}
            ("blocked", []) => report
                .expect(is_stuck(id, &told), || format!("task {id} is blocked and need not be")),
            (_, []) => report.fault(format!("task {id} is {state} in the end")),
        }
        report.expect(task["attempts"].as_i64() <= task["max_attempts"].as_i64(), || {
            format!("task {id} was tried {} times", task["attempts"])
        });
    }
    for (id, told) in told.iter().filter(|(_, told)| told.done > 1) {
        report.fault(format!("task {id} was finished {} times", told.done));
    }
    report.fact("tasks in the end", json!(states));
    Ok(())
}

/// Whether a task waits for one that is over badly, or for one that does.
fn is_stuck(id: i64, told: &BTreeMap<i64, Told>) -> bool {
    let needs = told.get(&id).map_or(&[][..], |told| &told.needs);
    needs.iter().any(|needed| match told.get(needed).map(|told| told.state.as_str()) {
        Some("dead" | "cancelled") => true,
        Some("blocked") => is_stuck(*needed, told),
        _ => false,
    })
}

/// Calls off what waits for tasks that failed for good, so that every task ends.
pub(super) fn cancel_blocked(
    worker: &mut Worker,
    owner: &Member,
    report: &mut Report,
) -> Result<usize> {
    let mut cancelled = 0;
    loop {
        let open = ask(worker, "task.list", json!({"states": OPEN, "limit": 1000}))?;
        let open = open["tasks"].as_array().cloned().unwrap_or_default();
        if open.is_empty() {
            return Ok(cancelled);
        }
        for task in open.iter().filter(|task| task["state"] != "blocked") {
            report.fault(format!("task {} is {} in the end", task["task"], task["state"]));
        }
        let mut some = false;
        for task in open.iter().filter(|task| task["state"] == "blocked") {
            let request = Request::new("task.cancel", json!({"task": task["task"]})).by(owner);
            let answer = worker.ask(&request)?;
            // One before it may have taken it along, or let it run.
            if answer["ok"] == true {
                (some, cancelled) = (true, cancelled + 1);
            }
        }
        if !some {
            return Ok(cancelled);
        }
        for task in ready(worker)? {
            let request = Request::new("task.cancel", json!({"task": task})).by(owner);
            ensure!(worker.ask(&request)?["ok"] == true, "cannot cancel task {task}");
        }
    }
}

/// What became ready because something was called off.
fn ready(worker: &mut Worker) -> Result<Vec<Value>> {
    let ready = ask(worker, "task.list", json!({"states": ["ready", "delayed"], "limit": 1000}))?;
    let ready = ready["tasks"].as_array().into_iter().flatten();
    Ok(ready.map(|task| task["task"].clone()).collect())
}

fn ask(worker: &mut Worker, op: &str, args: Value) -> Result<Value> {
    let answer = worker.ask(&Request::new(op, args))?;
    ensure!(answer["ok"] == true, "{op} afterwards: {answer}");
    Ok(answer["data"].clone())
}

fn tasks(worker: &mut Worker) -> Result<Vec<Value>> {
    let states = ["blocked", "delayed", "ready", "running", "failed", "done", "dead", "cancelled"];
    let mut tasks = Vec::new();
    let mut after = Value::Null;
    loop {
        let args = json!({"states": states, "after": after, "limit": 1000});
        let page = ask(worker, "task.list", args)?;
        tasks.extend(page["tasks"].as_array().into_iter().flatten().cloned());
        after = page["next"].clone();
        if after.is_null() {
            return Ok(tasks);
        }
    }
}

/// Follows the log: a task is taken only when it is ready and nothing that it needs is in its way.
fn replay(worker: &mut Worker, report: &mut Report) -> Result<BTreeMap<i64, Told>> {
    let mut told: BTreeMap<i64, Told> = BTreeMap::new();
    let mut cursor = json!("start");
    loop {
        let args = json!({"after": cursor, "kind": "task.*", "limit": 1000});
        let page = ask(worker, "event.read", args)?;
        for event in page["events"].as_array().into_iter().flatten() {
            let (kind, facts) = (event["kind"].as_str().unwrap_or_default(), &event["payload"]);
            let id = facts["task"].as_i64().unwrap_or_default();
            if kind == "task.taken" {
                for fault in in_the_way(id, &told) {
                    report.fault(fault);
                }
            }
            let task = told.entry(id).or_default();
            if kind == "task.added" {
                let needs = facts["needs"].as_array().into_iter().flatten();
                task.needs = needs.filter_map(Value::as_i64).collect();
                facts["on_dep_fail"].as_str().unwrap_or_default().clone_into(&mut task.policy);
            }
            if kind == "task.taken" && task.state != "ready" {
                report.fault(format!("task {id} was taken while it was {}", task.state));
            }
            task.done += usize::from(kind == "task.done");
            facts["state"].as_str().unwrap_or_default().clone_into(&mut task.state);
        }
        if page["more"] != true {
            return Ok(told);
        }
        cursor = page["cursor"].clone();
    }
}

fn in_the_way(id: i64, told: &BTreeMap<i64, Told>) -> Vec<String> {
    let Some(task) = told.get(&id) else {
        return vec![format!("task {id} was taken before it was added")];
    };
    let is_open = |needed: &i64| {
        let state = told.get(needed).map_or("", |needed| needed.state.as_str());
        state == "done" || (task.policy == "run" && matches!(state, "dead" | "cancelled"))
    };
    task.needs
        .iter()
        .filter(|needed| !is_open(needed))
        .map(|needed| format!("task {id} was taken before task {needed} was over"))
        .collect()
}
