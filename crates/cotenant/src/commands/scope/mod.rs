//! `cotenant scope`.

mod delete;
mod list;

use clap::Subcommand;
use cotenant_core::Result;

use super::{Verb, verb};
use crate::{context::Context, exit::Exit, output::Screen};

/// See and delete whole scopes
#[derive(Subcommand)]
pub(crate) enum Command {
    List(list::Args),
    Delete(delete::Args),
}

/// Its verbs, each to be read alone.
pub(super) const VERBS: &[Verb<Command>] =
    &[verb!("list", list::Args, Command::List), verb!("delete", delete::Args, Command::Delete)];

impl Command {
    /// Runs the command.
    pub(super) fn run(self, context: &Context, screen: &mut Screen) -> Result<Exit> {
        match self {
            Self::List(args) => list::run(context, screen, args),
            Self::Delete(args) => delete::run(context, screen, args),
        }
    }
}
