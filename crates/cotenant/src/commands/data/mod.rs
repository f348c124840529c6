//! `cotenant data`.

mod delete;
mod get;
mod list;
mod set;
mod txn;
mod update;
pub(super) mod value;

use clap::Subcommand;
use cotenant_core::Result;

use super::{Verb, verb};
use crate::{context::Context, exit::Exit, output::Screen};

/// Share values under a scope and a key
#[derive(Subcommand)]
pub(crate) enum Command {
    Get(get::Args),
    Set(set::Args),
    Delete(delete::Args),
    List(list::Args),
    Update(update::Args),
    Txn(txn::Args),
}

/// Its verbs, each to be read alone.
pub(super) const VERBS: &[Verb<Command>] = &[
    verb!("get", get::Args, Command::Get),
    verb!("set", set::Args, Command::Set),
    verb!("delete", delete::Args, Command::Delete),
    verb!("list", list::Args, Command::List),
    verb!("update", update::Args, Command::Update),
    verb!("txn", txn::Args, Command::Txn),
];

impl Command {
    /// Runs the command.
    pub(super) fn run(self, context: &Context, screen: &mut Screen) -> Result<Exit> {
        match self {
            Self::Get(args) => get::run(context, screen, args),
            Self::Set(args) => set::run(context, screen, args),
            Self::Delete(args) => delete::run(context, screen, args),
            Self::List(args) => list::run(context, screen, args),
            Self::Update(args) => update::run(context, screen, args),
            Self::Txn(args) => txn::run(context, screen, &args),
        }
    }
}
