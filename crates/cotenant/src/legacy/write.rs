//! Writes the files of other tools: the history, and a directory for each session.

use std::{fs, io, path::Path};

use cotenant_core::{
    Code, Error, Result,
    instruction::{Instruction, Standing},
    metric::{SessionMetrics, ShowMetrics},
    pressure::{CHECKPOINTS as PERCENTS, pressure},
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Own;
use crate::{config::Limits, context::Context};

/// What was written.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Written {
    pub(crate) instructions: u64,
    pub(crate) sessions: u64,
    /// Files whose content is new.
    pub(crate) changed: u64,
}

/// Writes everything below a directory.
pub(crate) fn write(context: &Context, directory: &Path, limits: &Limits) -> Result<Written> {
    let own = Own::find(context)?;
    let metrics = context.call(&ShowMetrics { session: None, all: true, by: None })?.answer;
    let Own { history, states, checkpoints, .. } = &own;
    let mut written = Written { instructions: history.len() as u64, ..Written::default() };
    let mut file = own.raw.get("file").and_then(Value::as_object).cloned().unwrap_or_default();
    let entries = history.iter().map(|entry| instruction(entry, &own)).collect();
    file.insert("instructions".to_owned(), Value::Array(entries));
    written.put(&directory.join("instruction-history.json"), &Value::Object(file))?;
    let mut seen = Vec::new();
    for session in &metrics.sessions {
        let added = history.iter().filter(|it| it.session.0 == session.session).count();
        let state = state(session, added, limits, states.get(&session.name));
        // An id is no name: it leads nowhere else.
        let place = directory.join("sessions").join(&session.session);
        written.put(&place.join("session-state.json"), &state)?;
        let marks = checkpoints_of(session, limits, checkpoints.get(&session.name));
        written.put(&place.join("token-checkpoints.json"), &marks)?;
        seen.push(session.name.as_str());
    }
    written.sessions = metrics.sessions.len() as u64;
    // Sessions of other tools are given back as they came.
    for (name, files) in [("session-state.json", states), ("token-checkpoints.json", checkpoints)] {
        for (session, value) in
            files.iter().filter(|(session, _)| !seen.contains(&session.as_str()))
        {
            let place = directory.join("sessions").join(Own::directory(session));
            written.put(&place.join(name), value)?;
        }
    }
    Ok(written)
}

/// An instruction as it came, with what has become of it.
pub(super) fn instruction(entry: &Instruction, own: &Own) -> Value {
    let id = own.id(entry);
    let came = entry.alias.as_ref().and_then(|alias| own.raw.get(alias)?.as_object()).cloned();
    let is_new = came.is_none();
    let mut fields = came.unwrap_or_default();
    let mut set = |name: &str, value: Value| {
        fields.insert(name.to_owned(), value);
    };
    set("id", id.into());
    set("active", (entry.standing == Standing::InForce).into());
    if is_new {
        set("text", entry.text.clone().into());
        set("timestamp", entry.at.clone().into());
        set("session_id", entry.name.clone().into());
        set("source", entry.source.clone().unwrap_or_else(|| entry.trust.word().into()).into());
    }
    set("scope", entry.scope.to_string().into());
    for (name, value) in [
        ("key", &entry.key),
        ("approved_by", &entry.approved_by),
        ("revoked_by", &entry.revoked_by),
    ] {
        if let Some(value) = value {
            set(name, value.clone().into());
        }
    }
    for (name, value) in [("supersedes", entry.supersedes), ("superseded_by", entry.superseded_by)]
    {
        if let Some(value) = value.filter(|_| is_new || name == "superseded_by") {
            let other = own.entry(value);
            set(name, other.map_or_else(|| value.to_string(), |it| own.id(it)).into());
        }
    }
    Value::Object(fields)
}

fn base(came: Option<&Value>) -> Map<String, Value> {
    came.and_then(Value::as_object).cloned().unwrap_or_default()
}

/// A session's state with every field that the architecture paper shows.
fn state(session: &SessionMetrics, added: usize, limits: &Limits, came: Option<&Value>) -> Value {
    let pressure = pressure(&limits.over(session.filling()), &limits.tokens);
    let count = |name: &str| session.counters.get(name).copied().unwrap_or(0);
    let mut activity = base(came.and_then(|came| came.get("framework_activity")));
    activity.insert("pressure_checks".to_owned(), count("pressure_checks").into());
    activity.insert("instructions_added".to_owned(), added.into());
    activity.insert("validations_run".to_owned(), count("validations_run").into());
    activity.insert("boundary_enforcements".to_owned(), count("boundary_enforcements").into());
    let mut fields = base(came);
    let budget = limits.over(session.filling()).budget.unwrap_or(pressure.context_window);
    // One digit is exact enough to be a number.
    let score: Value = pressure.percent().parse::<f64>().unwrap_or(0.0).into();
    let known = [
        ("session_id", session.name.clone().into()),
        ("created_at", session.since.clone().into()),
        ("token_budget", budget.into()),
        ("messages", session.filling().messages.into()),
        ("tokens_used", pressure.context_tokens.into()),
        ("pressure_score", score),
        ("status", pressure.level.word().to_uppercase().into()),
        ("framework_activity", Value::Object(activity)),
    ];
    fields.extend(known.map(|(name, value)| (name.to_owned(), value)));
    Value::Object(fields)
}

fn checkpoints_of(session: &SessionMetrics, limits: &Limits, came: Option<&Value>) -> Value {
    let window = pressure(&limits.over(session.filling()), &limits.tokens).context_window;
    let checkpoint = |percent: i64| {
        let event = session.crossed.get(&format!("tokens-{percent}"));
        json!({
            "percentage": percent,
            "tokens": window * percent / 100,
            "completed": event.is_some(),
            "event": event,
        })
    };
    let mut fields = base(came);
    fields.insert("session_id".to_owned(), session.name.clone().into());
    fields.insert("budget".to_owned(), window.into());
    fields.insert("checkpoints".to_owned(), PERCENTS.map(checkpoint).to_vec().into());
    Value::Object(fields)
}

impl Written {
    /// Writes a file, if that changes it, so that nobody reads half of it.
    fn put(&mut self, path: &Path, value: &Value) -> Result<()> {
        let text = format!("{value:#}\n");
        if fs::read_to_string(path).is_ok_and(|before| before == text) {
            return Ok(());
        }
        let directory = path.parent().unwrap_or(path);
        let draft = path.with_extension(format!("{}.draft", std::process::id()));
        let failed = |error: io::Error| {
            Error::new(Code::StoreIo, format!("cannot write `{}`", path.display())).caused_by(error)
        };
        fs::create_dir_all(directory).map_err(failed)?;
        fs::write(&draft, text).and_then(|()| fs::rename(&draft, path)).map_err(failed)?;
        self.changed += 1;
        Ok(())
    }
}
