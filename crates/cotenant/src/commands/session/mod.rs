//! `cotenant session`.

mod list;
mod reap;
mod show;
mod tree;

use clap::{Args as _, Subcommand};
use cotenant_core::Result;

use super::Verb;
use crate::{context::Context, exit::Exit, output::Screen};

/// See sessions, where they come from, and end those whose process is gone
#[derive(Subcommand)]
pub(crate) enum Command {
    List(list::Args),
    Show(show::Args),
    Tree(tree::Args),
    Reap(reap::Args),
}

/// Its verbs, each to be built alone.
pub(super) const VERBS: &[Verb] = &[
    ("list", list::Args::augment_args),
    ("show", show::Args::augment_args),
    ("tree", tree::Args::augment_args),
    ("reap", reap::Args::augment_args),
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
