//! `cotenant handoff`.

mod accept;
mod decline;
mod draft;
mod list;
mod offer;
mod payload;
mod withdraw;

use clap::Subcommand;
use cotenant_core::Result;

use super::{Verb, verb};
use crate::{context::Context, exit::Exit, output::Screen};

/// Hand work over to another session, with what it needs to know
#[derive(Subcommand)]
pub(crate) enum Command {
    Offer(offer::Args),
    Accept(accept::Args),
    Decline(decline::Args),
    Withdraw(withdraw::Args),
    List(list::Args),
    Draft(draft::Args),
}

/// Its verbs, each to be read alone.
pub(super) const VERBS: &[Verb<Command>] = &[
    verb!("offer", offer::Args, Command::Offer),
    verb!("accept", accept::Args, Command::Accept),
    verb!("decline", decline::Args, Command::Decline),
    verb!("withdraw", withdraw::Args, Command::Withdraw),
    verb!("list", list::Args, Command::List),
    verb!("draft", draft::Args, Command::Draft),
];

impl Command {
    /// Runs the command.
    pub(super) fn run(self, context: &Context, screen: &mut Screen) -> Result<Exit> {
        match self {
            Self::Offer(args) => offer::run(context, screen, args),
            Self::Accept(args) => accept::run(context, screen, &args),
            Self::Decline(args) => decline::run(context, screen, args),
            Self::Withdraw(args) => withdraw::run(context, screen, &args),
            Self::List(args) => list::run(context, screen, args),
            Self::Draft(args) => draft::run(context, screen, &args),
        }
    }
}
