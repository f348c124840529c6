//! `cotenant export`.

use std::{
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use cotenant_core::{
    Code, Error, Result,
    data::PAGE_MAX,
    event::Read,
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
    /// Go on writing them whenever something changes: instructions at once, figures within 5 s
    #[arg(long, requires = "legacy")]
    follow: bool,
}

/// The longest wait for an event. What sessions have used is none, and hooks report it as often.
const WAIT_MS: u64 = 5_000;
/// Where much happens, the files are written no oftener.
const PAUSE: Duration = Duration::from_millis(250);

/// Writes the files of other tools.
fn legacy(context: &Context, screen: &mut Screen, directory: &Path, follow: bool) -> Result<Exit> {
    let limits = config::limits(context.project()?);
    let mut watch = HEAD;
    loop {
        // What happens while the files are written is written the next time.
        if follow {
            watch = next(context, watch)?;
        }
        let begun = Instant::now();
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
        thread::sleep(PAUSE.saturating_sub(begun.elapsed()));
        watch.wait_ms = Some(WAIT_MS);
    }
}

/// Begins to watch.
const HEAD: Read = Read {
    after: None,
    last: None,
    kind: None,
    scope: None,
    session: None,
    limit: PAGE_MAX,
    wait_ms: None,
};

const fn is_of_cursor(code: Code) -> bool {
    matches!(code, Code::Compacted | Code::HistoryChanged | Code::CursorAhead)
}

/// Waits until something has happened, or for as long as `watch` says.
fn next(context: &Context, watch: Read) -> Result<Read> {
    let watch = Read { after: watch.after.or_else(|| Some("head".to_owned())), ..watch };
    match context.call(&watch) {
        Ok(found) => Ok(Read { after: Some(found.answer.cursor), ..watch }),
        // Another history, or a part of this one that is gone: all is written anew.
        Err(error) if is_of_cursor(error.code) => next(context, HEAD),
        Err(error) => Err(error),
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
