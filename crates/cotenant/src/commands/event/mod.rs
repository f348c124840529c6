//! `cotenant event`.

mod append;
mod filter;
mod head;
mod list;
mod prune;
mod redact;
mod verify;
mod watch;

use clap::Subcommand;
use cotenant_core::Result;

use super::{Verb, verb};
use crate::{context::Context, exit::Exit, output::Screen};

/// Read, follow and check the log of everything that changed
#[derive(Subcommand)]
pub(crate) enum Command {
    Append(append::Args),
    List(list::Args),
    Watch(watch::Args),
    Verify(verify::Args),
    Head(head::Args),
    Redact(redact::Args),
    Prune(prune::Args),
}

/// Its verbs, each to be read alone.
pub(super) const VERBS: &[Verb<Command>] = &[
    verb!("append", append::Args, Command::Append),
    verb!("list", list::Args, Command::List),
    verb!("watch", watch::Args, Command::Watch),
    verb!("verify", verify::Args, Command::Verify),
    verb!("head", head::Args, Command::Head),
    verb!("redact", redact::Args, Command::Redact),
    verb!("prune", prune::Args, Command::Prune),
];

impl Command {
    /// Runs the command.
    pub(super) fn run(self, context: &Context, screen: &mut Screen) -> Result<Exit> {
        match self {
            Self::Append(args) => append::run(context, screen, args),
            Self::List(args) => list::run(context, screen, args),
            Self::Watch(args) => watch::run(context, screen, args),
            Self::Verify(args) => verify::run(context, screen, args),
            Self::Head(args) => head::run(context, screen, &args),
            Self::Redact(args) => redact::run(context, screen, args),
            Self::Prune(args) => prune::run(context, screen, &args),
        }
    }
}
