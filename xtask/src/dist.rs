//! `cargo xtask dist`: one binary that needs nothing but a kernel.

use std::env::consts::ARCH;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::elf;
use crate::steps::{Outcome, execute};
use crate::tools::{self, MUSL};
use crate::work::Work;

/// Runs the command.
pub(crate) fn run(work: &Work, _: &[String]) -> Result<()> {
    let path = build(work)?;
    let bytes = fs::metadata(&path)?.len();
    println!("{}", path.display());
    println!("static, {:.2} MB ({bytes} bytes)", size_in_mb(bytes));
    Ok(())
}

/// The target of the binary.
pub(crate) fn triple() -> String {
    format!("{ARCH}-unknown-linux-musl")
}

/// Builds the binary and answers where it is.
pub(crate) fn build(work: &Work) -> Result<PathBuf> {
    let triple = triple();
    tools::target(work, &triple)
        .with_context(|| format!("the target is missing; run: rustup target add {triple}"))?;
    if let Outcome::Skipped(why) = tools::install(&[MUSL]) {
        anyhow::bail!("`musl-gcc` is {why}");
    }
    let build = ["build", "--release", "--locked", "--package", "cotenant", "--target", &triple];
    execute(work.cargo(&build))?;
    let path = work.target.join(&triple).join("release").join("cotenant");
    let bytes = fs::read(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    ensure!(elf::is_static(&bytes)?, "`{}` needs a dynamic linker", path.display());
    Ok(path)
}

#[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
fn size_in_mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
