//! What a hook tells its agent: one JSON object on standard output, or nothing.
//!
//! Only fields that Claude Code and Codex both know are written, since Codex drops an answer with
//! a field it does not know.

use serde::Serialize;

use super::payload::Event;

/// An answer to an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Tell the model something; the agent goes on.
    Context(String),
    /// Keep the tool from running, and tell the model why.
    Deny(String),
    /// Keep the model from stopping, and tell it why.
    GoOn(String),
}

/// What keeps the model from stopping.
#[derive(Serialize)]
struct Block<'a> {
    decision: &'static str,
    reason: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Output<'a> {
    hook_specific_output: Specific<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Specific<'a> {
    hook_event_name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    permission_decision: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    permission_decision_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    additional_context: Option<&'a str>,
}

impl Answer {
    /// Whether there is nothing to tell.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Context(text) if text.is_empty())
    }

    /// The answer to an event, as one line of JSON.
    pub(crate) fn line(&self, event: Event) -> String {
        let (context, reason) = match self {
            Self::Context(text) => (Some(text.as_str()), None),
            Self::Deny(text) => (None, Some(text.as_str())),
            Self::GoOn(reason) => {
                let block = Block { decision: "block", reason };
                return serde_json::to_string(&block).unwrap_or_default();
            }
        };
        let output = Output {
            hook_specific_output: Specific {
                hook_event_name: event.name(),
                permission_decision: reason.map(|_| "deny"),
                permission_decision_reason: reason,
                additional_context: context,
            },
        };
        serde_json::to_string(&output).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_the_fields_of_its_kind_and_no_other() {
        assert_eq!(
            Answer::Deny("held by \"a\"".into()).line(Event::PreToolUse),
            r#"{"hookSpecificOutput":{"hookEventName":"PreToolUse","permissionDecision":"deny","permissionDecisionReason":"held by \"a\""}}"#
        );
        assert_eq!(
            Answer::GoOn("not yet".into()).line(Event::Stop),
            r#"{"decision":"block","reason":"not yet"}"#
        );
        assert_eq!(
            Answer::Context("here".into()).line(Event::SessionStart),
            r#"{"hookSpecificOutput":{"hookEventName":"SessionStart","additionalContext":"here"}}"#
        );
    }
}
