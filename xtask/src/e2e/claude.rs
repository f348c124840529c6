//! The real client in one folder.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::e2e::home::ClaudeHome;
use crate::e2e::stream::Stream;
use crate::e2e::terminal::Terminal;
use crate::process::run;

/// Arguments with which every tool runs unasked; hooks still decide.
pub(crate) const UNATTENDED: [&str; 2] = ["--permission-mode", "bypassPermissions"];

/// How long one run may take on a busy machine.
const RUN_TIMEOUT: Duration = Duration::from_mins(3);

/// Where and as whom the client runs.
#[derive(Clone, Debug)]
pub(crate) struct Claude<'a> {
    program: PathBuf,
    home: &'a ClaudeHome,
    cwd: PathBuf,
}

/// What a run in print mode answers.
#[derive(Clone, Debug)]
pub(crate) struct Printed {
    /// The result object; null when nothing was printed.
    pub(crate) result: Value,
    /// The exit status; none after a signal.
    pub(crate) code: Option<i32>,
    /// What it complained.
    pub(crate) stderr: String,
}

/// One line of `claude mcp list`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    /// The server's name, `plugin:PLUGIN:SERVER` for one of a plugin.
    pub(crate) name: String,
    /// What it says about it, e.g. `✔ Connected`.
    pub(crate) status: String,
}

impl<'a> Claude<'a> {
    /// A client that runs as the owner of `home` in `cwd`.
    #[must_use]
    pub(crate) fn new(program: &Path, home: &'a ClaudeHome, cwd: &Path) -> Self {
        Self { program: program.to_owned(), home, cwd: cwd.to_owned() }
    }

    /// The home it runs in.
    #[must_use]
    pub(crate) fn home(&self) -> &'a ClaudeHome {
        self.home
    }

    /// Its executable.
    #[must_use]
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// Its folder.
    #[must_use]
    pub(crate) fn cwd(&self) -> &Path {
        &self.cwd
    }

    /// Answers one prompt and ends.
    pub(crate) fn print(&self, prompt: &str, args: &[&str]) -> Result<Printed> {
        let mut command = self.home.command(&self.program, &self.cwd);
        // Some options take all words that follow, so the prompt needs its `--`.
        command.args(["-p", "--output-format", "json"]).args(args).args(["--", prompt]);
        let output = run(&mut command, RUN_TIMEOUT)?;
        let result = if output.stdout.trim().is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&output.stdout)
                .with_context(|| format!("not a result: `{}`", output.stdout))?
        };
        Ok(Printed { result, code: output.status.code(), stderr: output.stderr })
    }

    /// Starts a process that takes prompts until it is closed.
    pub(crate) fn stream(&self, args: &[&str]) -> Result<Stream<'a>> {
        Stream::start(self, args)
    }

    /// Starts the client in a terminal.
    pub(crate) fn terminal(&self, args: &[&str]) -> Result<Terminal<'a>> {
        Terminal::start(self, args)
    }

    /// Lists the configured MCP servers; the client connects to each of them for it.
    pub(crate) fn mcp_list(&self) -> Result<Vec<Listed>> {
        let mut command = self.home.command(&self.program, &self.cwd);
        let output = run(command.args(["mcp", "list"]), RUN_TIMEOUT)?;
        if !output.status.success() {
            bail!("`claude mcp list`: {}{}", output.stdout, output.stderr);
        }
        Ok(output.stdout.lines().filter_map(Listed::parse).collect())
    }
}

impl Printed {
    /// The result, when the run succeeded in every respect.
    pub(crate) fn require_success(&self) -> Result<&Self> {
        if self.code == Some(0) && self.result["is_error"] == false {
            return Ok(self);
        }
        bail!("the client failed with {:?}: {} {}", self.code, self.result, self.stderr)
    }

    /// The last text of the model.
    #[must_use]
    pub(crate) fn text(&self) -> &str {
        self.result["result"].as_str().unwrap_or_default()
    }

    /// The session's id.
    #[must_use]
    pub(crate) fn session(&self) -> &str {
        self.result["session_id"].as_str().unwrap_or_default()
    }

    /// The names of the tools that were refused.
    #[must_use]
    pub(crate) fn denied(&self) -> Vec<&str> {
        let denials = self.result["permission_denials"].as_array().map_or(&[][..], Vec::as_slice);
        denials.iter().filter_map(|denial| denial["tool_name"].as_str()).collect()
    }
}

impl Listed {
    /// Whether the handshake and the list of tools both worked.
    #[must_use]
    pub(crate) fn connected(&self) -> bool {
        self.status == "✔ Connected"
    }

    /// Reads `name: command - ✔ status`; the command may contain ` - ` itself, so the status is
    /// known by its mark.
    fn parse(line: &str) -> Option<Self> {
        let (name, rest) = line.split_once(": ")?;
        let tails = rest.rmatch_indices(" - ").map(|(at, dash)| &rest[at + dash.len()..]);
        let marked = |tail: &&str| tail.starts_with(|mark: char| mark == '!' || !mark.is_ascii());
        let status = tails.into_iter().find(marked)?;
        Some(Self { name: name.to_owned(), status: status.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listed_server_is_read_whatever_its_command() {
        let good = Listed::parse("plugin:p:s: run - it -x - ✔ Connected").unwrap();
        assert_eq!((good.name.as_str(), good.connected()), ("plugin:p:s", true));
        let bad = Listed::parse("s: run - ! Connected · tools fetch failed").unwrap();
        assert_eq!(
            (bad.status.as_str(), bad.connected()),
            ("! Connected · tools fetch failed", false)
        );
        assert_eq!(Listed::parse("Checking MCP server health…"), None);
    }
}
