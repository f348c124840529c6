//! `cotenant import`.

use std::{
    fs::File,
    io::{self, BufReader},
    path::PathBuf,
};

use cotenant_core::{
    Code, Error, Result,
    id::{Seq, Tick},
    render::{counted, counted_are},
};
use cotenant_store::transfer;

use super::carry::{self, Meter};
use crate::{address, context::Context, exit::Exit, output::Screen};

/// Make a store of a file that `cotenant export` wrote
///
/// The new store is seen when it is whole: every row has been read back and the log's hash chain
/// holds. A store that has content is never replaced. Fences keep rising, cursors of readers stay
/// valid, and nothing expires because it was away. Tokens are not in the file: those who were signed
/// on when it was written are refused with 65 or, if you confirm, are lost.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant import ~/project.jsonl
  cotenant import ~/project.jsonl --to 'postgres://acme@db.example.org/agents?project=acme'
  gunzip -c ~/project.jsonl.gz | cotenant import - --to ~/copy/store.db
  cotenant import ~/project.jsonl --yes     although sessions are live in it")]
pub(crate) struct Args {
    /// The file; `-` for stdin
    path: PathBuf,
    /// Where to make the store, instead of the project's own place: a path or `postgres://…`
    #[arg(long, value_name = "ADDRESS")]
    to: Option<String>,
    /// Also if sessions are live in the file; they are lost
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: &Args) -> Result<Exit> {
    let project = context.project()?;
    let to = match &args.to {
        Some(said) => address::location(said, &project.start, &project.root)?,
        None => project.store.clone(),
    };
    let file = if args.path.as_os_str() == "-" {
        let mut spool = carry::spool()?;
        io::copy(&mut io::stdin().lock(), &mut spool)
            .and_then(|_| carry::rewind(&mut spool))
            .map_err(|error| carry::failed("cannot read stdin", error))?;
        spool
    } else {
        File::open(&args.path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                Error::new(Code::NotFound, format!("there is no file `{}`", args.path.display()))
            }
            _ => carry::failed(&format!("cannot read `{}`", args.path.display()), error),
        })?
    };
    if args.path.is_dir() {
        return Err(Error::invalid(format!("`{}` is a directory", args.path.display())).hint(
            "name a file that `cotenant export` wrote; `cotenant instruction import DIR` takes in what other tools keep",
        ));
    }
    let mut meter = Meter::new();
    let mut input = BufReader::with_capacity(1 << 20, file);
    let imported =
        transfer::import(&mut input, &to, args.yes, &mut |progress| meter.show(progress))?;
    meter.clear();
    if screen.json() {
        screen.data(&imported, Seq(imported.seq), Tick(0))?;
        return Ok(Exit::SUCCESS);
    }
    screen.line(format!(
        "{}, up to event {}, are in the store {}; its log holds",
        counted(imported.rows, "row"),
        imported.seq,
        imported.address
    ));
    if imported.sessions_lost > 0 {
        screen.line(format!(
            "{} lost that the file had as live",
            counted_are(imported.sessions_lost, "session")
        ));
    }
    Ok(Exit::SUCCESS)
}
