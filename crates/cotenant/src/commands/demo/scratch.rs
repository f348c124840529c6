//! The place where the demo plays: a clone of the current repository, a home of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use cotenant_core::{Code, Error, Result, event::hex};

use super::broken;
use crate::{context::Context, env};

/// A directory that is removed at the end, unless it is kept.
pub(super) struct Scratch {
    directory: PathBuf,
    /// Where the clone came from, for people.
    pub(super) origin: String,
    kept: bool,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

impl Scratch {
    /// Clones the repository of the working directory; where there is none, makes one.
    pub(super) fn make(context: &Context) -> Result<Self> {
        let mut nonce = [0u8; 6];
        getrandom::fill(&mut nonce).map_err(|error| {
            Error::internal("the system gives no random bytes").caused_by(error)
        })?;
        let directory = std::env::temp_dir().join(format!("cotenant-demo-{}", hex(&nonce)));
        make_private(&directory)?;
        let directory = fs::canonicalize(&directory).map_err(|error| failed(&directory, error))?;
        let mut scratch = Self { directory, origin: String::new(), kept: false };
        for part in ["home", "other"] {
            make_private(&scratch.directory.join(part))?;
        }
        let project = context.project()?;
        let cloned = match &project.common_dir {
            Some(_) => scratch.clone_of(&project.root)?,
            None => false,
        };
        if cloned {
            scratch.origin = project.root.display().to_string();
        } else {
            scratch.begin_anew()?;
            "(a new one, since there is no commit here)".clone_into(&mut scratch.origin);
        }
        scratch.git(&["worktree", "add", "-q", "--detach", "../other/worktree"])?;
        Ok(scratch)
    }

    fn clone_of(&self, root: &Path) -> Result<bool> {
        let output = git_command(&self.directory)
            .args(["clone", "-q", "--no-hardlinks", "--"])
            .arg(root)
            .arg(self.repository())
            .output()
            .map_err(no_git)?;
        let has_commit =
            output.status.success() && self.git(&["rev-parse", "-q", "--verify", "HEAD"]).is_ok();
        if !has_commit {
            let _ = fs::remove_dir_all(self.repository());
        }
        Ok(has_commit)
    }

    fn begin_anew(&self) -> Result<()> {
        make_private(&self.repository())?;
        let readme = self.repository().join("README.md");
        fs::write(&readme, "A scratch repository\n").map_err(|error| failed(&readme, error))?;
        self.git(&["init", "-q"])?;
        self.git(&["add", "README.md"])?;
        self.git(&["commit", "-q", "-m", "begin"])
    }

    /// The clone.
    pub(super) fn repository(&self) -> PathBuf {
        self.directory.join("repository")
    }

    /// A linked worktree of the clone.
    pub(super) fn worktree(&self) -> PathBuf {
        self.directory.join("other/worktree")
    }

    /// The home of everybody who plays.
    pub(super) fn home(&self) -> PathBuf {
        self.directory.join("home")
    }

    /// Keeps the directory.
    pub(super) fn keep(&mut self) -> &Path {
        self.kept = true;
        &self.directory
    }

    fn git(&self, arguments: &[&str]) -> Result<()> {
        let output = git_command(&self.repository()).args(arguments).output().map_err(no_git)?;
        if output.status.success() {
            return Ok(());
        }
        Err(Error::new(
            Code::GitFailed,
            format!(
                "git {} failed: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr).trim()
            ),
        ))
    }

    /// This program, as a person in the clone would run it.
    pub(super) fn program(&self) -> Result<Command> {
        let program = env::program()
            .map_err(|error| broken(format!("this program cannot be found: {error}")))?;
        let mut command = Command::new(program);
        command.current_dir(self.repository()).stdin(Stdio::null()).env("HOME", self.home());
        for name in env::OF_SESSIONS {
            command.env_remove(name);
        }
        Ok(command)
    }

    /// Runs a command that must succeed.
    pub(super) fn command(&self, arguments: &[&str]) -> Result<Output> {
        let output = self.program()?.args(arguments).output().map_err(|error| {
            broken(format!("`cotenant {}` cannot run: {error}", arguments.join(" ")))
        })?;
        if output.status.success() {
            return Ok(output);
        }
        // With --json the error stands in the envelope.
        let said = if output.stderr.is_empty() { &output.stdout } else { &output.stderr };
        Err(broken(format!(
            "`cotenant {}` failed: {}",
            arguments.join(" "),
            String::from_utf8_lossy(said).trim()
        )))
    }

    /// The data of a command's JSON envelope.
    pub(super) fn data(&self, arguments: &[&str]) -> Result<serde_json::Value> {
        let mut words = vec!["--json"];
        words.extend(arguments);
        let output = self.command(&words)?;
        let envelope: serde_json::Value =
            serde_json::from_slice(&output.stdout).map_err(|error| {
                broken(format!("`cotenant {}` printed no JSON: {error}", arguments.join(" ")))
            })?;
        Ok(envelope["data"].clone())
    }
}

fn git_command(directory: &Path) -> Command {
    let mut command = Command::new("git");
    command.current_dir(directory).stdin(Stdio::null()).env("LC_ALL", "C");
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        command.env_remove(name);
    }
    for (name, value) in [("AUTHOR", "Demo"), ("COMMITTER", "Demo")] {
        command.env(format!("GIT_{name}_NAME"), value);
        command.env(format!("GIT_{name}_EMAIL"), "demo@localhost");
    }
    command
}

fn make_private(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().mode(0o700).create(path).map_err(|error| failed(path, error))
}

fn failed(path: &Path, error: std::io::Error) -> Error {
    Error::new(Code::StoreIo, format!("`{}` cannot be made", path.display())).caused_by(error)
}

fn no_git(error: std::io::Error) -> Error {
    Error::new(Code::GitFailed, "git cannot be started")
        .hint("install git; the demo clones the current repository")
        .caused_by(error)
}
