//! The MCP server over stdio: how fast it is there, how large it is, how much it makes agents read.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::launch::Launch;
use super::row::{Limit, Row, short};
use super::run::Measured;
use super::sample::{Contender, Sample, interleave};
use super::scene::Scene;
use super::setting::Setting;

/// Measures the group.
pub(crate) fn run(setting: &Setting) -> Result<Measured> {
    let scene = Scene::new(setting)?;
    let server = scene.cotenant(&["mcp"]).variable("CLAUDE_PROJECT_DIR", scene.top());
    let server = server.variable("CLAUDE_CODE_SESSION_ID", "5e551010-0000-4000-8000-000000000002");
    let [start] = interleave(
        setting.plan(10),
        [Contender::new("initialize", || {
            let began = Instant::now();
            let session = Session::start(&server)?;
            let took = began.elapsed();
            session.end()?;
            Ok(took)
        })],
    )?;
    let mut session = Session::start(&server)?;
    let listed = session.ask("tools/list", &json!({}))?;
    let tools = listed["result"]["tools"].as_array().map_or(0, Vec::len);
    ensure!(tools > 0, "the server offers no tools: {listed}");
    let bytes = session.line.trim_end().len();
    let idle = session.resident()?;
    let calls = (0..setting.size(200, 10)).map(|number| {
        let arguments =
            json!({"scope": "bench", "key": format!("key{}", number % 10), "value": number});
        let began = Instant::now();
        let answer =
            session.ask("tools/call", &json!({"name": "store_data", "arguments": arguments}))?;
        let took = began.elapsed();
        ensure!(answer["result"]["isError"] != true, "store_data fails: {answer}");
        Ok(took)
    });
    let calls = Sample::of(calls.collect::<Result<Vec<Duration>>>()?);
    let resident = session.resident()?;
    session.end()?;

    let from = format!("best {} ms", short(start.best() / 1e3));
    let mib = |kib: u32| f64::from(kib) / 1024.0;
    let rows = vec![
        Row::new("start until `initialize` is answered, p50", start.p50() / 1e3, "ms", from)
            .hard(Limit::Most(20.0)),
        Row::new(
            "resident",
            mib(resident),
            "MiB",
            format!("after {} calls; {} MiB before the first", calls.len(), short(mib(idle))),
        )
        .hard(Limit::Most(10.0)),
        Row::new(
            "`tools/list`",
            f64::from(u32::try_from(bytes)?),
            "bytes",
            format!("{tools} tools"),
        )
        .hard(Limit::Most(12_000.0)),
        Row::new("`store_data`, a durable write, p50", calls.p50() / 1e3, "ms", ""),
    ];
    let figures = json!({"start_p50_us": start.p50(), "start_min_us": start.best(), "call_p50_us": calls.p50()});
    Ok((rows, figures))
}

/// A server that has answered `initialize`.
struct Session {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    /// The last answer as it came.
    line: String,
    asked: u64,
}

impl Session {
    fn start(server: &Launch) -> Result<Self> {
        let mut command = server.command()?;
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let stdin = stdin.context("no pipe")?;
        let stdout = BufReader::new(stdout.context("no pipe")?);
        let mut session = Self { child, stdin, stdout, line: String::new(), asked: 0 };
        let answer = session.ask(
            "initialize",
            &json!({
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "bench", "version": "1"},
            }),
        )?;
        ensure!(answer["result"]["serverInfo"].is_object(), "`initialize` answers {answer}");
        session.say(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))?;
        Ok(session)
    }

    fn say(&mut self, message: &Value) -> Result<()> {
        writeln!(self.stdin, "{message}")?;
        Ok(self.stdin.flush()?)
    }

    fn ask(&mut self, method: &str, params: &Value) -> Result<Value> {
        self.asked += 1;
        let id = self.asked;
        self.say(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))?;
        loop {
            self.line.clear();
            let read = self.stdout.read_line(&mut self.line)?;
            ensure!(read > 0, "the server ended instead of answering `{method}`");
            let answer: Value = serde_json::from_str(&self.line)?;
            if answer["id"] == id {
                return Ok(answer);
            }
        }
    }

    /// Memory that is resident, in KiB.
    fn resident(&self) -> Result<u32> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()).context("no VmRSS")?;
        Ok(kib.parse()?)
    }

    fn end(self) -> Result<()> {
        let Self { mut child, stdin, stdout, .. } = self;
        drop((stdin, stdout));
        let status = child.wait()?;
        ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }
}
