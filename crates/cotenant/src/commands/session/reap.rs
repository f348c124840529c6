//! `cotenant session reap`.

use cotenant_core::{
    Result,
    name::SessionRef,
    render::for_terminal,
    session::{ListSessions, Reap, Reaped},
};
use serde::Serialize;

use super::{super::parse, list};
use crate::{complete, context::Context, exit::Exit, output::Screen};

/// Declare a session lost whose process is gone
///
/// What it held is free after the lock delay. Only a person ends a session whose process lives:
/// with `--force`, or all that were quiet for long with `--silent-for`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant session reap claude_1
  cotenant session reap --silent-for 2h")]
pub(crate) struct Args {
    /// The session, by id or live name
    #[arg(
        value_name = "NAME",
        required_unless_present = "silent_for",
        conflicts_with = "silent_for",
        add = complete::sessions()
    )]
    name: Option<String>,
    /// Even if its process lives; people only
    #[arg(long)]
    force: bool,
    /// All that were quiet for at least this long; people only
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    silent_for: Option<u64>,
}

/// What a reaping of several sessions did.
#[derive(Serialize)]
struct ReapedAll {
    reaped: Vec<Reaped>,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    context.store()?;
    if let Some(name) = args.name {
        let reply = context.ask(&Reap { session: SessionRef(name), force: args.force })?;
        screen.answer::<Reap>(&reply, |screen, reaped| print(screen, &reaped))?;
        return Ok(Exit::SUCCESS);
    }
    let operation = ListSessions {
        all: false,
        kind: None,
        label: None,
        silent_for_ms: args.silent_for,
        handoff_ready: false,
        after: None,
        limit: cotenant_core::data::PAGE_MAX,
    };
    let found = list::pages(context, operation, usize::MAX)?;
    let (mut seq, mut tick) = (found.seq, found.tick);
    let mut all = ReapedAll { reaped: Vec::new() };
    // Whoever asks is here, however quiet the session was.
    let own = context.own_session()?.map(|own| own.answer.session.session);
    for session in found.answer.sessions {
        if own.as_ref() == Some(&session.session) {
            continue;
        }
        let answered =
            context.call_aside(&Reap { session: SessionRef(session.session.0), force: true })?;
        (seq, tick) = (answered.seq, answered.tick);
        all.reaped.push(answered.answer);
    }
    if screen.json() {
        screen.data(&all, seq, tick)?;
    } else if all.reaped.is_empty() {
        screen.line("no session was quiet for that long");
    } else {
        all.reaped.iter().for_each(|reaped| print(screen, reaped));
    }
    Ok(Exit::SUCCESS)
}

fn print(screen: &mut Screen, reaped: &Reaped) {
    let name = for_terminal(&reaped.name);
    if reaped.already {
        screen.line(format!("{name} was over before ({})", for_terminal(&reaped.reason)));
    } else {
        screen.line(format!("{name} is lost ({})", for_terminal(&reaped.reason)));
    }
}
