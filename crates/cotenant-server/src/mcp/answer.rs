//! What a model reads: answers short, errors in one text.

use std::{borrow::Cow, fmt::Write as _, time::Duration};

use cotenant_core::{
    Code, Error,
    claim::{Holding, HoldingState, Item, Mode},
    clock::in_words,
    render, task,
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
    let hint = || error.hint.as_deref().map(Cow::Borrowed);
    let next = with_tools(error).or_else(hint).or_else(|| next_step(error).map(Cow::Borrowed));
    if let Some(next) = next {
        let _ = write!(text, "\nnext: {next}");
    }
    text
}

/// What to do, where the error's own hint names options of a command that a tool does not have.
fn with_tools(error: &Error) -> Option<Cow<'static, str>> {
    let said = |name: &str| error.details.get(name);
    Some(Cow::Borrowed(match error.code {
        Code::Claimed if said("ready_tasks").is_some() => {
            "take a task that is ready with `next_task`, or something else; or ask the holder with \
             `send_message`. Do not work around the holder"
        }
        Code::Claimed => {
            "take something else; `status` shows who has what. Or ask the holder with \
             `send_message`, and try again later. Do not work around the holder"
        }
        Code::Held => "do something else first, then try again; `who` shows who has it",
        Code::Cooling => "its holder was lost; try again after that time",
        Code::Offered => {
            let offer = said("offer").and_then(Value::as_i64)?;
            let next =
                format!("take it back first: `hand_off` with action withdraw, offer {offer}");
            return Some(Cow::Owned(next));
        }
        Code::AgentBusy => "choose another name",
        Code::SlotsMismatch => {
            "`claim` takes a lock whole; in a shell, `cotenant lease acquire` takes one of its slots"
        }
        Code::SessionLost => "call `sign_on`, and stop work that relied on what you held",
        Code::SessionEnded => "call `sign_on`, then repeat",
        Code::RevMismatch => {
            "read it again and decide anew, or use `update_data` with add, append or merge, which \
             loses nothing"
        }
        Code::TypeMismatch => "`retrieve_data` shows what it is; `store_data` replaces it",
        Code::FsUnsupported => {
            "your user can name a store on a local disk in COTENANT_STORE, and start you again"
        }
        _ => return None,
    }))
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
    Some(match error.code {
        Code::Fenced => "what you held is no longer yours: stop that work and look at `status`",
        Code::Busy | Code::StoreIo | Code::Timeout => "nothing happened; repeat the call",
        _ => return None,
    })
}

/// A resource by the word that tools have for it: what is neither claimed nor a task is a lock.
pub(crate) fn named(resource: &str) -> Cow<'_, str> {
    if resource.parse::<Item>().is_ok() || task::guarded(resource).is_some() {
        Cow::Borrowed(resource)
    } else {
        Cow::Owned(format!("lock:{resource}"))
    }
}

/// One holding as a sentence. What another session wrote appears only as a quotation.
pub(crate) fn sentence(holding: &Holding) -> String {
    let mut text = named(&holding.resource).into_owned();
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
    facts.insert("item".to_owned(), json!(named(&holding.resource)));
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
             next: take something else; `status` shows who has what. Or ask the holder with \
             `send_message`, and try again later. Do not work around the holder"
        );
    }

    #[test]
    fn a_ready_task_is_named_in_a_line() {
        let tasks = json!([{"task": 4, "queue": "ci", "about": "write \"tests\"\nnow"}]);
        let error = Error::new(Code::Claimed, "taken").detail("ready_tasks", tasks);
        assert_eq!(
            error_text(&error),
            "CLAIMED: taken\n- ready: task 4 of \"ci\": \"write 'tests' now\"\n\
             next: take a task that is ready with `next_task`, or something else; or ask the holder \
             with `send_message`. Do not work around the holder"
        );
    }

    #[test]
    fn an_error_of_ours_keeps_its_hint_and_its_size() {
        let error = Error::new(Code::Gone, "gone")
            .detail("value", "x".repeat(100_000))
            .hint("read it again");
        let text = error_text(&error);
        assert!(text.len() < 3_000, "{}", text.len());
        assert!(text.ends_with("\nnext: read it again"), "{text}");
    }

    #[test]
    fn what_to_do_can_be_done_with_tools() {
        use Code::{
            AgentBusy, Claimed, Cooling, FsUnsupported, Held, Offered, RevMismatch, SessionEnded,
            SessionLost, SlotsMismatch, TypeMismatch,
        };
        let codes = [
            AgentBusy,
            Claimed,
            Cooling,
            FsUnsupported,
            Held,
            Offered,
            RevMismatch,
            SessionEnded,
            SessionLost,
            SlotsMismatch,
            TypeMismatch,
        ];
        for code in codes {
            let error = Error::new(code, "no").hint("use `data update`, or `--option 5`");
            let text = error_text(&error.detail("offer", 7));
            assert!(text.contains("\nnext: "), "{text}");
            assert!(!text.contains("--") && !text.contains("data update"), "{text}");
        }
        let text = error_text(&Error::new(Code::TooLarge, "no").hint("send several"));
        assert_eq!(text, "TOO_LARGE: no\nnext: send several");
    }

    #[test]
    fn a_lease_goes_by_the_word_that_claim_takes() {
        for (resource, word) in [
            ("issue:15", "issue:15"),
            ("path:src", "path:src"),
            ("task:42", "task:42"),
            ("deploy", "lock:deploy"),
            ("db:main", "lock:db:main"),
            ("lock:x", "lock:lock:x"),
        ] {
            assert_eq!(named(resource), word);
            assert_eq!(facts(&Holding { resource: resource.into(), ..holding() })["item"], word);
        }
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
