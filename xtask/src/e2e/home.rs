//! A scratch `HOME` for the client, and the environment it starts in.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use crate::e2e::api::Api;
use crate::process::kill_all_with;

/// A key that opens nothing.
const KEY: &str = "sk-ant-api03-scripted-000000000000000000000000000000-AAAA";

/// How many of its last characters the client remembers of a key it may use.
const KEY_TAIL: usize = 20;

/// A user's home in which the client has been set up and its dialogs answered.
///
/// Dropping it kills every process that has it as `HOME`.
#[derive(Debug)]
pub(crate) struct ClaudeHome {
    dir: PathBuf,
    url: String,
    path: OsString,
    more: Vec<(OsString, OsString)>,
}

impl ClaudeHome {
    /// Makes a home in an empty or absent folder, for clients of `api` in trusted projects.
    pub(crate) fn new(dir: &Path, api: &Api, projects: &[&Path]) -> Result<Self> {
        fs::create_dir_all(dir.join(".claude"))
            .with_context(|| format!("cannot create `{}`", dir.display()))?;
        let dir = dir.canonicalize()?;
        let mut trusted = Map::new();
        for project in projects {
            let project = project.canonicalize()?.display().to_string();
            let answers =
                json!({"hasTrustDialogAccepted": true, "hasCompletedProjectOnboarding": true});
            trusted.insert(project, answers);
        }
        let answered = json!({
            "hasCompletedOnboarding": true,
            "bypassPermissionsModeAccepted": true,
            "customApiKeyResponses": {"approved": [&KEY[KEY.len() - KEY_TAIL..]], "rejected": []},
            "projects": trusted,
        });
        fs::write(dir.join(".claude.json"), answered.to_string())?;
        let path = env::var_os("PATH").context("`PATH` is not set")?;
        Ok(Self { dir, url: api.url(), path, more: Vec::new() })
    }

    /// Puts a folder first in `PATH`.
    pub(crate) fn prepend_path(&mut self, folder: &Path) -> Result<()> {
        let folders = [folder.to_owned()].into_iter().chain(env::split_paths(&self.path));
        self.path = env::join_paths(folders)?;
        Ok(())
    }

    /// Sets one more variable.
    pub(crate) fn set_env(&mut self, name: impl Into<OsString>, value: impl Into<OsString>) {
        self.more.push((name.into(), value.into()));
    }

    /// Approves servers of a project's `.mcp.json` in the user settings, keeping what else is
    /// there.
    ///
    /// Not in `.claude.json`: the client moves that list into the project's
    /// `.claude/settings.local.json`.
    pub(crate) fn approve_mcp(&self, servers: &[&str]) -> Result<()> {
        let path = self.dir.join(".claude").join("settings.json");
        let mut settings: Value = match fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text).with_context(|| path.display().to_string())?,
            Err(_) => json!({}),
        };
        settings["enabledMcpjsonServers"] = json!(servers);
        Ok(fs::write(&path, settings.to_string())?)
    }

    /// The home itself.
    #[must_use]
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// A process of this user, in a folder: the client, or a command in its owner's shell.
    ///
    /// The client's API is the scripted one. It also is the proxy for everything else, which it
    /// refuses and records: some requests are made in spite of every switch.
    #[must_use]
    pub(crate) fn command(&self, program: &Path, cwd: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().current_dir(cwd);
        command.env("PATH", &self.path).env("HOME", &self.dir);
        command.envs([("TERM", "xterm-256color"), ("LANG", "C.UTF-8"), ("ANTHROPIC_API_KEY", KEY)]);
        command.envs([
            ("ANTHROPIC_BASE_URL", self.url.as_str()),
            ("HTTP_PROXY", &self.url),
            ("HTTPS_PROXY", &self.url),
            ("NO_PROXY", "127.0.0.1,localhost"),
            ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
            ("CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL", "1"),
            ("CLAUDE_CODE_MAX_RETRIES", "1"),
            ("DISABLE_AUTOUPDATER", "1"),
        ]);
        if rustix::process::geteuid().is_root() {
            // Without it, root may not bypass permissions.
            command.env("IS_SANDBOX", "1");
        }
        command.envs(self.more.iter().map(|(name, value)| (name, value)));
        command
    }

    /// What the client has registered about one of its processes, if it is there.
    #[must_use]
    pub(crate) fn registered(&self, pid: u32) -> Option<Value> {
        let path = self.dir.join(".claude").join("sessions").join(format!("{pid}.json"));
        serde_json::from_str(&fs::read_to_string(path).ok()?).ok()
    }

    /// The history of a session, once the client has written it: about a tenth of a second after
    /// the prompt.
    ///
    /// Before that, a killed session cannot be resumed.
    #[must_use]
    pub(crate) fn transcript(&self, session: &str) -> Option<PathBuf> {
        let projects = fs::read_dir(self.dir.join(".claude").join("projects")).ok()?;
        let files =
            projects.flatten().map(|project| project.path().join(format!("{session}.jsonl")));
        files.into_iter().find(|file| file.is_file())
    }

    /// The session a process is in at this moment.
    #[must_use]
    pub(crate) fn session_of(&self, pid: u32) -> Option<String> {
        Some(self.registered(pid)?["sessionId"].as_str()?.to_owned())
    }
}

impl Drop for ClaudeHome {
    fn drop(&mut self) {
        kill_all_with("HOME", self.dir.as_os_str());
    }
}
