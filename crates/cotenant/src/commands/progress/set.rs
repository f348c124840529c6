//! `cotenant progress set`.

use cotenant_core::{Result, progress::SetProgress, render::for_terminal};

use super::super::parse;
use crate::{
    context::Context,
    exit::Exit,
    output::{Screen, bar, since},
};

/// Say how far a piece of work is
///
/// The last report stands. Fails with 73 if another session has claimed the item.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant progress set issue:15 testing 75 'writing tests'
  cotenant progress set release complete 100")]
pub(crate) struct Args {
    /// What it is about, e.g. `issue:15`
    subject: String,
    /// The step it is in, e.g. `testing`
    phase: String,
    /// How much of it is done, 0 to 100
    #[arg(allow_hyphen_values = true, value_parser = parse::percent)]
    percent: u8,
    /// What is being done
    message: Option<String>,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    let operation = SetProgress {
        subject: args.subject,
        phase: args.phase,
        percent: args.percent,
        message: args.message,
    };
    let reply = context.ask(&operation)?;
    screen.answer::<SetProgress>(&reply, |screen, set| {
        screen.line(format!(
            "{} {} {}",
            for_terminal(&set.subject),
            bar(operation.percent),
            for_terminal(&operation.phase)
        ));
        if let Some(before) = set.before {
            screen.line(format!(
                "  before: {}% {}, by {}, {}",
                before.percent,
                for_terminal(&before.phase),
                for_terminal(&before.updated_by),
                since(&before.updated_at)
            ));
        }
    })?;
    Ok(Exit::SUCCESS)
}
