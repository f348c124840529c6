//! A repository with a store, agents that start the server in it, and a client of the server.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use cotenant_core::{
    Operation,
    event::sha256_hex,
    name::SessionRef,
    process::ProcessIdentity,
    session::{SessionView, ShowSession, SignOn, SignedOn},
    status::{ShowStatus, Status},
    store::{Actor, Request, Store},
};
use cotenant_store::{IfMissing, LocalStore, host::identity};
use serde_json::{Value, json};

/// A repository, and a home directory for its agents.
pub(crate) struct World {
    scratch: tempfile::TempDir,
}

impl World {
    /// A repository whose store is there.
    pub(crate) fn new() -> Self {
        let world = Self::without_store();
        LocalStore::open(&world.store_file(), IfMissing::Create).unwrap();
        world
    }

    pub(crate) fn without_store() -> Self {
        let world = Self { scratch: tempfile::tempdir().unwrap() };
        fs::create_dir_all(world.top().join("src")).unwrap();
        fs::create_dir_all(world.home().join(".claude/sessions")).unwrap();
        fs::create_dir(world.bin()).unwrap();
        // An agent is a shell by another name: what counts is which process starts the server.
        symlink("/bin/sh", world.bin().join("claude")).unwrap();
        let git = Command::new("git")
            .args(["init", "-q", "-b", "main"])
            .current_dir(world.top())
            .env("HOME", world.home())
            .status()
            .unwrap();
        assert!(git.success());
        world
    }

    pub(crate) fn top(&self) -> PathBuf {
        fs::canonicalize(self.scratch.path()).unwrap().join("top")
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.scratch.path().join("home")
    }

    fn bin(&self) -> PathBuf {
        self.scratch.path().join("bin")
    }

    pub(crate) fn store_file(&self) -> PathBuf {
        self.scratch.path().join("top/.git/cotenant/store.db")
    }

    pub(crate) fn store(&self) -> Box<dyn Store> {
        Box::new(LocalStore::open(&self.store_file(), IfMissing::Fail).unwrap())
    }

    /// Asks the store, past the server.
    pub(crate) fn read<O: Operation>(&self, operation: &O) -> O::Answer {
        self.store().call(operation, |request| request).unwrap().answer
    }

    pub(crate) fn status(&self) -> Status {
        self.read(&ShowStatus::default())
    }

    pub(crate) fn session(&self, reference: &str) -> SessionView {
        self.read(&ShowSession { session: SessionRef(reference.to_owned()) }).session
    }

    /// Signs a session on past the server, with a token of its own.
    pub(crate) fn sign_on(&self, name: &str, sign_on: SignOn) -> (SignedOn, Actor) {
        let token = format!("token of {name}");
        let digest = sha256_hex(&token);
        let tokens = self.store_file().with_file_name("tokens");
        fs::create_dir_all(&tokens).unwrap();
        fs::write(tokens.join(&digest), token).unwrap();
        let operation =
            SignOn { name: Some(name.to_owned()), token_digest: digest.clone(), ..sign_on };
        let signed = self.store().call(&operation, |request| request).unwrap().answer;
        let actor = Actor { session: SessionRef(signed.session.0.clone()), token_digest: digest };
        (signed, actor)
    }

    /// Writes past the server.
    pub(crate) fn write<O: Operation>(&self, actor: &Actor, operation: &O) -> O::Answer {
        let dress = |request: Request| request.by(actor.clone());
        self.store().call(operation, dress).unwrap().answer
    }

    /// Writes the entry of a process in Claude Code's register.
    pub(crate) fn register(&self, pid: u32, conversation: &str) {
        let started = identity(pid).unwrap().started.to_string();
        let entry = json!({"pid": pid, "sessionId": conversation, "procStart": started});
        let file = self.home().join(format!(".claude/sessions/{pid}.json"));
        fs::write(file, entry.to_string()).unwrap();
    }

