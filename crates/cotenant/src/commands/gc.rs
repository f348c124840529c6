//! `cotenant gc`.

use cotenant_core::{
    Code, Error, Result,
    id::{Seq, Tick},
    render::{counted, for_terminal},
    retention::{Leftover, Leftovers, ListLeftovers, REMOVED_MAX, RemoveLeftovers},
};
use serde::Serialize;

use super::{carry::Meter, parse};
use crate::{
    ask::consent,
    config,
    context::{Caller, Context},
    exit::Exit,
    output::{Screen, Table, ago},
};

/// Sessions that a person is shown.
const SHOWN: u32 = 20;

/// Remove what sessions left behind that ended long ago
///
/// That is their rows, names and tokens, keys that should have gone with them, keys under
/// `session:NAME` that nobody wrote since, and the marks of readers that were not heard of. Events
/// stay, and so does every session that another one came from which stays, or that holds something.
/// The age is time of the store's clock, which stands still while the machine is off. Anybody may look with
/// `--dry-run`; only a person may remove, so an agent is refused with 77.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant gc --dry-run                    what would go
  cotenant gc --older-than 90d --yes       without asking
  cotenant config show                     sessions.keep, the age when none is given")]
pub(crate) struct Args {
    /// Not heard of for so long, at least a day; as `sessions.keep` says when absent
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    older_than: Option<u64>,
    /// Show what would be removed, and change nothing
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Remove it without asking
    #[arg(long)]
    yes: bool,
}

/// What was removed, for `--json`.
#[derive(Default, Serialize)]
struct Removed {
    sessions: u64,
    keys: u64,
    consumers: u64,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: &Args) -> Result<Exit> {
    let older_than_ms = match args.older_than {
        Some(age) => age,
        None => config::load(context.project()?)?.sessions_keep(),
    };
    let limit = if screen.json() { cotenant_core::data::PAGE_MAX } else { SHOWN };
    let operation = ListLeftovers { older_than_ms, limit };
    let reply = context.ask(&operation)?;
    let found = crate::context::decode::<ListLeftovers>(&reply)?;
    if !args.dry_run {
        require_person(context)?;
    }
    if screen.json() && args.dry_run {
        screen.envelope(&reply);
        return Ok(Exit::SUCCESS);
    }
    if !screen.json() {
        show(screen, &found);
    }
    let is_empty = found.sessions_all == 0 && found.consumers == 0;
    if args.dry_run || (is_empty && !screen.json()) {
        return Ok(Exit::SUCCESS);
    }
    let question = format!("remove {}?", words(found.sessions_all, found.keys, found.consumers));
    if !is_empty && !args.yes && !consent(screen, &question, "--yes")? {
        screen.line("nothing was removed");
        return Ok(Exit::SUCCESS);
    }
    let (removed, seq, tick) = if is_empty {
        (Removed::default(), reply.seq, reply.tick)
    } else {
        remove(context, older_than_ms, found.sessions_all)?
    };
    if screen.json() {
        screen.data(&removed, seq, tick)?;
    } else {
        let Removed { sessions, keys, consumers } = removed;
        screen.line(format!("removed {}", words(sessions, keys, consumers)));
    }
    Ok(Exit::SUCCESS)
}

/// Refuses an agent before it is asked anything, and whether or not there is something to remove.
fn require_person(context: &Context) -> Result<()> {
    context.prepare::<RemoveLeftovers>()?;
    let is_person = match context.caller() {
        Caller::Named(_) => match context.own_session()? {
            Some(own) => own.answer.session.kind == "human",
            None => context.actor().map(|_| false)?,
        },
        Caller::Person { .. } => true,
        Caller::Conversation { .. } | Caller::Agent { .. } | Caller::Nobody => false,
    };
    if is_person {
        return Ok(());
    }
    Err(Error::new(Code::Forbidden, "only a person may remove what others left behind")
        .hint("`cotenant gc --dry-run` shows it to anybody; a person removes it at a terminal"))
}

fn show(screen: &mut Screen, found: &Leftovers) {
    if !found.sessions.is_empty() {
        let mut table = Table::new(["SESSION", "KIND", "STATE", "HEARD OF", "KEYS"]);
        for Leftover { name, kind, state, heartbeat_age_ms, keys, .. } in &found.sessions {
            let (name, kind) = (for_terminal(name), for_terminal(kind));
            table.row([name, kind, state.word().into(), ago(*heartbeat_age_ms), keys.to_string()]);
        }
        screen.table(&table);
    }
    let more = found.sessions_all - found.sessions.len() as u64;
    if more > 0 {
        screen.line(format!("and {more} more"));
    }
    screen.line(format!("to remove: {}", words(found.sessions_all, found.keys, found.consumers)));
    if found.kept > 0 {
        screen.line(format!(
            "{} stay, because others came from them or they hold something",
            found.kept
        ));
    }
}

fn words(sessions: u64, keys: u64, consumers: u64) -> String {
    let mut words = format!("{} and {}", counted(sessions, "session"), counted(keys, "key"));
    if consumers > 0 {
        words = format!("{words}, {}", counted(consumers, "reader's mark"));
    }
    words
}

/// Removes page by page, each in a transaction of its own, so that nobody waits for long.
fn remove(context: &Context, older_than_ms: u64, all: u64) -> Result<(Removed, Seq, Tick)> {
    let tokens = context.tokens()?;
    let mut meter = Meter::new();
    let mut removed = Removed::default();
    let mut operation = RemoveLeftovers { older_than_ms, after: None, limit: REMOVED_MAX };
    loop {
        let page = context.call_aside(&operation)?;
        for session in &page.answer.sessions {
            removed.sessions += 1;
            removed.keys += session.keys;
            tokens.forget(&session.token_digest);
            let noted = tokens.noted(&session.name);
            if noted.is_some_and(|actor| actor.token_digest == session.token_digest) {
                tokens.forget_note(&session.name);
            }
        }
        removed.consumers += page.answer.consumers;
        meter.say(|| format!("removed {} of {all} sessions", removed.sessions));
        operation.after = page.answer.next;
        if operation.after.is_none() {
            meter.clear();
            return Ok((removed, page.seq, page.tick));
        }
    }
}
