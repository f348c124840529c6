//! Hooks as an agent runs them, against a process that does nothing and the same hook in Python.
//!
//! This program is the agent: hooks take the nearest process above them that is no shell for it.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::disk::Disk;
use super::launch::Launch;
use super::row::{Limit, Row, short};
use super::run::Measured;
use super::sample::{Contender, Series, combine, interleave};
use super::scene::Scene;
use super::setting::Setting;

/// The hook of `hook.rs` as one would write it in Python.
const PYTHON: &str = include_str!("hook.py");
/// The conversation that the agent reports.
const CONVERSATION: &str = "5e551010-0000-4000-8000-000000000001";

/// Measures the group.
pub(crate) fn run(setting: &Setting) -> Result<Measured> {
    let scene = Scene::with_server(setting)?;
    let agent = Agent { scene: &scene, payloads: scene.beside().join("payloads") };
    fs::create_dir(&agent.payloads)?;
    agent.call("SessionStart", &json!({"source": "startup"}))?.output()?;
    agent.call("UserPromptSubmit", &json!({"prompt": "go"}))?.output()?;
    let mine = agent.edit("src/main.rs", 0)?;
    let said = mine.output()?;
    ensure!(said.is_empty(), "the first edit of a file is answered with `{said}`");
    let before = scene.head()?;
    ensure!(before > 1, "the first edit of a file claims nothing");

    let empty = scene.launch(&setting.empty.alike).input(&agent.payloads.join("0.json"));
    let python = agent.python(&scene)?;
    let mut disk = Disk::new(scene.beside())?;
    let edits = Cell::new(0);
    let series = interleave(
        setting.plan(40),
        [
            Contender::new("empty", || empty.time()),
            Contender::new("hook without a write", || mine.time()),
            Contender::new("the same in Python", || python.time()),
            Contender::new("hook with a write", || {
                edits.set(edits.get() + 1);
                agent.edit(&format!("src/file{}.rs", edits.get()), edits.get())?.time()
            }),
            Contender::new("fsync", || disk.sync()),
        ],
    )?;
    let (written, edits) = (scene.head()? - before, edits.get());
    ensure!(written == i64::try_from(edits)?, "{written} events of {edits} first edits");

    let [empty, free, python, durable, fsync] = &series;
    let above = combine([free, empty], |[free, empty]| (free - empty) / 1e3);
    let share = combine([free, python], |[free, python]| python / free);
    let written = combine([durable, fsync], |[durable, fsync]| (durable - fsync) / 1e3);
    let parts = |values: [f64; 2]| values.map(|micros| short(micros / 1e3)).join(" − ") + " ms";
    let rows = vec![
        Row::new(
            "hook without a write, above an empty process",
            above,
            "ms",
            parts([free.p50(), empty.p50()]),
        )
        .hard(Limit::Most(2.5))
        .goal(Limit::Most(1.0)),
        Row::new(
            "the same hook in Python ÷ hook without a write",
            share,
            "×",
            format!("{} ms ÷ {} ms", short(python.p50() / 1e3), short(free.p50() / 1e3)),
        )
        .hard(Limit::Least(15.0)),
        Row::new(
            "hook with one durable write, above fsync",
            written,
            "ms",
            parts([durable.p50(), fsync.p50()]),
        )
        .hard(Limit::Most(5.0))
        .goal(Limit::Most(2.0)),
    ];
    Ok((rows, series.iter().map(Series::json).collect()))
}

/// What stands in for a coding agent.
struct Agent<'a> {
    scene: &'a Scene,
    payloads: PathBuf,
}

impl Agent<'_> {
    /// A hook call for an event, with a payload like Claude Code's.
    fn call(&self, event: &str, more: &Value) -> Result<Launch> {
        let payload = self.payload(event, more);
        let file = self.payloads.join(format!("{event}.json"));
        fs::write(&file, payload.to_string())?;
        Ok(self.hook(event, &file))
    }

    /// A hook call before an edit of a file.
    fn edit(&self, path: &str, number: u64) -> Result<Launch> {
        let input = json!({
            "file_path": self.scene.top().join(path),
            "old_string": "fn main() {}",
            "new_string": "fn main() {\n    println!(\"Hello\");\n}",
            "replace_all": false,
        });
        let more = json!({
            "tool_name": "Edit",
            "tool_input": input,
            "tool_use_id": format!("toolu_01bench{number:013}"),
        });
        let file = self.payloads.join(format!("{number}.json"));
        fs::write(&file, self.payload("PreToolUse", &more).to_string())?;
        Ok(self.hook("PreToolUse", &file))
    }

    fn payload(&self, event: &str, more: &Value) -> Value {
        let transcript = format!("{}/.claude/projects/project/{CONVERSATION}.jsonl", self.home());
        let mut payload = json!({
            "session_id": CONVERSATION,
            "transcript_path": transcript,
            "cwd": self.scene.top(),
            "prompt_id": "596473ba-d0db-40a6-92d7-3ccf2621ef0d",
            "permission_mode": "acceptEdits",
            "hook_event_name": event,
        });
        if let (Value::Object(payload), Value::Object(more)) = (&mut payload, more) {
            payload.extend(more.clone());
        }
        payload
    }

    fn home(&self) -> String {
        self.scene.beside().join("home").display().to_string()
    }

    fn hook(&self, event: &str, payload: &Path) -> Launch {
        let launch = self.scene.cotenant(&["hook", event]).input(payload);
        launch.variable("CLAUDECODE", "1").variable("CLAUDE_PROJECT_DIR", self.scene.top())
    }

    /// The hook in Python, on the same payload and the same database.
    fn python(&self, scene: &Scene) -> Result<Launch> {
        let file = scene.beside().join("hook.py");
        fs::write(&file, PYTHON)?;
        let store = scene.top().join(".git/cotenant/store.db");
        let launch = scene.launch(&interpreter()?).arguments([file, store]);
        let launch = launch.input(&self.payloads.join("0.json"));
        let said = launch.output()?;
        ensure!(said.trim() == "covered", "the hook in Python says `{said}`");
        Ok(launch)
    }
}

/// The interpreter itself: what is first in `PATH` may be a script that looks for it.
fn interpreter() -> Result<PathBuf> {
    let asked = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
    let output = asked.context("cannot start python3, the baseline")?;
    Ok(fs::canonicalize(String::from_utf8(output.stdout)?.trim())?)
}
