//! Who is here.

use std::{borrow::Cow, collections::HashMap};

use cotenant_core::{
    Code, Error, Result,
    claim::{Holding, HoldingState},
    clock::in_words,
    event::Read,
    render::Part,
    session::{self, SessionView, SignedOff},
    status::ShowStatus,
    store::Actor,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Call, Manner, Output, Tool,
    work::{offer_facts, progress_facts},
};
use crate::mcp::answer::{facts, named, short};

/// The most sessions that an answer lists.
const SESSIONS_MAX: u32 = 50;
/// The most lines of the log that an answer shows.
const LINES_MAX: u32 = 50;
/// The most things that an answer lists as held by one session.
const HOLDS_MAX: usize = 20;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SignOn {
    /// Your name, e.g. `claude_1`; drawn when absent
    session_id: Option<String>,
    /// What you are here for, in a few words
    purpose: Option<String>,
}

impl Tool for SignOn {
    const NAME: &'static str = "sign_on";
    const ABOUT: &'static str = "Take part under a name of your own, and learn who else is here. \
        Optional: your first write signs you on too. Refused with AGENT_BUSY if another live \
        process has the name.";
    const MANNER: Manner = Manner::Sets;

    fn run(self, call: &Call<'_>) -> Result<Output> {
        let signed = call.host.sign_on(call.caller, self.session_id, self.purpose)?;
        // Tells the heartbeat whom to keep; what it finds is the session just signed on.
        let _ = call.find();
        let mut answer = Map::new();
        let mut add = |name: &str, value: Value| answer.insert(name.to_owned(), value);
        add("name", json!(signed.name));
        add("session", json!(signed.session));
        add("ns", json!(signed.ns));
        add("existing", json!(signed.existing));
        if let Some(other) = &signed.forked_from {
            add("forked_from", json!(other));
        }
        if !signed.inherited.is_empty() {
            add("inherited", signed.inherited.iter().map(facts).collect());
        }
        // The sign-on has happened, whatever becomes of the look around.
        if let Ok(status) =
            call.read(&ShowStatus { limit: Some(SESSIONS_MAX), session: None, open: false })
        {
            let holds = holds(&status.holdings);
            let others = status.sessions.iter().filter(|view| view.session != signed.session);
            add("others", others.map(|view| view_facts(view, &holds)).collect());
        }
        Ok(Output::Facts(Value::Object(answer)))
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SignOff {
    /// A last word for whoever comes next
    note: Option<String>,
}

impl Tool for SignOff {
    const NAME: &'static str = "sign_off";
    const ABOUT: &'static str = "End your session: gives back all you hold. Open offers stand.";
    const MANNER: Manner = Manner::Destroys;

    fn run(self, call: &Call<'_>) -> Result<Output> {
        let mut operation = session::SignOff { outcome: None, note: self.note };
        cotenant_core::Operation::check(&mut operation)?;
        let answer = match call.find()? {
            Some(actor) => match call.as_actor(&operation, &actor, &[]) {
                Err(error) if matches!(error.code, Code::SessionEnded | Code::SessionLost) => {
                    gone()
                }
                other => other?,
            },
            None => gone(),
        };
        Ok(Output::Facts(json!(answer)))
    }
}

fn gone() -> SignedOff {
    SignedOff { already: true, ..SignedOff::default() }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Status {
    /// Also so many of the newest lines of `log_event`, up to 50
    #[serde(default)]
    log: u32,
}

impl Tool for Status {
    const NAME: &'static str = "status";
    const ABOUT: &'static str = "Who is here, for what, since when, holding what. Look before you \
        choose work.";
    const MANNER: Manner = Manner::Reads;

    fn run(self, call: &Call<'_>) -> Result<Output> {
        if self.log > LINES_MAX {
            return Err(Error::invalid(format!("`log` is {}; at most {LINES_MAX}", self.log)));
        }
        // Who cannot act as its session, for lack of its token, may still look around.
        let you = call.find().ok().flatten();
        let session = you.as_ref().map(|actor| actor.session.clone());
        let status = call.read(&ShowStatus { limit: Some(SESSIONS_MAX), session, open: false })?;
        let holds = holds(&status.holdings);
        let is_you = |view: &SessionView, actor: &Actor| {
            view.session.0 == actor.session.0 || view.name == actor.session.0
        };
        let you = status.sessions.iter().find(|view| you.as_ref().is_some_and(|a| is_you(view, a)));
        let unheld = |state: HoldingState| -> Vec<Value> {
            status.holdings.iter().filter(|held| held.state == state).map(facts).collect()
        };
        let mut answer = Map::new();
        let mut add = |name: &str, value: Value| answer.insert(name.to_owned(), value);
        add("you", json!(you.map(|view| &view.name)));
        add("sessions", status.sessions.iter().map(|view| view_facts(view, &holds)).collect());
        if status.sessions_live > status.sessions.len() as u64 {
            add("sessions_live", json!(status.sessions_live));
        }
        for (name, state) in
            [("cooling", HoldingState::Cooling), ("waiting", HoldingState::Waiting)]
        {
            let rows = unheld(state);
            if !rows.is_empty() {
                add(name, Value::Array(rows));
            }
        }
        let tasks = status.tasks.in_words();
        if !tasks.is_empty() {
            add("tasks", json!(tasks));
        }
        if !status.progress.is_empty() {
            add("progress", status.progress.iter().map(progress_facts).collect());
        }
        if let Some(waiting) = status.waiting.filter(|it| it.unread > 0 || !it.offers.is_empty()) {
            add("unread", json!(waiting.unread));
            add("offers", waiting.offers.iter().map(offer_facts).collect());
        }
        add("keys", json!(status.keys));
        add("events", json!(status.seq));
        if self.log > 0 {
            add("log", json!(log(call, self.log)?));
        }
        Ok(Output::Facts(Value::Object(answer)))
    }
}

/// The newest lines that sessions wrote to the log, oldest first, as quotations.
fn log(call: &Call<'_>, lines: u32) -> Result<String> {
    let read = Read {
        after: None,
        last: Some(lines),
        kind: Some("user.*".to_owned()),
        scope: None,
        session: None,
        limit: LINES_MAX,
        wait_ms: None,
    };
    let parts: Vec<Part> = call
        .read(&read)?
        .events
        .into_iter()
        .flat_map(|event| {
            let fact = format!("event {}, {}, {}:", event.seq, event.kind, event.at);
            let text = event.payload.map_or_else(String::new, |payload| payload.text().to_owned());
            [Part::Fact(fact), Part::Quote { writer: event.name, trust: event.trust, text }]
        })
        .collect();
    call.framed(&parts)
}

/// What each session holds, by its id.
fn holds(holdings: &[Holding]) -> HashMap<&str, Vec<Cow<'_, str>>> {
    let mut holds: HashMap<&str, Vec<Cow<'_, str>>> = HashMap::new();
    for holding in holdings.iter().filter(|holding| holding.state == HoldingState::Held) {
        holds.entry(&holding.session.0).or_default().push(named(&holding.resource));
    }
    holds
}

/// One session as facts.
fn view_facts(view: &SessionView, holds: &HashMap<&str, Vec<Cow<'_, str>>>) -> Value {
    let mut facts = Map::new();
    let mut add = |name: &str, value: Value| facts.insert(name.to_owned(), value);
    add("name", json!(view.name));
    add("kind", json!(view.kind));
    add("user", json!(view.user));
    if let Some(purpose) = &view.purpose {
        add("purpose", json!(short(purpose)));
    }
    add("since", json!(view.since));
    add("heard_of", json!(format!("{} ago", in_words(view.heartbeat_age_ms))));
    if view.possibly_abandoned {
        add("possibly_abandoned", json!(true));
    }
    if let Some(held) = holds.get(view.session.0.as_str()) {
        add("holds", json!(held.iter().take(HOLDS_MAX).collect::<Vec<_>>()));
        if held.len() > HOLDS_MAX {
            add("holds_in_all", json!(held.len()));
        }
    }
    Value::Object(facts)
}
