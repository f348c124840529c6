//! `cotenant event`.

mod append;
mod filter;
mod head;
mod list;
mod prune;
mod redact;
mod verify;
mod watch;

use clap::{Args as _, Subcommand};
use cotenant_core::Result;

use super::Verb;
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

/// Its verbs, each to be built alone.
pub(super) const VERBS: &[Verb] = &[
    ("append", append::Args::augment_args),
    ("list", list::Args::augment_args),
    ("watch", watch::Args::augment_args),
    ("verify", verify::Args::augment_args),
    ("head", head::Args::augment_args),
    ("redact", redact::Args::augment_args),
    ("prune", prune::Args::augment_args),
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
