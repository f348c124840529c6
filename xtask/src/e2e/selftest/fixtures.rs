//! Hooks and servers that answer always the same.

use std::fs;

use anyhow::Result;
use serde_json::{Value, json};

use crate::e2e::stage::Stage;

/// An MCP server with one tool, `echo`, which tells its text, the session it was started for, and
/// its parent.
pub(super) const SERVER: &str = include_str!("server.py");

/// Writes the project's settings: hooks, each for one event and some tools.
pub(super) fn hooks(stage: &Stage, hooks: &[(&str, &str, Value)]) -> Result<()> {
    let mut settings = json!({"hooks": {}});
    for (event, tools, answer) in hooks {
        let file = stage.dir.join(format!("{event}.json"));
        fs::write(&file, json!({"hookSpecificOutput": answer}).to_string())?;
        let command = format!("cat '{}'", file.display());
        settings["hooks"][event] =
            json!([{"matcher": tools, "hooks": [{"type": "command", "command": command}]}]);
    }
    fs::create_dir_all(stage.project.join(".claude"))?;
    Ok(fs::write(stage.project.join(".claude/settings.json"), settings.to_string())?)
}

/// Gives the project the server, as `echo`.
pub(super) fn mcp_server(stage: &Stage) -> Result<()> {
    let server = stage.dir.join("server.py");
    fs::write(&server, SERVER)?;
    mcp_servers(stage, &json!({"echo": {"command": "python3", "args": [server]}}))
}

/// Gives the project servers.
pub(super) fn mcp_servers(stage: &Stage, servers: &Value) -> Result<()> {
    Ok(fs::write(stage.project.join(".mcp.json"), json!({"mcpServers": servers}).to_string())?)
}
