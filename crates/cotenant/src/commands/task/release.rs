//! `cotenant task release`.

use cotenant_core::{
    Result,
    id::{Fence, TaskId},
    task::ReleaseTask,
};

use super::super::parse;
use crate::{complete, context::Context, exit::Exit, output::Screen};

/// Give a task back untried; somebody else can take it at once
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The task
    #[arg(value_parser = parse::task, add = complete::tasks())]
    task: TaskId,
    /// The fence of your attempt
    #[arg(value_parser = parse::fence)]
    fence: Fence,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: &Args) -> Result<Exit> {
    let reply = context.ask(&ReleaseTask { task: args.task, fence: args.fence })?;
    screen.answer::<ReleaseTask>(&reply, |screen, released| {
        screen.line(if released.already { "was given back before" } else { "gave it back" });
    })?;
    Ok(Exit::SUCCESS)
}
