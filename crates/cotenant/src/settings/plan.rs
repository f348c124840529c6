//! Which entries belong in which files.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::command::{PROGRAM, quote};
use super::{SettingsError, claude, codex};

/// Everything a plan depends on.
#[derive(Clone, Debug)]
pub(crate) struct Inputs {
    /// How the agents start us.
    pub(crate) program: Program,
    /// The project's directory, absolute.
    pub(crate) project_dir: PathBuf,
    /// The user's home directory, absolute.
    pub(crate) home: PathBuf,
    /// `CLAUDE_CONFIG_DIR`, where set: replaces `~/.claude` and then holds `.claude.json` too.
    pub(crate) claude_config_dir: Option<PathBuf>,
    /// `CODEX_HOME`, where set: replaces `~/.codex`.
    pub(crate) codex_home: Option<PathBuf>,
    /// Whose settings to change.
    pub(crate) scope: Scope,
    /// Which agents to install into.
    pub(crate) agents: Vec<Agent>,
}

/// How an agent starts us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// By name: PATH resolves `cotenant` to this binary.
    OnPath,
    /// By absolute path, which means nothing on another machine.
    At(PathBuf),
}

/// Whose settings to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The project's.
    Project,
    /// The user's, for all projects.
    Global,
}

/// An agent whose settings we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Agent {
    /// Claude Code.
    Claude,
    /// Codex CLI.
    Codex,
}

/// The entries to install, file by file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The files to edit.
    pub(crate) files: Vec<PlannedFile>,
    /// Settings that may enable the plugin, weakest first; read, never edited.
    pub(crate) plugin_settings: Vec<PathBuf>,
}

/// The entries to install into one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlannedFile {
    /// The file, absolute.
    pub(crate) path: PathBuf,
    /// How it is written.
    pub(crate) format: Format,
    /// Whether only its owner may read it, should it have to be created.
    pub(crate) private: bool,
    /// What to install.
    pub(crate) entries: Vec<Entry>,
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Format {
    /// JSON, with comments and trailing commas where the file already has them.
    Json,
    /// TOML.
    Toml,
}

/// One thing of ours in a settings file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Entry {
    /// A command to run on an event, below `hooks.<event>`.
    Hook {
        /// The event.
        event: String,
        /// Which tools it concerns; all, if absent.
        matcher: Option<String>,
        /// The command line.
        command: String,
        /// Seconds after which the agent goes on without us.
        timeout: u32,
    },
    /// A text in a list, e.g. in `permissions.allow`.
    Listed {
        /// The keys that lead to the list.
        list: Vec<String>,
        /// The text.
        text: String,
    },
    /// An MCP server.
    Server {
        /// The keys that lead to the object of servers.
        servers: Vec<String>,
        /// The name of ours in it.
        name: String,
        /// The program.
        command: String,
        /// Its arguments.
        args: Vec<String>,
    },
}

impl Plan {
    /// Derives the plan from its inputs.
    pub(crate) fn new(inputs: &Inputs) -> Result<Self, SettingsError> {
        let dirs = [Some(&inputs.project_dir), Some(&inputs.home)];
        let optional = [inputs.claude_config_dir.as_ref(), inputs.codex_home.as_ref()];
        let program = match &inputs.program {
            Program::OnPath => None,
            Program::At(path) => Some(path),
        };
        for path in dirs.into_iter().chain(optional).chain([program]).flatten() {
            text(path)?;
            if !path.is_absolute() {
                return Err(SettingsError::NotAbsolute { path: path.clone() });
            }
        }
        let mut plan = Self { files: Vec::new(), plugin_settings: Vec::new() };
        if inputs.agents.contains(&Agent::Claude) {
            plan.files.extend(claude::files(inputs)?);
            plan.plugin_settings = claude::plugin_settings(inputs);
        }
        if inputs.agents.contains(&Agent::Codex) {
            plan.files.extend(codex::files(inputs)?);
        }
        Ok(plan)
    }

    /// Lists every file to read before applying the plan.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> = self.files.iter().map(|file| file.path.clone()).collect();
        paths.extend(self.plugin_settings.iter().cloned());
        paths.sort();
        paths.dedup();
        paths
    }
}

impl Inputs {
    /// The program as the first word of a shell command.
    pub(super) fn shell_program(&self) -> Result<String, SettingsError> {
        Ok(quote(&self.server_program()?))
    }

    /// The program as a field of its own, where no shell reads it.
    pub(super) fn server_program(&self) -> Result<String, SettingsError> {
        match &self.program {
            Program::OnPath => Ok(PROGRAM.to_owned()),
            Program::At(path) => text(path).map(str::to_owned),
        }
    }
}

impl Entry {
    pub(super) fn server(servers: &[&str], program: String) -> Self {
        Self::Server {
            servers: servers.iter().map(|&key| key.to_owned()).collect(),
            name: PROGRAM.to_owned(),
            command: program,
            args: vec!["mcp".to_owned()],
        }
    }

    pub(super) fn listed(list: &[&str], text: &str) -> Self {
        let list = list.iter().map(|&key| key.to_owned()).collect();
        Self::Listed { list, text: text.to_owned() }
    }

    pub(super) fn hook(event: &str, matcher: Option<&str>, program: &str) -> Self {
        Self::Hook {
            event: event.to_owned(),
            matcher: matcher.map(str::to_owned),
            command: format!("{program} hook {event}"),
            timeout: HOOK_TIMEOUT_S,
        }
    }
}

/// The agents' own default is minutes; a hook that hangs that long looks like a dead agent.
const HOOK_TIMEOUT_S: u32 = 5;

/// The path as text, since JSON and TOML hold nothing else.
pub(super) fn text(path: &Path) -> Result<&str, SettingsError> {
    path.to_str().ok_or_else(|| SettingsError::PathNotUtf8 { path: path.to_owned() })
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
