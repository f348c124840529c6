//! `cotenant uninit`.

use std::{fs, path::Path};

use cotenant_core::{
    Code, Error, Result,
    id::{Seq, Tick},
    render::for_terminal,
    session::ListSessions,
};
use cotenant_store::Location;
use serde::Serialize;

use super::init::show_diff;
use crate::{
    ask,
    context::Context,
    exit::Exit,
    installation::Site,
    output::{Screen, talk},
    project::Project,
    settings::{self, Outcome, Scope},
};

/// Take back what `init` wrote
///
/// A settings file that nobody edited since gets the bytes it had before; from others our entries
/// go and the rest stays. The store stays, with its data, events and tokens, unless --purge is given.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant uninit
  cotenant uninit --dry-run     show the changes
  cotenant uninit --global      what `cotenant init --global` wrote
  cotenant uninit --purge       delete the store too; asks, and fails with 65 while sessions live")]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of the command line")]
pub(crate) struct Args {
    /// Show what would change and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Take back what `init --global` wrote
    #[arg(long)]
    global: bool,
    /// Delete the store and everything beside it; there is no way back
    #[arg(long, conflicts_with_all = ["global", "dry_run"])]
    purge: bool,
    /// Do not ask; only --purge asks
    #[arg(long)]
    yes: bool,
}

/// What an `uninit` did.
#[derive(Serialize)]
struct Done {
    /// Whether the changes are on disk.
    written: bool,
    files: Vec<FileDone>,
    /// The changes as a unified diff.
    diff: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<StoreDone>,
}

#[derive(Serialize)]
struct FileDone {
    path: String,
    outcome: &'static str,
    #[serde(skip)]
    words: String,
}

#[derive(Serialize)]
struct StoreDone {
    path: String,
    kept: bool,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: &Args) -> Result<Exit> {
    let project = context.project()?;
    let site = Site::find(context, if args.global { Scope::Global } else { Scope::Project })?;
    let prepared = site.prepare_removal()?;
    let purged = args.purge && project.own.clone().is_dir();
    if purged && !may_purge(context, screen, args, project)? {
        screen.line("nothing was changed");
        return Ok(Exit::SUCCESS);
    }
    if !args.dry_run {
        site.remove(&prepared)?;
    }
    if purged {
        purge(&project.own.clone())?;
    }
    let mut files: Vec<FileDone> = Vec::new();
    for (path, outcome) in &prepared.removal.outcomes {
        files.extend(file_done(&site, path, *outcome));
    }
    for (path, error) in &prepared.unread {
        let words = format!("left alone: {}", for_terminal(&error.to_string()));
        files.push(FileDone { path: path.display().to_string(), outcome: "unread", words });
    }
    let is_there = project.store.file().is_none_or(Path::is_file);
    let store = (!args.global && (purged || is_there))
        .then(|| StoreDone { path: project.store.to_string(), kept: !purged });
    let done = Done {
        written: !args.dry_run && !prepared.removal.changes.is_empty(),
        diff: settings::unified_diff(&prepared.removal.changes),
        files,
        store,
    };
    if screen.json() {
        screen.data(&done, Seq(0), Tick(0))?;
    } else {
        report(screen, args, &site, &done);
    }
    Ok(Exit::SUCCESS)
}

/// What became of a file; nothing is said of one that never concerned us.
fn file_done(site: &Site, path: &Path, outcome: Outcome) -> Option<FileDone> {
    let shown = site.shown(path);
    let (outcome, words) = match outcome {
        Outcome::Restored => ("restored", format!("restored {shown}, byte for byte")),
        Outcome::Deleted => ("deleted", format!("deleted {shown}, which `init` had made")),
        Outcome::Stripped => {
            ("stripped", format!("took our entries out of {shown}; the rest was edited and stays"))
        }
        Outcome::StrippedAndDeleted => {
            ("deleted", format!("deleted {shown}, which held nothing but our entries"))
        }
        Outcome::Untouched | Outcome::Absent => return None,
    };
    Some(FileDone { path: path.display().to_string(), outcome, words })
}

/// Whether the store can go, and its owner wants it to.
fn may_purge(
    context: &Context,
    screen: &mut Screen,
    args: &Args,
    project: &Project,
) -> Result<bool> {
    let directory = project.own.clone();
    let other = match &project.store {
        Location::File(_) if project.home == directory => None,
        Location::File(file) => Some(format!("delete `{}` yourself", file.display())),
        Location::Server(address) => Some(format!("run DROP SCHEMA {} CASCADE", address.quoted())),
    };
    if let Some(hint) = other {
        return Err(Error::invalid("--purge deletes the project's own store only").hint(hint));
    }
    let live = match context.call(&list_live()) {
        Ok(listed) => listed.answer.sessions,
        // What cannot be opened has nobody in it, and this may be the way to get rid of it.
        Err(error) if is_unusable(error.code) => Vec::new(),
        Err(error) => return Err(error),
    };
    let live: Vec<String> = live
        .into_iter()
        .filter(|session| session.process_alive != Some(false))
        .map(|session| session.name)
        .collect();
    if !live.is_empty() {
        return Err(Error::new(
            Code::LiveSessions,
            format!("sessions are live: {}", live.join(", ")),
        )
        .detail("sessions", &live)
        .hint("end them first: close the agents, `cotenant sign-off` in shells"));
    }
    if args.yes {
        return Ok(true);
    }
    let question = format!(
        "delete `{}` with all data, events and backups in it?",
        for_terminal(&directory.display().to_string())
    );
    ask::consent(screen, &question, "--yes")
}

fn list_live() -> ListSessions {
    ListSessions {
        all: false,
        kind: None,
        label: None,
        silent_for_ms: None,
        handoff_ready: false,
        after: None,
        limit: cotenant_core::data::PAGE_MAX,
    }
}

fn is_unusable(code: Code) -> bool {
    matches!(code, Code::NotFound | Code::StoreMissing | Code::StoreCorrupt | Code::StoreForeign)
}

/// Deletes a store's directory. Under another name first, so that nobody meets half a store.
fn purge(directory: &Path) -> Result<()> {
    let mut name = directory.file_name().unwrap_or_default().to_owned();
    name.push(format!(".purged-{}", std::process::id()));
    let condemned = directory.with_file_name(name);
    let failed = |error: std::io::Error| {
        Error::new(Code::StoreIo, format!("cannot delete `{}`", directory.display()))
            .hint("the settings of agents are as they were before `init`; delete the rest yourself")
            .caused_by(error)
    };
    fs::rename(directory, &condemned).map_err(failed)?;
    fs::remove_dir_all(&condemned).map_err(failed)
}

fn report(screen: &mut Screen, args: &Args, site: &Site, done: &Done) {
    if args.dry_run {
        show_diff(screen, &done.diff);
        screen.gap();
        screen.line("nothing was written: --dry-run");
        return;
    }
    for file in &done.files {
        if file.outcome == "unread" {
            talk(&format!("{}: {}", site.shown(file.path.as_ref()), file.words));
        } else {
            screen.line(&file.words);
        }
    }
    if done.diff.is_empty() {
        screen.line("no settings of agents hold anything of ours");
    } else {
        screen.line("restart agents that run here: they keep hooks and server until they end");
    }
    match &done.store {
        Some(store) if store.kept => screen.line(format!(
            "kept: the store {}, with its data, events and tokens; `cotenant uninit --purge` deletes it",
            site.shown(store.path.as_ref())
        )),
        Some(store) => {
            screen.line(format!("deleted the store {}", site.shown(store.path.as_ref())));
        }
        None => {}
    }
}
