//! A client that is kept running and spoken to in JSON lines.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{ChildStdin, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::e2e::claude::Claude;
use crate::e2e::home::ClaudeHome;
use crate::process::{Group, wait_until};

/// How long a command of the client itself may take.
const COMMAND_TIMEOUT: Duration = Duration::from_mins(2);

/// A running client; dropping it kills it.
#[derive(Debug)]
pub(crate) struct Stream<'a> {
    group: Group,
    home: &'a ClaudeHome,
    stdin: Option<ChildStdin>,
    lines: Receiver<Value>,
    events: Vec<Value>,
    stderr: PathBuf,
}

impl<'a> Stream<'a> {
    pub(crate) fn start(claude: &Claude<'a>, args: &[&str]) -> Result<Self> {
        let stderr = claude.home().dir().join("stderr.log");
        let log = OpenOptions::new().create(true).append(true).open(&stderr)?;
        let mut command = claude.home().command(claude.program(), claude.cwd());
        command.args(["-p", "--input-format", "stream-json", "--output-format", "stream-json"]);
        command.arg("--verbose").args(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut group = Group::spawn(&mut command)?;
        let stdin = group.child().stdin.take();
        let stdout = group.child().stdout.take().context("no output")?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
        Ok(Self { group, home: claude.home(), stdin, lines, events: Vec::new(), stderr })
    }

    /// The client's process id.
    #[must_use]
    pub(crate) fn pid(&self) -> u32 {
        self.group.pid()
    }

    /// The session it is in now; the client says so only once it has been sent a prompt, or
    /// registered.
    pub(crate) fn session(&self) -> Result<String> {
        let session = || Ok(self.home.session_of(self.pid()));
        wait_until("registered session", COMMAND_TIMEOUT, session)
    }

    /// All events received so far.
    #[must_use]
    pub(crate) fn events(&self) -> &[Value] {
        &self.events
    }

    /// Sends a prompt. While a tool runs, the model gets it with the tool's result, in the same
    /// turn.
    pub(crate) fn send_user(&mut self, text: &str) -> Result<()> {
        self.send(&json!({"type": "user", "message": {"role": "user", "content": text}}))
    }

    /// Sends a prompt while a tool runs, and waits until the client has put it in its queue.
    ///
    /// No event tells of that; the history does.
    pub(crate) fn interject(&mut self, text: &str) -> Result<()> {
        let session = self.session()?;
        self.send_user(text)?;
        wait_until("queued prompt", COMMAND_TIMEOUT, || {
            let Some(transcript) = self.home.transcript(&session) else {
                return Ok(None);
            };
            let rows = fs::read_to_string(transcript)?;
            let mut rows = rows.lines().filter_map(|row| serde_json::from_str::<Value>(row).ok());
            Ok(rows.find(|row| row["operation"] == "enqueue" && row["content"] == text).map(|_| ()))
        })
    }

    /// Stops the turn that is going on.
    pub(crate) fn interrupt(&mut self) -> Result<()> {
        let request = json!({"subtype": "interrupt"});
        self.send(
            &json!({"type": "control_request", "request_id": "interrupt", "request": request}),
        )
    }

    /// Waits for the end of the turn and answers its result.
    pub(crate) fn wait_result(&mut self, timeout: Duration) -> Result<Value> {
        self.wait_event(timeout, |event| event["type"] == "result")
    }

    /// Waits for an event that has not been received yet.
    pub(crate) fn wait_event(
        &mut self,
        timeout: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let end = Instant::now() + timeout;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(event) => {
                    self.events.push(event.clone());
                    if wanted(&event) {
                        return Ok(event);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    bail!("no such event within {timeout:?}\n{}", self.last_words());
                }
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("the client has ended\n{}", self.last_words());
                }
            }
        }
    }

    /// Sends a prompt and answers the result of its turn.
    pub(crate) fn ask(&mut self, text: &str, timeout: Duration) -> Result<Value> {
        self.send_user(text)?;
        self.wait_result(timeout)
    }

    /// Starts the conversation anew, as the user does with `/clear`; answers the new session's id.
    pub(crate) fn clear(&mut self) -> Result<String> {
        let before = self.session()?;
        let result = self.ask("/clear", COMMAND_TIMEOUT)?;
        let after = result["session_id"].as_str().unwrap_or_default().to_owned();
        if after == before {
            bail!("`/clear` kept the session: {result}");
        }
        wait_until("registration of the new session", COMMAND_TIMEOUT, || {
            Ok((self.home.session_of(self.pid()).as_ref() == Some(&after)).then_some(()))
        })?;
        Ok(after)
    }

    /// Has the conversation so far replaced by a summary, as the user does with `/compact`.
    pub(crate) fn compact(&mut self) -> Result<()> {
        self.send_user("/compact")?;
        self.wait_event(COMMAND_TIMEOUT, |event| event["subtype"] == "compact_boundary")?;
        self.wait_result(COMMAND_TIMEOUT).map(drop)
    }

    /// Kills the client alone, as `kill -9 PID` does.
    pub(crate) fn kill9(&mut self) -> Result<ExitStatus> {
        self.group.kill9()
    }

    /// Ends the input and waits for the client to end.
    pub(crate) fn close(mut self) -> Result<ExitStatus> {
        drop(self.stdin.take());
        self.group.wait(COMMAND_TIMEOUT)
    }

    fn send(&mut self, line: &Value) -> Result<()> {
        let stdin = self.stdin.as_mut().context("the input is closed")?;
        writeln!(stdin, "{line}").context("the client takes no input")?;
        Ok(stdin.flush()?)
    }

    /// What to show when something went wrong.
    fn last_words(&self) -> String {
        let last = self.events.last().map(Value::to_string).unwrap_or_default();
        let stderr = fs::read_to_string(&self.stderr).unwrap_or_default();
        format!("last event: {last}\nstderr: {stderr}")
    }
}
