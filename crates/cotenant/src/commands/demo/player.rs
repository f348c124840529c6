//! A process that plays an agent: it runs hooks, tools and commands as an agent's process does, on
//! the word of the demo.
//!
//! One JSON object a line comes in, one goes out.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use cotenant_core::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::broken;
use crate::env;

/// Play an agent for `cotenant demo`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The conversation id to play under
    native_id: String,
}

/// What the demo asks of a player.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ask {
    /// Run a hook with a payload.
    Hook { event: String, payload: Value },
    /// Run a command.
    Run { arguments: Vec<String> },
    /// Call an MCP tool, several times.
    Tool { name: String, arguments: Vec<Value> },
}

/// What came of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Told {
    /// The exit status; 0 for tools.
    pub(super) exit: i32,
    /// What was printed, or the text of the last tool result.
    pub(super) out: String,
    /// What was printed to stderr.
    pub(super) err: String,
    /// How many tool calls failed.
    pub(super) failed: usize,
}

/// Plays until the demo hangs up.
pub(crate) fn run(args: &Args) -> Result<()> {
    // Hooks and commands look for the agent above them by its name.
    let _ = rustix::thread::set_name(c"claude");
    let mut player = Player { native_id: args.native_id.clone(), server: None, calls: 0 };
    let (stdin, mut stdout) = (std::io::stdin().lock(), std::io::stdout().lock());
    for line in stdin.lines() {
        let line = line.map_err(|error| broken(format!("the demo hung up: {error}")))?;
        let ask: Ask = serde_json::from_str(&line)
            .map_err(|error| Error::invalid(format!("not a request to a player: {error}")))?;
        let told = player.act(ask)?;
        let told = serde_json::to_string(&told)
            .map_err(|error| Error::internal("an answer cannot be written").caused_by(error))?;
        let written = writeln!(stdout, "{told}").and_then(|()| stdout.flush());
        written.map_err(|error| broken(format!("the demo hung up: {error}")))?;
    }
    Ok(())
}

struct Player {
    native_id: String,
    server: Option<Server>,
    calls: u64,
}

/// The MCP server of this agent.
struct Server {
    _process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    ids: u64,
}

impl Player {
    fn act(&mut self, ask: Ask) -> Result<Told> {
        match ask {
            Ask::Hook { event, payload } => self.hook(&event, payload),
            Ask::Run { arguments } => self.spawn(&arguments, ""),
            Ask::Tool { name, arguments } => self.tool(&name, arguments),
        }
    }

    fn command(&self) -> Result<Command> {
        let program = env::program()
            .map_err(|error| broken(format!("this program cannot be found: {error}")))?;
        let mut command = Command::new(program);
        command
            .env(env::CLAUDE_SESSION, &self.native_id)
            .env(env::CLAUDE_PROJECT, working_directory()?);
        Ok(command)
    }

    fn spawn(&self, arguments: &[String], input: &str) -> Result<Told> {
        let mut child = self
            .command()?
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| broken(format!("a command cannot be started: {error}")))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A command that does not read its input is no failure.
            let _ = stdin.write_all(input.as_bytes());
        }
        let output = child
            .wait_with_output()
            .map_err(|error| broken(format!("a command was lost: {error}")))?;
        Ok(Told {
            exit: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
            failed: 0,
        })
    }

    fn hook(&self, event: &str, payload: Value) -> Result<Told> {
        let mut whole = json!({
            "session_id": self.native_id,
            "transcript_path": "",
            "cwd": working_directory()?,
            "hook_event_name": event,
        });
        if let (Some(whole), Value::Object(payload)) = (whole.as_object_mut(), payload) {
            whole.extend(payload);
        }
        self.spawn(&["hook".to_owned(), event.to_owned()], &whole.to_string())
    }

    fn tool(&mut self, name: &str, arguments: Vec<Value>) -> Result<Told> {
        if self.server.is_none() {
            self.server = Some(self.start_server()?);
        }
        let mut told = Told::default();
        for arguments in arguments {
            self.calls += 1;
            let id = format!("toolu_demo_{}_{}", self.native_id, self.calls);
            let params = json!({"name": name, "arguments": arguments, "_meta": {"claudecode/toolUseId": id}});
            let server = self.server.as_mut().ok_or_else(|| broken("the MCP server is gone"))?;
            let answer = server.ask("tools/call", &params)?;
            let result = &answer["result"];
            let failed = answer.get("error").is_some() || result["isError"] == json!(true);
            told.failed += usize::from(failed);
            let text = result["content"][0]["text"].as_str();
            text.unwrap_or_default().clone_into(&mut told.out);
        }
        Ok(told)
    }

    fn start_server(&self) -> Result<Server> {
        let mut process = self
            .command()?
            .arg("mcp")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| broken(format!("the MCP server cannot be started: {error}")))?;
        let (Some(input), Some(output)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(broken("the MCP server has no pipes"));
        };
        let mut server =
            Server { _process: process, input, output: BufReader::new(output), ids: 0 };
        server.ask(
            "initialize",
            &json!({
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "cotenant-demo", "version": env!("CARGO_PKG_VERSION")},
            }),
        )?;
        server.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))?;
        Ok(server)
    }
}

impl Server {
    fn send(&mut self, message: &Value) -> Result<()> {
        writeln!(self.input, "{message}")
            .and_then(|()| self.input.flush())
            .map_err(|error| broken(format!("the MCP server hung up: {error}")))
    }

    fn ask(&mut self, method: &str, params: &Value) -> Result<Value> {
        self.ids += 1;
        let id = self.ids;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))?;
        loop {
            let mut line = String::new();
            let read = self.output.read_line(&mut line);
            if !matches!(read, Ok(1..)) {
                return Err(broken("the MCP server hung up"));
            }
            let message: Value = serde_json::from_str(&line)
                .map_err(|error| broken(format!("the MCP server wrote no JSON: {error}")))?;
            if message["id"] == json!(id) {
                return Ok(message);
            }
        }
    }
}

fn working_directory() -> Result<PathBuf> {
    env::working_directory()
        .map_err(|error| broken(format!("the working directory is gone: {error}")))
}
