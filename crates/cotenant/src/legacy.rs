//! The files in which other tools keep instructions and session state, read and written.
//!
//! - `instruction-history.json`: a list of instructions, or an object with one under `instructions`
//! - `session-state.json`, `token-checkpoints.json`: one session's figures
//! - `sessions/NAME/*.json`: the same, a directory for each session
//! - `session-state/`: keys by scope, as `SCOPE.json` (an object of keys) or `SCOPE/KEY.json`
//!
//! What this store has written itself is known by its ids when it is read again, so that nothing is added.
//! What an entry says beyond the known fields is kept as it is, under the scopes `legacy/…`, so that writing the
//! files again gives it back. What has an unknown shape is told and left where it is.

mod own;
mod read;
mod write;

pub(crate) use own::Own;
pub(crate) use read::{Piece, read};
pub(crate) use write::write;

/// Where an instruction is kept as it was imported, by its alias.
pub(crate) const HISTORY: &str = "legacy/instruction-history";
/// Where the state of a session is kept as it was imported, by the session's id.
pub(crate) const STATE: &str = "legacy/session-state";
/// Where the checkpoints of a session are kept as they were imported.
pub(crate) const CHECKPOINTS: &str = "legacy/token-checkpoints";
