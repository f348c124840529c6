//! A new git repository in which `cotenant init` was run, and what its store tells.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::e2e::cases::agent::{Agent, Turn};
use crate::e2e::cases::prompt::Prompt;
use crate::e2e::claude::UNATTENDED;
use crate::e2e::stage::Stage;
use crate::process::{Output, run};

/// How long a command may take on a busy machine.
const COMMAND: Duration = Duration::from_mins(2);

/// The repository of a case.
pub(super) struct Repo<'a> {
    pub(super) stage: &'a Stage,
}

/// A session as the store knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) state: String,
    /// The client's own id.
    pub(super) native: Option<String>,
    pub(super) pid: Option<u64>,
    pub(super) parent: Option<String>,
    pub(super) relation: Option<String>,
}

impl<'a> Repo<'a> {
    /// Makes the repository, with `a.txt` in it.
    pub(super) fn new(stage: &'a Stage) -> Result<Self> {
        Self::with(stage, &["init", "--yes"])
    }

    /// As [`Self::new`], set up by another command of the program.
    pub(super) fn with(stage: &'a Stage, arguments: &[&str]) -> Result<Self> {
        let repo = Self { stage };
        repo.git(&["init", "--quiet", "--initial-branch=main"])?;
        repo.commit("a file")?;
        let init = repo.run("cotenant", arguments)?;
        ensure!(init.status.success(), "{arguments:?}: {}{}", init.stdout, init.stderr);
        Ok(repo)
    }

