//! The programs that are measured.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::dist;
use crate::steps::execute;
use crate::work::Work;

/// The shipped program: as named, else a fresh static release build. A named one is installed beside
/// the empty ones: a process begins later on a file as a linker leaves it, whatever is in it.
pub(crate) fn program(work: &Work, folder: &Path, named: Option<&Path>) -> Result<PathBuf> {
    let Some(built) = named else { return dist::build(work) };
    let path = folder.join("bin").join("cotenant");
    dist::install(built, &path)?;
    Ok(path)
}

/// The programs that do nothing, against which a whole process is measured.
#[derive(Clone, Debug)]
pub(crate) struct Empty {
    /// Built as the shipped program: with its profile and the flags of the workspace.
    pub(crate) alike: PathBuf,
    /// A static program as `cargo build --release` makes it: the yardstick of the targets, which
    /// does not move with our flags.
    pub(crate) plain: PathBuf,
}

/// Builds them in a folder of the workspace.
pub(crate) fn empty(work: &Work, folder: &Path) -> Result<Empty> {
    let workspace = fs::read_to_string(work.root.join("Cargo.toml"))?;
    let (release, dist) = (section(&workspace, "release")?, section(&workspace, dist::PROFILE)?);
    let alike = nothing(work, folder, "alike", dist::PROFILE, &format!("{release}{dist}"))?;
    let plain = nothing(work, folder, "plain", "release", "")?;
    Ok(Empty { alike, plain })
}

fn nothing(
    work: &Work,
    folder: &Path,
    name: &str,
    profile: &str,
    profiles: &str,
) -> Result<PathBuf> {
    let package = folder.join(name);
    fs::create_dir_all(package.join("src"))?;
    fs::write(package.join("src/main.rs"), "fn main() {}\n")?;
    let manifest =
        format!("[package]\nname = \"{name}\"\nedition = \"2024\"\n\n[workspace]\n{profiles}");
    fs::write(package.join("Cargo.toml"), manifest)?;
    let triple = dist::triple();
    let mut cargo = work.cargo(&["build", "--quiet", "--offline", "--target", &triple]);
    cargo.args(["--profile", profile]).current_dir(&package);
    cargo.arg("--target-dir").arg(package.join("target"));
    if profiles.is_empty() {
        // Flags in the environment replace those of the workspace; this one changes nothing.
        cargo.env("RUSTFLAGS", "-C debuginfo=0");
    }
    execute(cargo)?;
    let built = package.join("target").join(triple).join(profile).join(name);
    let path = folder.join("bin").join(name);
    dist::install(&built, &path)?;
    Ok(path)
}

/// The section of a profile in a manifest.
fn section(manifest: &str, profile: &str) -> Result<String> {
    let head = format!("\n[profile.{profile}]");
    let rest = manifest.split(&head).nth(1).with_context(|| format!("no profile {profile}"))?;
    Ok(format!("{head}{}", rest.split("\n[").next().unwrap_or_default()))
}
