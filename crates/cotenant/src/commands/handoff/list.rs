//! `cotenant handoff list`.

use cotenant_core::{
    Code, Error, Result,
    data::PAGE_MAX,
    id::Seq,
    name::SessionRef,
    offer::{ListOffers, OfferState, OfferView},
    render::for_terminal,
};

use super::payload;
use crate::{
    complete,
    context::Context,
    exit::Exit,
    output::{Look, Screen, in_time, since},
};

/// List offers, the newest first
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant handoff list
  cotenant handoff list --mine --session claude_2      those that claude_2 may accept
  cotenant handoff list --all --from claude_1")]
pub(crate) struct Args {
    /// Also those that are closed
    #[arg(long)]
    all: bool,
    /// Only those of this session
    #[arg(long, value_name = "SESSION", add = complete::sessions())]
    from: Option<String>,
    /// Only those that you may accept
    #[arg(long)]
    mine: bool,
    /// Go on below this number
    #[arg(long, value_name = "OFFER")]
    after: Option<Seq>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = PAGE_MAX)]
    limit: u32,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    let acceptor = if args.mine {
        let own = context.own_session()?.ok_or_else(|| {
            Error::new(Code::NotFound, "you are not signed on")
                .hint("`--session NAME` names another; without `--mine` all offers are listed")
        })?;
        Some(SessionRef(own.answer.session.session.0))
    } else {
        None
    };
    let none = match (args.all, args.mine || args.from.is_some() || args.after.is_some()) {
        (false, false) => "nothing is offered",
        (true, false) => "nothing was ever offered",
        (_, true) => "no such offers",
    };
    let operation = ListOffers {
        all: args.all,
        from: args.from.map(SessionRef),
        acceptor,
        after: args.after,
        limit: args.limit,
    };
    let reply = context.ask(&operation)?;
    screen.answer::<ListOffers>(&reply, |screen, found| {
        if found.offers.is_empty() {
            screen.line(none);
        }
        found.offers.iter().for_each(|offer| print(screen, offer));
        if let Some(next) = found.next {
            screen.line(format!("and more; `cotenant handoff list --after {next}`"));
        }
    })?;
    Ok(Exit::SUCCESS)
}

fn print(screen: &mut Screen, offer: &OfferView) {
    let number = screen.paint(Look::Strong, &format!("offer {}", offer.offer));
    let gone = if offer.from_is_live { "" } else { ", who has left" };
    let state = match (offer.state, offer.expires_in_ms) {
        (OfferState::Open, Some(ms)) => format!("open, ends {}", in_time(ms)),
        (state, _) => match &offer.closed_by {
            Some(by) => format!("{} by {}", state.word(), for_terminal(by)),
            None => state.word().to_owned(),
        },
    };
    screen.line(format!(
        "{number} of {}{gone} to {}, {}: {state}",
        for_terminal(&offer.from_name),
        for_terminal(&offer.to.to_string()),
        since(&offer.at),
    ));
    if !offer.items.is_empty() {
        let items: Vec<String> =
            offer.items.iter().map(|it| for_terminal(&it.to_string())).collect();
        screen.line(format!("  items: {}", items.join(", ")));
    }
    payload::print(screen, &offer.payload);
}
