//! The command: options, the groups in their order, the table, the exit.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::row::{Row, Verdict, table};
use super::setting::{Options, Setting};
use super::{
    build, contention, hook, mcp, services, shell, sweep, takeover, uncontended, volume, watch,
    worker,
};
use crate::work::Work;

/// What may follow the command.
pub(crate) const ARGUMENTS: &str =
    "[--quick] [--events N] [--only GROUP,…] [--program PATH]  rows and baselines of the design";

/// What a group measured, besides its rows: figures for the file.
pub(crate) type Measured = (Vec<Row>, Value);

/// A group: its name, a line about it, and what measures it.
type Group = (&'static str, &'static str, fn(&Setting) -> Result<Measured>);

const GROUPS: [Group; 12] = [
    ("shell", "commands of the shipped program; time of the whole process", shell::run),
    ("hook", "hooks of the shipped program; time of the whole process", hook::run),
    ("mcp", "the MCP server of the shipped program over stdio", mcp::run),
    ("uncontended", "one process, durable; against the same statements by hand", uncontended::run),
    ("contention", "many processes, durable; against a plain busy timeout", contention::run),
    ("services", "many processes, durable; against services that do only that", services::run),
    ("sweep", "1 to 256 sessions; teams with claims, and with a file", sweep::run),
    ("watch", "a commit seen by a waiting process", watch::run),
    ("takeover", "kill -9 of a holder until the next one has its claim", takeover::run),
    ("events", "a long log", volume::events),
    ("sessions", "very many sessions", volume::sessions),
    ("tasks", "very many tasks", volume::tasks),
];

/// Runs the command.
///
/// The measurements run in a release build of this program: it carries the baselines, and a debug
/// build would measure neither.
pub(crate) fn run(work: &Work, arguments: &[String]) -> Result<()> {
    if let [word, what @ ..] = arguments
        && word == worker::WORD
    {
        return worker::run(what);
    }
    let options = Options::parse(arguments)?;
    for name in &options.only {
        ensure!(GROUPS.iter().any(|group| group.0 == name), "there is no group `{name}`");
    }
    if cfg!(debug_assertions) {
        return again_in_release(work, arguments);
    }
    let folder = work.target.join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("`{}`", folder.display()))?;
    let setting = Setting {
        program: build::program(work, &folder, options.program.as_deref())?,
        empty: build::empty(work, &folder)?,
        folder,
        options,
    };
    let raised = raise_priority();
    println!("{}, priority {}", load(), if raised { "raised" } else { "normal" });
    let mut missed = Vec::new();
    for (name, about, measure) in GROUPS {
        if !setting.options.only.is_empty() && !setting.options.only.iter().any(|n| n == name) {
            continue;
        }
        let before = load();
        let (rows, figures) = measure(&setting).with_context(|| format!("group `{name}`"))?;
        print!("{}", table(&format!("{name}: {about}"), &rows));
        save(&setting.folder.join(format!("{name}.json")), &rows, &figures, &before)?;
        let failed = rows.iter().filter(|row| row.verdict() == Verdict::Failed);
        missed.extend(failed.map(|row| format!("{name}: {}", row.what())));
    }
    println!("\n{}; figures in {}", load(), setting.folder.display());
    if !missed.is_empty() {
        bail!("hard rows that do not hold:\n  {}", missed.join("\n  "));
    }
    Ok(())
}

fn again_in_release(work: &Work, arguments: &[String]) -> Result<()> {
    let mut cargo = work.cargo(&["run", "--quiet", "--release", "--locked", "--package", "xtask"]);
    let status = cargo.arg("--").arg("bench").args(arguments).status()?;
    // It has said what was wrong.
    std::process::exit(status.code().unwrap_or(1));
}

/// Asks to be served before other work of this machine; children inherit it. Needs a right that
/// not everybody has.
fn raise_priority() -> bool {
    rustix::process::setpriority_process(None, -10).is_ok()
}

/// How busy the machine is, in words.
fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').take(3).collect::<Vec<_>>().join(" ");
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    format!("load {load} on {processors} processors")
}

fn save(path: &Path, rows: &[Row], figures: &Value, before: &str) -> Result<()> {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let content = json!({
        "commit": commit(),
        "kernel": kernel.trim(),
        "before": before,
        "after": load(),
        "rows": rows.iter().map(Row::json).collect::<Vec<_>>(),
        "figures": figures,
    });
    let text = serde_json::to_string_pretty(&content)?;
    fs::write(path, text + "\n").with_context(|| format!("`{}`", path.display()))
}

/// What was measured, if git knows.
fn commit() -> Option<String> {
    let output = Command::new("git").args(["describe", "--always", "--dirty"]).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
