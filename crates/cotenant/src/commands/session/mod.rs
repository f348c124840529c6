//! `cotenant session`.

mod list;
mod reap;
mod show;
mod tree;

use clap::Subcommand;
use cotenant_core::Result;

use crate::{context::Context, exit::Exit, output::Screen};

/// See sessions, where they come from, and end those whose process is gone
#[derive(Subcommand)]
pub(crate) enum Command {
    List(list::Args),
    Show(show::Args),
    Tree(tree::Args),
    Reap(reap::Args),
}

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
