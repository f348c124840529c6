//! The store: operations on a database, written once for all databases.
#![allow(missing_docs)]
pub mod host;

use std::path::{Path, PathBuf};

use cotenant_core::{Error, Result, store::{Outcome, Request, Store}};

/// Whether a missing store is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfMissing {
    /// Fail: `NOT_FOUND` if nothing is there, `STORE_MISSING` if its directory is.
    Fail,
    /// Make one.
    Create,
}

/// A store in a local database.
pub struct LocalStore {}

impl LocalStore {
    /// Opens `store.db` at this path (its directory holds gate, signal and tokens).
    pub fn open(_file: &Path, _missing: IfMissing) -> Result<Self> {
        Err(Error::internal("not built yet"))
    }
}

impl Store for LocalStore {
    fn submit(&self, _requests: Vec<Request>) -> Vec<Outcome> {
        Vec::new()
    }
}

/// The directory of a store.
pub fn directory(file: &Path) -> PathBuf {
    file.parent().map(Path::to_path_buf).unwrap_or_default()
}
