//! A window that stands idle: an agent with its server, in a process name space of its own where that
//! can be had, so that from elsewhere nobody can tell whether it lives.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::symlink;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::super::lab::{Bench, Lab};
use super::super::worker::Request;
use super::user::{User, machine};
use crate::process::Group;

/// What it is called, and holds.
const ITEM: &str = "idle";

/// An idle window.
pub(super) struct Idle {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    asked: u64,
    _group: Group,
    _lab: Lab,
}

impl Idle {
    /// Starts an agent, claims something, and leaves it alone.
    pub(super) fn start(bench: &Bench, address: &str) -> Result<Self> {
        let lab = machine(bench, "idle", address)?;
        // An agent is a shell by another name; the trailing command keeps it from becoming the server.
        symlink("/bin/sh", lab.file("claude"))?;
        let agent = lab.file("claude");
        let mut command = if apart() {
            let mut command = lab.with_variables("unshare".as_ref());
            command.args(["--pid", "--fork", "--mount-proc"]).arg(agent);
            command
        } else {
            lab.with_variables(agent.as_os_str())
        };
        let line = format!("'{}' mcp; :", lab.binary().display());
        command.args(["-c", &line]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut group = Group::spawn(&mut command)?;
        let input = group.child().stdin.take().context("a server without stdin")?;
        let output = group.child().stdout.take().context("a server without stdout")?;
        let output = BufReader::new(output);
        let mut idle = Self { input, output, asked: 0, _group: group, _lab: lab };
        let client = json!({"name": "claude-code", "version": "1"});
        let open =
            json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
        idle.ask("initialize", &open)?;
        writeln!(
            idle.input,
            "{}",
            json!({"jsonrpc": "2.0", "method": "notifications/initialized"})
        )?;
        idle.call("sign_on", &json!({"session_id": ITEM}))?;
        idle.call("claim", &json!({"items": [format!("issue:{ITEM}")]}))?;
        Ok(idle)
    }

    fn ask(&mut self, method: &str, params: &Value) -> Result<Value> {
        self.asked += 1;
        let request =
            json!({"jsonrpc": "2.0", "id": self.asked, "method": method, "params": params});
        writeln!(self.input, "{request}")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let answer: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
        ensure!(answer["error"].is_null(), "the server refused: {answer}");
        Ok(answer["result"].clone())
    }

    fn call(&mut self, tool: &str, arguments: &Value) -> Result<()> {
        let result = self.ask("tools/call", &json!({"name": tool, "arguments": arguments}))?;
        ensure!(result["isError"] != true, "{tool}: {result}");
        Ok(())
    }
}

/// The fence under which the idle window holds its item, as another user sees it.
pub(super) fn fence(by: &mut User) -> Result<Option<i64>> {
    let who = json!({"item": {"kind": "issue", "name": ITEM}});
    let answer = by.ask(&Request::new("who", who))?;
    let holdings = answer["data"]["holdings"].as_array().context("an answer without holders")?;
    let idle = holdings.iter().find(|holding| holding["name"] == ITEM);
    Ok(idle.filter(|holding| holding["state"] == "held").and_then(|held| held["fence"].as_i64()))
}

/// Whether a process name space of one's own can be had.
fn apart() -> bool {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "true"]).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
