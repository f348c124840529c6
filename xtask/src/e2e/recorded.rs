//! What was sent to the model.

use serde_json::Value;

use crate::e2e::http::Request;

/// A request to `/v1/messages`.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    /// Counts from 0 in order of arrival.
    pub(crate) number: usize,
    /// The session the client says it is, from a header.
    pub(crate) session: Option<String>,
    /// The subagent the client says it is, from a header.
    pub(crate) agent: Option<String>,
    /// The body.
    pub(crate) body: Value,
}

/// The result of a tool call, as the model reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ToolResult {
    /// The call it answers.
    pub(crate) id: String,
    /// Whether the call failed or was refused.
    pub(crate) is_error: bool,
    /// All its text.
    pub(crate) text: String,
}

impl Recorded {
    pub(crate) fn new(number: usize, request: &Request, body: Value) -> Self {
        let header = |name| request.header(name).map(str::to_owned);
        let (session, agent) =
            (header("x-claude-code-session-id"), header("x-claude-code-agent-id"));
        Self { number, session, agent, body }
    }

    /// The messages of the conversation so far.
    #[must_use]
    pub(crate) fn messages(&self) -> &[Value] {
        self.body["messages"].as_array().map_or(&[], Vec::as_slice)
    }

    /// Whether it belongs to a conversation: side requests, as for a title, offer no tools.
    #[must_use]
    pub(crate) fn is_turn(&self) -> bool {
        self.body["tools"].as_array().is_some_and(|tools| !tools.is_empty())
    }

    /// The names of the tools on offer.
    #[must_use]
    pub(crate) fn tool_names(&self) -> Vec<&str> {
        let tools = self.body["tools"].as_array().map_or(&[][..], Vec::as_slice);
        tools.iter().filter_map(|tool| tool["name"].as_str()).collect()
    }

    /// The system prompt.
    #[must_use]
    pub(crate) fn system_text(&self) -> String {
        text_of(&self.body["system"])
    }

    /// Every text that the model has not said itself, tool results left out: prompts and injected
    /// context.
    ///
    /// What hooks add to a prompt comes in messages of role `system`, what they add to a call with
    /// its result.
    #[must_use]
    pub(crate) fn context_texts(&self) -> Vec<String> {
        let others = self.messages().iter().filter(|message| message["role"] != "assistant");
        others.map(|message| text_of(&message["content"])).filter(|text| !text.is_empty()).collect()
    }

    /// Every tool result in the conversation, oldest first.
    #[must_use]
    pub(crate) fn tool_results(&self) -> Vec<ToolResult> {
        let contents = self.messages().iter().filter_map(|message| message["content"].as_array());
        let results = contents.flatten().filter(|block| block["type"] == "tool_result");
        results
            .map(|block| ToolResult {
                id: block["tool_use_id"].as_str().unwrap_or_default().to_owned(),
                is_error: block["is_error"] == true,
                text: text_of(&block["content"]),
            })
            .collect()
    }

    /// Whether a text stands anywhere in what the model reads: system, messages, tool results.
    #[must_use]
    pub(crate) fn mentions(&self, text: &str) -> bool {
        let mut texts = self.context_texts();
        texts.push(self.system_text());
        texts.extend(self.tool_results().into_iter().map(|result| result.text));
        texts.iter().any(|hay| hay.contains(text))
    }
}

/// The text of a content: a string, or blocks of which some are text.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => {
            let texts: Vec<&str> =
                blocks.iter().filter_map(|block| block["text"].as_str()).collect();
            texts.join("\n")
        }
        _ => String::new(),
    }
}
