//! The page a person wants first, from one snapshot.

use cotenant_core::{
    Result,
    status::{ShowStatus, Status},
};

use crate::{data, holding, session, task, tx::Tx};

/// Sessions shown unless asked otherwise.
const SESSIONS: u32 = 200;
/// Keys are counted up to here: an exact count of very many would make the page slow.
const KEYS_COUNTED: i64 = 100_000;

pub(crate) fn show(tx: &mut Tx<'_>, op: &ShowStatus) -> Result<Status> {
    let (sessions, sessions_live) = session::live(tx, op.limit.unwrap_or(SESSIONS))?;
    let mut holdings = Vec::new();
    for kind in ["lease", "issue", "branch", "other", "path"] {
        holdings.extend(holding::of_kind(tx, kind)?);
    }
    Ok(Status {
        sessions,
        sessions_live,
        holdings,
        sessions_ever: tx.meta.sessions as u64,
        keys: data::count(tx, KEYS_COUNTED)?,
        tasks: task::counts(tx)?,
        seq: tx.meta.head(),
        tick: tx.now,
        history: tx.meta.history.clone(),
    })
}
