//! Which database a command tries the program over.

use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use cotenant_testbed::Server;

/// A database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Engine {
    /// A file.
    #[default]
    Sqlite,
    /// A server of our own.
    Postgres,
}

impl FromStr for Engine {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "sqlite" => Ok(Self::Sqlite),
            "postgres" => Ok(Self::Postgres),
            other => bail!("the engines are sqlite and postgres, not `{other}`"),
        }
    }
}

impl Engine {
    /// The server that it needs.
    pub(crate) fn server(self) -> Result<Option<Arc<Server>>> {
        match self {
            Self::Sqlite => Ok(None),
            Self::Postgres => {
                let server = Server::shared();
                server.map(Some).context("no PostgreSQL: apt-get install postgresql")
            }
        }
    }
}
