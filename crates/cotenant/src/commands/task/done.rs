//! `cotenant task done`.

use cotenant_core::{
    Result,
    id::{Fence, TaskId},
    json::Json,
    render::counted_are,
    task::FinishTask,
};

use super::super::parse;
use crate::{complete, context::Context, exit::Exit, output::Screen};

/// Finish a task; what waited for it can begin
///
/// Only the newest attempt can: exits with 76 if the task was given to somebody else meanwhile.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant task done 17 1795178491042
  cotenant task done 17 1795178491042 --string 'merged as 1f3c'
  cotenant task done 17 1795178491042 --result '{\"passed\":42}'")]
pub(crate) struct Args {
    /// The task
    #[arg(value_parser = parse::task, add = complete::tasks())]
    task: TaskId,
    /// The fence of your attempt
    #[arg(value_parser = parse::fence)]
    fence: Fence,
    /// What came of it, as JSON
    #[arg(long, value_name = "JSON", conflicts_with = "string")]
    result: Option<String>,
    /// What came of it, as plain text
    #[arg(long, value_name = "TEXT")]
    string: Option<String>,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: &Args) -> Result<Exit> {
    let result = match (&args.result, &args.string) {
        (Some(text), _) => Some(parse::json(text)?),
        (None, Some(text)) => Some(Json::of(text)),
        (None, None) => None,
    };
    let operation = FinishTask { task: args.task, fence: args.fence, result };
    let reply = context.ask(&operation)?;
    screen.answer::<FinishTask>(&reply, |screen, finished| {
        screen.line(match (finished.already, finished.unblocked) {
            (true, _) => "was done before".to_owned(),
            (false, 0) => "done".to_owned(),
            (false, unblocked) => {
                format!("done; {} ready that waited for it", counted_are(unblocked, "task"))
            }
        });
    })?;
    Ok(Exit::SUCCESS)
}
