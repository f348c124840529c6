//! The programs that are measured.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::dist;
use crate::steps::execute;
use crate::work::Work;

/// The shipped program: as named, else a fresh static release build.
pub(crate) fn program(work: &Work, named: Option<&Path>) -> Result<PathBuf> {
    match named {
        Some(path) => fs::canonicalize(path).with_context(|| format!("`{}`", path.display())),
        None => dist::build(work),
    }
}

/// A program that does nothing, built alike: with the release profile and the flags of the
/// workspace, in which it lies.
pub(crate) fn empty(work: &Work, folder: &Path) -> Result<PathBuf> {
    let package = folder.join("empty");
    fs::create_dir_all(package.join("src"))?;
    fs::write(package.join("src/main.rs"), "fn main() {}\n")?;
    let manifest = fs::read_to_string(work.root.join("Cargo.toml"))?;
    let profile = manifest.split("[profile.release]").nth(1).context("no release profile")?;
    let profile = profile.split("\n[").next().unwrap_or_default();
    let manifest = format!(
        "[package]\nname = \"empty\"\nedition = \"2024\"\n\n[workspace]\n\n[profile.release]{profile}"
    );
    fs::write(package.join("Cargo.toml"), manifest)?;
    let triple = dist::triple();
    let mut cargo =
        work.cargo(&["build", "--quiet", "--release", "--offline", "--target", &triple]);
    cargo.current_dir(&package).arg("--target-dir").arg(package.join("target"));
    execute(cargo)?;
    Ok(package.join("target").join(triple).join("release").join("empty"))
}
