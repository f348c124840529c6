//! `cotenant status`: the page a person wants first.

use std::collections::BTreeMap;

use cotenant_core::{
    Code, Error, Result,
    claim::{Holding, HoldingState, Mode},
    clock::in_words,
    render::{counted, for_terminal},
    session::{SessionView, State},
    status::{ShowStatus, Status},
};

use super::progress::progress_table;
use crate::{
    config,
    context::Context,
    exit::Exit,
    output::{Look, Screen, Table, ago, in_time, item_words, since},
};

/// Show who is here, on what, since when, holding what
///
/// Your own session is marked with `*`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant status
  cotenant status --json | jq -r '.data.sessions[].name'")]
pub(crate) struct Args {
    /// At most so many sessions, the newest first, with what these hold
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: &Args) -> Result<Exit> {
    let reply = match context.ask(&ShowStatus { limit: args.limit, session: None, open: true }) {
        // A project without a store is in order: nobody has been here yet.
        Err(error) if error.code == Code::NotFound && !screen.json() => {
            nobody_yet(screen, &error);
            return Ok(Exit::SUCCESS);
        }
        reply => reply?,
    };
    if screen.json() {
        screen.envelope(&reply);
        return Ok(Exit::SUCCESS);
    }
    let own = context.own_session()?.map(|own| own.answer.session.session.0);
    let stale_after = config::load(context.project()?)?.stale_after();
    screen.answer::<ShowStatus>(&reply, |screen, status| {
        Page { status: &status, own: own.as_deref(), stale_after }.print(screen);
    })?;
    Ok(Exit::SUCCESS)
}

fn nobody_yet(screen: &mut Screen, error: &Error) {
    screen.line("nobody has signed on in this project yet");
    screen.line(format!("  {}", for_terminal(&error.message)));
    screen.line(
        "  `cotenant init` sets the project up for agents; `cotenant claim issue:1` signs you on",
    );
}

/// What the page shows.
struct Page<'a> {
    status: &'a Status,
    own: Option<&'a str>,
    stale_after: u64,
}

