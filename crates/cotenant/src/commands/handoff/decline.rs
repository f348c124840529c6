//! `cotenant handoff decline`.

use cotenant_core::{Result, id::Seq, offer::DeclineOffer};

use crate::{context::Context, exit::Exit, output::Screen};

/// Give an offer that was made to you back to its giver
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  cotenant handoff decline 214 --reason 'busy with issue:16'")]
pub(crate) struct Args {
    /// The number of the offer
    offer: Seq,
    /// Why, for the giver
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    let reply = context.ask(&DeclineOffer { offer: args.offer, reason: args.reason })?;
    screen.answer::<DeclineOffer>(&reply, |screen, closed| {
        let already = if closed.already { " before" } else { "" };
        screen.line(format!("declined offer {}{already}", closed.offer));
    })?;
    Ok(Exit::SUCCESS)
}
