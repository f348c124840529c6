//! Where a store lies, whichever database it is in.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use cotenant_core::Result;

use crate::{IfMissing, LocalStore, directory, postgres::Address};

/// Where a store lies.
#[derive(Clone, Debug)]
pub enum Location {
    /// An `SQLite` file on this machine.
    File(PathBuf),
    /// A project's schema on a `PostgreSQL` server.
    Server(Box<Address>),
}

impl Location {
    /// The store's file, however the way to it is written.
    pub fn file(path: &Path) -> Self {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let home = directory(&absolute);
        // The directory may be missing yet; then the one above it counts.
        let found = home.ancestors().find_map(|above| {
            let real = above.canonicalize().ok()?;
            Some(real.join(home.strip_prefix(above).ok()?))
        });
        let name = absolute.file_name().unwrap_or_default();
        Self::File(found.unwrap_or(home).join(name))
    }

    /// A project's store on a server.
    pub fn server(address: Address) -> Self {
        Self::Server(Box::new(address))
    }

    /// Opens the store that must be there.
    pub(super) fn open(&self) -> Result<LocalStore> {
        match self {
            Self::File(path) => LocalStore::open(path, IfMissing::Fail),
            Self::Server(address) => LocalStore::open_postgres(address, IfMissing::Fail),
        }
    }
}

/// As `COTENANT_STORE` takes it, but without user and password.
impl fmt::Display for Location {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(out, "sqlite:{}", path.display()),
            Self::Server(address) => address.fmt(out),
        }
    }
}
