//! `cotenant restore`.

use std::path::PathBuf;

use cotenant_core::{
    Result,
    id::{Seq, Tick},
    render::counted_are,
};
use cotenant_store::admin;

use crate::{context::Context, exit::Exit, output::Screen};

/// Go back to a backup
///
/// Refused with 65 while sessions are live, unless confirmed. Afterwards the store has a new
/// history: nobody is signed on, nothing is held, and cursors of readers say so. Fences keep
/// rising. What was there before is kept in a file beside the store.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant restore ~/backups/project-friday.db
  cotenant restore ~/backups/project-friday.db --yes    although sessions are live")]
pub(crate) struct Args {
    /// A file that `cotenant backup` wrote
    path: PathBuf,
    /// Also while sessions are live; they are lost
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: &Args) -> Result<Exit> {
    let restored = admin::restore(context.project()?.file()?, &args.path, args.yes)?;
    if screen.json() {
        screen.data(&restored, Seq(0), Tick(0))?;
        return Ok(Exit::SUCCESS);
    }
    screen.line(format!(
        "restored from {}; the new history is {}",
        args.path.display(),
        restored.history
    ));
    if restored.sessions_lost > 0 {
        screen.line(format!(
            "{} lost that the backup had as live",
            counted_are(restored.sessions_lost, "session")
        ));
    }
    if let Some(replaced) = &restored.replaced {
        screen.line(format!("what was there before is kept in {}", replaced.display()));
    }
    Ok(Exit::SUCCESS)
}
