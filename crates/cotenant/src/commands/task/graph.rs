//! `cotenant task graph`.

use clap::ValueEnum;
use cotenant_core::{Error, Result, id::TaskId, task::view::GraphTasks};

use super::{super::parse, draw};
use crate::{complete, context::Context, exit::Exit, output::Screen};

/// Show which tasks need which
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant task graph
  cotenant task graph 17                      what it needs and what needs it
  cotenant task graph --queue ci --all --format dot | dot -Tsvg > tasks.svg
  cotenant task graph --format mermaid")]
pub(crate) struct Args {
    /// Only this task, what it needs and what needs it
    #[arg(value_parser = parse::task, add = complete::tasks(), conflicts_with = "queue")]
    task: Option<TaskId>,
    /// Only the tasks of this queue, and what they need
    #[arg(long, value_name = "NAME", add = complete::queues())]
    queue: Option<String>,
    /// Also tasks that are done or cancelled
    #[arg(long)]
    all: bool,
    /// How to draw it
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
    /// At most so many tasks, up to 5000
    #[arg(long, value_name = "N", default_value_t = 500)]
    limit: u32,
}

/// How a graph is drawn.
#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// A tree for people
    Text,
    /// For Graphviz
    Dot,
    /// For Markdown
    Mermaid,
    /// Nodes and edges
    Json,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    let none = match (&args.queue, args.all) {
        (None, false) => "no open tasks; `--all` also draws what is over",
        (Some(_), false) => "no open tasks in this queue; `--all` also draws what is over",
        (None, true) => "no tasks",
        (Some(_), true) => "no tasks in this queue",
    };
    let operation =
        GraphTasks { task: args.task, queue: args.queue, all: args.all, limit: args.limit };
    let found = context.call(&operation)?;
    let graph = &found.answer;
    if screen.json() {
        screen.data(graph, found.seq, found.tick)?;
        return Ok(Exit::SUCCESS);
    }
    match args.format {
        Format::Text if graph.nodes.is_empty() => screen.line(none),
        Format::Text => draw::text(graph).iter().for_each(|line| screen.line(line)),
        Format::Dot => draw::dot(graph).iter().for_each(|line| screen.line(line)),
        Format::Mermaid => draw::mermaid(graph).iter().for_each(|line| screen.line(line)),
        Format::Json => {
            let text = serde_json::to_string(graph)
                .map_err(|error| Error::internal("a graph cannot be written").caused_by(error))?;
            screen.line(text);
        }
    }
    if graph.more {
        context.note("there are more tasks: --limit 5000, --queue NAME or a task");
    }
    Ok(Exit::SUCCESS)
}
