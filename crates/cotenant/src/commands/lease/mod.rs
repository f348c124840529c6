//! `cotenant lease`.

mod acquire;
mod admit;
mod break_;
mod check;
mod list;
mod release;
mod renew;
mod run;

use clap::{Args as _, Subcommand};
use cotenant_core::Result;

use super::Verb;
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

/// Its verbs, each to be built alone.
pub(super) const VERBS: &[Verb] = &[
    ("acquire", acquire::Args::augment_args),
    ("renew", renew::Args::augment_args),
    ("release", release::Args::augment_args),
    ("list", list::Args::augment_args),
    ("check", check::Args::augment_args),
    ("admit", admit::Args::augment_args),
    ("break", break_::Args::augment_args),
    ("run", run::Args::augment_args),
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
