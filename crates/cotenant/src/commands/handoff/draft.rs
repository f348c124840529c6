//! `cotenant handoff draft`.

use cotenant_core::{Result, offer::Draft};

use super::payload::{self, Fields};
use crate::{context::Context, exit::Exit, output::Screen};

/// Note for yourself where your work stands
///
/// What you say is kept with what you hold and how far you are, over what you noted before. An agent
/// gets it back after its context was compacted, and so does the next incarnation of your session.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant handoff draft --phase testing --next 'fix tests/parser.rs' --next 'update the docs'
  cotenant handoff draft                               only shows it, brought up to date")]
pub(crate) struct Args {
    #[command(flatten)]
    fields: Fields,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: &Args) -> Result<Exit> {
    let reply = context.ask(&Draft { payload: args.fields.payload(&context.project()?.start)? })?;
    screen.answer::<Draft>(&reply, |screen, drafted| {
        screen.line("noted");
        payload::print(screen, &drafted.payload);
    })?;
    Ok(Exit::SUCCESS)
}
