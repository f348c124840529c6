//! A step in the API's words: one message, or the events that build it up.

use serde_json::{Value, json};

use crate::e2e::script::{Block, Step, Usage};

/// A message before it is sent.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    /// Unique for all servers that write into one history, because the client drops messages of
    /// equal id.
    pub(crate) id: &'a str,
    /// The model the client asked for.
    pub(crate) model: &'a str,
    /// What to say.
    pub(crate) step: &'a Step,
}

impl Answer<'_> {
    /// The message as one object.
    #[must_use]
    pub(crate) fn message(&self) -> Value {
        let content: Vec<Value> =
            (0..).zip(&self.step.blocks).map(|(i, b)| self.block(i, b)).collect();
        let mut message = self.envelope();
        message["content"] = json!(content);
        message["stop_reason"] = json!(self.stop_reason());
        message["usage"] = usage(self.step.usage, self.step.usage.output);
        message
    }

    /// The message as a stream of events, in the API's order.
    #[must_use]
    pub(crate) fn events(&self) -> Vec<(&'static str, String)> {
        let mut events = vec![json!({"type": "message_start", "message": self.envelope()})];
        for (index, block) in (0..).zip(&self.step.blocks) {
            let (start, delta) = match block {
                Block::Text(text) => (
                    json!({"type": "text", "text": ""}),
                    json!({"type": "text_delta", "text": text}),
                ),
                Block::Tool { name, input } => {
                    let id = self.tool_id(index);
                    (
                        json!({"type": "tool_use", "id": id, "name": name, "input": {}}),
                        json!({"type": "input_json_delta", "partial_json": input.to_string()}),
                    )
                }
            };
            events.extend([
                json!({"type": "content_block_start", "index": index, "content_block": start}),
                json!({"type": "content_block_delta", "index": index, "delta": delta}),
                json!({"type": "content_block_stop", "index": index}),
            ]);
        }
        events.extend([
            json!({
                "type": "message_delta",
                "delta": {"stop_reason": self.stop_reason(), "stop_sequence": null},
                "usage": usage(self.step.usage, self.step.usage.output),
            }),
            json!({"type": "message_stop"}),
        ]);
        events.into_iter().map(|event| (name(&event), event.to_string())).collect()
    }

    /// The message as it is at the start: no content, and the placeholder for tokens answered.
    fn envelope(&self) -> Value {
        json!({
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": [],
            "stop_reason": null,
            "stop_sequence": null,
            "usage": usage(self.step.usage, 1),
        })
    }

    fn block(&self, index: usize, block: &Block) -> Value {
        match block {
            Block::Text(text) => json!({"type": "text", "text": text}),
            Block::Tool { name, input } => {
                json!({"type": "tool_use", "id": self.tool_id(index), "name": name, "input": input})
            }
        }
    }

    fn tool_id(&self, index: usize) -> String {
        format!("{}_{index}", self.id.replace("msg_", "toolu_"))
    }

    fn stop_reason(&self) -> &'static str {
        if self.step.calls_tools() { "tool_use" } else { "end_turn" }
    }
}

fn usage(usage: Usage, output: u64) -> Value {
    json!({
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cache_read,
        "output_tokens": output,
    })
}

fn name(event: &Value) -> &'static str {
    match event["type"].as_str() {
        Some("message_start") => "message_start",
        Some("content_block_start") => "content_block_start",
        Some("content_block_delta") => "content_block_delta",
        Some("content_block_stop") => "content_block_stop",
        Some("message_delta") => "message_delta",
        _ => "message_stop",
    }
}
