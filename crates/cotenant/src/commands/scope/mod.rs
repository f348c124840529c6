//! `cotenant scope`.

mod delete;
mod list;

use clap::{Args as _, Subcommand};
use cotenant_core::Result;

use super::Verb;
use crate::{context::Context, exit::Exit, output::Screen};

/// See and delete whole scopes
#[derive(Subcommand)]
pub(crate) enum Command {
    List(list::Args),
    Delete(delete::Args),
}

/// Its verbs, each to be built alone.
pub(super) const VERBS: &[Verb] =
    &[("list", list::Args::augment_args), ("delete", delete::Args::augment_args)];

impl Command {
    /// Runs the command.
    pub(super) fn run(self, context: &Context, screen: &mut Screen) -> Result<Exit> {
        match self {
            Self::List(args) => list::run(context, screen, args),
            Self::Delete(args) => delete::run(context, screen, args),
        }
    }
}
