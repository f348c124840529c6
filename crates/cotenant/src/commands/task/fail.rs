//! `cotenant task fail`.

use cotenant_core::{
    Result,
    clock::in_words,
    id::{Fence, TaskId},
    task::{FailTask, FailureClass, TaskState},
};

use super::super::parse;
use crate::{complete, context::Context, exit::Exit, output::Screen};

/// Say that your attempt at a task failed
///
/// It is tried again after a while, as often as it may be; then it is dead, and `task requeue`
/// begins anew.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant task fail 17 1795178491042 --reason 'the registry did not answer'
  cotenant task fail 17 1795178491042 --reason 'there is no such file' --permanent")]
pub(crate) struct Args {
    /// The task
    #[arg(value_parser = parse::task, add = complete::tasks())]
    task: TaskId,
    /// The fence of your attempt
    #[arg(value_parser = parse::fence)]
    fence: Fence,
    /// Why; whoever tries again is told
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Trying again cannot help
    #[arg(long)]
    permanent: bool,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    let class = if args.permanent { FailureClass::Permanent } else { FailureClass::Transient };
    let operation = FailTask { task: args.task, fence: args.fence, reason: args.reason, class };
    let reply = context.ask(&operation)?;
    screen.answer::<FailTask>(&reply, |screen, failed| {
        screen.line(match (failed.state, failed.retry_in_ms) {
            (TaskState::Failed, Some(ms)) => format!("tried again in {}", in_words(ms)),
            (TaskState::Dead, _) => "dead; `cotenant task requeue` begins anew".to_owned(),
            (state, _) => format!("it is {} now", state.word()),
        });
    })?;
    Ok(Exit::SUCCESS)
}
