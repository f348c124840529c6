//! `cotenant task requeue`.

use cotenant_core::{Result, id::TaskId, task::RequeueTask};

use super::super::parse;
use crate::{complete, context::Context, exit::Exit, output::Screen};

/// Queue a dead or cancelled task again, from its first attempt
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant task list --state dead
  cotenant task requeue 17")]
pub(crate) struct Args {
    /// The task
    #[arg(value_parser = parse::task, add = complete::tasks())]
    task: TaskId,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: &Args) -> Result<Exit> {
    let reply = context.ask(&RequeueTask { task: args.task })?;
    screen.answer::<RequeueTask>(&reply, |screen, requeued| {
        screen.line(format!("it is {} now", requeued.state.word()));
    })?;
    Ok(Exit::SUCCESS)
}
