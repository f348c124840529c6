//! `cotenant task add`.

use std::path::PathBuf;

use clap::ValueEnum;
use cotenant_core::{
    Result,
    id::TaskId,
    json::Json,
    task::{AddTasks, AddedTask, NewTask, OnDepFail},
};

use super::{super::parse, bulk};
use crate::{complete, context::Context, exit::Exit, output::Screen};

/// Add tasks to a queue
///
/// Prints a line for each, e.g. `added task 19 (ready)`, in the order in which they were named; `--json` has
/// the numbers, as `task` of `data.tasks`. Whoever calls `task next` gets the most urgent one that is ready;
/// it is theirs until they finish it, their time is over or their session ends.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant task add 'lint config.py' 'test server.py'
  cotenant task add 'publish' --needs 17,18 --priority 10
  cotenant task add --payload '{\"type\":\"test\",\"file\":\"server.py\"}' --queue ci
  cotenant task add 'nightly build' --dedupe-key nightly --not-before 2026-12-01T02:00:00Z
  cotenant task add --file tasks.jsonl

A line of the file is a task: {\"payload\": …, \"queue\": …, \"priority\": …, \"needs\": [17],
\"needs_new\": [0], \"on_dep_fail\": \"block|cancel|run\", \"max_attempts\": 3, \"visibility_ms\": 900000,
\"delay_ms\": …, \"not_before\": …, \"dedupe_key\": …}; all but the payload can be left out, and
`needs_new` names other lines, from 0.")]
pub(crate) struct Args {
    /// What is to be done; each is a task
    #[arg(
        value_name = "TEXT",
        required_unless_present_any = ["payload", "file"],
        conflicts_with_all = ["payload", "file"]
    )]
    texts: Vec<String>,
    /// What is to be done, as JSON
    #[arg(long, value_name = "JSON", conflicts_with = "file")]
    payload: Option<String>,
    /// A file with a task a line, in JSON; `-` is stdin
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = [
            "queue", "priority", "needs", "on_dep_fail", "max_attempts", "visibility", "delay",
            "not_before", "dedupe_key"
        ]
    )]
    file: Option<PathBuf>,
    /// Where they wait; `default` when absent
    #[arg(long, value_name = "NAME", add = complete::queues())]
    queue: Option<String>,
    /// Higher ones first, -1000 to 1000
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    priority: Option<i64>,
    /// Tasks that must be done first
    #[arg(long, value_name = "TASK", value_delimiter = ',', value_parser = parse::task, add = complete::tasks())]
    needs: Vec<TaskId>,
    /// What happens if one of those fails for good; `block` when absent
    #[arg(long, value_name = "POLICY", requires = "needs")]
    on_dep_fail: Option<Policy>,
    /// How often they are tried, 1 to 100; 3 when absent
    #[arg(long, value_name = "N")]
    max_attempts: Option<u32>,
    /// How long an attempt may take without being extended, 5s to 24h; 15m when absent
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    visibility: Option<u64>,
    /// Not before so long has passed
    #[arg(long, value_name = "DURATION", value_parser = parse::duration, conflicts_with = "not_before")]
    delay: Option<u64>,
    /// Not before this time, e.g. 2026-12-01T02:00:00Z
    #[arg(long, value_name = "TIME")]
    not_before: Option<String>,
    /// Add nothing if a task of the queue with this key is not over yet
    #[arg(long, value_name = "KEY")]
    dedupe_key: Option<String>,
}

/// What becomes of a task when one that it needs fails for good.
#[derive(Clone, Copy, ValueEnum)]
enum Policy {
    /// It waits until that one is requeued and done
    Block,
    /// It is cancelled too
    Cancel,
    /// It runs all the same
    Run,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: &Args) -> Result<Exit> {
    if let Some(file) = &args.file {
        return bulk::run(context, screen, file);
    }
    let payloads = match &args.payload {
        Some(text) => vec![parse::json(text)?],
        None => args.texts.iter().map(Json::of).collect(),
    };
    let on_dep_fail = match args.on_dep_fail {
        None | Some(Policy::Block) => OnDepFail::Block,
        Some(Policy::Cancel) => OnDepFail::Cancel,
        Some(Policy::Run) => OnDepFail::Run,
    };
    let task = |payload| {
        let usual = NewTask::new(payload);
        NewTask {
            queue: args.queue.clone().unwrap_or(usual.queue),
            priority: args.priority.unwrap_or(usual.priority),
            needs: args.needs.clone(),
            on_dep_fail,
            max_attempts: args.max_attempts.unwrap_or(usual.max_attempts),
            visibility_ms: args.visibility.unwrap_or(usual.visibility_ms),
            delay_ms: args.delay,
            not_before: args.not_before.clone(),
            dedupe_key: args.dedupe_key.clone(),
            ..NewTask::new(usual.payload)
        }
    };
    let operation = AddTasks { tasks: payloads.into_iter().map(task).collect() };
    let reply = context.ask(&operation)?;
    screen.answer::<AddTasks>(&reply, |screen, added| {
        added.tasks.iter().for_each(|task| screen.line(line(task)));
    })?;
    Ok(Exit::SUCCESS)
}

/// What is said of a task that was added.
pub(super) fn line(added: &AddedTask) -> String {
    let AddedTask { task, state, deduplicated } = added;
    if *deduplicated {
        format!("task {task} was there before ({})", state.word())
    } else {
        format!("added task {task} ({})", state.word())
    }
}
