//! A worker: one `cotenant rpc` process, asked line by line, that can be killed or stopped.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::FileExt as _;
use std::process::{ChildStdin, ChildStdout};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::lab::{Lab, Member};
use crate::process::{Group, wait_until};

/// How long an answer may take: far longer than three times the patience of the store, since a
/// whole machine may stand still for half a minute.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);
/// The stage of a request that no failpoint has seen yet.
pub(crate) const SENT: &str = "sent";
/// The width of a name in the stage file.
const STAGE_BYTES: usize = 32;

/// One line to a worker.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The operation.
    pub(crate) op: String,
    /// Its arguments.
    pub(crate) args: Value,
    /// What must be held: resource and fence.
    pub(crate) guards: Vec<(String, i64)>,
    /// In whose name.
    pub(crate) member: Option<Member>,
    /// What makes a repeat harmless.
    pub(crate) id: Option<String>,
}

impl Request {
    /// A request in nobody's name.
    pub(crate) fn new(op: &str, args: Value) -> Self {
        Self { op: op.to_owned(), args, guards: Vec::new(), member: None, id: None }
    }

    /// In the name of a session.
    pub(crate) fn by(self, member: &Member) -> Self {
        Self { member: Some(member.clone()), ..self }
    }

    /// Under an id.
    pub(crate) fn id(self, id: String) -> Self {
        Self { id: Some(id), ..self }
    }

    /// Guarded by a lease.
    pub(crate) fn guard(mut self, resource: &str, fence: i64) -> Self {
        self.guards.push((resource.to_owned(), fence));
        self
    }

    fn line(&self) -> String {
        let mut line = json!({"op": self.op, "args": self.args});
        if let Some(member) = &self.member {
            line["actor"] = json!({"session": member.name, "token": member.token});
        }
        if !self.guards.is_empty() {
            let guard =
                |(resource, fence): &(String, i64)| json!({"resource": resource, "fence": fence});
            line["guards"] = self.guards.iter().map(guard).collect();
        }
        if let Some(id) = &self.id {
            line["request_id"] = json!(id);
        }
        format!("{line}\n")
    }
}

/// What was heard from a worker.
#[derive(Debug)]
pub(crate) enum Heard {
    /// An answer, and when it came.
    Answer(Instant, Value),
    /// Nothing yet.
    Nothing,
    /// It is dead, and said nothing before.
    Death,
}

/// A process.
#[derive(Debug)]
pub(crate) struct Worker {
    group: Group,
    input: ChildStdin,
    lines: Receiver<(Instant, Vec<u8>)>,
    stage: File,
    killed: bool,
}

impl Worker {
    /// Starts a process. A failpoint is written as in `COTENANT_FAILPOINT`.
    pub(crate) fn start(lab: &Lab, name: &str, failpoint: Option<&str>) -> Result<Self> {
        let path = lab.file(&format!("stage-{name}"));
        let stage =
            File::options().write(true).read(true).create(true).truncate(true).open(&path)?;
        let complaints = lab.file(&format!("stderr-{name}"));
        let complaints = File::options().append(true).create(true).open(complaints)?;
        let mut command = lab.worker_command(&path);
        command.stderr(complaints);
        if let Some(failpoint) = failpoint {
            command.env("COTENANT_FAILPOINT", failpoint);
        }
        let mut group = Group::spawn(&mut command)?;
        let input = group.child().stdin.take().context("a worker without stdin")?;
        let output = group.child().stdout.take().context("a worker without stdout")?;
        Ok(Self { group, input, lines: listen(output), stage, killed: false })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.group.pid()
    }

    /// Sends a request. A worker that is dead is noticed when it is listened to.
    pub(crate) fn send(&mut self, request: &Request) -> Result<()> {
        let sent = format!("{SENT:<width$}\n", width = STAGE_BYTES - 1);
        self.stage.write_all_at(sent.as_bytes(), 0)?;
        match self.input.write_all(request.line().as_bytes()) {
            Err(why) if why.kind() != std::io::ErrorKind::BrokenPipe => Err(why.into()),
            _ => Ok(()),
        }
    }

