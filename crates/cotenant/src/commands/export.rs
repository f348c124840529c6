//! `cotenant export`.

use std::{
    io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use cotenant_core::{
    Error, Result,
    id::{Seq, Tick},
    render::counted,
};
use cotenant_store::transfer;

use super::carry::{self, Meter};
use crate::{config, context::Context, exit::Exit, legacy, output::Screen};

/// Write the whole store to a file that other tools can read
///
/// One JSON object a line: a header, every row of every table, and a last line with the number of
/// rows and the SHA-256 of all lines before it. It is one consistent snapshot, made while the store
/// is in use, and only you can read it. `cotenant import` makes a store of it, on any machine and in
/// any database.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant export ~/project.jsonl
  cotenant export - | gzip > ~/project.jsonl.gz
  jq -c 'select(.table == \"event\")' ~/project.jsonl
  cotenant export --legacy .claude             instead, the files that older tools read
  cotenant export --legacy .claude --follow    and again whenever something changes")]
pub(crate) struct Args {
    /// The file to write, which must not exist; `-` for stdout
    #[arg(required_unless_present = "legacy")]
    path: Option<PathBuf>,
    /// Write `instruction-history.json` and, for each session, `sessions/ID/session-state.json` and
    /// `token-checkpoints.json` into this directory, for tools that read them
    #[arg(long, value_name = "DIR", conflicts_with = "path")]
    legacy: Option<PathBuf>,
    /// Go on writing them whenever something changes
    #[arg(long, requires = "legacy")]
    follow: bool,
}

/// How often what changed is written again.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);

/// Writes the files of other tools.
fn legacy(context: &Context, screen: &mut Screen, directory: &Path, follow: bool) -> Result<Exit> {
    let limits = config::limits(context.project()?);
    loop {
        let written = legacy::write(context, directory, &limits)?;
        if screen.json() {
            screen.data(&written, Seq(0), Tick(0))?;
        } else if written.changed > 0 || !follow {
            screen.line(format!(
                "{} and {} are in {}",
                counted(written.instructions, "instruction"),
                counted(written.sessions, "session"),
                directory.display()
            ));
        }
        if !follow || !screen.flush()? {
            return Ok(Exit::SUCCESS);
        }
        thread::sleep(FOLLOW_EVERY);
    }
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: &Args) -> Result<Exit> {
    if let Some(directory) = &args.legacy {
        return legacy(context, screen, directory, args.follow);
    }
    let path = args.path.as_ref().ok_or_else(|| Error::invalid("no file was named"))?;
    let project = context.project()?;
    let name = carry::name(project)?;
    let mut meter = Meter::new();
    let mut tell = |progress| meter.show(progress);
    if path.as_os_str() == "-" {
        if screen.json() {
            return Err(Error::invalid("--json and the export cannot both go to stdout")
                .hint("name a file"));
        }
        let mut spool = carry::spool()?;
        transfer::export(&project.store, name.as_deref(), &mut spool, &mut tell)?;
        let copied = carry::rewind(&mut spool)
            .and_then(|()| io::copy(&mut spool, &mut io::stdout().lock()).map(drop));
        return match copied {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(carry::failed("cannot write to stdout", error))
            }
            _ => Ok(Exit::SUCCESS),
        };
    }
    let exported = transfer::export_to(&project.store, name.as_deref(), path, &mut tell)?;
    meter.clear();
    if screen.json() {
        screen.data(&exported, Seq(exported.seq), Tick(0))?;
    } else {
        screen.line(format!(
            "{}, up to event {}, are in {}",
            counted(exported.rows, "row"),
            exported.seq,
            path.display()
        ));
    }
    Ok(Exit::SUCCESS)
}
