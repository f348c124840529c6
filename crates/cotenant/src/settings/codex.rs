//! What we write for Codex CLI, whose hooks have the schema of Claude Code's.

use super::{Entry, Format, Inputs, PlannedFile, Program, Scope, SettingsError};

/// The events with a hook. None has a matcher: the tools that edit files go by other names here.
const EVENTS: [&str; 8] = [
    "SessionStart",
    "UserPromptSubmit",
    "PreToolUse",
    "PostToolUse",
    "Stop",
    "PreCompact",
    "SubagentStop",
    "SessionEnd",
];

/// The files to edit.
pub(super) fn files(inputs: &Inputs) -> Result<Vec<PlannedFile>, SettingsError> {
    let dir = match (inputs.scope, &inputs.program) {
        (Scope::Global, _) => {
            inputs.codex_home.clone().unwrap_or_else(|| inputs.home.join(".codex"))
        }
        (Scope::Project, Program::OnPath) => inputs.project_dir.join(".codex"),
        (Scope::Project, Program::At(program)) => {
            return Err(SettingsError::NoLocalFile { agent: "Codex", program: program.clone() });
        }
    };
    let program = inputs.shell_program()?;
    let hooks = EVENTS.iter().map(|event| Entry::hook(event, None, &program)).collect();
    let server = Entry::server(&["mcp_servers"], inputs.server_program()?);
    Ok(vec![
        PlannedFile {
            path: dir.join("hooks.json"),
            format: Format::Json,
            private: false,
            entries: hooks,
        },
        PlannedFile {
            path: dir.join("config.toml"),
            format: Format::Toml,
            private: false,
            entries: vec![server],
        },
    ])
}
