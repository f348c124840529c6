//! `cotenant scope`.

mod delete;
mod list;

use clap::Subcommand;
use cotenant_core::Result;

use crate::{context::Context, exit::Exit, output::Screen};

/// See and delete whole scopes
#[derive(Subcommand)]
pub(crate) enum Command {
    List(list::Args),
    Delete(delete::Args),
}

impl Command {
    /// Runs the command.
    pub(super) fn run(self, context: &Context, screen: &mut Screen) -> Result<Exit> {
        match self {
            Self::List(args) => list::run(context, screen, args),
            Self::Delete(args) => delete::run(context, screen, args),
        }
    }
}
