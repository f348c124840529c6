//! What of the files this store has written itself, so that reading them again adds nothing.

use std::collections::{BTreeMap, BTreeSet};

use cotenant_core::{
    Code, Result,
    data::{List, PAGE_MAX},
    event::sha256_hex,
    id::Rev,
    instruction::{Instruction, ListInstructions},
    metric::ShowMetrics,
};
use serde_json::Value;

use super::{CHECKPOINTS, HISTORY, STATE};
use crate::context::Context;

/// What begins the name of a directory of a session that was imported.
const IMPORTED: &str = "imported-";

/// What is in the store.
#[derive(Debug, Default)]
pub(crate) struct Own {
    /// Every instruction, in order.
    pub(super) history: Vec<Instruction>,
    /// Entries of a history as they were imported, by alias.
    pub(super) raw: BTreeMap<String, Value>,
    /// States and checkpoints as they were imported, by the session's id.
    pub(super) states: BTreeMap<String, Value>,
    pub(super) checkpoints: BTreeMap<String, Value>,
    /// The ids of the store's own sessions.
    sessions: BTreeSet<String>,
    /// Numbers of entries by the id under which they are written.
    ids: BTreeMap<String, Rev>,
}

impl Own {
    /// Reads what is in the store; nothing if there is none.
    pub(crate) fn find(context: &Context) -> Result<Self> {
        let metrics = ShowMetrics { session: None, all: true, by: None };
        let sessions = match context.call_aside(&metrics) {
            Ok(found) => found.answer.sessions.into_iter().map(|it| it.session).collect(),
            Err(error) if error.code == Code::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        let kept = |scope| kept(context, scope);
        let (raw, states, checkpoints) = (kept(HISTORY)?, kept(STATE)?, kept(CHECKPOINTS)?);
        let history = history(context)?;
        let aliased = |entry: &Instruction| Some((entry.alias.clone()?, entry.id));
        let ids = history.iter().filter_map(aliased).collect();
        let mut own = Self { history, raw, states, checkpoints, sessions, ids };
        let numbered = own.history.iter().filter(|entry| entry.alias.is_none());
        let numbered: Vec<_> = numbered.map(|entry| (own.id(entry), entry.id)).collect();
        own.ids.extend(numbered);
        Ok(own)
    }

    /// The id under which an entry is written: its alias, else one of its number that no alias has.
    pub(super) fn id(&self, entry: &Instruction) -> String {
        if let Some(alias) = &entry.alias {
            return alias.clone();
        }
        let mut id = format!("inst_{}", entry.id);
        while self.ids.get(&id).is_some_and(|of| *of != entry.id) {
            id.push_str("_own");
        }
        id
    }

    /// The entry with this number.
    pub(super) fn entry(&self, id: Rev) -> Option<&Instruction> {
        let found = self.history.binary_search_by_key(&id, |entry| entry.id);
        found.ok().map(|index| &self.history[index])
    }

    /// The entry that is written under this id.
    fn written_as(&self, id: &str) -> Option<&Instruction> {
        self.entry(*self.ids.get(id)?)
    }

    /// Whether an entry that a file has under this id was added here.
    pub(super) fn has_written(&self, id: &str, text: &str) -> bool {
        self.written_as(id).is_some_and(|entry| entry.alias.is_none() && entry.text == text)
    }

    /// Whether what a file says of an imported entry is what this store says of it.
    pub(super) fn says(&self, id: &str, entry: &Value) -> bool {
        let Some(known) = self.written_as(id) else { return false };
        // What came as a text alone was kept as nothing else, and is written with who brought it, and when.
        let came_as_text = !self.raw.contains_key(id)
            && entry["timestamp"] == known.at
            && entry["session_id"] == known.name;
        came_as_text || super::write::instruction(known, self) == *entry
    }

    /// Whether a directory is that of a session of this store.
    pub(super) fn is_session(&self, directory: &str) -> bool {
        self.sessions.contains(directory)
    }

    /// The directory of an imported session.
    pub(super) fn directory(session: &str) -> String {
        format!("{IMPORTED}{}", &sha256_hex(session)[..16])
    }

    /// The imported session whose directory this is.
    pub(super) fn imported(&self, directory: &str) -> Option<&str> {
        let mut sessions = self.states.keys().chain(self.checkpoints.keys());
        sessions.find(|it| Self::directory(it) == directory).map(String::as_str)
    }
}

fn history(context: &Context) -> Result<Vec<Instruction>> {
    let mut list = ListInstructions { history: true, scope: None, after: None, limit: PAGE_MAX };
    let mut all = Vec::new();
    loop {
        let mut page = context.call_aside(&list)?.answer;
        all.append(&mut page.entries);
        list.after = page.next;
        if list.after.is_none() {
            return Ok(all);
        }
    }
}

/// What was imported, by key.
fn kept(context: &Context, scope: &str) -> Result<BTreeMap<String, Value>> {
    let mut list = List {
        scope: scope.to_owned(),
        key: String::new(),
        after: None,
        limit: PAGE_MAX,
        exact: true,
    };
    let mut all = BTreeMap::new();
    loop {
        let page = context.call_aside(&list)?.answer;
        for entry in page.entries {
            all.insert(entry.key, entry.value.value()?);
        }
        list.after = page.next;
        if list.after.is_none() {
            return Ok(all);
        }
    }
}
