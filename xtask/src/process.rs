//! Child processes that end with their owner.
//!
//! # Invariants
//! - A signal goes only to ids that still belong to us: a process that has ended keeps its id, and
//!   that of its group, until it is waited for; afterwards both may be anybody's.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, bail};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid,
};

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

/// How the first process of a group stands, as long as its id is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leader {
    Runs,
    Ended,
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

    /// Waits for the child to end; what it started ends with it.
    pub(crate) fn wait(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let end = Instant::now() + timeout;
        loop {
            match self.look() {
                Some(Leader::Runs) => {}
                Some(Leader::Ended) => {
                    let _ = kill_process_group(self.pid, Signal::KILL);
                    return Ok(self.child.wait()?);
                }
                None => return Ok(self.child.wait()?),
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

    /// How the child stands; none once it was waited for.
    fn look(&self) -> Option<Leader> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::Pid(self.pid), options) {
            Ok(None) => Some(Leader::Runs),
            Ok(Some(_)) => Some(Leader::Ended),
            Err(_) => None,
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.look().is_some() {
            let _ = kill_process_group(self.pid, Signal::KILL);
            let _ = self.child.wait();
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_mins(1);

    /// A shell that has started another process, and that one's id.
    fn parent(last: &str) -> (Group, Pid) {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("sleep 600 & echo $!; {last}")]).stdout(Stdio::piped());
        let mut group = Group::spawn(&mut command).unwrap();
        let mut line = Vec::new();
        let mut stdout = group.child().stdout.take().unwrap();
        while line.last() != Some(&b'\n') {
            let mut byte = [0];
            stdout.read_exact(&mut byte).unwrap();
            line.extend(byte);
        }
        let pid = String::from_utf8(line).unwrap().trim().parse().ok().and_then(Pid::from_raw);
        (group, pid.unwrap())
    }

    /// Whether a process runs; one that nobody has waited for yet does not.
    fn runs(pid: Pid) -> bool {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
    }

    fn ends(pid: Pid) -> bool {
        wait_until("end", SOON, || Ok((!runs(pid)).then_some(()))).is_ok()
    }

    #[test]
    fn what_a_child_started_ends_with_it() {
        let (mut group, pid) = parent("exit 3");
        assert_eq!(group.wait(SOON).unwrap().code(), Some(3));
        assert!(ends(pid));
        let (group, pid) = parent("wait");
        assert!(runs(pid));
        drop(group);
        assert!(ends(pid));
    }

    #[test]
    fn a_group_whose_leader_is_gone_gets_no_signal() {
        let (mut group, pid) = parent("wait");
        assert!(!group.kill9().unwrap().success());
        assert_eq!(group.look(), None);
        drop(group);
        assert!(runs(pid));
        kill_process(pid, Signal::KILL).unwrap();
        assert!(ends(pid));
    }
}
