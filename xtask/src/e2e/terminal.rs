//! The client in a terminal: a tmux of our own.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::e2e::claude::Claude;
use crate::e2e::home::ClaudeHome;
use crate::process::{run, wait_until};

/// How long a command of the client or of tmux may take.
const COMMAND_TIMEOUT: Duration = Duration::from_mins(2);

/// How much of a line is looked for on the screen, where long lines are wrapped.
const RECOGNISED: usize = 40;

/// The client on a screen of 200 by 50; dropping it ends both.
#[derive(Debug)]
pub(crate) struct Terminal<'a> {
    home: &'a ClaudeHome,
    cwd: &'a Path,
    pid: u32,
}

impl<'a> Terminal<'a> {
    /// Starts the client and waits until it takes prompts. Needs `tmux`.
    pub(crate) fn start(claude: &Claude<'a>, args: &[&str]) -> Result<Self> {
        let home = claude.home();
        let mut terminal = Self { home, cwd: home.dir(), pid: 0 };
        let mut command = terminal.tmux();
        command.args(["-f", "/dev/null", "new-session", "-d", "-x", "200", "-y", "50", "-c"]);
        // With `env` there are several words, which tmux starts as they are, without a shell.
        command.arg(claude.cwd()).arg("env").arg(claude.program()).args(args);
        answer(&mut command)?;
        let pid = terminal.call(&["display-message", "-p", "#{pane_pid}"])?;
        terminal.pid = pid.trim().parse().context("pane_pid")?;
        terminal.wait_idle()?;
        Ok(terminal)
    }

    /// The client's process id.
    #[must_use]
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// The session it is in now.
    pub(crate) fn session(&self) -> Result<String> {
        self.home.session_of(self.pid).context("the client is not registered")
    }

    /// What is on the screen.
    pub(crate) fn screen(&self) -> Result<String> {
        self.call(&["capture-pane", "-p"])
    }

    /// Waits for a text on the screen.
    pub(crate) fn wait_screen(&self, text: &str) -> Result<()> {
        let found = wait_until("such text", COMMAND_TIMEOUT, || {
            Ok(self.screen()?.contains(text).then_some(()))
        });
        found.with_context(|| format!("`{text}` is not on\n{}", self.screen().unwrap_or_default()))
    }

    /// Waits until the client takes prompts.
    pub(crate) fn wait_idle(&self) -> Result<()> {
        let idle = wait_until("idle client", COMMAND_TIMEOUT, || {
            let registered = self.home.registered(self.pid).unwrap_or_default();
            Ok((registered["status"] == "idle").then_some(()))
        });
        idle.with_context(|| self.screen().unwrap_or_default())
    }

    /// Types a prompt or a command and sends it. Does not wait for an answer.
    pub(crate) fn submit(&self, text: &str) -> Result<()> {
        self.call(&["send-keys", "-l", text])?;
        // An Enter that comes with the text would be taken for a part of it.
        let last = text.lines().last().unwrap_or_default();
        self.wait_screen(&last.chars().take(RECOGNISED).collect::<String>())?;
        self.call(&["send-keys", "Enter"])?;
        Ok(())
    }

    /// Starts the conversation anew; answers the new session's id.
    pub(crate) fn clear(&self) -> Result<String> {
        let before = self.session()?;
        self.submit("/clear")?;
        wait_until("session after `/clear`", COMMAND_TIMEOUT, || {
            Ok(self.home.session_of(self.pid).filter(|now| *now != before))
        })
    }

    /// Kills the client alone, as `kill -9 PID` does.
    pub(crate) fn kill9(&self) -> Result<()> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw).context("no process")?;
        Ok(kill_process(pid, Signal::KILL)?)
    }

    fn call(&self, args: &[&str]) -> Result<String> {
        answer(self.tmux().args(args))
    }

    /// A tmux that shares nothing with the user's: its socket is in the scratch home.
    fn tmux(&self) -> Command {
        let mut command = self.home.command(Path::new("tmux"), self.cwd);
        command.env("TMUX_TMPDIR", self.home.dir()).args(["-L", "e2e"]);
        command
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        let _ = self.call(&["kill-server"]);
    }
}

fn answer(command: &mut Command) -> Result<String> {
    let output = run(command, COMMAND_TIMEOUT)?;
    if !output.status.success() {
        bail!("tmux: {}", output.stderr.trim());
    }
    Ok(output.stdout)
}
