//! A repository, its store, and agents that call hooks.
//!
//! An agent is this test binary, run again under an agent's name: a process of its own that calls
//! hooks through a shell, as real agents do, until it ends or is killed.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use cotenant_core::{
    claim::{Holding, Who},
    session::{ListSessions, SessionView},
    status::{ShowStatus, Status},
    store::Store,
};
use cotenant_store::{IfMissing, LocalStore};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Tells this binary to be an agent.
const AGENT: &str = "TEST_IS_AGENT";
/// Marks an agent's answers among what the test driver prints.
const MARK: &str = "@agent ";

/// A git repository in a directory of its own.
pub(crate) struct Stage {
    scratch: tempfile::TempDir,
    pub(crate) top: PathBuf,
}

impl Stage {
    /// A repository with a store.
    pub(crate) fn new() -> Self {
        let stage = Self::without_store();
        LocalStore::open(&stage.store_file(), IfMissing::Create).unwrap();
        stage
    }

    /// A repository without one.
    pub(crate) fn without_store() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(scratch.path()).unwrap();
        let top = root.join("project");
        fs::create_dir_all(top.join("src")).unwrap();
        fs::create_dir(root.join("home")).unwrap();
        fs::create_dir(root.join("bin")).unwrap();
        fs::write(top.join("src/a.rs"), "a\n").unwrap();
        fs::write(top.join("src/b.rs"), "b\n").unwrap();
        let stage = Self { scratch, top };
        stage.git(&["init", "-q", "-b", "main"]);
        stage.git(&["add", "."]);
        stage.git(&["commit", "-q", "-m", "first"]);
        stage
    }

    pub(crate) fn git(&self, arguments: &[&str]) {
        let output = self
            .command(Path::new("git"))
            .args(arguments)
            .envs(["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_NAME"), "t")))
            .envs(["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_EMAIL"), "t@example.org")))
            .output()
            .unwrap();
        assert!(output.status.success(), "git {arguments:?}: {output:?}");
    }

    /// A command with nothing of this process's environment but where programs are.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.top)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.home())
            .env("GIT_CONFIG_NOSYSTEM", "1");
        command
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.scratch.path().join("home")
    }

    pub(crate) fn store_directory(&self) -> PathBuf {
        self.top.join(".git/cotenant")
    }

    pub(crate) fn store_file(&self) -> PathBuf {
        self.store_directory().join("store.db")
    }

    pub(crate) fn store(&self) -> Box<dyn Store> {
        Box::new(LocalStore::open(&self.store_file(), IfMissing::Fail).unwrap())
    }

    pub(crate) fn status(&self) -> Status {
        self.store().call(&ShowStatus::default(), |request| request).unwrap().answer
    }

    /// All sessions there ever were, the earliest first.
    pub(crate) fn sessions(&self) -> Vec<SessionView> {
        let list: ListSessions = serde_json::from_value(json!({"all": true})).unwrap();
        let mut sessions = self.store().call(&list, |request| request).unwrap().answer.sessions;
        sessions.reverse();
        sessions
    }

    /// Who holds a path, in whatever tree.
    pub(crate) fn holders(&self, path: &str) -> Vec<Holding> {
        let who = Who { item: Some(format!("path:{path}").parse().unwrap()), ..Who::default() };
        self.store().call(&who, |request| request).unwrap().answer.holdings
    }

    /// How many events of a kind there are.
    pub(crate) fn events(&self, kind: &str) -> usize {
        let read: cotenant_core::event::Read =
            serde_json::from_value(json!({"after": "start", "kind": kind, "limit": 1000})).unwrap();
        self.store().call(&read, |request| request).unwrap().answer.events.len()
    }

    /// The marks beside the store, in no order.
    pub(crate) fn marks(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.store_directory().join("seen")).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// Starts an agent in the repository.
    pub(crate) fn agent(&self) -> Agent {
        self.agent_at(&self.top, &[], "claude")
    }

    /// Starts an agent somewhere, with more arguments than it needs, under a name.
    pub(crate) fn agent_at(&self, directory: &Path, arguments: &[&str], name: &str) -> Agent {
        let program = self.scratch.path().join("bin").join(name);
        if !program.exists() {
            let this = std::env::current_exe().unwrap();
            // A file of its own, because a process is known by the name of its program.
            if fs::hard_link(&this, &program).is_err() {
                fs::copy(&this, &program).unwrap();
            }
        }
        let mut child = self
            .command(&program)
            .args(["stage::agent_process", "--exact", "--nocapture", "--"])
            .args(arguments)
            .env(AGENT, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let stdin_file = self.scratch.path().join(format!("stdin-{}", child.id()));
        Agent {
            child,
            stdin: Some(stdin),
            stdout,
            stdin_file,
            directory: directory.to_path_buf(),
            variables: BTreeMap::new(),
            calls: 0,
        }
    }
}