    /// Leaves the note that our hook leaves of a call.
    pub(crate) fn note_call(&self, tool_use_id: &str, session: &str) {
        let calls = self.store_file().with_file_name("calls");
        fs::create_dir_all(&calls).unwrap();
        fs::write(calls.join(sha256_hex(tool_use_id)), format!("{session}\n\n")).unwrap();
    }

    /// What a hook of an agent, this test's own process, prints.
    pub(crate) fn hook(&self, payload: &Value) -> String {
        let mut child = Command::new(env!("CARGO_BIN_EXE_cotenant"))
            .args(["hook", payload["hook_event_name"].as_str().unwrap()])
            .current_dir(self.top())
            .env_clear()
            .env("HOME", self.home())
            .env("CLAUDE_CODE_SESSION_ID", payload["session_id"].as_str().unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut payload = payload.clone();
        payload["cwd"] = json!(self.top());
        payload["transcript_path"] = json!("/nowhere/c1.jsonl");
        write!(child.stdin.take().unwrap(), "{payload}").unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    }

    /// A server that this test's own process starts.
    pub(crate) fn serve(&self, environment: &[(&str, &str)]) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cotenant"));
        command.arg("mcp");
        Server::start(self, command, environment)
    }

    /// A server that an agent of its own starts, in the conversation that its process is
    /// registered with.
    pub(crate) fn agent(&self, conversation: &str) -> Server {
        let mut command = Command::new(self.bin().join("claude"));
        // The trailing command keeps the shell from becoming the server.
        command.args(["-c", "\"$0\" mcp; :", env!("CARGO_BIN_EXE_cotenant")]);
        let server = Server::start(self, command, &[("CLAUDE_CODE_SESSION_ID", conversation)]);
        self.register(server.child.id(), conversation);
        server
    }
}

/// A sign-on that says as little as possible.
pub(crate) fn blank(kind: &str, process: Option<ProcessIdentity>) -> SignOn {
    SignOn { process, ..SignOn::new(kind, "test", "") }
}

/// This test's own process.
pub(crate) fn this_process() -> ProcessIdentity {
    identity(std::process::id()).unwrap()
}

/// A running server and its client.
pub(crate) struct Server {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
    asked: u64,
    /// The name that the client introduces itself with.
    pub(crate) client: &'static str,
}

impl Server {
    fn start(world: &World, mut command: Command, environment: &[(&str, &str)]) -> Self {
        let path = std::env::var_os("PATH").unwrap();
        let mut child = command
            .current_dir(world.top())
            .env_clear()
            .env("PATH", path)
            .env("HOME", world.home())
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let to = child.stdin.take();
        let from = BufReader::new(child.stdout.take().unwrap());
        Self { child, to, from, asked: 0, client: "claude-code" }
    }

