//! Prompts that say what the model does: see [`script`](crate::e2e::script).

use std::path::Path;

use serde_json::{Value, json};

/// A prompt in the making; ended by what the model says last.
#[derive(Clone, Debug, Default)]
pub(super) struct Prompt(String);

impl Prompt {
    /// A prompt without anything to do yet.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Calls a tool.
    pub(super) fn tool(mut self, name: &str, input: &Value) -> Self {
        self.0.extend(["@@tool ", name, " ", &input.to_string(), "\n"]);
        self
    }

    /// Calls a tool of the program's MCP server.
    pub(super) fn mcp(self, name: &str, input: &Value) -> Self {
        self.tool(&format!("mcp__cotenant__{name}"), input)
    }

    /// Runs a line in the agent's shell.
    pub(super) fn bash(self, line: &str) -> Self {
        self.tool("Bash", &json!({"command": line}))
    }

    /// Writes a file that is not there yet.
    pub(super) fn write(self, file: &Path, text: &str) -> Self {
        self.tool("Write", &json!({"file_path": file, "content": text}))
    }

    /// Replaces a text in a file, which is read first: the client insists.
    pub(super) fn edit(self, file: &Path, before: &str, after: &str) -> Self {
        let edit = json!({"file_path": file, "old_string": before, "new_string": after});
        self.tool("Read", &json!({"file_path": file})).tool("Edit", &edit)
    }

    /// Has another agent work in the same session.
    pub(super) fn subagent(self, prompt: &str) -> Self {
        let input = json!({
            "description": "a part",
            "subagent_type": "general-purpose",
            "prompt": prompt,
            "run_in_background": false,
        });
        self.tool("Agent", &input)
    }

    /// Ends the turn.
    pub(super) fn say(mut self, text: &str) -> String {
        self.0.extend(["@@say ", text]);
        self.0
    }
}