/// Waits for something that other processes bring about.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A process that plays an agent.
pub(crate) struct Agent {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    stdin_file: PathBuf,
    directory: PathBuf,
    /// Set for every program that the agent runs.
    pub(crate) variables: BTreeMap<String, String>,
    calls: u32,
}

/// What an agent shall run.
#[derive(Serialize, Deserialize)]
struct Run {
    line: String,
    /// The file whose bytes it gets.
    stdin: PathBuf,
    directory: PathBuf,
    variables: BTreeMap<String, String>,
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Heard {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Agent {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Runs a line of a shell.
    fn run(&mut self, line: &str, stdin: &[u8]) -> Heard {
        fs::write(&self.stdin_file, stdin).unwrap();
        let run = Run {
            line: line.to_owned(),
            stdin: self.stdin_file.clone(),
            directory: self.directory.clone(),
            variables: self.variables.clone(),
        };
        let agent = self.stdin.as_mut().unwrap();
        writeln!(agent, "{}", serde_json::to_string(&run).unwrap()).unwrap();
        agent.flush().unwrap();
        loop {
            let mut line = String::new();
            assert_ne!(self.stdout.read_line(&mut line).unwrap(), 0, "the agent has ended");
            if let Some((_, answer)) = line.split_once(MARK) {
                return serde_json::from_str(answer).unwrap();
            }
        }
    }

    /// Runs cotenant through a shell.
    pub(crate) fn cotenant(&mut self, arguments: &str, stdin: &[u8]) -> Heard {
        let program = env!("CARGO_BIN_EXE_cotenant");
        self.run(&format!("'{program}' {arguments}"), stdin)
    }

    /// Calls a hook with any bytes.
    pub(crate) fn raw(&mut self, event: &str, stdin: &[u8]) -> Heard {
        self.cotenant(&format!("hook {event}"), stdin)
    }

    /// Calls a hook as the agent of a conversation does.
    pub(crate) fn hook(&mut self, event: &str, conversation: &str, fields: &Value) -> Told {
        let payload = self.payload(event, conversation, fields);
        Told::of(&self.raw(event, payload.to_string().as_bytes()))
    }

    /// Calls the same hook from two installed places at once.
    pub(crate) fn hook_twice(&mut self, event: &str, conversation: &str, fields: &Value) -> Heard {
        let payload = self.payload(event, conversation, fields);
        let program = env!("CARGO_BIN_EXE_cotenant");
        let one = format!("'{program}' hook {event} <'{}'", self.stdin_file.display());
        self.run(&format!("{one} & {one} & wait"), payload.to_string().as_bytes())
    }

    fn payload(&self, event: &str, conversation: &str, fields: &Value) -> Value {
        let mut payload = json!({
            "session_id": conversation,
            "transcript_path": format!("/home/dev/.claude/projects/-p/{conversation}.jsonl"),
            "cwd": self.directory,
            "hook_event_name": event,
        });
        for (name, value) in fields.as_object().unwrap() {
            payload[name] = value.clone();
        }
        payload
    }

    pub(crate) fn start(&mut self, conversation: &str, source: &str) -> Told {
        self.hook("SessionStart", conversation, &json!({"source": source}))
    }

    pub(crate) fn prompt(&mut self, conversation: &str) -> Told {
        self.hook("UserPromptSubmit", conversation, &json!({"prompt": "go on"}))
    }

    pub(crate) fn end(&mut self, conversation: &str, reason: &str) -> Told {
        self.hook("SessionEnd", conversation, &json!({"reason": reason}))
    }

    /// Is about to edit a file.
    pub(crate) fn edit(&mut self, conversation: &str, path: impl AsRef<Path>) -> Told {
        let call = self.call_id();
        let fields = edit_fields(&call, path.as_ref());
        self.hook("PreToolUse", conversation, &fields)
    }

    /// A fresh id for a call of a tool.
    pub(crate) fn call_id(&mut self) -> String {
        self.calls += 1;
        format!("toolu_{}_{}", self.pid(), self.calls)
    }

    /// Dies without a word.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stdin = None;
        let _ = self.child.wait();
    }
}

pub(crate) fn edit_fields(call: &str, path: &Path) -> Value {
    json!({"tool_name": "Edit", "tool_use_id": call, "tool_input": {
        "file_path": path, "old_string": "x", "new_string": "y", "replace_all": false}})
}

/// What a hook answered. Any hook exits with 0 and prints one object, or nothing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Nothing,
    Context(String),
    Deny(String),
    GoOn(String),
}

