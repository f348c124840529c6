//! `cotenant progress`.

mod set;
mod show;

use clap::Subcommand;
use cotenant_core::Result;

pub(super) use show::table as progress_table;

use super::{Verb, verb};
use crate::{context::Context, exit::Exit, output::Screen};

/// Say how far work is, and see how far others are
#[derive(Subcommand)]
pub(crate) enum Command {
    Set(set::Args),
    Show(show::Args),
}

/// Its verbs, each to be read alone.
pub(super) const VERBS: &[Verb<Command>] =
    &[verb!("set", set::Args, Command::Set), verb!("show", show::Args, Command::Show)];

impl Command {
    /// Runs the command.
    pub(super) fn run(self, context: &Context, screen: &mut Screen) -> Result<Exit> {
        match self {
            Self::Set(args) => set::run(context, screen, args),
            Self::Show(args) => show::run(context, screen, args),
        }
    }
}
