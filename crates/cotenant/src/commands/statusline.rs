//! `cotenant statusline`.

use std::{
    io::{IsTerminal as _, Read as _},
    path::PathBuf,
    time::Duration,
};

use cotenant_core::{
    claim::{Holding, Who},
    metric::{Numbers, ReportMetrics, names},
    pressure::{Filling, pressure},
    render::{cut, for_terminal},
    session::{SessionView, ShowSession},
};
use serde_json::Value;

use crate::{
    config,
    context::{Context, native_reference},
    exit::Exit,
    hook::measure,
    output::{Screen, item_words},
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
/// Reads the agent's figures on standard input and reports cost and context from them. It always succeeds.
/// In `.claude/settings.json`: `"statusLine": {"type": "command", "command": "cotenant statusline"}`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant statusline < payload.json    `claude_1 · issue:15 · 42.5 % elevated`")]
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

pub(super) fn run(context: &Context, screen: &mut Screen) -> Exit {
    let mut text = String::new();
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        // An agent that says nothing is told nothing.
        let _ = stdin.lock().take(PAYLOAD_BYTES_MAX).read_to_string(&mut text);
    }
    let Some(payload) = Payload::read(&text) else {
        screen.line("cotenant");
        return Exit::SUCCESS;
    };
    let directory = payload.directory.clone().filter(|it| it.is_absolute());
    let directory = directory.or_else(|| crate::env::working_directory().ok()).unwrap_or_default();
    let context = Context::new(context.options().clone(), directory).in_a_hurry(PATIENCE);
    screen.line(line(&context, &payload));
    Exit::SUCCESS
}

fn line(context: &Context, payload: &Payload) -> String {
    let mut parts = Vec::new();
    let session = session(context, &payload.native_id);
    if let Some(session) = &session {
        report(context, payload, session);
        parts.push(for_terminal(&session.name));
        let holdings = context.call(&Who::default()).map(|found| found.answer.holdings);
        parts.extend(things(session, &holdings.unwrap_or_default()));
    } else {
        parts.push("cotenant".to_owned());
    }
    if let Some(context_tokens) = payload.context {
        let limits = context.project().map(config::limits).unwrap_or_default();
        let filling = Filling {
            context_tokens,
            context_window: limits.window.or(payload.window),
            ..Filling::default()
        };
        let pressure = pressure(&filling, &limits.tokens);
        parts.push(format!("{} % {}", pressure.percent(), pressure.level.word()));
    }
    parts.join(" · ")
}

/// The live session of a conversation.
fn session(context: &Context, native_id: &str) -> Option<SessionView> {
    let session = native_reference("claude", native_id);
    let found = context.call(&ShowSession { session }).ok()?;
    Some(found.answer.session).filter(|session| session.state.is_live())
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
    let _ = context.submit(cotenant_core::store::Request::new(operation).by(actor));
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
