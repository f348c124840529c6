//! What several unit tests need.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Runs git with nobody's configuration.
pub(crate) fn git(directory: &Path, arguments: &[&str]) {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .env("PATH", crate::env::text(crate::env::PATH).unwrap())
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("HOME", "/nonexistent")
        .envs(["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_NAME"), "t")))
        .envs(["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_EMAIL"), "t@example.org")))
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}: {output:?}");
}

/// A repository with one commit of `src/a.rs`, in a directory of its own, and its top.
pub(crate) fn repository() -> (tempfile::TempDir, PathBuf) {
    let scratch = tempfile::tempdir().unwrap();
    let top = fs::canonicalize(scratch.path()).unwrap().join("top");
    fs::create_dir_all(top.join("src")).unwrap();
    fs::write(top.join("src/a.rs"), "a\n").unwrap();
    git(&top, &["init", "-q", "-b", "main"]);
    git(&top, &["add", "."]);
    git(&top, &["commit", "-q", "-m", "first"]);
    (scratch, top)
}
