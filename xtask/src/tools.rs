//! Programs that the commands need, and how they get here.
//!
//! As root they are installed through apt. Otherwise, or where apt is out of reach, the line that
//! installs them is printed, and what needs them is skipped.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::steps::{Outcome, execute};
use crate::work::Work;

/// A program and the Debian package that has it.
pub(crate) struct Tool {
    program: &'static str,
    package: &'static str,
}

/// A terminal without a screen.
pub(crate) const TMUX: Tool = Tool { program: "tmux", package: "tmux" };
/// Clocks that jump.
pub(crate) const FAKETIME: Tool = Tool { program: "faketime", package: "faketime" };
/// The calls of processes, written down.
pub(crate) const STRACE: Tool = Tool { program: "strace", package: "strace" };
/// Python, whose standard library is all that the client needs.
pub(crate) const PYTHON: Tool = Tool { program: "python3", package: "python3" };
/// A C compiler whose programs need no shared library.
pub(crate) const MUSL: Tool = Tool { program: "musl-gcc", package: "musl-tools" };

/// A database server. Debian keeps its programs out of the path.
pub(crate) const POSTGRES: Tool = Tool { program: "initdb", package: "postgresql" };
/// A store of keys in memory, with a log.
pub(crate) const REDIS: Tool = Tool { program: "redis-server", package: "redis-server" };
/// A store of keys that machines agree on.
pub(crate) const ETCD: Tool = Tool { program: "etcd", package: "etcd-server" };
/// Where Debian keeps them, in a folder for each version.
const POSTGRES_VERSIONS: &str = "/usr/lib/postgresql";

impl Tool {
    /// Whether it is installed.
    pub(crate) fn is_here(&self) -> bool {
        let path = env::var_os("PATH").unwrap_or_default();
        let versions = fs::read_dir(POSTGRES_VERSIONS).into_iter().flatten().flatten();
        let aside = versions.map(|version| version.path().join("bin"));
        env::split_paths(&path).chain(aside).any(|folder| folder.join(self.program).is_file())
    }
}

/// Installs the tools that are missing.
pub(crate) fn install(tools: &[Tool]) -> Outcome {
    let missing = || tools.iter().filter(|tool| !tool.is_here()).map(|tool| tool.package);
    let packages: Vec<&str> = missing().collect();
    if packages.is_empty() {
        return Outcome::Passed;
    }
    if rustix::process::geteuid().is_root() && Path::new("/usr/bin/apt-get").exists() {
        // The lists may be absent, as in an image, or old.
        let installed = apt("install", &packages).is_ok()
            || (apt("update", &[]).is_ok() && apt("install", &packages).is_ok());
        if installed && missing().next().is_none() {
            return Outcome::Passed;
        }
    }
    let packages = missing().collect::<Vec<_>>().join(" ");
    Outcome::Skipped(format!("missing; run: sudo apt-get install -y {packages}"))
}

fn apt(verb: &str, packages: &[&str]) -> Result<Outcome> {
    let mut command = Command::new("apt-get");
    command.args([verb, "-y", "-q"]).env("DEBIAN_FRONTEND", "noninteractive");
    if verb == "install" {
        command.arg("--no-install-recommends");
    }
    command.args(packages);
    execute(command)
}

/// Installs parts of the Rust toolchain that are missing; a part is missing when its program fails.
pub(crate) fn components(work: &Work) -> Result<Outcome> {
    for (program, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        let asked = work.cargo(&[program, "--version"]).output();
        if !asked.is_ok_and(|answer| answer.status.success()) {
            execute(work.command("rustup", &["component", "add", component]))?;
        }
    }
    Ok(Outcome::Passed)
}

/// Installs the standard library for another target.
pub(crate) fn target(work: &Work, triple: &str) -> Result<Outcome> {
    let listed = work.command("rustup", &["target", "list", "--installed"]).output();
    let listed = listed.map(|answer| String::from_utf8_lossy(&answer.stdout).into_owned());
    if listed.is_ok_and(|listed| listed.lines().any(|line| line == triple)) {
        return Ok(Outcome::Passed);
    }
    execute(work.command("rustup", &["target", "add", triple]))
}
