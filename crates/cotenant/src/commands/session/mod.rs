//! `cotenant session`.

mod list;
mod reap;
mod show;
mod tree;

use clap::Subcommand;
use cotenant_core::Result;

use super::{Verb, verb};
use crate::{context::Context, exit::Exit, output::Screen};

/// See sessions, where they come from, and end those whose process is gone
#[derive(Subcommand)]
pub(crate) enum Command {
    List(list::Args),
    Show(show::Args),
    Tree(tree::Args),
    Reap(reap::Args),
}

/// Its verbs, each to be read alone.
pub(super) const VERBS: &[Verb<Command>] = &[
    verb!("list", list::Args, Command::List),
    verb!("show", show::Args, Command::Show),
    verb!("tree", tree::Args, Command::Tree),
    verb!("reap", reap::Args, Command::Reap),
];

impl Command {
    /// Runs the command.
    pub(super) fn run(self, context: &Context, screen: &mut Screen) -> Result<Exit> {
        match self {
            Self::List(args) => list::run(context, screen, args),
            Self::Show(args) => show::run(context, screen, args),
            Self::Tree(args) => tree::run(context, screen, args),
            Self::Reap(args) => reap::run(context, screen, args),
        }
    }
}
