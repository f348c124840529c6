//! A player as the demo sees it: a process of its own, asked over pipes.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, ChildStdin, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
};

use cotenant_core::Result;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{
    PATIENCE, broken,
    player::{Ask, Told},
    scratch::Scratch,
};

/// A running player.
pub(super) struct Agent {
    /// What the story calls it; also the name of its session.
    pub(super) name: &'static str,
    native_id: String,
    process: Child,
    input: ChildStdin,
    answers: Receiver<String>,
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Agent {
    /// Starts a player in a directory.
    pub(super) fn start(
        scratch: &Scratch,
        name: &'static str,
        number: u32,
        directory: &Path,
    ) -> Result<Self> {
        let native_id = format!("00000000-0000-4000-8000-{number:012}");
        let mut command = scratch.program()?;
        command.arg0("claude").args(["demo-player", &native_id]).current_dir(directory);
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| broken(format!("a player cannot be started: {error}")))?;
        let (Some(input), Some(output)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(broken("a player has no pipes"));
        };
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(std::io::Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { name, native_id, process, input, answers })
    }

    /// The reference of its session.
    pub(super) fn session(&self) -> String {
        format!("native:claude:{}", self.native_id)
    }

    /// Asks without waiting for the answer, so that several players act at once.
    pub(super) fn ask(&mut self, ask: &Ask) -> Result<()> {
        let line = serde_json::to_string(ask).unwrap_or_default();
        writeln!(self.input, "{line}")
            .and_then(|()| self.input.flush())
            .map_err(|error| broken(format!("{} hung up: {error}", self.name)))
    }

    /// The answer to what was asked.
    pub(super) fn told(&self) -> Result<Told> {
        let line = self.answers.recv_timeout(PATIENCE).map_err(|error| match error {
            RecvTimeoutError::Timeout => broken(format!("{} does not answer", self.name)),
            RecvTimeoutError::Disconnected => broken(format!("{} died", self.name)),
        })?;
        serde_json::from_str(&line)
            .map_err(|error| broken(format!("{} talks nonsense: {error}", self.name)))
    }

    /// Runs a hook.
    pub(super) fn hook(&mut self, event: &str, payload: Value) -> Result<Value> {
        self.ask(&Ask::Hook { event: event.to_owned(), payload })?;
        let told = self.told()?;
        Ok(serde_json::from_str(&told.out).unwrap_or_default())
    }

    /// Runs a command.
    pub(super) fn run(&mut self, arguments: &[&str]) -> Result<Told> {
        self.ask(&asked(arguments))?;
        self.told()
    }

    /// Tries to edit a file, as the agent's own tool would: only if the hook lets it.
    pub(super) fn edit(&mut self, file: &Path, number: u32) -> Result<Value> {
        let payload = json!({
            "tool_name": "Edit",
            "tool_input": {"file_path": file, "old_string": "a", "new_string": "b"},
            "tool_use_id": format!("toolu_demo_{}_edit_{number}", self.native_id),
        });
        self.hook("PreToolUse", payload)
    }

    /// Sends a signal to the process.
    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| broken("a player has no process id"))?;
        kill_process(pid, signal)
            .map_err(|error| broken(format!("{} cannot be signalled: {error}", self.name)))
    }

    /// Kills the process with `kill -9` and waits until it is gone.
    pub(super) fn kill(&mut self) -> Result<u32> {
        let pid = self.process.id();
        self.signal(Signal::KILL)?;
        self.process
            .wait()
            .map_err(|error| broken(format!("{} cannot be waited for: {error}", self.name)))?;
        Ok(pid)
    }
}

/// A command to run.
pub(super) fn asked(arguments: &[&str]) -> Ask {
    Ask::Run { arguments: arguments.iter().map(|word| (*word).to_owned()).collect() }
}
