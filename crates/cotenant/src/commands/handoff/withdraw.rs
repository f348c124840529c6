//! `cotenant handoff withdraw`.

use cotenant_core::{Result, id::Seq, offer::WithdrawOffer};

use crate::{context::Context, exit::Exit, output::Screen};

/// Take an offer of yours back
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  cotenant handoff withdraw 214")]
pub(crate) struct Args {
    /// The number of the offer
    offer: Seq,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: &Args) -> Result<Exit> {
    let reply = context.ask(&WithdrawOffer { offer: args.offer })?;
    screen.answer::<WithdrawOffer>(&reply, |screen, closed| {
        let already = if closed.already { " before" } else { "" };
        screen.line(format!("withdrew offer {}{already}", closed.offer));
    })?;
    Ok(Exit::SUCCESS)
}
