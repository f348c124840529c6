//! `cotenant task show`.

use cotenant_core::{
    Result,
    id::TaskId,
    render::for_terminal,
    task::view::{ShowTask, ShownTask},
};

use super::{super::parse, look};
use crate::{
    complete,
    context::Context,
    exit::Exit,
    output::{Look, Screen, in_time, since},
};

/// Show a task: what it is, where it stands, what it waits for
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The task
    #[arg(value_parser = parse::task, add = complete::tasks())]
    task: TaskId,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: &Args) -> Result<Exit> {
    let reply = context.ask(&ShowTask { task: args.task })?;
    screen.answer::<ShowTask>(&reply, |screen, shown| print(screen, &shown))?;
    Ok(Exit::SUCCESS)
}

fn print(screen: &mut Screen, shown: &ShownTask) {
    let task = &shown.task;
    let head = screen.paint(Look::Strong, &format!("task {}", task.task));
    let state = screen.paint(look(task.state), task.state.word());
    screen.line(format!(
        "{head} in {}: {state}, {}",
        for_terminal(&task.queue),
        since(&task.since)
    ));
    let mut line = |name: &str, text: String| {
        if !text.is_empty() {
            screen.line(format!("  {name:<10} {}", for_terminal(&text)));
        }
    };
    line("priority", if task.priority == 0 { String::new() } else { task.priority.to_string() });
    let rescued = match task.rescues {
        0 => String::new(),
        rescues => format!(", {rescues} of them ended by themselves"),
    };
    line("attempts", format!("{} of {}{rescued}", task.attempts, task.max_attempts));
    if let (Some(name), Some(fence)) = (&task.name, task.fence) {
        line("newest", format!("by {name} with fence {fence}"));
    }
    line("due", task.due_in_ms.map(in_time).unwrap_or_default());
    line("not before", task.not_before.clone().unwrap_or_default());
    line("needs", numbers(&task.needs));
    line("waits for", numbers(&shown.waits_for));
    line("needed by", numbers(&shown.needed_by));
    line("dedupe key", task.dedupe_key.clone().unwrap_or_default());
    line("added", format!("by {}, {}", task.creator, since(&task.added)));
    line("reason", task.reason.clone().unwrap_or_default());
    screen.verbatim(task.payload.text());
    if let Some(result) = &task.result {
        screen.line("result:");
        screen.verbatim(result.text());
    }
}

fn numbers(tasks: &[TaskId]) -> String {
    let shown: Vec<String> = tasks.iter().take(20).map(ToString::to_string).collect();
    let more = tasks.len().saturating_sub(shown.len());
    match more {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
