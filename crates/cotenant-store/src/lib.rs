//! The store of cotenant: operations on a database, written once for all databases.
//!
//! [`LocalStore`] carries out the operations of `cotenant-core`. Inside, an operation loads rows,
//! asks a rule and saves; the transaction around it is written once, in `local.rs`. A database is
//! behind the seam of [`sql`]: `sqlite.rs` with `create.rs`, or [`postgres`]. Operations do not know which.

pub mod admin;
mod barrier;
mod batching;
mod bounds;
mod claim;
pub mod combine;
mod create;
mod data;
pub mod doctor;
mod draft;
mod event;
mod execute;
mod gate;
mod handoff;
mod holding;
pub mod host;
mod instruction;
mod lease;
mod lineage;
mod local;
mod location;
mod message;
mod meta;
mod metric;
pub mod migrate;
mod place;
pub mod postgres;
mod progress;
mod projection;
mod replay;
mod retention;
mod session;
mod sign_on;
mod signal;
pub mod sql;
mod sqlite;
mod status;
mod task;
pub mod testing;
pub mod transfer;
mod tx;

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use cotenant_core::{Code, Error, Result, process::Processes};

pub use batching::Batching;
pub use local::LocalStore;
pub use location::Location;
pub use meta::SCHEMA;
pub use place::{IfMissing, directory};

/// How long a writer waits for its turn.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// What a store believes in: clocks and processes.
type Host = (Box<dyn sql::Clock>, Box<dyn Processes>);

/// This host.
fn here() -> Host {
    testing::world()
        .unwrap_or_else(|| (Box::new(sqlite::BootClock), Box::new(host::LocalProcesses)))
}

impl LocalStore {
    /// Opens `store.db` at this path; its directory holds the gate, the signal and the tokens.
    pub fn open(file: &Path, missing: IfMissing) -> Result<Self> {
        let (clock, processes) = here();
        Self::open_with(file, missing, clock, processes)
    }

    /// Opens a store that believes in the given clock and processes.
    pub fn open_with(
        file: &Path,
        missing: IfMissing,
        clock: Box<dyn sql::Clock>,
        processes: Box<dyn Processes>,
    ) -> Result<Self> {
        Self::at(&find(file, missing)?, clock, processes)
    }

    /// Opens a project's store on a `PostgreSQL` server.
    pub fn open_postgres(address: &postgres::Address, missing: IfMissing) -> Result<Self> {
        let (clock, processes) =
            (Box::<postgres::ServerClock>::default(), Box::new(host::LocalProcesses));
        Self::open_postgres_with(address, missing, clock, processes)
    }

    /// As [`Self::open_postgres`], believing in the given clock and processes.
    pub fn open_postgres_with(
        address: &postgres::Address,
        missing: IfMissing,
        clock: Box<dyn sql::Clock>,
        processes: Box<dyn Processes>,
    ) -> Result<Self> {
        let engine = postgres::find(address, missing)?;
        Ok(Self::over(Box::new(engine), clock, processes, BUSY_TIMEOUT))
    }

    /// Opens the database of a store that was found.
    fn at(found: &Path, clock: Box<dyn sql::Clock>, processes: Box<dyn Processes>) -> Result<Self> {
        let engine = sqlite::Sqlite::open(found)?;
        Ok(Self::over(Box::new(engine), clock, processes, BUSY_TIMEOUT))
    }
}

/// Opens a store for a few short requests. They go to a combiner if there is one, and else to the
/// database, which is opened for the first of them; `busy_timeout` is how long a writer waits for its
/// turn there.
pub fn open_for_few(
    file: &Path,
    missing: IfMissing,
    busy_timeout: impl Fn() -> Result<Duration> + Clone + Send + Sync + 'static,
) -> Result<combine::Posting> {
    let found = find(file, missing)?;
    let metadata = std::fs::symlink_metadata(&found).map_err(|cause| {
        Error::new(Code::StoreIo, "the store vanished while it was opened").caused_by(cause)
    })?;
    let place = directory(&found);
    Ok(combine::Posting::new(&place, (metadata.dev(), metadata.ino()), move || {
        let (clock, processes) = here();
        Ok(LocalStore::at(&found, clock, processes)?.busy_timeout_by(busy_timeout.clone()))
    }))
}

/// The database of a store, made if that is wanted.
fn find(file: &Path, missing: IfMissing) -> Result<PathBuf> {
    match (place::look(file)?, missing) {
        (place::Found::Store(path), _) => Ok(path),
        (place::Found::Nothing, IfMissing::Fail) => {
            Err(Error::new(Code::NotFound, format!("there is no store at `{}`", file.display()))
                .detail("path", file.display().to_string())
                .hint("make one with `cotenant init`"))
        }
        (place::Found::Nothing, IfMissing::Create) => {
            create::create(file)?;
            match place::look(file)? {
                place::Found::Store(path) => Ok(path),
                place::Found::Nothing => Err(Error::new(Code::StoreIo, "the new store vanished")),
            }
        }
    }
}
