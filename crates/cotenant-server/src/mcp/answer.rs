//! What a model reads: answers short, errors in one text.

use std::{fmt::Write as _, time::Duration};

use cotenant_core::{
    Error,
    claim::{Holding, HoldingState, Mode},
    clock::in_words,
    render,
};
use serde_json::{Map, Value, json};

/// The most bytes of details that an error shows besides its holders.
const DETAILS_BYTES_MAX: usize = 2_048;
/// The most holders that an error names.
const HOLDERS_MAX: usize = 20;

/// The answer of a tool.
pub(crate) enum Output {
    /// Facts, as structured content.
    Facts(Value),
    /// A JSON text that must arrive byte for byte.
    Exact(String),
    /// Nothing of what the call waits for, so far.
    NotYet {
        /// Until when it waits.
        until: Until,
        /// The facts that say so, if it stays at that.
        nothing: Value,
    },
}

/// How long a call waits, and when it is worth another try.
pub(crate) struct Until {
    /// How long in all.
    pub(crate) wait: Duration,
    /// After an event of such a kind.
    pub(crate) event: &'static str,
    /// Without one, after so long: a session that dies writes none, nor does time that passes.
    pub(crate) look_after: Duration,
}

/// An error as one text: code, message, who holds what until when, what to do next.
pub(crate) fn error_text(error: &Error) -> String {
    let mut text = format!("{}: {}", error.code, error.message);
    let mut others = Map::new();
    for (name, value) in &error.details {
        if let ("ready_tasks", Value::Array(tasks)) = (name.as_str(), value) {
            for task in tasks.iter().take(HOLDERS_MAX) {
                let said = |field: &str| render::inline(task[field].as_str().unwrap_or_default());
                let _ = write!(
                    text,
                    "\n- ready: task {} of {}: {}",
                    task["task"],
                    said("queue"),
                    said("about")
                );
            }
            continue;
        }
        match holdings(value) {
            Some(holdings) => {
                for holding in holdings.iter().take(HOLDERS_MAX) {
                    let _ = write!(text, "\n- {}", sentence(holding));
                }
                if holdings.len() > HOLDERS_MAX {
                    let _ = write!(text, "\n- and {} more", holdings.len() - HOLDERS_MAX);
                }
            }
            None => {
                others.insert(name.clone(), value.clone());
            }
        }
    }
    if !others.is_empty() {
        let details = render::plain(&Value::Object(others).to_string());
        let details = cotenant_core::redact::secrets(&details);
        let short = render::cut(&details, DETAILS_BYTES_MAX);
        let more = if short.len() < details.len() { "…" } else { "" };
        let _ = write!(text, "\ndetails: {short}{more}");
    }
    if let Some(ms) = error.retry_after_ms {
        let _ = write!(text, "\ncan succeed in {}", in_words(ms));
    }
    if let Some(next) = error.hint.clone().or_else(|| next_step(error).map(str::to_owned)) {
        let _ = write!(text, "\nnext: {next}");
    }
    text
}

/// Reads holdings from a detail, one or many.
fn holdings(value: &Value) -> Option<Vec<Holding>> {
    match value {
        Value::Array(items) if !items.is_empty() => {
            items.iter().map(|item| serde_json::from_value(item.clone()).ok()).collect()
        }
        Value::Object(_) => serde_json::from_value(value.clone()).ok().map(|one| vec![one]),
        _ => None,
    }
}

/// What to do when the error itself does not say.
fn next_step(error: &Error) -> Option<&'static str> {
    use cotenant_core::Code;
    Some(match error.code {
        Code::Claimed | Code::Held | Code::Offered => {
            "take other work, or ask the people behind it; do not work around the holder"
        }
        Code::Cooling => "its holder was lost; ask again after that time",
        Code::Fenced => "what you held is no longer yours: stop that work and look at `status`",
        Code::RevMismatch => "read the value again and decide anew",
        Code::AgentBusy => "choose another name",
        Code::SessionLost | Code::SessionEnded => "call `sign_on`, then repeat",
        Code::Busy | Code::StoreIo | Code::Timeout => "nothing happened; repeat the call",
        _ => return None,
    })
}

