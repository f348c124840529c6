//! What is asked of a server about a project's store, and the migration of one.

use std::time::Duration;

use cotenant_core::{Error, Result};
use tokio_postgres::types::{FromSql, ToSql, Type};

use super::{
    address::Address,
    client::{Bound, Client},
    error::{error, silent},
    line::Line,
};
use crate::{meta::known_schema, migrate, testing::failpoint};

/// How long a migration may take, waiting for writers included.
const MIGRATE: Duration = Duration::from_mins(10);

/// Whoever locks the project's row.
const WRITERS: &str = "SELECT a.pid, CAST(coalesce(host(a.client_addr), 'this server') AS TEXT), \
     CAST(coalesce(floor(extract(epoch FROM clock_timestamp() - a.xact_start)), 0) AS BIGINT) \
     FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid \
     JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace \
     WHERE n.nspname = $1 AND c.relname = 'meta' AND l.mode = 'RowShareLock' AND l.granted \
     AND a.wait_event_type IS DISTINCT FROM 'Lock' AND a.pid <> pg_backend_pid()";

/// A connection that has the project's row locked.
pub(crate) struct Writer {
    /// The server's process for it.
    pub(crate) pid: i32,
    /// Where it comes from.
    pub(crate) from: String,
    /// How long its transaction has been open, in seconds.
    pub(crate) seconds: i64,
}

/// What a server is.
pub(crate) struct Server {
    /// Its version.
    pub(crate) version: String,
    /// Who writes just now.
    pub(crate) writers: Vec<Writer>,
}

/// Asks a server what it is.
pub(crate) fn ask(address: &Address) -> Result<Server> {
    let schema = address.schema();
    on_line(address, address.answer(), move |client| {
        let version = one(client, &("SHOW server_version", Vec::new()))?;
        let rows = client.query(&(WRITERS, vec![(&schema, Type::TEXT)])).map_err(error)?;
        let writers = rows.iter().map(|row| {
            let (pid, from) = (row.try_get(0).map_err(error)?, row.try_get(1).map_err(error)?);
            Ok(Writer { pid, from, seconds: row.try_get(2).map_err(error)? })
        });
        Ok(Server { version, writers: writers.collect::<Result<_>>()? })
    })
}

/// Brings a project's store to the schema of this program: one transaction behind the project's row,
/// so that of any number of processes one does it. Answers the schemas before and after.
pub(crate) fn migrate(address: &Address) -> Result<(i64, i64)> {
    let schema = address.quoted();
    on_line(address, MIGRATE, move |client| {
        client.batch_execute(&format!(
            "BEGIN; SET LOCAL search_path TO {schema}, pg_temp; SET LOCAL lock_timeout TO '30s'; \
             SET LOCAL synchronous_commit TO on"
        ))
        .map_err(error)?;
        let locked = ("SELECT schema FROM meta WHERE id = 1 FOR UPDATE", Vec::new());
        let (before, known): (i64, i64) = (one(client, &locked)?, known_schema());
        if before > known {
            return Err(migrate::newer(before));
        }
        let mut at = before;
        for step in migrate::steps() {
            if step.schema != at + 1 {
                continue;
            }
            failpoint("migrate.step(n)")?;
            client.batch_execute(step.postgres).map_err(error)?;
            let stamp = step.stamp();
            let told = (
                "UPDATE meta SET schema = $1, min_reader = GREATEST($1, min_reader), \
                 min_writer = GREATEST($1, min_writer), migrations = migrations || ' ' || $2 WHERE id = 1",
                vec![(&step.schema as &(dyn ToSql + Sync), Type::INT8), (&stamp, Type::TEXT)],
            );
            client.execute(&told).map_err(error)?;
            at = step.schema;
        }
        failpoint("migrate.before_commit")?;
        client.batch_execute("COMMIT").map_err(error)?;
        Ok((before, at))
    })
}

/// What a query answers that has one row of one column.
fn one<T: for<'a> FromSql<'a>>(client: &mut Client, query: &Bound<'_>) -> Result<T> {
    let rows = client.query(query).map_err(error)?;
    let row = rows.first().ok_or_else(|| Error::internal("the server answers no row"))?;
    row.try_get(0).map_err(error)
}

/// Does something on a connection of its own: if it fails, so does what was begun on it.
fn on_line<T: Send + 'static>(
    address: &Address,
    limit: Duration,
    job: impl FnOnce(&mut Client) -> Result<T> + Send + 'static,
) -> Result<T> {
    let line = Line::open(address)?;
    line.ask(limit, job).unwrap_or_else(|| Err(silent(&address.server())))
}