    /// Listens for an answer.
    pub(crate) fn listen(&self, patience: Duration) -> Result<Heard> {
        match self.lines.recv_timeout(patience) {
            Ok((at, line)) => Ok(Heard::Answer(at, read(&line)?)),
            Err(RecvTimeoutError::Timeout) => Ok(Heard::Nothing),
            Err(RecvTimeoutError::Disconnected) => Ok(Heard::Death),
        }
    }

    /// Sends a request and waits for its answer.
    pub(crate) fn ask(&mut self, request: &Request) -> Result<Value> {
        self.send(request)?;
        self.answer()
    }

    /// Waits for the answer to what was sent.
    pub(crate) fn answer(&self) -> Result<Value> {
        match self.listen(PATIENCE)? {
            Heard::Answer(_, answer) => Ok(answer),
            Heard::Nothing => bail!("process {} gave no answer in {PATIENCE:?}", self.pid()),
            Heard::Death => bail!("process {} died unasked", self.pid()),
        }
    }

    /// Waits for the answer, or for the death that a failpoint brings.
    pub(crate) fn answer_or_death(&self) -> Result<Heard> {
        match self.listen(PATIENCE)? {
            Heard::Nothing => bail!("process {} neither answered nor died", self.pid()),
            heard => Ok(heard),
        }
    }

    /// Kills it with `kill -9`. Answers what it had said before, if that was not heard yet.
    pub(crate) fn kill(&mut self) -> Result<Heard> {
        self.group.kill9()?;
        self.killed = true;
        self.answer_or_death()
    }

    /// Whether it was killed by [`Self::kill`].
    pub(crate) fn is_dead(&self) -> bool {
        self.killed
    }

    /// The last failpoint that the request passed, or [`SENT`].
    pub(crate) fn stage(&self) -> Result<String> {
        let mut name = [0; STAGE_BYTES];
        let read = self.stage.read_at(&mut name, 0)?;
        Ok(String::from_utf8_lossy(&name[..read]).trim().to_owned())
    }

    /// Stops it, as `kill -STOP`.
    pub(crate) fn stop(&self) -> Result<()> {
        kill_process(self.process(), Signal::STOP)?;
        self.wait_stopped()
    }

    /// Waits until it is stopped, by whomever.
    pub(crate) fn wait_stopped(&self) -> Result<()> {
        wait_until("stop", PATIENCE, || Ok((self.state()? == 'T').then_some(())))
    }

    /// Lets it go on.
    pub(crate) fn go_on(&self) -> Result<()> {
        Ok(kill_process(self.process(), Signal::CONT)?)
    }

    fn process(&self) -> Pid {
        Pid::from_raw(self.pid().cast_signed()).expect("a process id is not 0")
    }

    /// What the kernel says it does: `R`, `S`, `T`, `Z`, …
    pub(crate) fn state(&self) -> Result<char> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()))?;
        let tail = stat.rsplit_once(") ").context("an unknown form of /proc/PID/stat")?.1;
        tail.chars().next().context("a process without a state")
    }
}

/// Reads whole lines on a thread of its own and notes when each came.
fn listen(output: ChildStdout) -> Receiver<(Instant, Vec<u8>)> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        loop {
            let mut line = Vec::new();
            let read = output.read_until(b'\n', &mut line);
            // Half a line is the last word of a process that was killed: no answer.
            if !matches!(read, Ok(1..)) || !line.ends_with(b"\n") {
                return;
            }
            if sender.send((Instant::now(), line)).is_err() {
                return;
            }
        }
    });
    receiver
}

fn read(line: &[u8]) -> Result<Value> {
    serde_json::from_slice(line)
        .with_context(|| format!("no JSON: {}", String::from_utf8_lossy(line)))
}
