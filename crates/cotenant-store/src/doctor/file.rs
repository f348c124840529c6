//! A store in a file: its database, and what lies beside it.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use super::{Finding, Severity, content, of_error};
use crate::{
    IfMissing, LocalStore, admin,
    draft::{self, Draft},
    gate,
    place::{Found, look},
    sqlite::Sqlite,
};

/// Looks at a store.
pub(super) fn doctor(file: &Path, deep: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let path = match look(file) {
        Ok(Found::Store(path)) => path,
        Ok(Found::Nothing) => {
            findings.push(Finding::bad(
                "store",
                format!("there is none at `{}`", file.display()),
                "make one with `cotenant init`",
            ));
            findings.extend(drafts(file));
            return findings;
        }
        Err(error) => {
            findings.push(of_error("store", &error));
            findings.extend(drafts(file));
            return findings;
        }
    };
    findings.push(Finding::good("store", path.display().to_string()));
    findings.extend(drafts(&path));
    findings.extend(modes(&path));
    findings.push(writable(&path));
    findings.push(writer(&path));
    let sound = Sqlite::open(&path).and_then(|engine| admin::check_structure(engine.connection()));
    let opened = sound.and_then(|()| LocalStore::open(&path, IfMissing::Fail));
    let store = match opened {
        Ok(store) => store,
        Err(error) => {
            findings.push(of_error("structure", &error));
            return findings;
        }
    };
    findings.push(Finding::good("structure", "sound"));
    let hint = "`cotenant restore BACKUP` goes back to a backup; keep this file as evidence";
    findings.extend(content(&store, deep, hint));
    findings
}

/// Removes what makers of the store left behind when they were killed. Answers what became of it.
pub(super) fn fix(file: &Path) -> Vec<Finding> {
    let path = match look(file) {
        Ok(Found::Store(path)) => path,
        _ => file.to_path_buf(),
    };
    let given_up = draft::find(&path).into_iter().filter(Draft::is_given_up);
    let findings = given_up.map(|draft| match draft.remove() {
        Ok(()) => Finding::good("drafts", format!("`{}` is removed", draft.path.display())),
        Err(cause) => Finding::bad(
            "drafts",
            format!("`{}` cannot be removed: {cause}", draft.path.display()),
            "check the mode and owner of the directory that it lies in",
        ),
    });
    findings.collect()
}

/// Directories 0700, files 0600.
fn modes(path: &Path) -> Vec<Finding> {
    fn walk(path: &Path, wrong: &mut Vec<String>) {
        let Ok(entries) = fs::read_dir(path) else { return };
        for entry in entries.flatten() {
            let Ok(found) = entry.metadata() else { continue };
            if found.mode() & 0o077 != 0 {
                wrong.push(format!("{} ({:o})", entry.path().display(), found.mode() & 0o777));
            }
            if found.is_dir() {
                walk(&entry.path(), wrong);
            }
        }
    }
    let mut wrong = Vec::new();
    walk(&crate::directory(path), &mut wrong);
    if wrong.is_empty() {
        return vec![Finding::good("modes", "only this user can read the store")];
    }
    let hint = "chmod -R go-rwx the store's directory";
    vec![Finding::bad("modes", format!("others can read {}", wrong.join(", ")), hint)]
}

/// What makers of the store left behind when they were killed, and what is being made.
fn drafts(path: &Path) -> Vec<Finding> {
    let (given_up, in_use): (Vec<_>, Vec<_>) =
        draft::find(path).into_iter().partition(Draft::is_given_up);
    if given_up.is_empty() && in_use.is_empty() {
        return vec![Finding::good("drafts", "none was left behind")];
    }
    let names = |drafts: &[Draft]| {
        let names = drafts.iter().map(|draft| format!("`{}`", draft.path.display()));
        names.collect::<Vec<_>>().join(", ")
    };
    let mut findings = Vec::new();
    if !in_use.is_empty() {
        findings.push(Finding::good("drafts", format!("somebody makes {}", names(&in_use))));
    }
    if !given_up.is_empty() {
        findings.push(Finding {
            check: "drafts".into(),
            severity: Severity::Note,
            found: format!("killed makers left behind {}", names(&given_up)),
            hint: Some("remove them with `cotenant doctor --fix`".into()),
        });
    }
    findings
}

/// Whether this user can write the database and the directory that its log lies in.
fn writable(path: &Path) -> Finding {
    use rustix::fs::{Access, access};
    let closed = [path.to_path_buf(), crate::directory(path)]
        .into_iter()
        .find(|path| access(path, Access::WRITE_OK).is_err());
    match closed {
        None => Finding::good("writable", "this user can write the store"),
        Some(path) => Finding::bad(
            "writable",
            format!("`{}` cannot be written", path.display()),
            "check its mode, its owner and whether its file system is mounted read-only",
        ),
    }
}

/// Who holds the write lock, if anybody does.
fn writer(path: &Path) -> Finding {
    let gate_path = crate::directory(path).join("gate");
    let mut gate = gate::Gate::new(gate_path.clone());
    match gate.take(crate::sql::Patience::Try) {
        Ok(_) => Finding::good("writer", "nobody holds the write lock"),
        Err(_) => {
            match gate::holder(&gate_path) {
                Some((pid, stat)) => {
                    let stopped = matches!(stat.state, 'T' | 't');
                    Finding {
                    check: "writer".into(),
                    severity: if stopped { Severity::Bad } else { Severity::Note },
                    found: format!(
                        "process {pid} (`{}`) holds the write lock{}",
                        cotenant_core::render::for_terminal(&stat.command),
                        if stopped { " and is stopped" } else { "" }
                    ),
                    hint: stopped.then(|| {
                        format!("continue it with `kill -CONT {pid}`, or end it with `kill -9 {pid}`")
                    }),
                }
                }
                None => Finding::good("writer", "the write lock changed hands just now"),
            }
        }
    }
}
