//! `cotenant init`.

use clap::ValueEnum;
use cotenant_core::{
    Code, Error, Result,
    event::Head,
    id::{Seq, Tick},
    render::for_terminal,
};
use cotenant_store::{IfMissing, LocalStore, Location};
use serde::Serialize;

use crate::{
    address, ask,
    context::Context,
    exit::Exit,
    installation::{Prepared, Site},
    output::{Look, Screen},
    project::Project,
    settings::{self, Agent, FileChange, Scope},
};

/// Set up this project and the agents that work in it
///
/// Makes the project's store, and puts hooks and an MCP server into the settings of Claude Code,
/// and of Codex where the project has a `.codex` directory. Shows the changes and asks before it
/// writes; where nobody can be asked it needs --yes. What else is in the files stays as it is, and
/// doing it again changes nothing.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant init                 show the changes, ask, write
  cotenant init --yes           write without asking
  cotenant init --dry-run       show the changes
  cotenant init --global        in your own settings, for all projects
  cotenant init --store-only    where the agents have the plugin

`cotenant uninit` takes it back.")]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of the command line")]
pub(crate) struct Args {
    /// Write without asking
    #[arg(long)]
    yes: bool,
    /// Show what would change and write nothing
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Change your own settings, for all projects, instead of the project's
    #[arg(long)]
    global: bool,
    /// Set up this agent; Claude Code, and Codex where it is used, when absent
    #[arg(long = "agent", value_name = "AGENT", value_enum)]
    agents: Vec<AgentName>,
    /// Make the store and leave the settings of agents alone
    #[arg(long, conflicts_with_all = ["global", "agents"])]
    store_only: bool,
}

/// An agent on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum AgentName {
    /// Claude Code
    Claude,
    /// Codex CLI
    Codex,
}

