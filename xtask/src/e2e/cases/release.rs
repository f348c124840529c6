//! Three sessions bring out a release: one plans it and writes the changelog, one tests, one builds once
//! the tests are through.
//!
//! No agent uses the shell. Each calls tools of the server and edits files; the hooks do the rest. What
//! each phase has come to is read from the store.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::e2e::cases::agent::{Agent, Turn};
use crate::e2e::cases::prompt::Prompt;
use crate::e2e::cases::repo::{Repo, Session};
use crate::e2e::cases::work::named;
use crate::e2e::stage::Stage;

/// Where the plan of the release is kept.
const PLAN: (&str, &str) = ("project:release", "v1.0.0");

/// The three, and the tasks of the release in the order in which they were planned.
struct Release<'a> {
    repo: Repo<'a>,
    manager: Agent<'a>,
    tester: Agent<'a>,
    builder: Agent<'a>,
    /// Manager, tester, builder.
    sessions: [Session; 3],
    /// Tests, packages, changelog.
    tasks: [Value; 3],
}

impl<'a> Release<'a> {
    /// The manager plans the release.
    fn plan(stage: &'a Stage) -> Result<Self> {
        let repo = Repo::new(stage)?;
        let (mut manager, first) = named(&repo, "claude_1")?;
        let (tester, second) = named(&repo, "claude_2")?;
        let (builder, third) = named(&repo, "claude_3")?;
        let tasks = json!([
            {"payload": {"name": "Run test suite"}, "queue": "tests"},
            {"payload": {"name": "Build packages"}, "queue": "packages", "needs_new": [0]},
            {"payload": {"name": "Update changelog"}, "queue": "changelog"},
        ]);
        let plan = json!({"scope": PLAN.0, "key": PLAN.1,
            "value": {"status": "in_progress", "coordinator": "claude_1", "log": []}});
        let added = manager.ask(
            &Prompt::new()
                .mcp("claim", &json!({"items": ["other:release-v1.0.0"], "intent": "coordinate"}))
                .mcp("store_data", &plan)
                .mcp("add_tasks", &json!({"tasks": tasks}))
                .say("planned"),
        )?;
        let added = facts(&added)?;
        let ids: Vec<Value> = added["tasks"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|task| task["task"].clone())
            .collect();
        let tasks = ids.try_into().ok().with_context(|| format!("not three tasks: {added}"))?;
        let sessions = [first, second, third];
        let release = Self { repo, manager, tester, builder, sessions, tasks };
        release.require_states(["ready", "blocked", "ready"])?;
        let [planned] = &release.repo.holders("other:release-v1.0.0")?[..] else {
            anyhow::bail!("nobody coordinates the release");
        };
        ensure!(planned["session"] == *release.sessions[0].id, "{planned}");
        Ok(release)
    }

    /// Where the tasks stand.
    fn require_states(&self, states: [&str; 3]) -> Result<()> {
        for (task, state) in self.tasks.iter().zip(states) {
            let shown = self.repo.ask(&["task", "show", &task.to_string()])?;
            ensure!(shown["task"]["state"] == state, "not {state}: {shown:#}");
        }
        Ok(())
    }

    /// Which of the three the newest attempt at a task is by.
    fn require_by(&self, task: usize, session: usize) -> Result<()> {
        let shown = self.repo.ask(&["task", "show", &self.tasks[task].to_string()])?;
        ensure!(shown["task"]["session"] == *self.sessions[session].id, "{shown:#}");
        ensure!(shown["task"]["attempts"] == 1, "it was tried more than once: {shown:#}");
        Ok(())
    }
}

/// The answer of the last tool of a turn.
fn facts(turn: &Turn) -> Result<Value> {
    let answer = turn.answer()?;
    serde_json::from_str(&answer).with_context(|| answer.clone())
}

/// A line in the plan, as long as the attempt at a task is current; then the end of that attempt.
fn finish(prompt: Prompt, taken: &Value, line: &str, result: &Value) -> Prompt {
    let guard = json!({"resource": format!("task:{}", taken["task"]), "fence": taken["fence"]});
    let note = json!({"scope": PLAN.0, "key": PLAN.1, "op": "merge", "value": {line: "completed"},
        "guards": [guard]});
    let done = json!({"task": taken["task"], "fence": taken["fence"], "outcome": "done",
        "result": result});
    prompt.mcp("update_data", &note).mcp("finish_task", &done)
}

