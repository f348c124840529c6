//! `cotenant task list`.

use cotenant_core::{
    Result,
    data::PAGE_MAX,
    name::SessionRef,
    store::Answered,
    task::{
        TaskState,
        view::{ListTasks, TaskView, Tasks, about},
    },
};

use super::{super::parse, look};
use crate::{
    complete,
    context::Context,
    exit::Exit,
    output::{Look, Screen, Table, in_time, since},
};

/// How many tasks are listed unless asked otherwise.
const LIMIT: usize = 200;

/// List tasks, the oldest first
///
/// Those that are done or cancelled are left out unless their state is named.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant task list
  cotenant task list --state dead             the dead letters
  cotenant task list --queue ci --state ready,running
  cotenant task list --by claude_1 --state running")]
pub(crate) struct Args {
    /// Only those of this queue
    #[arg(long, value_name = "NAME", add = complete::queues())]
    queue: Option<String>,
    /// Only those in these states: blocked, delayed, ready, running, failed, done, dead, cancelled
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = parse::task_state)]
    state: Vec<TaskState>,
    /// Only those whose newest attempt is this session's
    #[arg(long, value_name = "SESSION", add = complete::sessions())]
    by: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = LIMIT)]
    limit: usize,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    let none = match (args.queue.is_some() || args.by.is_some(), args.state.is_empty()) {
        (false, true) => "no open tasks",
        (true, true) => "no such open tasks",
        (_, false) => "no such tasks",
    };
    let operation = ListTasks {
        queue: args.queue,
        states: args.state,
        session: args.by.map(SessionRef),
        after: None,
        limit: 0,
    };
    let found = pages(context, operation, args.limit)?;
    if screen.json() {
        screen.data(&found.answer, found.seq, found.tick)?;
        return Ok(Exit::SUCCESS);
    }
    if found.answer.tasks.is_empty() {
        screen.line(none);
        return Ok(Exit::SUCCESS);
    }
    screen.table(&table(&found.answer.tasks));
    if found.answer.next.is_some() {
        context.note(&format!("there are more: --limit {}", args.limit.saturating_mul(5)));
    }
    Ok(Exit::SUCCESS)
}

fn pages(context: &Context, mut operation: ListTasks, limit: usize) -> Result<Answered<Tasks>> {
    let mut all = Vec::new();
    loop {
        let left = u32::try_from(limit.saturating_sub(all.len())).unwrap_or(PAGE_MAX);
        operation.limit = left.min(PAGE_MAX);
        let mut page = context.call(&operation)?;
        all.append(&mut page.answer.tasks);
        operation.after = page.answer.next;
        if all.len() >= limit || operation.after.is_none() {
            page.answer.tasks = all;
            return Ok(page);
        }
    }
}

fn table(tasks: &[TaskView]) -> Table {
    let mut table =
        Table::new(["TASK", "STATE", "QUEUE", "PRIO", "TRIES", "SINCE", "DUE", "BY", "ABOUT"]);
    for task in tasks {
        let runs = task.state == TaskState::Running;
        let urgency = if task.priority == 0 { String::new() } else { task.priority.to_string() };
        let tries = match task.attempts {
            0 => String::new(),
            attempts => format!("{attempts} of {}", task.max_attempts),
        };
        let due = task.not_before.clone().or(task.due_in_ms.map(in_time)).unwrap_or_default();
        table.styled_row([
            (Look::Strong, task.task.to_string()),
            (look(task.state), task.state.word().to_owned()),
            (Look::Plain, task.queue.clone()),
            (Look::Plain, urgency),
            (Look::Plain, tries),
            (Look::Plain, since(&task.since)),
            (Look::Plain, due),
            (Look::Plain, task.name.clone().filter(|_| runs).unwrap_or_default()),
            (Look::Plain, about(&task.payload)),
        ]);
    }
    table
}
