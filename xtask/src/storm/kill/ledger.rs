//! What the driver knows: kills, acknowledgements and refusals, kept outside the store.

use std::collections::BTreeMap;

use serde_json::Value;

use super::rank;
use super::request::Aim;

/// One death with an operation under way.
#[derive(Clone, Debug)]
pub(super) struct Kill {
    /// The last failpoint that the process passed.
    pub(super) stage: String,
    /// Whether a failpoint killed it, not the driver.
    pub(super) by_failpoint: bool,
}

/// A request that was acknowledged.
#[derive(Clone, Debug)]
pub(in crate::storm) struct Acknowledged {
    /// The session's name.
    pub(in crate::storm) session: String,
    /// What it was for.
    pub(in crate::storm) aim: Aim,
    /// The answer.
    pub(in crate::storm) data: Value,
}

/// Everything that the driver knows.
#[derive(Debug, Default)]
pub(in crate::storm) struct Ledger {
    pub(super) kills: Vec<Kill>,
    pub(in crate::storm) acknowledged: Vec<Acknowledged>,
    pub(super) refused: BTreeMap<String, usize>,
    pub(in crate::storm) faults: Vec<String>,
    /// Processes that had answered before the kill came.
    pub(super) late: usize,
    pub(super) requests: usize,
    /// Requests that were answered after a process had died of them.
    pub(super) repeated: usize,
    /// Of these, how many the dead process had done.
    pub(super) replayed: usize,
    /// Events in the log afterwards.
    pub(super) events: usize,
    /// Acknowledgements whose effect is not in the log.
    pub(in crate::storm) lost: usize,
}

impl Ledger {
    /// Adds that of another store.
    pub(super) fn add(&mut self, other: Self) {
        self.kills.extend(other.kills);
        self.acknowledged.extend(other.acknowledged);
        for (code, count) in other.refused {
            *self.refused.entry(code).or_default() += count;
        }
        self.faults.extend(other.faults);
        self.late += other.late;
        self.requests += other.requests;
        self.repeated += other.repeated;
        self.replayed += other.replayed;
        self.events += other.events;
        self.lost += other.lost;
    }

    /// Takes an answer down. `deaths` are the stages of the processes that died of this request.
    pub(super) fn answered(&mut self, session: &str, aim: &Aim, deaths: &[String], answer: &Value) {
        self.requests += 1;
        let replayed = answer["replayed"] == true;
        self.repeated += usize::from(!deaths.is_empty());
        self.replayed += usize::from(replayed);
        if answer["ok"] != true {
            let code = answer["error"]["code"].as_str().unwrap_or_default();
            *self.refused.entry(code.to_owned()).or_default() += 1;
            let expected = match aim {
                Aim::Acquire { .. } => code == "HELD",
                _ => false,
            };
            if !expected {
                self.faults.push(format!(
                    "{aim:?} after deaths at {deaths:?} answered {}",
                    answer["error"]
                ));
            }
            return;
        }
        // What was committed is answered from memory, what was not is done now.
        let committed = deaths.iter().any(|stage| rank(stage) >= rank("txn.after_commit"));
        let possibly = deaths.iter().any(|stage| rank(stage) >= rank("txn.before_commit"));
        if aim.is_sure() && committed && !replayed {
            self.faults
                .push(format!("{aim:?} was committed, then done again: deaths at {deaths:?}"));
        }
        if replayed && !possibly {
            self.faults.push(format!("{aim:?} was done before its commit: deaths at {deaths:?}"));
        }
        self.acknowledged.push(Acknowledged {
            session: session.to_owned(),
            aim: aim.clone(),
            data: answer["data"].clone(),
        });
    }
}
