//! `cotenant handoff offer`.

use cotenant_core::{
    Result,
    clock::in_words,
    name::Addressee,
    offer::{Offer, OfferItem, Place, nothing},
};

use super::{super::parse, payload::Fields};
use crate::{complete, context::Context, exit::Exit, output::Screen};

/// Put work up for another session
///
/// What is offered stays yours until somebody accepts; a task that you work on goes on in their hands,
/// with a new fence. The offer says in which work tree and on which branch the work is, if you do not.
/// Prints its number and how long it stands, e.g. `offer 5, for 24h`; `--json` has the number, as
/// `data.offer`. If you sign off meanwhile, the offer stands, and `cotenant session list --handoff-ready`
/// finds it.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant handoff offer issue:15 path:src/parser --to claude_2 --phase implementation_complete \\
      --next 'Run the test suite' --next 'Update the documentation' --branch feat/15
  cotenant handoff offer issue:15 lease:deploy --to label:reviewers
  cotenant handoff offer task:42 --next 'Run the migration on a copy first'
  cotenant handoff offer --payload '{\"phase\":\"analysis\",\"findings\":[\"a\",\"b\"]}'")]
pub(crate) struct Args {
    /// What moves: issue:15, path:src/, branch:name, other:name, lease:NAME or task:42
    #[arg(value_name = "ITEM", value_parser = parse::offer_item)]
    items: Vec<OfferItem>,
    /// For whom: a session, `label:WORD`, or `everybody`
    #[arg(long, value_name = "TO", default_value = "everybody", value_parser = parse::addressee, add = complete::sessions())]
    to: Addressee,
    /// How long it stands, 1m to 30d; 24h when absent
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    ttl: Option<u64>,
    #[command(flatten)]
    fields: Fields,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    context.prepare::<Offer>()?;
    let payload = args.fields.payload(&context.project()?.start)?;
    let place = |item| match item {
        OfferItem::Claim(item) => context.place(item).map(OfferItem::Claim),
        other @ (OfferItem::Lease(_) | OfferItem::Task(_)) => Ok(other),
    };
    let items: Vec<OfferItem> = args.items.into_iter().map(place).collect::<Result<_>>()?;
    if payload.is_none() && items.is_empty() {
        // Where nothing is, is nothing to hand over.
        return Err(nothing());
    }
    let said = payload.as_ref().map(Place::of).unwrap_or_default();
    let payload = context.work(&said, &items)?.filled_into(payload)?;
    let reply = context.ask(&Offer { to: args.to, payload, items, ttl_ms: args.ttl })?;
    screen.answer::<Offer>(&reply, |screen, offered| {
        screen.line(format!("offer {}, for {}", offered.offer, in_words(offered.expires_in_ms)));
    })?;
    Ok(Exit::SUCCESS)
}
