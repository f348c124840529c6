//! `cotenant session list`.

use cotenant_core::{
    Result,
    session::{ListSessions, SessionView, Sessions},
    store::Answered,
};

use super::super::parse;
use crate::{
    context::Context,
    exit::Exit,
    output::{Look, Screen, Table, ago, since},
};

/// List sessions, the newest first
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant session list
  cotenant session list --all --kind claude
  cotenant session list --silent-for 2h
  cotenant session list --handoff-ready            whose work can be taken over")]
pub(crate) struct Args {
    /// Also those that were lost or have ended
    #[arg(long)]
    all: bool,
    /// Only this kind, e.g. `claude`
    #[arg(long)]
    kind: Option<String>,
    /// Only with this label
    #[arg(long, value_name = "WORD")]
    label: Option<String>,
    /// Only those quiet for at least this long
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    silent_for: Option<u64>,
    /// Those that signed off with an offer that nobody has taken yet
    #[arg(long, conflicts_with = "all")]
    handoff_ready: bool,
    /// At most so many; all when absent
    #[arg(long)]
    limit: Option<usize>,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    let filters = args.kind.is_some() || args.label.is_some() || args.silent_for.is_some();
    let none = match (args.all, filters || args.handoff_ready) {
        (true, false) => "no session was ever here",
        (true, true) => "no such sessions",
        (false, _) if args.handoff_ready => "no session is ready to be taken over",
        (false, false) => "no live sessions; `cotenant session list --all` shows past ones",
        (false, true) => "no such live sessions; `--all` looks at past ones too",
    };
    let operation = ListSessions {
        all: args.all,
        kind: args.kind,
        label: args.label,
        silent_for_ms: args.silent_for,
        handoff_ready: args.handoff_ready,
        after: None,
        limit: cotenant_core::data::PAGE_MAX,
    };
    let found = pages(context, operation, args.limit.unwrap_or(usize::MAX))?;
    if screen.json() {
        screen.data(&found.answer, found.seq, found.tick)?;
    } else if found.answer.sessions.is_empty() {
        screen.line(none);
    } else {
        screen.table(&table(&found.answer.sessions));
    }
    Ok(Exit::SUCCESS)
}

/// Lists all pages up to a number of sessions.
pub(super) fn pages(
    context: &Context,
    mut operation: ListSessions,
    limit: usize,
) -> Result<Answered<Sessions>> {
    let mut all = Vec::new();
    loop {
        let mut page = context.call(&operation)?;
        all.append(&mut page.answer.sessions);
        operation.after.clone_from(&page.answer.next);
        if all.len() >= limit || operation.after.is_none() {
            if all.len() > limit {
                all.truncate(limit);
                page.answer.next = all.last().map(|session| session.session.clone());
            }
            page.answer.sessions = all;
            return Ok(page);
        }
    }
}

/// Sessions as a table.
pub(super) fn table(sessions: &[SessionView]) -> Table {
    let mut table = Table::new(["SESSION", "KIND", "STATE", "SINCE", "HEARD OF", "PURPOSE", ""]);
    for session in sessions {
        let look = if session.state.is_live() { Look::Strong } else { Look::Faint };
        let remark = match (&session.reason, &session.outcome) {
            _ if session.possibly_abandoned && session.state.is_live() => {
                "possibly abandoned".to_owned()
            }
            (Some(reason), _) => reason.clone(),
            (None, Some(outcome)) => outcome.clone(),
            (None, None) => String::new(),
        };
        table.styled_row([
            (look, session.name.clone()),
            (Look::Plain, session.kind.clone()),
            (Look::Plain, session.state.word().to_owned()),
            (Look::Plain, since(&session.since)),
            (Look::Plain, ago(session.heartbeat_age_ms)),
            (Look::Plain, session.purpose.clone().unwrap_or_default()),
            (Look::Warning, remark),
        ]);
    }
    table
}
