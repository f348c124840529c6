//! `cotenant task`.

mod add;
mod bulk;
mod cancel;
mod done;
mod draw;
mod extend;
mod fail;
mod graph;
mod list;
mod next;
mod release;
mod requeue;
mod show;

use clap::Subcommand;
use cotenant_core::{Result, task::TaskState};

use super::{Verb, verb};
use crate::{
    context::Context,
    exit::Exit,
    output::{Look, Screen},
};

/// Hand out work: each task goes to one session at a time
#[derive(Subcommand)]
pub(crate) enum Command {
    Add(add::Args),
    Next(next::Args),
    Extend(extend::Args),
    Done(done::Args),
    Fail(fail::Args),
    Release(release::Args),
    Cancel(cancel::Args),
    Requeue(requeue::Args),
    List(list::Args),
    Show(show::Args),
    Graph(graph::Args),
}

/// Its verbs, each to be read alone.
pub(super) const VERBS: &[Verb<Command>] = &[
    verb!("add", add::Args, Command::Add),
    verb!("next", next::Args, Command::Next),
    verb!("extend", extend::Args, Command::Extend),
    verb!("done", done::Args, Command::Done),
    verb!("fail", fail::Args, Command::Fail),
    verb!("release", release::Args, Command::Release),
    verb!("cancel", cancel::Args, Command::Cancel),
    verb!("requeue", requeue::Args, Command::Requeue),
    verb!("list", list::Args, Command::List),
    verb!("show", show::Args, Command::Show),
    verb!("graph", graph::Args, Command::Graph),
];

impl Command {
    /// Runs the command.
    pub(super) fn run(self, context: &Context, screen: &mut Screen) -> Result<Exit> {
        match self {
            Self::Add(args) => add::run(context, screen, &args),
            Self::Next(args) => next::run(context, screen, args),
            Self::Extend(args) => extend::run(context, screen, &args),
            Self::Done(args) => done::run(context, screen, &args),
            Self::Fail(args) => fail::run(context, screen, args),
            Self::Release(args) => release::run(context, screen, &args),
            Self::Cancel(args) => cancel::run(context, screen, args),
            Self::Requeue(args) => requeue::run(context, screen, &args),
            Self::List(args) => list::run(context, screen, args),
            Self::Show(args) => show::run(context, screen, &args),
            Self::Graph(args) => graph::run(context, screen, args),
        }
    }
}

/// How a state looks.
const fn look(state: TaskState) -> Look {
    match state {
        TaskState::Ready => Look::Strong,
        TaskState::Running | TaskState::Done => Look::Good,
        TaskState::Failed | TaskState::Dead => Look::Warning,
        TaskState::Blocked | TaskState::Delayed => Look::Plain,
        TaskState::Cancelled => Look::Faint,
    }
}