/// One holding as a sentence. What another session wrote appears only as a quotation.
pub(crate) fn sentence(holding: &Holding) -> String {
    let mut text = holding.resource.clone();
    let _ = match holding.state {
        HoldingState::Held if holding.mode == Mode::Advisory => write!(text, ": used by"),
        HoldingState::Held => write!(text, ": held by"),
        HoldingState::Cooling => write!(text, ": was held by"),
        HoldingState::Waiting => write!(text, ": waited for by"),
    };
    let _ = write!(
        text,
        " {} ({}, user {}) since {} ({} ago)",
        holding.name,
        holding.kind,
        render::plain(&holding.user),
        holding.since,
        in_words(holding.held_for_ms)
    );
    let _ = match (holding.state, holding.expires_in_ms) {
        (HoldingState::Cooling, Some(ms)) => write!(text, ", free in {}", in_words(ms)),
        (_, Some(ms)) => write!(text, ", for another {} unless renewed", in_words(ms)),
        (_, None) => write!(text, ", until it gives it back or ends"),
    };
    let _ = write!(text, "; last heard of {} ago", in_words(holding.heartbeat_age_ms));
    if holding.automatic {
        text.push_str("; by an edit");
    }
    for (word, said) in [("intent", &holding.note), ("purpose", &holding.purpose)] {
        if let Some(said) = said {
            let _ = write!(text, "; {word} {}", render::inline(said));
        }
    }
    text
}

/// One holding as facts.
pub(crate) fn facts(holding: &Holding) -> Value {
    let mut facts = Map::new();
    facts.insert("item".to_owned(), json!(holding.resource));
    let mut add = |name: &str, value: Value| facts.insert(name.to_owned(), value);
    if let Some(tree) = &holding.tree {
        add("tree", json!(tree));
    }
    if holding.state != HoldingState::Held {
        add("state", json!(holding.state));
    }
    if holding.mode != Mode::Exclusive {
        add("mode", json!(holding.mode));
    }
    add("by", json!(holding.name));
    add("kind", json!(holding.kind));
    add("user", json!(holding.user));
    add("since", json!(holding.since));
    if let Some(ms) = holding.expires_in_ms {
        add("expires_in", json!(in_words(ms)));
    }
    add("heard_of", json!(format!("{} ago", in_words(holding.heartbeat_age_ms))));
    if holding.automatic {
        add("automatic", json!(true));
    }
    if let Some(note) = &holding.note {
        add("intent", json!(short(note)));
    }
    if let Some(purpose) = &holding.purpose {
        add("purpose", json!(short(purpose)));
    }
    Value::Object(facts)
}

/// A text of another session, on one line, at most 200 bytes.
pub(crate) fn short(text: &str) -> String {
    let quoted = render::inline(text);
    quoted[1..quoted.len() - 1].to_owned()
}

#[cfg(test)]
mod tests {
    use cotenant_core::{Code, id::Fence, id::SessionId};

    use super::*;

    fn holding() -> Holding {
        Holding {
            resource: "issue:15".into(),
            tree: None,
            state: HoldingState::Held,
            mode: Mode::Exclusive,
            session: SessionId("01890000-0000-7000-8000-000000000000".into()),
            name: "claude_2".into(),
            kind: "claude".into(),
            user: "ann".into(),
            fence: Fence(7),
            since: "2026-11-20T09:49:43.946Z".into(),
            held_for_ms: 300_000,
            expires_in_ms: None,
            heartbeat_age_ms: 3_000,
            automatic: false,
            note: Some("fix \"it\"\nnow".into()),
            purpose: None,
            host: None,
            pid: None,
        }
    }

    #[test]
    fn an_error_names_code_holder_time_and_next_step() {
        let error = Error::new(Code::Claimed, "issue:15 is claimed by claude_2")
            .detail("holders", vec![holding()])
            .detail("count", 1);
        assert_eq!(
            error_text(&error),
            "CLAIMED: issue:15 is claimed by claude_2\n\
             - issue:15: held by claude_2 (claude, user ann) since 2026-11-20T09:49:43.946Z (5m ago), \
             until it gives it back or ends; last heard of 3s ago; intent \"fix 'it' now\"\n\
             details: {\"count\":1}\n\
             next: take other work, or ask the people behind it; do not work around the holder"
        );
    }

    #[test]
    fn a_ready_task_is_named_in_a_line() {
        let tasks = json!([{"task": 4, "queue": "ci", "about": "write \"tests\"\nnow"}]);
        let error = Error::new(Code::Claimed, "taken").detail("ready_tasks", tasks).hint("wait");
        assert_eq!(
            error_text(&error),
            "CLAIMED: taken\n- ready: task 4 of \"ci\": \"write 'tests' now\"\nnext: wait"
        );
    }

    #[test]
    fn an_error_of_ours_keeps_its_hint_and_its_size() {
        let error = Error::new(Code::RevMismatch, "changed")
            .detail("value", "x".repeat(100_000))
            .hint("read it again");
        let text = error_text(&error);
        assert!(text.len() < 3_000, "{}", text.len());
        assert!(text.ends_with("\nnext: read it again"), "{text}");
    }

    #[test]
    fn facts_leave_out_what_is_usual() {
        assert_eq!(
            facts(&holding()),
            json!({
                "item": "issue:15",
                "by": "claude_2",
                "kind": "claude",
                "user": "ann",
                "since": "2026-11-20T09:49:43.946Z",
                "heard_of": "3s ago",
                "intent": "fix 'it' now",
            })
        );
    }
}