impl Page<'_> {
    fn print(&self, screen: &mut Screen) {
        let status = self.status;
        if status.sessions.is_empty() {
            screen.line(format!(
                "nobody is signed on; ever here: {}; stored: {}",
                counted(status.sessions_ever, "session"),
                counted(status.keys, "key")
            ));
            screen.line("  `cotenant claim issue:1` signs you on; `cotenant session list --all` shows who was here");
        } else {
            self.print_sessions(screen);
        }
        self.print_holdings(screen);
        let tasks = status.tasks.in_words();
        if !tasks.is_empty() {
            screen.gap();
            screen.line(format!("tasks: {tasks}"));
        }
        self.print_progress(screen);
        self.print_offers(screen);
        self.print_barriers(screen);
        if !status.sessions.is_empty() {
            screen.gap();
            let summary = format!(
                "{} of {} live, {}, {}",
                status.sessions_live,
                counted(status.sessions_ever, "session"),
                counted(status.keys, "key"),
                counted(status.seq.0.unsigned_abs(), "event")
            );
            screen.line(screen.paint(Look::Faint, &summary));
        }
    }

    fn print_sessions(&self, screen: &mut Screen) {
        let mut table = Table::new(["", "SESSION", "KIND", "SINCE", "HEARD OF", "HOLDS", "ON", ""]);
        let held = self.held();
        for session in &self.status.sessions {
            let own = self.own == Some(session.session.0.as_str());
            let holds = held.get(session.session.0.as_str()).map_or(&[][..], Vec::as_slice);
            let (look, remark) = self.remark(session);
            table.styled_row([
                (Look::Good, if own { "*" } else { "" }.to_owned()),
                (Look::Strong, session.name.clone()),
                (Look::Plain, session.kind.clone()),
                (Look::Plain, since(&session.since)),
                (Look::Plain, ago(session.heartbeat_age_ms)),
                (
                    Look::Plain,
                    if holds.is_empty() { String::new() } else { holds.len().to_string() },
                ),
                (Look::Plain, session.purpose.clone().unwrap_or_else(|| on_what(holds))),
                (look, remark),
            ]);
        }
        screen.table(&table);
        let hidden = self.status.sessions_live.saturating_sub(self.status.sessions.len() as u64);
        if hidden > 0 {
            screen.line(format!("and {hidden} more; `cotenant status --limit 1000`"));
        }
    }

    fn held(&self) -> BTreeMap<&str, Vec<&Holding>> {
        let mut held: BTreeMap<&str, Vec<&Holding>> = BTreeMap::new();
        for holding in self.status.holdings.iter().filter(|h| h.state == HoldingState::Held) {
            held.entry(holding.session.0.as_str()).or_default().push(holding);
        }
        held
    }

    fn remark(&self, session: &SessionView) -> (Look, String) {
        if session.process_alive == Some(false) {
            return (
                Look::Warning,
                "its process is gone; `cotenant session reap` frees what it holds".to_owned(),
            );
        }
        if session.possibly_abandoned || session.heartbeat_age_ms >= self.stale_after {
            return (Look::Warning, "possibly abandoned".to_owned());
        }
        match session.state {
            State::Silent => (Look::Faint, "quiet, its process lives".to_owned()),
            _ => (Look::Plain, String::new()),
        }
    }

    fn print_progress(&self, screen: &mut Screen) {
        if !self.status.progress.is_empty() {
            screen.gap();
            screen.table(&progress_table(&self.status.progress));
        }
    }

    fn print_offers(&self, screen: &mut Screen) {
        let mut table = Table::new(["OFFER", "FROM", "TO", "ITEMS", "ENDS"]);
        for offer in &self.status.offers {
            let items: Vec<String> = offer.items.iter().map(ToString::to_string).collect();
            let gone = if offer.from_is_live { "" } else { ", who has left" };
            table.styled_row([
                (Look::Strong, offer.offer.to_string()),
                (Look::Plain, format!("{}{gone}", offer.from_name)),
                (Look::Plain, offer.to.to_string()),
                (Look::Plain, items.join(", ")),
                (Look::Plain, in_time(offer.expires_in_ms)),
            ]);
        }
        if !table.is_empty() {
            screen.gap();
            screen.table(&table);
        }
    }

    fn print_barriers(&self, screen: &mut Screen) {
        let mut table = Table::new(["BARRIER", "THERE", "ARRIVED", "ENDS"]);
        for barrier in &self.status.barriers {
            table.styled_row([
                (Look::Strong, barrier.name.clone()),
                (Look::Plain, format!("{} of {}", barrier.arrived.len(), barrier.parties)),
                (Look::Plain, barrier.arrived.join(", ")),
                (Look::Plain, in_time(barrier.expires_in_ms)),
            ]);
        }
        if !table.is_empty() {
            screen.gap();
            screen.table(&table);
        }
    }

    fn print_holdings(&self, screen: &mut Screen) {
        let mut table = Table::new(["HELD", "BY", "STATE", "FOR", "ENDS", "WHAT FOR"]);
        for holding in &self.status.holdings {
            table.styled_row(row(holding));
        }
        if !table.is_empty() {
            screen.gap();
            screen.table(&table);
        }
    }
}

/// What a session that does not say it is probably about: what it decided to hold.
fn on_what(holds: &[&Holding]) -> String {
    let decided: Vec<String> = holds
        .iter()
        .filter(|holding| !holding.automatic)
        .map(|holding| item_words(holding))
        .collect();
    match &decided[..] {
        [first, second, _, ..] => format!("{first}, {second}, …"),
        few => few.join(", "),
    }
}

fn row(holding: &Holding) -> [(Look, String); 6] {
    let (look, state) = match (holding.state, holding.mode) {
        (HoldingState::Cooling, _) => (Look::Warning, "cooling"),
        (HoldingState::Waiting, _) => (Look::Faint, "waits"),
        (HoldingState::Held, Mode::Advisory) => (Look::Plain, "advisory"),
        (HoldingState::Held, Mode::Exclusive) if holding.automatic => (Look::Plain, "edited"),
        (HoldingState::Held, Mode::Exclusive) => (Look::Plain, "held"),
    };
    [
        (Look::Strong, item_words(holding)),
        (Look::Plain, holding.name.clone()),
        (look, state.to_owned()),
        (Look::Plain, in_words(holding.held_for_ms)),
        (Look::Plain, holding.expires_in_ms.map(in_time).unwrap_or_default()),
        (Look::Plain, holding.note.clone().unwrap_or_default()),
    ]
}
