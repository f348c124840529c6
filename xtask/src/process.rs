//! Child processes that end with their owner.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// How often a wait looks.
const POLL: Duration = Duration::from_millis(10);

/// How long the output of an ended process is waited for; a grandchild may hold it open.
const OUTPUT_WAIT: Duration = Duration::from_secs(5);

/// A child in a process group of its own, which is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Group {
    child: Child,
    pid: Pid,
}

/// What a finished process leaves.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// All it printed.
    pub(crate) stdout: String,
    /// All it complained.
    pub(crate) stderr: String,
}

impl Group {
    /// Starts a process as the leader of a new group.
    pub(crate) fn spawn(command: &mut Command) -> Result<Self> {
        let child = command.process_group(0).spawn();
        let child = child.with_context(|| format!("cannot start {}", name(command)))?;
        let pid = Pid::from_child(&child);
        Ok(Self { child, pid })
    }

    /// The child's process id.
    #[must_use]
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The child, for its pipes.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Waits for the child to end.
    pub(crate) fn wait(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let end = Instant::now() + timeout;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > end {
                bail!("process {} still runs after {timeout:?}", self.pid());
            }
            thread::sleep(POLL);
        }
    }

    /// Kills the child alone, as `kill -9 PID` does; what it started lives on.
    pub(crate) fn kill9(&mut self) -> Result<ExitStatus> {
        self.child.kill()?;
        Ok(self.child.wait()?)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The group may be gone already, which is what is wanted.
        let _ = kill_process_group(self.pid, Signal::KILL);
        let _ = self.child.wait();
    }
}

/// Runs a process to its end, without input.
pub(crate) fn run(command: &mut Command, timeout: Duration) -> Result<Output> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut group = Group::spawn(command)?;
    let stdout = collect(group.child().stdout.take());
    let stderr = collect(group.child().stderr.take());
    let status = group.wait(timeout).with_context(|| name(command))?;
    drop(group);
    let text = |output: Receiver<Vec<u8>>| {
        let bytes = output.recv_timeout(OUTPUT_WAIT).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    Ok(Output { status, stdout: text(stdout), stderr: text(stderr) })
}

/// Kills every process whose environment holds `NAME=value`: orphans of a client that was killed,
/// too.
pub(crate) fn kill_all_with(variable: &str, value: &OsStr) {
    let wanted = [variable.as_bytes(), b"=", value.as_bytes()].concat();
    let Ok(processes) = fs::read_dir("/proc") else {
        return;
    };
    for process in processes.flatten() {
        let pid =
            process.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        let Some(pid) = pid else { continue };
        let environment = fs::read(process.path().join("environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|entry| entry == wanted) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// Polls until there is an answer.
pub(crate) fn wait_until<T>(
    what: &str,
    timeout: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = Instant::now() + timeout;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() > end {
            bail!("no {what} within {timeout:?}");
        }
        thread::sleep(POLL);
    }
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What was read before an error still counts.
            let _ = pipe.read_to_end(&mut bytes);
        }
        sender.send(bytes).ok();
    });
    receiver
}

fn name(command: &Command) -> String {
    format!("`{}`", command.get_program().display())
}
