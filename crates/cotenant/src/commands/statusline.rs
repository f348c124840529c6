//! `cotenant statusline`.

use std::{
    io::{IsTerminal as _, Read as _},
    path::PathBuf,
    time::Duration,
};

use cotenant_core::{
    claim::{Holding, Who},
    id::{Seq, Tick},
    metric::{Numbers, ReportMetrics, ShowMetrics, names},
    name::SessionRef,
    pressure::{Filling, Pressure, pressure},
    render::{cut, for_terminal},
    session::{SessionView, ShowSession},
    store::Request,
};
use serde::Serialize;
use serde_json::Value;

use crate::{
    config,
    context::{Context, native_reference},
    env,
    exit::Exit,
    hook::measure,
    output::{Screen, item_words},
    thresholds,
};

/// How long the store may keep the line waiting.
const PATIENCE: Duration = Duration::from_millis(200);
/// How often the agent's figures are reported at most.
const REPORT_EVERY: Duration = Duration::from_secs(5);
/// The most that is read.
const PAYLOAD_BYTES_MAX: u64 = 1024 * 1024;
/// How many things are named.
const THINGS_MAX: usize = 3;

/// Print a status line for Claude Code: session, claims, pressure; agents call this
///
/// Reads the agent's figures on standard input and reports cost and context from them. With `--session` it shows that
/// session as it was last reported; with `--json` what it shows, in parts. It always succeeds. In `.claude/settings.json`: `"statusLine": {"type": "command", "command": "cotenant statusline"}`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant statusline < payload.json    `claude_1 · issue:15 · 42.5 % elevated`
  cotenant statusline --session claude_1 < /dev/null")]
pub(crate) struct Args {}

/// What the agent says of itself.
struct Payload {
    native_id: String,
    directory: Option<PathBuf>,
    context: Option<i64>,
    window: Option<i64>,
    cost_microusd: Option<i64>,
}

impl Payload {
    fn read(text: &str) -> Option<Self> {
        let payload: Value = serde_json::from_str(text).ok()?;
        let window = &payload["context_window"];
        let number = |value: &Value| value.as_i64().filter(|number| *number >= 0);
        let dollars = payload["cost"]["total_cost_usd"].as_f64();
        let workspace = payload["workspace"]["project_dir"].as_str().or(payload["cwd"].as_str());
        Some(Self {
            native_id: payload["session_id"].as_str()?.to_owned(),
            directory: workspace.map(PathBuf::from),
            context: number(&window["total_input_tokens"]),
            window: number(&window["context_window_size"]).filter(|window| *window > 0),
            // A cost has few digits; what is beyond a millionth does not matter.
            #[expect(clippy::cast_possible_truncation, reason = "a cost is small")]
            cost_microusd: dollars.filter(|it| *it >= 0.0).map(|it| (it * 1e6).round() as i64),
        })
    }
}

/// What the line says, in parts.
#[derive(Default, Serialize)]
struct Shown {
    line: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// What it holds, in few words.
    #[serde(skip_serializing_if = "Option::is_none")]
    holds: Option<String>,
    /// The score in per cent, as text, so that its one digit is exact.
    #[serde(skip_serializing_if = "Option::is_none")]
    percent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pressure: Option<Pressure>,
}

pub(super) fn run(context: &Context, screen: &mut Screen) -> Exit {
    let mut text = String::new();
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        // An agent that says nothing is told nothing.
        let _ = stdin.lock().take(PAYLOAD_BYTES_MAX).read_to_string(&mut text);
    }
    let payload = Payload::read(&text);
    let directory = payload.as_ref().and_then(|payload| payload.directory.clone());
    let directory = directory.filter(|it| it.is_absolute());
    let directory = directory.or_else(|| crate::env::working_directory().ok()).unwrap_or_default();
    let context = Context::new(context.options().clone(), directory).in_a_hurry(PATIENCE);
    let shown = look(&context, payload.as_ref());
    if screen.json() {
        // It always succeeds: what cannot be written is left out.
        let _ = screen.data(&shown, Seq(0), Tick(0));
    } else {
        screen.line(&shown.line);
    }
    Exit::SUCCESS
}

