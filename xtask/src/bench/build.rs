//! The programs that are measured.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::dist;
use crate::steps::execute;
use crate::work::Work;

/// A program that does nothing.
const EMPTY: &str = "fn main() {}\n";

/// The shipped program: as named, else a fresh static release build.
pub(crate) fn program(work: &Work, named: Option<&Path>) -> Result<PathBuf> {
    match named {
        Some(path) => fs::canonicalize(path).with_context(|| format!("`{}`", path.display())),
        None => dist::build(work),
    }
}

/// A program that does nothing, built by the same compiler with the same flags.
pub(crate) fn empty(work: &Work, folder: &Path) -> Result<PathBuf> {
    let (source, program) = (folder.join("empty.rs"), folder.join("empty"));
    fs::write(&source, EMPTY)?;
    let mut rustc = work.command("rustc", &["--edition=2024", "--target", &dist::triple()]);
    rustc.args(["-C", "opt-level=3", "-C", "strip=symbols", "-C", "codegen-units=1"]);
    execute({
        rustc.arg("-o").arg(&program).arg(&source);
        rustc
    })?;
    Ok(program)
}
