//! The doctor: settles what has expired, checks what must hold, and says what to do.
//!
//! Safe at any time, and for any number at once. `deep` also replays the log and compares it with
//! the rows whose history is complete.

use cotenant_core::{Code, Error, Result, render::counted, store::Store};
use serde::Serialize;

use crate::{LocalStore, Location};

mod deep;
mod file;
mod server;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// As it should be.
    Good,
    /// Worth knowing.
    Note,
    /// Something must be done.
    Bad,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: String,
    /// How it is.
    pub severity: Severity,
    /// What was found.
    pub found: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Finding {
    fn good(check: &str, found: impl Into<String>) -> Self {
        Self { check: check.into(), severity: Severity::Good, found: found.into(), hint: None }
    }

    fn bad(check: &str, found: impl Into<String>, hint: &str) -> Self {
        let (check, found) = (check.to_owned(), found.into());
        Self { check, severity: Severity::Bad, found, hint: Some(hint.to_owned()) }
    }
}

/// Looks at a store.
pub fn doctor(location: &Location, deep: bool) -> Vec<Finding> {
    match location {
        Location::File(file) => file::doctor(file, deep),
        Location::Server(address) => server::doctor(address, deep),
    }
}

/// Removes what makers of the store left behind when they were killed. Answers what became of it.
pub fn fix(location: &Location) -> Vec<Finding> {
    // On a server a killed maker leaves nothing: a store is made in one transaction.
    location.file().map(file::fix).unwrap_or_default()
}

fn of_error(check: &str, error: &Error) -> Finding {
    let hint = error.hint.as_deref().unwrap_or("see the message");
    Finding::bad(check, format!("{}: {}", error.code, error.message), hint)
}

/// What is to be said of a store that nobody uses here: one that was moved away, or has not arrived.
fn closed(store: &LocalStore) -> Option<Finding> {
    let error = crate::transfer::refusal(store)?;
    let (check, severity) = ("store".to_owned(), Severity::Note);
    Some(Finding { check, severity, found: error.message, hint: error.hint })
}

/// Looks at what a store that opens holds; the hint is for a damaged log.
fn content(store: &LocalStore, deep: bool, hint: &str) -> Vec<Finding> {
    if let Some(closed) = closed(store) {
        return vec![closed];
    }
    let mut findings = vec![match settle(store) {
        Ok(()) => Finding::good("expired", "settled"),
        Err(error) => of_error("expired", &error),
    }];
    if deep {
        findings.extend(deep::invariants(store));
    }
    findings.push(chain(store, hint));
    findings
}

/// Any write settles what has expired; declaring lost a session that does not exist is one.
fn settle(store: &LocalStore) -> Result<()> {
    if store.is_erasing()? {
        store.finish_erasing()?;
    }
    let store: &dyn Store = store;
    let reap = cotenant_core::session::Reap {
        session: cotenant_core::name::SessionRef("doctor/nobody".to_owned()),
        force: false,
    };
    match store.call(&reap, |request| request) {
        Err(error) if error.code != Code::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Checks the log; the hint is for one that is damaged.
fn chain(store: &LocalStore, hint: &str) -> Finding {
    let store: &dyn Store = store;
    match store.call(&cotenant_core::event::Verify::default(), |request| request) {
        Ok(verified) => match (verified.answer.first_bad, verified.answer.why) {
            (Some(seq), Some(why)) => Finding::bad("log", format!("event {seq}: {why}"), hint),
            _ => Finding::good(
                "log",
                format!("{}, the chain is whole", counted(verified.answer.checked, "event")),
            ),
        },
        Err(error) => of_error("log", &error),
    }
}
