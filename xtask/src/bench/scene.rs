//! A repository with a store, in a scratch directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cotenant_core::event::Head;
use cotenant_core::store::Store;
use cotenant_store::{IfMissing, LocalStore};
use tempfile::TempDir;

use super::asked;
use super::launch::Launch;
use super::setting::Setting;
use crate::process::{Group, wait_until};

/// A repository whose store another process has open.
pub(crate) struct Scene {
    scratch: TempDir,
    top: PathBuf,
    program: PathBuf,
    attached: LocalStore,
    server: Option<Group>,
}

impl Scene {
    /// A repository with one commit and an empty store, which this process keeps open.
    pub(crate) fn new(setting: &Setting) -> Result<Self> {
        let scratch = scratch(setting)?;
        let root = fs::canonicalize(scratch.path())?;
        let top = root.join("project");
        fs::create_dir_all(top.join("src"))?;
        fs::create_dir(root.join("home"))?;
        fs::write(top.join("src/main.rs"), "fn main() {}\n")?;
        for arguments in [&["init", "-q"][..], &["add", "."], &["commit", "-q", "-m", "first"]] {
            git(&top, arguments)?;
        }
        let attached = attach(&top.join(".git/cotenant/store.db"), IfMissing::Create)?;
        Ok(Self { scratch, top, program: setting.program.clone(), attached, server: None })
    }

    /// The same, in use by an agent's server too, as it is while agents work: it combines what the
    /// others ask for.
    pub(crate) fn with_server(setting: &Setting) -> Result<Self> {
        let mut scene = Self::new(setting)?;
        let mut command = scene.cotenant(&["mcp"]).command()?;
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        scene.server = Some(Group::spawn(&mut command)?);
        let table = scene.top.join(".git/cotenant/combine-2");
        wait_until("combiner", Duration::from_secs(10), || {
            let locked = fs::File::open(&table).is_ok_and(|file| file.try_lock_shared().is_err());
            Ok(locked.then_some(()))
        })?;
        Ok(scene)
    }

    /// The top of the work tree.
    pub(crate) fn top(&self) -> &Path {
        &self.top
    }

    /// A directory beside the repository.
    pub(crate) fn beside(&self) -> &Path {
        self.scratch.path()
    }

    /// The store, as this process has it open.
    pub(crate) fn store(&self) -> &dyn Store {
        &self.attached
    }

    /// The number of the newest event.
    pub(crate) fn head(&self) -> Result<i64> {
        Ok(self.store().call(&Head {}, |request| request)?.answer.seq.0)
    }

    /// A program that is started in the repository.
    pub(crate) fn launch(&self, program: &Path) -> Launch {
        Launch::new(program, &self.top).variable("HOME", self.scratch.path().join("home"))
    }

    /// A command of the shipped program.
    pub(crate) fn cotenant(&self, arguments: &[&str]) -> Launch {
        self.launch(&self.program).arguments(arguments)
    }

    /// A command in the name of a session.
    pub(crate) fn as_session(&self, session: &str, arguments: &[&str]) -> Launch {
        self.cotenant(arguments).variable("COTENANT_SESSION", session)
    }

    /// Signs a session on that lives with a process.
    pub(crate) fn sign_on(&self, name: &str, pid: u32) -> Result<()> {
        let pid = pid.to_string();
        self.cotenant(&["sign-on", name, "--kind", "agent", "--pid", &pid]).output().map(drop)
    }
}

/// A directory for a store, on the disk where the project is built.
pub(crate) fn scratch(setting: &Setting) -> Result<TempDir> {
    Ok(tempfile::Builder::new().prefix("scratch-").tempdir_in(&setting.folder)?)
}

/// Opens a store and looks at it, so that it is in use from now on.
pub(crate) fn attach(file: &Path, missing: IfMissing) -> Result<LocalStore> {
    let store = LocalStore::open(file, missing).with_context(|| format!("`{}`", file.display()))?;
    asked::head(&store)?;
    Ok(store)
}

fn git(directory: &Path, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("git");
    command.current_dir(directory).args(["-c", "user.name=bench", "-c", "user.email=b@localhost"]);
    let status = command.args(arguments).status().context("cannot start git")?;
    ensure!(status.success(), "git {arguments:?} ended with {status}");
    Ok(())
}
