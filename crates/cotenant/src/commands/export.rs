//! `cotenant export`.

use std::{io, path::PathBuf};

use cotenant_core::{
    Error, Result,
    id::{Seq, Tick},
};
use cotenant_store::transfer;

use super::carry::{self, Meter};
use crate::{context::Context, exit::Exit, output::Screen};

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
  jq -c 'select(.table == \"event\")' ~/project.jsonl")]
pub(crate) struct Args {
    /// The file to write, which must not exist; `-` for stdout
    path: PathBuf,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: &Args) -> Result<Exit> {
    let project = context.project()?;
    let name = carry::name(project)?;
    let mut meter = Meter::new();
    let mut tell = |progress| meter.show(progress);
    if args.path.as_os_str() == "-" {
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
    let exported = transfer::export_to(&project.store, name.as_deref(), &args.path, &mut tell)?;
    meter.clear();
    if screen.json() {
        screen.data(&exported, Seq(exported.seq), Tick(0))?;
    } else {
        screen.line(format!(
            "{} rows, up to event {}, are in {}",
            exported.rows,
            exported.seq,
            args.path.display()
        ));
    }
    Ok(Exit::SUCCESS)
}