fn look(context: &Context, payload: Option<&Payload>) -> Shown {
    let mut shown = Shown::default();
    let limits = context.project().map(config::limits).unwrap_or_default();
    let native = payload.map(|payload| native_reference("claude", &payload.native_id));
    // As with hooks, a session that is named and live is the one that is meant.
    let named = context.options().session.clone().or_else(|| env::text(env::SESSION));
    let named = named.and_then(|name| session(context, SessionRef(name)));
    let found = named.or_else(|| session(context, native?));
    // The figures of one conversation are not those of a session that somebody else names.
    let own = payload.filter(|payload| {
        context.options().session.is_none()
            || found.as_ref().is_none_or(|it| it.native_id.as_ref() == Some(&payload.native_id))
    });
    if let Some(session) = &found {
        if let Some(payload) = own {
            report(context, payload, session);
        }
        let holdings = context.call(&Who::default()).map(|found| found.answer.holdings);
        shown.holds = things(session, &holdings.unwrap_or_default());
        shown.session = Some(session.session.0.clone());
        shown.name = Some(for_terminal(&session.name));
    }
    let filling = match (own.and_then(|payload| Some((payload, payload.context?))), &found) {
        (Some((payload, context_tokens)), _) => {
            Some(Filling { context_tokens, context_window: payload.window, ..Filling::default() })
        }
        (None, Some(session)) => reported(context, session),
        (None, None) => None,
    };
    if let Some(filling) = filling {
        let pressure = pressure(&limits.over(filling), &limits.tokens);
        shown.percent = Some(pressure.percent());
        shown.pressure = Some(pressure);
    }
    shown.line = line(&shown);
    shown
}

fn line(shown: &Shown) -> String {
    let mut parts = vec![shown.name.clone().unwrap_or_else(|| "cotenant".to_owned())];
    parts.extend(shown.holds.clone());
    parts.extend(shown.pressure.map(|it| format!("{} % {}", it.percent(), it.level.word())));
    parts.join(" · ")
}

/// A live session.
fn session(context: &Context, session: SessionRef) -> Option<SessionView> {
    let found = context.call(&ShowSession { session }).ok()?;
    Some(found.answer.session).filter(|session| session.state.is_live())
}

/// What was reported of a session, if anything was.
fn reported(context: &Context, session: &SessionView) -> Option<Filling> {
    let reference = SessionRef(session.session.0.clone());
    let show = ShowMetrics { session: Some(reference), all: true, by: None };
    let metrics = context.call(&show).ok()?.answer.sessions.pop()?;
    let is_known = !metrics.gauges.is_empty() || !metrics.conversation.is_empty();
    is_known.then(|| metrics.filling())
}

/// What a session holds, in few words.
fn things(session: &SessionView, holdings: &[Holding]) -> Option<String> {
    let mine = holdings.iter().filter(|it| it.session == session.session);
    let (edited, decided): (Vec<&Holding>, Vec<&Holding>) = mine.partition(|it| it.automatic);
    let mut named: Vec<String> = decided
        .iter()
        .take(THINGS_MAX)
        .map(|it| cut(&for_terminal(&item_words(it)), 30).to_owned())
        .collect();
    if decided.len() > THINGS_MAX {
        named.push(format!("{} more", decided.len() - THINGS_MAX));
    }
    match edited.len() {
        0 => {}
        1 => named.push("1 file".to_owned()),
        files => named.push(format!("{files} files")),
    }
    (!named.is_empty()).then(|| named.join(", "))
}

/// Reports the agent's figures, seldom. Whatever goes wrong, the line is printed.
fn report(context: &Context, payload: &Payload, session: &SessionView) {
    let Ok(project) = context.project() else { return };
    let path = measure::path(&project.home, "claude", &payload.native_id);
    if measure::reported_within(&path, REPORT_EVERY) {
        return;
    }
    if payload.window.is_some() {
        let mut used = measure::load(&path);
        if used.window != payload.window {
            used.window = payload.window;
            measure::keep(&path, &used);
        }
    }
    let Ok(actor) = context.actor_for(session) else { return };
    let gauges =
        [(names::CONTEXT_TOKENS, payload.context), (names::CONTEXT_WINDOW, payload.window)];
    let operation = ReportMetrics {
        source: "statusline".into(),
        // The agent says what all of its session cost, whatever models it had.
        model: None,
        counters: payload
            .cost_microusd
            .map(|cost| (names::COST.to_owned(), cost))
            .into_iter()
            .collect(),
        gauges: gauges
            .into_iter()
            .filter_map(|(name, number)| Some((name.to_owned(), number?)))
            .collect::<Numbers>(),
        seq: measure::now_ms(),
        thresholds: Vec::new(),
    };
    if context.submit(Request::new(operation.clone()).by(actor.clone())).is_ok() {
        let _ = thresholds::cross(context, &actor, &operation.source);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_payload_is_read() {
        let text = include_str!("../../tests/fixtures/statusline.json");
        let payload = Payload::read(text).unwrap();
        assert_eq!((payload.context, payload.window), (Some(23_877), Some(1_000_000)));
        assert_eq!(payload.cost_microusd, Some(226_890));
        assert!(Payload::read("{}").is_none() && Payload::read("nope").is_none());
    }
}
