//! One version of the client, from npm into a cache folder.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process::run;

/// The client whose MCP handshake is `initialize`.
pub(crate) const HANDSHAKE: &str = "2.1.197";

/// The client that tries the stateless `server/discover` first.
pub(crate) const STATELESS: &str = "2.1.328";

/// Where Debian and its kin keep the certificates that this machine trusts.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Where Node.js looks for more than its own.
const MORE_CERTIFICATES: &str = "NODE_EXTRA_CA_CERTS";

/// Some hundred megabytes on a slow line.
const NPM_TIMEOUT: Duration = Duration::from_mins(10);

/// How npm says that there is no network, in its codes and in its words.
const UNREACHABLE: [&str; 11] = [
    "ENOTFOUND",
    "EAI_AGAIN",
    "ECONNREFUSED",
    "ECONNRESET",
    "ENETUNREACH",
    "EHOSTUNREACH",
    "ETIMEDOUT",
    "ERR_SOCKET_TIMEOUT",
    "ENOTCACHED",
    "network request",
    "Client network socket disconnected",
];

/// Finds or installs a version of Claude Code; answers its executable, or none where npm is out of
/// reach.
///
/// The package is a wrapper; the client itself is a native executable in the package of the
/// platform, so that no Node.js is needed to run it, and install scripts need not run either. An
/// installation appears under its final name only when it is complete, and a lock keeps two runs
/// from doing it at once.
pub(crate) fn install(version: &str, cache: &Path) -> Result<Option<PathBuf>> {
    let folder = cache.join(format!("claude-code-{version}"));
    if let Some(program) = find(&folder)? {
        return Ok(Some(program));
    }
    fs::create_dir_all(cache).with_context(|| format!("cannot create `{}`", cache.display()))?;
    let lock = File::create(cache.join(format!("claude-code-{version}.lock")))?;
    lock.lock()?;
    if let Some(program) = find(&folder)? {
        return Ok(Some(program));
    }
    let partial = cache.join(format!("claude-code-{version}.partial"));
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    fs::create_dir_all(&partial)?;
    if !npm_install(&format!("@anthropic-ai/claude-code@{version}"), &partial)? {
        return Ok(None);
    }
    let program = find(&partial)?.context("npm installed no executable for this platform")?;
    let mut asked = Command::new(&program);
    asked.arg("--version").env_clear().env("HOME", &partial);
    let answer = run(&mut asked, NPM_TIMEOUT)?;
    if !answer.stdout.starts_with(version) {
        bail!("`{}` says it is `{}`{}", program.display(), answer.stdout.trim(), answer.stderr);
    }
    fs::rename(&partial, &folder)?;
    find(&folder)
}

/// Answers false where npm, or what it asks, is out of reach.
fn npm_install(package: &str, folder: &Path) -> Result<bool> {
    let mut npm = Command::new("npm");
    npm.arg("install").arg(package).arg("--prefix").arg(folder).current_dir(folder);
    npm.arg("--cache").arg(folder.with_file_name("npm-cache"));
    npm.args([
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--no-package-lock",
        "--loglevel=error",
    ]);
    npm.args([
        "--engine-strict=false",
        "--prefer-offline",
        "--fetch-retries=1",
        "--fetch-timeout=60000",
    ]);
    // What the machine trusts, as behind a company's proxy, counts for npm as it does for cargo.
    if env::var_os(MORE_CERTIFICATES).is_none() && Path::new(CERTIFICATES).exists() {
        npm.env(MORE_CERTIFICATES, CERTIFICATES);
    }
    let answer = match run(&mut npm, NPM_TIMEOUT) {
        Ok(answer) => answer,
        Err(why) if is_missing(&why) => return Ok(false),
        Err(why) => return Err(why),
    };
    if answer.status.success() {
        return Ok(true);
    }
    if UNREACHABLE.iter().any(|word| answer.stderr.contains(word)) {
        return Ok(false);
    }
    bail!("npm cannot install `{package}`\n{}", answer.stderr.trim())
}

fn is_missing(why: &anyhow::Error) -> bool {
    let cause = why.downcast_ref::<std::io::Error>();
    cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::NotFound)
}

/// The executable in the one platform package that npm chose.
fn find(folder: &Path) -> Result<Option<PathBuf>> {
    let packages = folder.join("node_modules").join("@anthropic-ai");
    if !packages.is_dir() {
        return Ok(None);
    }
    for package in fs::read_dir(&packages)? {
        let program = package?.path().join("claude");
        if program.is_file() {
            return Ok(Some(program));
        }
    }
    Ok(None)
}
