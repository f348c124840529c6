//! `cotenant handoff accept`.

use cotenant_core::{
    Result,
    id::Seq,
    offer::{AcceptOffer, AcceptedOffer},
    render::for_terminal,
};

use super::payload;
use crate::{
    context::Context,
    exit::Exit,
    output::{Look, Screen, holding_line},
};

/// Take over what another session put up
///
/// All that it holds is yours at once, with new fences; the giver's are void. Fails with 66 if
/// somebody was faster, or if the offer has ended.
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  cotenant handoff list
  cotenant handoff accept 214")]
pub(crate) struct Args {
    /// The number of the offer
    offer: Seq,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: &Args) -> Result<Exit> {
    let reply = context.ask(&AcceptOffer { offer: args.offer })?;
    screen.answer::<AcceptOffer>(&reply, |screen, accepted| print(screen, &accepted))?;
    Ok(Exit::SUCCESS)
}

fn print(screen: &mut Screen, accepted: &AcceptedOffer) {
    screen.line(format!(
        "took over offer {} of {}",
        accepted.offer,
        for_terminal(&accepted.from_name)
    ));
    for moved in &accepted.items {
        let name = screen.paint(Look::Strong, &for_terminal(&moved.item));
        screen.line(format!("  {name} (fence {})", moved.fence));
    }
    for left in &accepted.not_moved {
        let name = for_terminal(&left.item);
        let warning = screen.paint(Look::Warning, "not moved");
        for holding in &left.holders {
            screen.line(format!("  {warning}: {name}: {}", holding_line(holding)));
        }
    }
    payload::print(screen, &accepted.payload);
}
