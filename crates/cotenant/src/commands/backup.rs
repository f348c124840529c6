//! `cotenant backup`.

use std::path::PathBuf;

use cotenant_core::{
    Result,
    id::{Seq, Tick},
    render::counted,
};
use cotenant_store::admin;

use crate::{context::Context, exit::Exit, output::Screen};

/// Copy the store while it is in use
///
/// The copy is one consistent snapshot; its structure and its log are checked before it gets its
/// name, and only you can read it.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant backup ~/backups/project-friday.db
  cotenant restore ~/backups/project-friday.db")]
pub(crate) struct Args {
    /// The file to write; it must not exist
    path: PathBuf,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: &Args) -> Result<Exit> {
    let copied = admin::backup(context.project()?.file()?, &args.path)?;
    if screen.json() {
        screen.data(&copied, Seq(copied.seq), Tick(0))?;
    } else {
        screen.line(format!(
            "{} copied and checked to {} ({} bytes)",
            counted(copied.events_checked, "event"),
            copied.path.display(),
            copied.bytes
        ));
    }
    Ok(Exit::SUCCESS)
}
