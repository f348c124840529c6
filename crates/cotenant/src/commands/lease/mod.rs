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

use super::{Verb, verb};
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

/// Its verbs, each to be read alone.
pub(super) const VERBS: &[Verb<Command>] = &[
    verb!("acquire", acquire::Args, Command::Acquire),
    verb!("renew", renew::Args, Command::Renew),
    verb!("release", release::Args, Command::Release),
    verb!("list", list::Args, Command::List),
    verb!("check", check::Args, Command::Check),
    verb!("admit", admit::Args, Command::Admit),
    verb!("break", break_::Args, Command::Break),
    verb!("run", run::Args, Command::Run),
];

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
