//! What was acknowledged when the power failed, and whether an image has it.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use cotenant_core::clock::Reading;
use cotenant_store::doctor::{Severity, doctor};
use cotenant_store::sql::{Clock, Sql};
use cotenant_store::{IfMissing, LocalStore, host};
use serde_json::{Value, json};

use super::record::{BACKUP, Mark};
use crate::storm::ask::{Ask, InProcess};
use crate::storm::kill::{Acknowledged, Ledger, look as compare};
use crate::storm::lab::Member;
use crate::storm::worker::Request;

/// What the driver knew at some point of the recording.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Requests without an answer, in the order in which they were made.
    open: Vec<Mark>,
    /// Sessions that were signed on.
    members: Vec<Member>,
    acknowledged: Vec<Acknowledged>,
    has_backup: bool,
}

impl Known {
    /// Takes down what the driver marked.
    pub(super) fn note(&mut self, lines: &str) -> Result<()> {
        for line in lines.lines() {
            let mark: Mark = serde_json::from_str(line).context("a mark that is no JSON")?;
            if mark.answer.is_none() {
                self.open.push(mark);
                continue;
            }
            self.open.retain(|open| open.id != mark.id);
            self.answered(mark);
        }
        Ok(())
    }

    fn answered(&mut self, mark: Mark) {
        let Some(answer) = mark.answer.filter(|answer| answer["ok"] == true) else { return };
        match mark.aim {
            None if mark.op == BACKUP => self.has_backup = true,
            None => self.members.push(Member { name: mark.session, token: mark.token }),
            Some(aim) => {
                let data = answer["data"].clone();
                self.acknowledged.push(Acknowledged { session: mark.session, aim, data });
            }
        }
    }

    /// How many requests were acknowledged.
    pub(super) fn acknowledged(&self) -> usize {
        self.members.len() + self.acknowledged.len()
    }
}

/// What an image had.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) faults: Vec<String>,
    /// Acknowledged, and not there.
    pub(super) lost: usize,
    /// Requests that were under way.
    pub(super) repeated: usize,
    /// Of these, how many had been done.
    pub(super) replayed: usize,
}

/// The clock of a machine that was started anew.
struct NextBoot;

impl Clock for NextBoot {
    fn reading(&self, _: &mut dyn Sql) -> cotenant_core::Result<Reading> {
        Ok(Reading { source: "00000000-0000-4000-8000-000000000000".to_owned(), value_ms: 5_000 })
    }

    fn wall_ms(&self) -> i64 {
        1_900_000_000_000
    }
}

/// Opens an image, repeats what was under way, and compares.
pub(super) fn look(image: &Path, known: &Known, other_boot: bool) -> Result<Found> {
    let file = image.join("store").join("store.db");
    let mut found = Found::default();
    // Nothing has promised that there is a store before a session was acknowledged.
    let is_promised = known.acknowledged() > 0;
    let missing = if is_promised { IfMissing::Fail } else { IfMissing::Create };
    let examine = |file: &Path| {
        let bad = doctor(&file.to_path_buf().into(), true)
            .into_iter()
            .filter(|one| one.severity == Severity::Bad);
        bad.map(|one| format!("doctor: {}: {}", one.check, one.found)).collect::<Vec<_>>()
    };
    if other_boot && is_promised {
        // Before the clock of another machine makes this one a stranger.
        found.faults.extend(examine(&file));
    }
    let opened = if other_boot {
        let processes = Box::new(host::LocalProcesses);
        LocalStore::open_with(&file, missing, Box::new(NextBoot), processes)
    } else {
        LocalStore::open(&file, missing)
    };
    match opened {
        Err(why) => {
            found.faults.push(format!("the store does not open: {}: {}", why.code, why.message));
        }
        Ok(store) => repeat_and_compare(&mut InProcess(store), known, &mut found)?,
    }
    if !other_boot {
        found.faults.extend(examine(&file));
    }
    if known.has_backup {
        let faults = examine(&image.join(BACKUP)).into_iter();
        found.faults.extend(faults.map(|fault| format!("an acknowledged backup: {fault}")));
    }
    Ok(found)
}

fn repeat_and_compare(store: &mut InProcess, known: &Known, found: &mut Found) -> Result<()> {
    let mut ledger = Ledger::default();
    ledger.acknowledged.clone_from(&known.acknowledged);
    for open in &known.open {
        let answer = store.ask(&open.request())?;
        found.repeated += 1;
        found.replayed += usize::from(answer["replayed"] == true);
        let is_refused = answer["error"]["code"] == "HELD";
        if answer["ok"] == true {
            if let Some(aim) = open.aim.clone() {
                let data = answer["data"].clone();
                let session = open.session.clone();
                ledger.acknowledged.push(Acknowledged { session, aim, data });
            }
        } else if !is_refused {
            found.faults.push(format!("{} that was under way, repeated: {answer}", open.op));
        }
    }
    let listed = store.ask(&Request::new("session.list", json!({})))?;
    let sessions = listed["data"]["sessions"].as_array().cloned().unwrap_or_default();
    let there: BTreeSet<&str> =
        sessions.iter().filter_map(|session: &Value| session["name"].as_str()).collect();
    let missing: Vec<&Member> =
        known.members.iter().filter(|member| !there.contains(member.name.as_str())).collect();
    found.lost += missing.len();
    found.faults.extend(missing.iter().map(|one| format!("signed on and lost: {}", one.name)));
    compare(store, &known.members, &mut ledger)?;
    found.lost += ledger.lost;
    found.faults.extend(ledger.faults);
    Ok(())
}
