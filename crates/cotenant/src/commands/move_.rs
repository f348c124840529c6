//! `cotenant move`.

use cotenant_core::{
    Result,
    id::{Seq, Tick},
    render::counted,
};
use cotenant_store::{Location, transfer};

use super::carry::Meter;
use crate::{address, context::Context, exit::Exit, output::Screen};

/// Move the store to a server, to a file, or back
///
/// The whole store goes, with its history: every row is compared on arrival and the log's hash chain
/// is checked there. Fences keep rising, cursors of readers stay valid, and nothing expires. Refused
/// with 65 while sessions are live. The old store is closed: it keeps its rows, for `cotenant export`
/// and `cotenant backup`, and tells everybody else where the store is now. At no time both can be
/// written; after an interruption the same command goes on.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant move --to 'postgres://acme@db.example.org/agents?project=acme'
  cotenant move --to .git/cotenant/store.db     back to this machine")]
pub(crate) struct Args {
    /// Where to: a path, `sqlite:PATH` or `postgres://…`
    #[arg(long, value_name = "ADDRESS")]
    to: String,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: &Args) -> Result<Exit> {
    let project = context.project()?;
    let to = address::location(&args.to, &project.start, &project.root)?;
    let mut meter = Meter::new();
    let moved = transfer::relocate(&project.store, &to, &mut |progress| meter.show(progress))?;
    meter.clear();
    // Windows of this clone that name no store find it by the note; a file elsewhere has none.
    let is_own = |file: &std::path::Path| file.parent() == Some(project.own.as_path());
    let noted = !context.names_store()
        && match &to {
            Location::Server(_) => true,
            Location::File(file) => is_own(file),
        };
    if noted {
        address::note(&project.own, &to)?;
    }
    if screen.json() {
        screen.data(&moved, Seq(moved.seq), Tick(0))?;
        return Ok(Exit::SUCCESS);
    }
    screen.line(match moved.events_checked {
        0 => format!("the store is at {}; an earlier try had brought it there", moved.to),
        count => format!(
            "the store is at {} now; {} arrived, and its log holds",
            moved.to,
            counted(count, "event")
        ),
    });
    screen.line(format!("{} is closed and keeps its rows", moved.from));
    screen.line(if noted {
        "this clone uses the new store; restart agents that run, and tell other clones"
    } else {
        "set COTENANT_STORE to the new address, and restart agents that run"
    });
    Ok(Exit::SUCCESS)
}
