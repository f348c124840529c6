//! The log.

use cotenant_core::{Error, Result, event::Append, json::Json, name::check_text};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Call, Manner, Output, Tool};

/// The scope of the events that agents write.
const SCOPE: &str = "events";
/// The longest kind of such an event.
const KIND_BYTES_MAX: usize = 64;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LogEvent {
    /// A word of your own, e.g. `tests_added`
    event_type: String,
    message: String,
    /// Any JSON
    metadata: Option<Json>,
}

#[derive(Serialize)]
struct Payload {
    r#type: String,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Json>,
}

impl Tool for LogEvent {
    const NAME: &'static str = "log_event";
    const ABOUT: &'static str = "Write a line to the shared, append-only log. `status` with \
        `log` reads the newest.";
    const MANNER: Manner = Manner::Adds;

    fn run(self, call: &Call<'_>) -> Result<Output> {
        check_text("message", &self.message)?;
        let kind = format!("user.{}", kind(&self.event_type)?);
        let payload =
            Payload { r#type: self.event_type, message: self.message, metadata: self.metadata };
        let append = Append { kind, scope: SCOPE.to_owned(), payload: Json::of(&payload) };
        Ok(Output::Facts(json!(call.write(append)?)))
    }
}

/// The word of an event type that can stand in a kind; the type itself stays in the payload.
fn kind(event_type: &str) -> Result<String> {
    let kind: String = event_type
        .trim()
        .chars()
        .take(KIND_BYTES_MAX)
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '.') { c } else { '_' })
        .collect();
    if kind.chars().any(|c| c.is_ascii_alphanumeric()) {
        return Ok(kind);
    }
    Err(Error::invalid("`event_type` needs a letter or a digit"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_one_plain_word() {
        assert_eq!(kind("issue_started").unwrap(), "issue_started");
        assert_eq!(kind(" tests added/../ü ").unwrap(), "tests_added_..__");
        assert_eq!(kind(&"x".repeat(99)).unwrap().len(), KIND_BYTES_MAX);
        assert!(kind("").is_err() && kind("...").is_err());
    }
}
