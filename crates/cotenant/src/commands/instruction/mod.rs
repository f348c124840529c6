//! `cotenant instruction`.

mod add;
mod approve;
mod conflicts;
mod effective;
mod import;
mod list;
mod revoke;
mod supersede;

use clap::Subcommand;
use cotenant_core::{
    Result,
    instruction::{Instruction, InstructionAdded, Scope, Standing, Trust},
    render::for_terminal,
};

use super::{Verb, verb};
use crate::{
    context::Context,
    exit::Exit,
    output::{Look, Screen, since},
};

/// Keep what people want of all sessions, with who said it and what became of it
#[derive(Subcommand)]
pub(crate) enum Command {
    Add(add::Args),
    List(list::Args),
    Supersede(supersede::Args),
    Approve(approve::Args),
    Revoke(revoke::Args),
    Effective(effective::Args),
    Conflicts(conflicts::Args),
    Import(import::Args),
}

/// Its verbs, each to be read alone.
pub(super) const VERBS: &[Verb<Command>] = &[
    verb!("add", add::Args, Command::Add),
    verb!("list", list::Args, Command::List),
    verb!("supersede", supersede::Args, Command::Supersede),
    verb!("approve", approve::Args, Command::Approve),
    verb!("revoke", revoke::Args, Command::Revoke),
    verb!("effective", effective::Args, Command::Effective),
    verb!("conflicts", conflicts::Args, Command::Conflicts),
    verb!("import", import::Args, Command::Import),
];

impl Command {
    /// Runs the command.
    pub(super) fn run(self, context: &Context, screen: &mut Screen) -> Result<Exit> {
        match self {
            Self::Add(args) => add::run(context, screen, args),
            Self::List(args) => list::run(context, screen, args),
            Self::Supersede(args) => supersede::run(context, screen, args),
            Self::Approve(args) => approve::run(context, screen, args),
            Self::Revoke(args) => revoke::run(context, screen, args),
            Self::Effective(args) => effective::run(context, screen, args),
            Self::Conflicts(args) => conflicts::run(context, screen, &args),
            Self::Import(args) => import::run(context, screen, &args),
        }
    }
}

/// Where an entry stands, in words.
fn standing(entry: &Instruction) -> (Look, String) {
    match entry.standing {
        Standing::InForce => (Look::Good, "in force".to_owned()),
        Standing::Proposed => (Look::Warning, "awaits approval".to_owned()),
        Standing::Superseded => {
            let by = entry.superseded_by.map(|by| format!(" by {by}")).unwrap_or_default();
            (Look::Faint, format!("superseded{by}"))
        }
        Standing::Revoked => (Look::Faint, "revoked".to_owned()),
    }
}

/// Prints an entry: what it says, then who said so, when, and what became of it.
fn print(screen: &mut Screen, entry: &Instruction) {
    let (look, words) = standing(entry);
    let head = match &entry.alias {
        Some(alias) => format!("{} ({})", entry.reference(), for_terminal(alias)),
        None => entry.reference(),
    };
    let key = entry.key.as_ref().map(|key| format!(", {}", for_terminal(key))).unwrap_or_default();
    let line = format!(
        "{}  {}{key}  {}",
        screen.paint(Look::Strong, &head),
        for_terminal(&entry.scope.to_string()),
        screen.paint(look, &words)
    );
    screen.line(line);
    for text in entry.text.lines() {
        screen.line(format!("    {}", for_terminal(text)));
    }
    let (name, user) = (for_terminal(&entry.name), for_terminal(&entry.user));
    let (trust, since) = (entry.trust.word(), since(&entry.at));
    let source = entry.source.as_ref().map(|it| for_terminal(it));
    let mut facts = match (entry.trust, source) {
        // Whoever brings a text in has not written it.
        (Trust::Tool | Trust::External, source) => {
            let origin = source.map(|it| format!(", from {it}")).unwrap_or_default();
            vec![
                format!("written elsewhere (trust {trust}){origin}"),
                format!("added by {name} ({user}), {since}"),
            ]
        }
        (Trust::Human | Trust::Agent, source) => {
            let mut facts = vec![format!("written by {name} ({user}, trust {trust}), {since}")];
            facts.extend(source.map(|it| format!("from {it}")));
            facts
        }
    };
    facts.extend(entry.supersedes.map(|it| format!("supersedes {it}")));
    facts.extend(entry.approved_by.as_ref().map(|it| format!("approved by {}", for_terminal(it))));
    facts.extend(entry.revoked_by.as_ref().map(|it| format!("revoked by {}", for_terminal(it))));
    facts.extend(entry.reason.as_ref().map(|it| for_terminal(it)));
    let facts = screen.paint(Look::Faint, &format!("    {}", facts.join("; ")));
    screen.line(facts);
}

/// Says what became of an addition.
fn added(screen: &mut Screen, scope: &Scope, added: &InstructionAdded) {
    let id = if *scope == Scope::Org { format!("org:{}", added.id) } else { added.id.to_string() };
    screen.line(match (added.already, added.in_force) {
        (true, _) => format!("{id} was there already"),
        (false, true) => format!("{id} is in force"),
        (false, false) => {
            format!("{id} awaits a person's approval: `cotenant instruction approve {id}`")
        }
    });
}
