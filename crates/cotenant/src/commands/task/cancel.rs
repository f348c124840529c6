//! `cotenant task cancel`.

use cotenant_core::{Result, id::TaskId, render::counted, task::CancelTask};

use super::super::parse;
use crate::{complete, context::Context, exit::Exit, output::Screen};

/// Call a task off
///
/// Whoever works on it is told at its next call. What needs it waits, is cancelled too or runs all
/// the same, as it was added.
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  cotenant task cancel 17 --reason 'the feature was dropped'")]
pub(crate) struct Args {
    /// The task
    #[arg(value_parser = parse::task, add = complete::tasks())]
    task: TaskId,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    let reply = context.ask(&CancelTask { task: args.task, reason: args.reason })?;
    screen.answer::<CancelTask>(&reply, |screen, cancelled| {
        screen.line(match (cancelled.already, cancelled.followed) {
            (true, _) => "was cancelled before".to_owned(),
            (false, 0) => "cancelled".to_owned(),
            (false, followed) => {
                format!("cancelled, with {} that needed it", counted(followed, "task"))
            }
        });
    })?;
    Ok(Exit::SUCCESS)
}
