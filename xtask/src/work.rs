//! The workspace: where its files are, and cargo in it.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The workspace that this program belongs to.
#[derive(Debug)]
pub(crate) struct Work {
    /// Where `Cargo.toml` is.
    pub(crate) root: PathBuf,
    /// Where cargo builds, and everything else goes that is not kept.
    pub(crate) target: PathBuf,
    /// What cargo knows of our packages.
    pub(crate) packages: Vec<Value>,
}

impl Work {
    /// Asks cargo for the workspace of the working directory.
    pub(crate) fn find() -> Result<Self> {
        let mut command = Command::new(cargo());
        let output = command.args(["metadata", "--no-deps", "--format-version=1"]).output();
        let output = output.context("cannot start cargo")?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`cargo metadata`: {}", complaint.trim());
        let metadata: Value = serde_json::from_slice(&output.stdout)?;
        let place = |name: &str| metadata[name].as_str().map(PathBuf::from);
        Ok(Self {
            root: place("workspace_root").context("no workspace root")?,
            target: place("target_directory").context("no target directory")?,
            packages: metadata["packages"].as_array().cloned().unwrap_or_default(),
        })
    }

    /// A call of cargo, in the workspace.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(cargo());
        command.args(arguments).current_dir(&self.root);
        command
    }

    /// A call of another program, in the workspace.
    pub(crate) fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&self.root);
        command
    }

    /// The program, as the last debug build left it.
    pub(crate) fn debug_binary(&self) -> PathBuf {
        self.target.join("debug").join("cotenant")
    }

    /// Our packages that have a feature.
    pub(crate) fn packages_with(&self, feature: &str) -> Vec<&str> {
        let has = |package: &&Value| package["features"].get(feature).is_some();
        self.packages.iter().filter(has).filter_map(|package| package["name"].as_str()).collect()
    }
}

/// The cargo that started this program, else the one in `PATH`.
fn cargo() -> std::ffi::OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}
