//! The command that runs under a lease: its process group, its terminal, its signals.

use std::{
    ffi::OsString,
    io,
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
    sync::mpsc::Sender,
    thread,
};

use cotenant_core::{Code, Error, Result};
use nix::sys::signal::SigSet;
use rustix::{
    process::{
        Pid, Signal, WaitOptions, getpgrp, kill_process_group, test_kill_process_group, waitpid,
    },
    termios::{tcgetpgrp, tcsetpgrp},
};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// With this status.
    Exit(u8),
    /// By this signal.
    Signal(u8),
}

impl Ended {
    /// The exit status that a shell would tell.
    pub(super) fn status(self) -> u8 {
        match self {
            Self::Exit(status) => status,
            Self::Signal(number) => 128u8.saturating_add(number),
        }
    }
}

/// The signals that are passed on instead of ending this process.
pub(super) struct Signals(signal_hook::iterator::Signals);

impl Signals {
    /// Catches the signals. A child begins with none caught.
    pub(super) fn catch() -> Result<Self> {
        signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCONT])
            .map(Self)
            .map_err(|error| Error::internal("signals cannot be caught").caused_by(error))
    }

    /// Tells of every signal, also of those since they are caught.
    pub(super) fn forward<T: Send + 'static>(mut self, tell: Sender<T>, as_: fn(i32) -> T) {
        thread::spawn(move || {
            for number in self.0.forever() {
                if tell.send(as_(number)).is_err() {
                    return;
                }
            }
        });
    }
}

/// A running command, in a process group of its own.
pub(super) struct Job {
    group: Pid,
    terminal: bool,
}

impl Job {
    /// Starts a command. It gets the terminal if this process has it.
    pub(super) fn start(
        command: &[OsString],
        stdout: Stdio,
        variables: &[(&str, String)],
    ) -> Result<Self> {
        let [program, arguments @ ..] = command else {
            return Err(Error::invalid("no command"));
        };
        // What is blocked for the sake of the store would be blocked in the command too.
        let mut blocked = SigSet::empty();
        blocked.add(nix::sys::signal::SIGXFSZ);
        let _ = blocked.thread_unblock();
        let spawned = Command::new(program)
            .args(arguments)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdout(stdout)
            .process_group(0)
            .spawn();
        let _ = blocked.thread_block();
        let child = spawned.map_err(|error| {
            let program = program.to_string_lossy();
            Error::new(Code::SpawnFailed, format!("cannot start `{program}`: {error}"))
                .caused_by(error)
        })?;
        let group = i32::try_from(child.id())
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(|| Error::internal("a process without an id"))?;
        let terminal = has_terminal();
        let job = Self { group, terminal };
        job.give_terminal(group);
        Ok(job)
    }

    /// Tells when the command stops or ends.
    pub(super) fn watch<T: Send + 'static>(
        &mut self,
        tell: Sender<T>,
        as_: fn(Option<Ended>) -> T,
    ) {
        let group = self.group;
        thread::spawn(move || {
            loop {
                let ended = match waitpid(Some(group), WaitOptions::UNTRACED) {
                    Ok(Some((_, status))) => {
                        match (status.exit_status(), status.terminating_signal()) {
                            (Some(status), _) => Some(Ended::Exit(low_byte(status))),
                            (_, Some(signal)) => Some(Ended::Signal(low_byte(signal))),
                            (None, None) => None,
                        }
                    }
                    Ok(None) => continue,
                    Err(error) if error == rustix::io::Errno::INTR => continue,
                    Err(_) => return,
                };
                if tell.send(as_(ended)).is_err() || ended.is_some() {
                    return;
                }
            }
        });
    }

    /// Passes a signal on to the command.
    pub(super) fn pass_on(&mut self, number: i32) {
        if let Some(signal) = Signal::from_named_raw(number) {
            if signal == Signal::CONT {
                // A shell that brings a background job to the front gave us the terminal.
                self.terminal = has_terminal();
                self.give_terminal(self.group);
            }
            self.signal(signal);
        }
    }

    /// Lets a stopped command go on: a lease is not held by somebody who sleeps. In the background
    /// it waits for the terminal like any other job.
    pub(super) fn go_on(&self) {
        if self.terminal {
            self.give_terminal(self.group);
            self.signal(Signal::CONT);
        }
    }

    /// Asks the command to end. A stopped one must wake up to hear it.
    pub(super) fn terminate(&self) {
        self.signal(Signal::TERM);
        self.signal(Signal::CONT);
    }

    /// Ends the command.
    pub(super) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Whether no process of the group is left.
    pub(super) fn is_gone(&self) -> bool {
        test_kill_process_group(self.group) == Err(rustix::io::Errno::SRCH)
    }

    fn signal(&self, signal: Signal) {
        // The group may be gone by now, which is what is wanted.
        let _ = kill_process_group(self.group, signal);
    }

    fn give_terminal(&self, group: Pid) {
        if self.terminal {
            let _ = tcsetpgrp(io::stdin(), group);
        }
    }
}

impl Drop for Job {
    /// Takes the terminal back. Doing so from the background raises SIGTTOU, which would stop this
    /// process, unless it is blocked.
    fn drop(&mut self) {
        if self.terminal {
            let mut set = SigSet::empty();
            set.add(nix::sys::signal::SIGTTOU);
            if set.thread_block().is_ok() {
                self.give_terminal(getpgrp());
            }
        }
    }
}

/// Whether this process stands in the foreground of the terminal on its stdin.
fn has_terminal() -> bool {
    tcgetpgrp(io::stdin()).is_ok_and(|foreground| foreground == getpgrp())
}

fn low_byte(number: i32) -> u8 {
    u8::try_from(number & 0xff).unwrap_or(u8::MAX)
}
