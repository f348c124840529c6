//! `cotenant lease`.

mod acquire;
mod admit;
mod break_;
mod check;
mod list;
mod release;
mod renew;
mod run;

use clap::Subcommand;
use cotenant_core::Result;

use crate::{context::Context, exit::Exit, output::Screen};

/// Hold something alone for a while, with a fence that proves it
#[derive(Subcommand)]
pub(crate) enum Command {
    Acquire(acquire::Args),
    Renew(renew::Args),
    Release(release::Args),
    List(list::Args),
    Check(check::Args),
    Admit(admit::Args),
    Break(break_::Args),
    Run(run::Args),
}

impl Command {
    /// Runs the command.
    pub(super) fn run(self, context: &Context, screen: &mut Screen) -> Result<Exit> {
        match self {
            Self::Acquire(args) => acquire::run(context, screen, args),
            Self::Renew(args) => renew::run(context, screen, args),
            Self::Release(args) => release::run(context, screen, args),
            Self::List(args) => list::run(context, screen, args),
            Self::Check(args) => check::run(context, screen, args),
            Self::Admit(args) => admit::run(context, screen, args),
            Self::Break(args) => break_::run(context, screen, args),
            Self::Run(args) => run::run(context, screen, &args),
        }
    }
}