impl Told {
    pub(crate) fn of(heard: &Heard) -> Self {
        assert_eq!(heard.status, Some(0), "{heard:?}");
        assert_eq!(heard.stderr, "", "{heard:?}");
        if heard.stdout.is_empty() {
            return Self::Nothing;
        }
        let answer: Value = serde_json::from_str(&heard.stdout).unwrap();
        if answer["decision"] == "block" {
            assert_eq!(answer.as_object().unwrap().len(), 2, "{answer}");
            return Self::GoOn(answer["reason"].as_str().unwrap().to_owned());
        }
        assert_eq!(answer.as_object().unwrap().len(), 1, "{answer}");
        let specific = answer["hookSpecificOutput"].as_object().unwrap();
        let text = |name: &str| specific.get(name).map(|text| text.as_str().unwrap().to_owned());
        match (text("additionalContext"), text("permissionDecision")) {
            (Some(context), None) => {
                assert_eq!(specific.len(), 2, "{answer}");
                Self::Context(context)
            }
            (None, Some(decision)) => {
                assert_eq!((decision.as_str(), specific.len()), ("deny", 3), "{answer}");
                Self::Deny(text("permissionDecisionReason").unwrap())
            }
            _ => panic!("{answer}"),
        }
    }

    #[track_caller]
    pub(crate) fn context(self) -> String {
        match self {
            Self::Context(text) => text,
            other => panic!("no context: {other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn denied(self) -> String {
        match self {
            Self::Deny(text) => text,
            other => panic!("not denied: {other:?}"),
        }
    }
}

/// Runs what it is told, line by line, until there is nothing more to hear.
fn be_agent() -> io::Result<()> {
    for line in io::stdin().lock().lines() {
        let run: Run = serde_json::from_str(&line?)?;
        let mut child = Command::new("/bin/sh")
            .args(["-c", &run.line])
            .current_dir(run.directory)
            .env_remove(AGENT)
            .envs(run.variables)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        // A hook may be done before it has read everything.
        let _ = child.stdin.take().unwrap().write_all(&fs::read(&run.stdin)?);
        let output = child.wait_with_output()?;
        let heard = Heard {
            status: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "\n{MARK}{}", serde_json::to_string(&heard)?)?;
        stdout.flush()?;
    }
    Ok(())
}

/// Not a test of its own: what an agent's process runs.
#[test]
fn agent_process() {
    if std::env::var_os(AGENT).is_some() {
        be_agent().unwrap();
        // The driver would report a test that nobody asked for.
        std::process::exit(0);
    }
}
