//! `cotenant metrics`.

mod report;
mod show;

use clap::Subcommand;
use cotenant_core::Result;

use super::{Verb, verb};
use crate::{context::Context, exit::Exit, output::Screen};

/// Count what each session uses; totals are put together when they are shown
#[derive(Subcommand)]
pub(crate) enum Command {
    Report(report::Args),
    Show(show::Args),
}

/// Its verbs, each to be read alone.
pub(super) const VERBS: &[Verb<Command>] =
    &[verb!("report", report::Args, Command::Report), verb!("show", show::Args, Command::Show)];

impl Command {
    /// Runs the command.
    pub(super) fn run(self, context: &Context, screen: &mut Screen) -> Result<Exit> {
        match self {
            Self::Report(args) => report::run(context, screen, args),
            Self::Show(args) => show::run(context, screen, args),
        }
    }
}