/// What an `init` did.
#[derive(Default, Serialize)]
struct Done {
    /// The store; none if no project was set up.
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<StoreDone>,
    /// Whether the changes are on disk.
    written: bool,
    files: Vec<FileDone>,
    /// The changes as a unified diff.
    diff: String,
    /// Whether agents that run already have to be restarted.
    restart_agents: bool,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct StoreDone {
    path: String,
    /// Whether this made it.
    created: bool,
    #[serde(skip)]
    missing: bool,
}

#[derive(Serialize)]
struct FileDone {
    path: String,
    change: &'static str,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: &Args) -> Result<Exit> {
    let project = context.project()?;
    let site = Site::find(context, if args.global { Scope::Global } else { Scope::Project })?;
    let mut done = Done::default();
    let agents = choose(args, &site, &mut done.notes);
    let prepared = prepare(project, &site, &agents)?;
    done.diff = settings::unified_diff(prepared.changes());
    done.files = prepared.changes().iter().map(file_done).collect();
    done.store = store(project, args.global)?;
    if !screen.json() {
        show_diff(screen, &done.diff);
    }
    if !args.dry_run {
        carry_out(context, screen, args, &site, &prepared, &mut done)?;
    }
    done.notes.extend(notes(project, &site, &agents, &done));
    if screen.json() {
        let (seq, tick) = position(context);
        screen.data(&done, seq, tick)?;
    } else {
        report(screen, args, &site, &done);
    }
    Ok(Exit::SUCCESS)
}

/// Asks, makes the store and writes.
fn carry_out(
    context: &Context,
    screen: &mut Screen,
    args: &Args,
    site: &Site,
    prepared: &Prepared,
    done: &mut Done,
) -> Result<()> {
    let nothing = prepared.changes().is_empty();
    let agreed = nothing || args.yes || {
        ask::consent(screen, "write these changes?", "--yes")
            .map_err(|error| error.detail("diff", &done.diff))?
    };
    // Also when the settings are declined: shells and other agents can use it.
    if let Some(store) = &mut done.store {
        let project = context.project()?;
        context.open_store(IfMissing::Create)?;
        address::note(&project.own, &project.store)?;
        store.created = store.missing;
    }
    if agreed {
        site.write(prepared)?;
        done.written = !nothing;
        done.restart_agents = !nothing;
    }
    Ok(())
}

/// The agents to set up, and why one is left out that might be expected.
fn choose(args: &Args, site: &Site, notes: &mut Vec<String>) -> Vec<Agent> {
    if args.store_only {
        return Vec::new();
    }
    if !args.agents.is_empty() {
        let agent = |name: &AgentName| match name {
            AgentName::Claude => Agent::Claude,
            AgentName::Codex => Agent::Codex,
        };
        return args.agents.iter().map(agent).collect();
    }
    let mut agents = vec![Agent::Claude];
    if site.has_codex() {
        agents.push(Agent::Codex);
    }
    if args.global {
        return agents;
    }
    agents.retain(|agent| {
        let (name, word) = words(*agent);
        if site.is_installed_for_all(*agent) {
            notes.push(format!(
                "{name} is set up for all your projects; `cotenant init --agent {word}` sets it up \
                 here as well"
            ));
            return false;
        }
        if *agent == Agent::Codex && site.program_off_path().is_some() {
            notes.push(format!("{name} is left out: it needs `cotenant` on PATH"));
            return false;
        }
        true
    });
    agents
}

fn words(agent: Agent) -> (&'static str, &'static str) {
    match agent {
        Agent::Claude => ("Claude Code", "claude"),
        Agent::Codex => ("Codex", "codex"),
    }
}

fn prepare(project: &Project, site: &Site, agents: &[Agent]) -> Result<Prepared> {
    if agents.is_empty() {
        return Ok(Prepared::default());
    }
    if site.scope() == Scope::Project && project.common_dir.as_ref() == Some(&project.root) {
        return Err(Error::invalid(format!(
            "`{}` is a bare repository, where no agent works",
            project.root.display()
        ))
        .hint("run it in a work tree; `cotenant init --store-only` makes the store alone"));
    }
    site.prepare(agents)
}

/// The store that is made. An installation for all projects makes none outside of projects, where
/// it would claim the whole directory.
fn store(project: &Project, global: bool) -> Result<Option<StoreDone>> {
    if global && project.common_dir.is_none() && !project.own.is_dir() {
        return Ok(None);
    }
    let missing = match &project.store {
        Location::File(file) => file.symlink_metadata().is_err(),
        Location::Server(_) => match LocalStore::open_at(&project.store, IfMissing::Fail) {
            Err(error) if error.code == Code::NotFound => true,
            Err(error) => return Err(error),
            Ok(_) => false,
        },
    };
    Ok(Some(StoreDone { path: project.store.to_string(), created: false, missing }))
}

fn file_done(change: &FileChange) -> FileDone {
    let change_word = match (&change.before, &change.after) {
        (None, _) => "created",
        (_, None) => "removed",
        _ => "changed",
    };
    FileDone { path: change.path.display().to_string(), change: change_word }
}

/// What people should know besides.
fn notes(project: &Project, site: &Site, agents: &[Agent], done: &Done) -> Vec<String> {
    let mut notes = Vec::new();
    if project.common_dir.is_none() && done.store.is_some() {
        notes.push(format!(
            "this is no git repository: the store is in `{}`; leave it out of what you share",
            for_terminal(&project.own.display().to_string())
        ));
    }
    if done.files.is_empty() || done.files.iter().all(|file| file.change == "removed") {
        return notes;
    }
    let (claude, codex) = (agents.contains(&Agent::Claude), agents.contains(&Agent::Codex));
    let local = site.scope() == Scope::Project;
    if let Some(program) = site.program_off_path() {
        let program = for_terminal(&program.display().to_string());
        notes.push(format!("PATH does not lead to this `cotenant`, so agents start `{program}`"));
        if local {
            notes.push(
                "that path is in files for this machine only; to share the settings, put it on \
                 PATH and run `cotenant init` again"
                    .to_owned(),
            );
        }
    } else if local && claude {
        notes.push(
            "`.claude/settings.json` and `.mcp.json` are for everybody: commit them and other work \
             trees have them too; `.claude/settings.local.json` is for you alone"
                .to_owned(),
        );
        notes.push(
            "Claude Code asks once whether you trust this directory and starts the MCP server \
             only then; `claude -p` starts it without"
                .to_owned(),
        );
    }
    if codex {
        notes.push("Codex asks once whether you trust these hooks".to_owned());
    }
    notes
}

/// Where the store stands; nowhere if there is none.
fn position(context: &Context) -> (Seq, Tick) {
    let head = context.call(&Head {});
    head.map_or((Seq(0), Tick(0)), |head| (head.seq, head.tick))
}

/// Shows a diff, added lines and removed ones in colours.
pub(super) fn show_diff(screen: &mut Screen, diff: &str) {
    for line in diff.lines() {
        let look = match line.as_bytes() {
            [b'-', b'-', ..] | [b'+', b'+', ..] => Look::Strong,
            [b'-', ..] => Look::Warning,
            [b'+', ..] => Look::Good,
            _ => Look::Plain,
        };
        let line = screen.paint(look, line);
        screen.line(line);
    }
}

fn report(screen: &mut Screen, args: &Args, site: &Site, done: &Done) {
    screen.gap();
    if args.dry_run {
        let missing = done.store.as_ref().filter(|store| store.missing);
        if let Some(store) = missing {
            screen.line(format!("would make the store {}", site.shown(store.path.as_ref())));
        }
        screen.line("nothing was written: --dry-run");
    } else {
        report_done(screen, args, site, done);
    }
    for note in &done.notes {
        screen.line(format!("{} {note}", screen.paint(Look::Strong, "note:")));
    }
}

fn report_done(screen: &mut Screen, args: &Args, site: &Site, done: &Done) {
    if let Some(store) = &done.store {
        let path = site.shown(store.path.as_ref());
        let made = if store.created { "made" } else { "found" };
        screen.line(format!("{made} the store {path}"));
    }
    if done.written {
        for file in &done.files {
            screen.line(format!("{} {}", file.change, site.shown(file.path.as_ref())));
        }
    } else if !done.files.is_empty() {
        screen.line("the settings of agents stay as they are");
    } else if !args.store_only {
        screen.line("nothing to change in the settings of agents");
    }
    screen.gap();
    if args.global {
        screen.line(
            "next: `cotenant init` in each project makes its store, for agents join no other",
        );
    } else if args.store_only || (!done.files.is_empty() && !done.written) {
        screen.line("next: `cotenant sign-on NAME` in a shell, then `cotenant status`");
    } else {
        screen.line(
            "next: open two Claude Code windows in this directory; each is told of the other",
        );
        screen.line("      `cotenant status` shows who is here, on what, holding what");
    }
    if done.restart_agents {
        screen
            .line("restart agents that run here already: they read these settings when they start");
    }
}