pub(super) fn brought_out(stage: &Stage) -> Result<()> {
    let mut release = Release::plan(stage)?;

    // The builder waits, inside its turn, for the packages to be built, which the tests hold up.
    let wait = json!({"queues": ["packages"], "wait": "150s"});
    let building = release.builder.begin(&Prompt::new().mcp("next_task", &wait).say("mine"))?;

    let take = json!({"queues": ["tests"]});
    let testing = facts(&release.tester.ask(&Prompt::new().mcp("next_task", &take).say("mine"))?)?;
    ensure!(testing["payload"]["name"] == "Run test suite", "{testing}");
    release.require_states(["running", "blocked", "ready"])?;
    release.require_by(0, 1)?;

    // Meanwhile the manager writes the changelog; its file is nobody else's.
    let file = release.repo.file("CHANGELOG.md");
    let take = json!({"queues": ["changelog"]});
    let prompt = Prompt::new().write(&file, "## 1.0.0\n").mcp("next_task", &take).say("written");
    let changelog = facts(&release.manager.ask(&prompt)?)?;
    let theirs = Prompt::new().edit(&file, "1.0.0", "2.0.0").say("not mine");
    let refused = release.tester.ask(&theirs)?.refusal("Edit")?;
    ensure!(refused.contains("is being edited by `claude_1`"), "{refused}");
    ensure!(release.repo.text("CHANGELOG.md")? == "## 1.0.0\n");
    release.require_states(["running", "blocked", "running"])?;

    // The tests are through: the builder gets its task, and the manager is told.
    let report = json!({"subject": "other:v1.0.0-tests", "phase": "complete", "percent": 100,
        "message": "all green"});
    let prompt = Prompt::new().mcp("report_progress", &report);
    let message = json!({"to": "claude_1", "text": "the test suite passes"});
    let event =
        json!({"event_type": "tests_passed", "message": "v1.0.0", "metadata": {"count": 10}});
    let prompt = prompt.mcp("send_message", &message).mcp("log_event", &event);
    let prompt = finish(prompt, &testing, "tests", &json!({"passed": 10}));
    let finished = facts(&release.tester.ask(&prompt.say("green"))?)?;
    ensure!(finished["unblocked"] == 1, "{finished}");
    let packages = facts(&release.builder.end(&building)?)?;
    ensure!(packages["task"] == release.tasks[1], "{packages}");
    ensure!(packages["payload"]["name"] == "Build packages", "{packages}");
    release.require_states(["done", "running", "running"])?;
    release.require_by(1, 2)?;

    // Only one uploads at a time; what the builder did is the tester's to check, with all it holds.
    let lock = json!({"items": ["lock:upload"], "ttl": "10m", "intent": "upload v1.0.0"});
    let handed = json!({"action": "offer", "to": "claude_2", "items": ["lock:upload"],
        "payload": {"phase": "built", "next_steps": ["install the packages"]}});
    let prompt = Prompt::new().mcp("claim", &lock);
    let prompt = finish(prompt, &packages, "packages", &json!(["v1.0.0.tar.gz"]));
    let offered = facts(&release.builder.ask(&prompt.mcp("hand_off", &handed).say("built"))?)?;
    release.require_states(["done", "done", "running"])?;
    let refused = release.manager.ask(&Prompt::new().mcp("claim", &lock).say("not mine"))?;
    let results = refused.results();
    let held = results.iter().any(|it| it.is_error && it.text.starts_with("HELD: "));
    ensure!(held && results[0].text.contains("claude_3"), "{results:?}");
    ensure!(
        refused.mentions("| the test suite passes\n"),
        "the manager was not told: {refused:#?}"
    );
    let accept = json!({"action": "accept", "offer": offered["offer"]});
    let prompt = Prompt::new().mcp("hand_off", &accept).mcp("claim", &lock).say("mine");
    let accepted = release.tester.ask(&prompt)?;
    ensure!(accepted.mentions("install the packages"), "{accepted:#?}");
    ensure!(facts(&accepted)?["items"][0]["already_held"] == true, "{accepted:#?}");

    // The manager ends the release.
    let prompt = finish(Prompt::new(), &changelog, "changelog", &json!("CHANGELOG.md"));
    let release_it = json!({"scope": PLAN.0, "key": PLAN.1, "op": "merge",
        "value": {"status": "released"}});
    let prompt = prompt.mcp("update_data", &release_it).mcp("status", &json!({"log": 5}));
    let last = release.manager.ask(&prompt.say("released"))?;
    let status = facts(&last)?;
    ensure!(status["tasks"].is_null(), "something is left to do: {status:#}");
    let log = status["log"].as_str().unwrap_or_default();
    ensure!(log.contains("written by \"claude_2\"") && log.contains("v1.0.0"), "{log}");
    release.require_states(["done", "done", "done"])?;
    release.require_by(2, 0)?;
    let plan = release.repo.ask(&["data", "get", PLAN.0, PLAN.1])?;
    let value = json!({"status": "released", "coordinator": "claude_1", "log": [],
        "tests": "completed", "packages": "completed", "changelog": "completed"});
    ensure!(plan["value"] == value, "a line of the plan was lost: {plan:#}");
    let shown = release.repo.ask(&["task", "show", &release.tasks[1].to_string()])?;
    ensure!(shown["task"]["result"] == json!(["v1.0.0.tar.gz"]), "{shown:#}");

    // Who leaves gives back what it holds.
    let Release { repo, manager, tester, builder, .. } = release;
    for agent in [manager, tester, builder] {
        ensure!(agent.close()?.success());
    }
    ensure!(repo.live()?.is_empty(), "{:#?}", repo.live()?);
    let left = repo.ask(&["lease", "list"])?;
    ensure!(left["holdings"] == json!([]), "{left}");
    Ok(())
}