    /// A file of the repository.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.stage.project.join(name)
    }

    /// What is in a file.
    pub(super) fn text(&self, name: &str) -> Result<String> {
        fs::read_to_string(self.file(name)).with_context(|| name.to_owned())
    }

    /// Starts a client that takes prompts until it is closed.
    pub(super) fn agent(&self) -> Result<Agent<'a>> {
        self.agent_with(&[])
    }

    /// As [`Self::agent`], with more arguments.
    pub(super) fn agent_with(&self, arguments: &[&str]) -> Result<Agent<'a>> {
        Agent::start(self.stage, &self.stage.project, arguments)
    }

    /// Has a client take one prompt and end.
    pub(super) fn print(&self, prompt: &str, arguments: &[&str]) -> Result<Turn> {
        let mark = self.stage.api.count();
        let arguments = [arguments, &UNATTENDED].concat();
        let printed = self.stage.claude().print(prompt, &arguments)?;
        printed.require_success()?;
        Turn::new(self.stage, mark, printed.result)
    }

    /// Runs git in the repository.
    pub(super) fn git(&self, arguments: &[&str]) -> Result<()> {
        let output = self.run("git", arguments)?;
        ensure!(output.status.success(), "git {}: {}", arguments.join(" "), output.stderr);
        Ok(())
    }

    /// Commits all there is.
    pub(super) fn commit(&self, message: &str) -> Result<()> {
        self.git(&["add", "--all"])?;
        let author = ["-c", "user.name=ada", "-c", "user.email=ada@example.org"];
        self.git(&[&author[..], &["commit", "--quiet", "--message", message]].concat())
    }

    /// Runs a program in the repository, in the shell of the clients' owner.
    pub(super) fn run(&self, program: &str, arguments: &[&str]) -> Result<Output> {
        let program = match program {
            "cotenant" => &self.stage.programs.cotenant,
            program => Path::new(program),
        };
        let mut command = self.stage.home.command(program, &self.stage.project);
        // The owner is a person, whoever runs the tests.
        command.env("COTENANT_HUMAN", "1");
        run(command.args(arguments), COMMAND)
    }

    /// The data that a command of the program answers.
    pub(super) fn ask(&self, arguments: &[&str]) -> Result<Value> {
        let output = self.run("cotenant", &[arguments, &["--json"]].concat())?;
        let envelope: Value = serde_json::from_str(&output.stdout)
            .with_context(|| format!("{arguments:?}: {}{}", output.stdout, output.stderr))?;
        if envelope["ok"] != true {
            bail!("{arguments:?}: {envelope}");
        }
        Ok(envelope["data"].clone())
    }

    /// All sessions there ever were.
    pub(super) fn sessions(&self) -> Result<Vec<Session>> {
        let data = self.ask(&["session", "list", "--all"])?;
        let rows = data["sessions"].as_array().context("no sessions")?;
        Ok(rows.iter().map(Session::read).collect())
    }

    /// The sessions that take part now.
    pub(super) fn live(&self) -> Result<Vec<Session>> {
        let is_live = |session: &Session| matches!(session.state.as_str(), "active" | "silent");
        Ok(self.sessions()?.into_iter().filter(is_live).collect())
    }

    /// The one live session of a client's conversation.
    pub(super) fn live_of(&self, native: &str) -> Result<Session> {
        let live = self.live()?;
        let mut found = live.iter().filter(|session| session.native.as_deref() == Some(native));
        match (found.next(), found.next()) {
            (Some(session), None) => Ok(session.clone()),
            _ => bail!("not one live session of {native}: {live:#?}"),
        }
    }

    /// A session, live or not.
    pub(super) fn session(&self, id: &str) -> Result<Session> {
        let sessions = self.sessions()?;
        let found = sessions.iter().find(|session| session.id == id);
        found.cloned().with_context(|| format!("no session {id} among {sessions:#?}"))
    }

    /// All events, the oldest first.
    pub(super) fn events(&self) -> Result<Vec<Value>> {
        let data = self.ask(&["event", "list", "--last", "1000"])?;
        data["events"].as_array().cloned().context("no events")
    }

    /// Who holds an item.
    pub(super) fn holders(&self, item: &str) -> Result<Vec<Value>> {
        let data = self.ask(&["who", item])?;
        data["holdings"].as_array().cloned().context("no holdings")
    }

    /// A prompt that acts in the three ways there are: by the server, in the agent's shell, and by
    /// an edit.
    pub(super) fn act(&self, prompt: Prompt, label: &str) -> Prompt {
        let scope = format!("acts/{label}");
        let store = serde_json::json!({"scope": scope, "key": "server", "value": 1});
        prompt
            .mcp("store_data", &store)
            .bash(&format!("cotenant data set {scope} shell 1"))
            .write(&self.file(&format!("{label}.txt")), "1\n")
    }

    /// Fails unless all three were done, each in the name of this session.
    pub(super) fn require_acted(&self, label: &str, session: &Session) -> Result<()> {
        let scope = format!("acts/{label}");
        let file = format!("path:{label}.txt");
        let mut found = Vec::new();
        for event in self.events()? {
            let what = match event["kind"].as_str() {
                Some("data.put") if event["scope"] == *scope => &event["payload"]["key"],
                Some("claim.granted") if event["scope"] == *file => &event["kind"],
                _ => continue,
            };
            let what = what.as_str().unwrap_or_default().to_owned();
            found.push((what, event["session"].as_str().unwrap_or_default().to_owned()));
        }
        found.sort();
        let expected: Vec<(String, String)> = ["claim.granted", "server", "shell"]
            .map(|what| (what.to_owned(), session.id.clone()))
            .into();
        ensure!(
            found == expected,
            "`{label}` should be of {session:?} only, but is {found:?}; sessions: {:#?}",
            self.sessions()?
        );
        Ok(())
    }
}

impl Session {
    fn read(row: &Value) -> Self {
        let text = |name: &str| row[name].as_str().map(str::to_owned);
        let word = |name: &str| text(name).unwrap_or_default();
        Self {
            id: word("session"),
            name: word("name"),
            kind: word("kind"),
            state: word("state"),
            native: text("native_id"),
            pid: row["process"]["pid"].as_u64(),
            parent: text("parent"),
            relation: text("relation"),
        }
    }
}