    pub(crate) fn process(&self) -> ProcessIdentity {
        identity(self.child.id()).unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn send(&mut self, message: &Value) {
        writeln!(self.to.as_mut().unwrap(), "{message}").unwrap();
    }

    fn receive(&mut self) -> Value {
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    pub(crate) fn ask(&mut self, method: &str, params: &Value) -> Value {
        let id = self.begin(method, params);
        self.answer_to(id)
    }

    /// Sends a request and leaves it at that; answers its id.
    pub(crate) fn begin(&mut self, method: &str, params: &Value) -> u64 {
        let id = self.asked;
        self.asked += 1;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        id
    }

    /// Calls a tool and leaves it at that.
    pub(crate) fn begin_call(&mut self, tool: &str, arguments: &Value) -> u64 {
        self.open();
        self.begin("tools/call", &json!({"name": tool, "arguments": arguments}))
    }

    /// The next answer, which must be that to a request.
    pub(crate) fn answer_to(&mut self, id: u64) -> Value {
        let answer = self.receive();
        assert_eq!(answer["id"], id, "{answer}");
        answer["result"].clone()
    }

    /// The next answer, with the id of the request.
    pub(crate) fn answer_to_any(&mut self) -> (u64, Value) {
        let answer = self.receive();
        (answer["id"].as_u64().unwrap(), answer["result"].clone())
    }

    /// Calls a request off.
    pub(crate) fn call_off(&mut self, id: u64) {
        let params = json!({"requestId": id, "reason": "the user said so"});
        let method = "notifications/cancelled";
        self.send(&json!({"jsonrpc": "2.0", "method": method, "params": params}));
    }

    /// Closes the client's end, and goes on reading.
    pub(crate) fn leave(&mut self) {
        self.to.take();
    }

    /// Opens the protocol, unless that has happened.
    pub(crate) fn open(&mut self) {
        if self.asked == 0 {
            let client = json!({"name": self.client, "version": "1"});
            let params =
                json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
            self.ask("initialize", &params);
            self.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        }
    }

    /// Calls a tool, with what the client adds to the call.
    pub(crate) fn call_with(&mut self, tool: &str, arguments: &Value, meta: &Value) -> Value {
        self.open();
        self.ask("tools/call", &json!({"name": tool, "arguments": arguments, "_meta": meta}))
    }

    /// Calls a tool with arguments as they are to be written.
    pub(crate) fn call_raw(&mut self, tool: &str, arguments: &str) -> Value {
        self.open();
        let id = self.asked;
        self.asked += 1;
        let head = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":"#);
        let line = format!(r#"{head}{{"name":"{tool}","arguments":{arguments}}}}}"#);
        writeln!(self.to.as_mut().unwrap(), "{line}").unwrap();
        self.receive()["result"].clone()
    }

    /// Calls a tool that must succeed; the answer as the model sees it.
    pub(crate) fn call(&mut self, tool: &str, arguments: &Value) -> Value {
        answer(&self.call_with(tool, arguments, &json!({})))
    }

    /// The text of an answer that must be an error.
    pub(crate) fn refusal(&mut self, tool: &str, arguments: &Value) -> String {
        let result = self.call_with(tool, arguments, &json!({}));
        assert_eq!(result["isError"], true, "{result}");
        assert!(result["structuredContent"].is_null(), "{result}");
        result["content"][0]["text"].as_str().unwrap().to_owned()
    }

    /// The text of an answer, byte for byte.
    pub(crate) fn text(&mut self, tool: &str, arguments: &Value) -> String {
        let result = self.call_with(tool, arguments, &json!({}));
        assert_ne!(result["isError"], true, "{result}");
        result["content"][0]["text"].as_str().unwrap().to_owned()
    }

    /// Which session its writes are attributed to.
    pub(crate) fn writer(&mut self, world: &World) -> SessionView {
        self.writer_with(world, &json!({}))
    }

    pub(crate) fn writer_with(&mut self, world: &World, meta: &Value) -> SessionView {
        let arguments = json!({"event_type": "mark", "message": "here"});
        let seq = answer(&self.call_with("log_event", &arguments, meta))["seq"].as_i64().unwrap();
        let event = world.event(seq);
        world.session(&event.session)
    }

    /// Closes the client's end and waits for the process.
    pub(crate) fn close(mut self) {
        self.to.take();
        assert!(self.child.wait().unwrap().success());
    }

    /// Kills the process that was started: the agent, if one was.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.to.take();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the model sees of a result.
pub(crate) fn answer(result: &Value) -> Value {
    assert_ne!(result["isError"], true, "{result}");
    match &result["structuredContent"] {
        Value::Null => {
            serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap()
        }
        facts => facts.clone(),
    }
}

impl World {
    /// An event by its number.
    pub(crate) fn event(&self, seq: i64) -> cotenant_core::event::Event {
        self.events().into_iter().find(|event| event.seq.0 == seq).unwrap()
    }

    /// The log, as far as tests fill it.
    pub(crate) fn events(&self) -> Vec<cotenant_core::event::Event> {
        let read = cotenant_core::event::Read {
            after: Some("start".into()),
            last: None,
            kind: None,
            scope: None,
            session: None,
            limit: 1_000,
            wait_ms: None,
        };
        self.read(&read).events
    }
}

/// Whether a path exists.
pub(crate) fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}
