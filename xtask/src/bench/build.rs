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

/// A program that does nothing, built alike: with the profile and the flags of the workspace, in
/// which it lies.
pub(crate) fn empty(work: &Work, folder: &Path) -> Result<PathBuf> {
    let package = folder.join("empty");
    fs::create_dir_all(package.join("src"))?;
    fs::write(package.join("src/main.rs"), "fn main() {}\n")?;
    let workspace = fs::read_to_string(work.root.join("Cargo.toml"))?;
    let (release, dist) = (section(&workspace, "release")?, section(&workspace, dist::PROFILE)?);
    let manifest =
        format!("[package]\nname = \"empty\"\nedition = \"2024\"\n\n[workspace]\n{release}{dist}");
    fs::write(package.join("Cargo.toml"), manifest)?;
    let triple = dist::triple();
    let mut cargo = work.cargo(&["build", "--quiet", "--offline", "--target", &triple]);
    cargo.args(["--profile", dist::PROFILE]).current_dir(&package);
    cargo.arg("--target-dir").arg(package.join("target"));
    execute(cargo)?;
    let built = package.join("target").join(triple).join(dist::PROFILE).join("empty");
    let path = folder.join("bin").join("empty");
    dist::install(&built, &path)?;
    Ok(path)
}

/// The section of a profile in a manifest.
fn section(manifest: &str, profile: &str) -> Result<String> {
    let head = format!("\n[profile.{profile}]");
    let rest = manifest.split(&head).nth(1).with_context(|| format!("no profile {profile}"))?;
    Ok(format!("{head}{}", rest.split("\n[").next().unwrap_or_default()))
}
