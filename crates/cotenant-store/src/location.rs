//! Where a store is.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use cotenant_core::Result;

use crate::{IfMissing, LocalStore, postgres::Address};

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
