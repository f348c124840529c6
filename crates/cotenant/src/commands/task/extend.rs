//! `cotenant task extend`.

use cotenant_core::{
    Result,
    clock::in_words,
    id::{Fence, TaskId},
    task::ExtendTask,
};

use super::super::parse;
use crate::{complete, context::Context, exit::Exit, output::Screen};

/// Give yourself more time for a task, from now on
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  cotenant task extend 17 1795178491042 --visibility 1h")]
pub(crate) struct Args {
    /// The task
    #[arg(value_parser = parse::task, add = complete::tasks())]
    task: TaskId,
    /// The fence of your attempt
    #[arg(value_parser = parse::fence)]
    fence: Fence,
    /// How long, 5s to 24h; as the task says when absent
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    visibility: Option<u64>,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: &Args) -> Result<Exit> {
    let operation =
        ExtendTask { task: args.task, fence: args.fence, visibility_ms: args.visibility };
    let reply = context.ask(&operation)?;
    screen.answer::<ExtendTask>(&reply, |screen, extended| {
        screen.line(format!("another {}", in_words(extended.visible_for_ms)));
    })?;
    Ok(Exit::SUCCESS)
}
