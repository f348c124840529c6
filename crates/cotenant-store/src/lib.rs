//! The store of cotenant: operations on a database, written once for all databases.
//!
//! [`LocalStore`] carries out the operations of `cotenant-core`. Inside, an operation loads rows,
//! asks a rule and saves; the transaction around it is written once, in `local.rs`. A database is
//! behind the seam of [`sql`]; nothing outside `sqlite.rs` and `create.rs` knows which it is.

pub mod admin;
mod claim;
mod create;
mod data;
pub mod doctor;
mod draft;
mod event;
mod execute;
mod gate;
mod holding;
pub mod host;
mod lease;
mod lineage;
mod local;
mod meta;
pub mod migrate;
mod place;
mod session;
mod sign_on;
mod signal;
pub mod sql;
mod sqlite;
mod status;
pub mod testing;
mod tx;

use std::{path::Path, time::Duration};

use cotenant_core::{Code, Error, Result, process::Processes};

pub use local::LocalStore;
pub use place::{IfMissing, directory};

/// How long a writer waits for its turn.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

impl LocalStore {
    /// Opens `store.db` at this path; its directory holds the gate, the signal and the tokens.
    pub fn open(file: &Path, missing: IfMissing) -> Result<Self> {
        Self::open_with(file, missing, Box::new(sqlite::BootClock), Box::new(host::LocalProcesses))
    }

    /// Opens a store that believes in the given clock and processes.
    pub fn open_with(
        file: &Path,
        missing: IfMissing,
        clock: Box<dyn sql::Clock>,
        processes: Box<dyn Processes>,
    ) -> Result<Self> {
        let found = match (place::look(file)?, missing) {
            (place::Found::Store(path), _) => path,
            (place::Found::Nothing, IfMissing::Fail) => {
                return Err(Error::new(
                    Code::NotFound,
                    format!("there is no store at `{}`", file.display()),
                )
                .detail("path", file.display().to_string())
                .hint("make one with `cotenant init`"));
            }
            (place::Found::Nothing, IfMissing::Create) => {
                create::create(file)?;
                match place::look(file)? {
                    place::Found::Store(path) => path,
                    place::Found::Nothing => {
                        return Err(Error::new(Code::StoreIo, "the new store vanished"));
                    }
                }
            }
        };
        let engine = sqlite::Sqlite::open(&found)?;
        Ok(Self::over(Box::new(engine), clock, processes, BUSY_TIMEOUT))
    }
}
