//! Where a store is.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use cotenant_core::Result;

use crate::{IfMissing, LocalStore, directory, postgres::Address};

/// Where a store is: in a file of this machine, or on a server.
#[derive(Clone, Debug)]
pub enum Location {
    /// A file.
    File(PathBuf),
    /// A project on a `PostgreSQL` server.
    Server(Box<Address>),
}

impl Location {
    /// The file, if it is in one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(file) => Some(file),
            Self::Server(_) => None,
        }
    }

    /// The same place, however the way to it is written. Only what is above the store's directory may
    /// be a link.
    pub(crate) fn resolved(&self) -> Self {
        let Self::File(file) = self else { return self.clone() };
        let absolute = std::path::absolute(file).unwrap_or_else(|_| file.clone());
        let home = directory(&absolute);
        // What is above may be missing yet; then what is above that counts.
        let real = home.ancestors().skip(1).find_map(|above| {
            Some(above.canonicalize().ok()?.join(home.strip_prefix(above).ok()?))
        });
        Self::File(real.unwrap_or(home).join(absolute.file_name().unwrap_or_default()))
    }
}

impl fmt::Display for Location {
    /// A path or an address, without a user and a password.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => file.display().fmt(out),
            Self::Server(address) => address.fmt(out),
        }
    }
}

impl From<PathBuf> for Location {
    fn from(file: PathBuf) -> Self {
        Self::File(file)
    }
}

impl LocalStore {
    /// Opens a store wherever it is.
    pub fn open_at(location: &Location, missing: IfMissing) -> Result<Self> {
        match location {
            Location::File(file) => Self::open(file, missing),
            Location::Server(address) => Self::open_postgres(address, missing),
        }
    }
}
