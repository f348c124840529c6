//! `cotenant event redact`.

use cotenant_core::{Result, event::Redact, id::Seq};

use crate::{context::Context, exit::Exit, output::Screen};

/// Erase the payload of an event; its author or a person
///
/// The event, its digest and its hash stay, so the chain still verifies.
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  cotenant event redact 812 --reason 'a password'")]
pub(crate) struct Args {
    /// The number of the event
    seq: Seq,
    /// Why, for the log
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    let reply = context.ask(&Redact { seq: args.seq, reason: args.reason })?;
    screen.answer::<Redact>(&reply, |screen, redacted| {
        screen.line(if redacted.already { "was erased before" } else { "erased" });
    })?;
    Ok(Exit::SUCCESS)
}
