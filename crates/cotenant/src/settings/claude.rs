//! What we write for Claude Code.

use std::path::PathBuf;

use super::plan::text;
use super::{Entry, Format, Inputs, PlannedFile, Program, Scope, SettingsError};

/// The events with a hook, each with its matcher.
const HOOKS: [(&str, Option<&str>); 9] = [
    ("SessionStart", None),
    ("UserPromptSubmit", None),
    ("PreToolUse", Some("Edit|Write|MultiEdit|NotebookEdit|mcp__cotenant__.*")),
    ("PostToolUse", Some("*")),
    ("PostToolUseFailure", None),
    ("PreCompact", None),
    ("Stop", None),
    ("SubagentStop", None),
    ("SessionEnd", None),
];

/// Without this permission a headless run refuses our tools.
const PERMISSION: &str = "mcp__cotenant";

/// The files to edit, shared ones before this machine's own.
pub(super) fn files(inputs: &Inputs) -> Result<Vec<PlannedFile>, SettingsError> {
    let program = inputs.shell_program()?;
    let mut settings: Vec<Entry> =
        HOOKS.iter().map(|(event, matcher)| Entry::hook(event, *matcher, &program)).collect();
    settings.push(Entry::listed(&["permissions", "allow"], PERMISSION));

    let server = inputs.server_program()?;
    let project = &inputs.project_dir;
    Ok(match (inputs.scope, &inputs.program) {
        (Scope::Global, _) => vec![
            shared(user_dir(inputs).join("settings.json"), settings),
            user_state(inputs, Entry::server(&["mcpServers"], server)),
        ],
        (Scope::Project, Program::OnPath) => {
            // A server from `.mcp.json` waits for approval; the listing gives it for this user.
            let approval = Entry::listed(&["enabledMcpjsonServers"], super::command::PROGRAM);
            vec![
                shared(project.join(".claude/settings.json"), settings),
                shared(project.join(".mcp.json"), vec![Entry::server(&["mcpServers"], server)]),
                shared(project.join(".claude/settings.local.json"), vec![approval]),
            ]
        }
        // `.mcp.json` is for everyone, so a path of this machine goes into the user's own state.
        (Scope::Project, Program::At(_)) => vec![
            shared(project.join(".claude/settings.local.json"), settings),
            user_state(inputs, Entry::server(&["projects", text(project)?, "mcpServers"], server)),
        ],
    })
}

/// The settings that may enable our plugin, weakest first.
pub(super) fn plugin_settings(inputs: &Inputs) -> Vec<PathBuf> {
    vec![
        user_dir(inputs).join("settings.json"),
        inputs.project_dir.join(".claude/settings.json"),
        inputs.project_dir.join(".claude/settings.local.json"),
    ]
}

fn user_dir(inputs: &Inputs) -> PathBuf {
    inputs.claude_config_dir.clone().unwrap_or_else(|| inputs.home.join(".claude"))
}

fn shared(path: PathBuf, entries: Vec<Entry>) -> PlannedFile {
    PlannedFile { path, format: Format::Json, private: false, entries }
}

/// The user's state holds credentials, so it is private.
fn user_state(inputs: &Inputs, entry: Entry) -> PlannedFile {
    let dir = inputs.claude_config_dir.as_ref().unwrap_or(&inputs.home);
    PlannedFile {
        path: dir.join(".claude.json"),
        format: Format::Json,
        private: true,
        entries: vec![entry],
    }
}
