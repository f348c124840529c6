//! Migrations: one transaction, after a verified backup, by exactly one process.

use std::path::{Path, PathBuf};

use cotenant_core::{Code, Error, Result, event::sha256_hex};

use crate::{
    Location, admin,
    meta::{SCHEMA, known_schema},
    place::{Found, look},
    postgres,
    sqlite::{self, Sqlite},
    testing::failpoint,
};

/// A step from one schema to the next; never edited once it is released.
pub(crate) struct Migration {
    /// The schema after it.
    pub(crate) schema: i64,
    /// Its file name.
    pub(crate) name: &'static str,
    /// What it does, as `SQLite` takes it.
    pub(crate) sqlite: &'static str,
    /// What it does, as `PostgreSQL` takes it.
    pub(crate) postgres: &'static str,
}

macro_rules! migration {
    ($schema:literal, $name:literal) => {
        Migration {
            schema: $schema,
            name: $name,
            sqlite: include_str!(concat!("../migrations/sqlite/", $name, ".sql")),
            postgres: include_str!(concat!("../migrations/postgres/", $name, ".sql")),
        }
    };
}

/// All steps in their order, the first schema first.
const STEPS: [Migration; 2] =
    [migration!(1, "20261120000000_kernel"), migration!(2, "20261130000000_work")];

/// The text of the newest step, which tells programs apart that make different stores.
pub(crate) const NEWEST: &str = STEPS[STEPS.len() - 1].sqlite;

/// What tests add to see a migration at work.
const EXTRA: Migration = Migration {
    schema: SCHEMA + 1,
    name: "29990101000000_extra",
    sqlite: "CREATE TABLE extra (id INTEGER PRIMARY KEY) STRICT;",
    postgres: "CREATE TABLE extra (id BIGINT PRIMARY KEY);",
};

/// The steps that make a new store, or lead to this program's schema from an older one.
pub(crate) fn steps() -> impl Iterator<Item = &'static Migration> {
    STEPS.iter().chain(crate::testing::extra_migration().then_some(&EXTRA))
}

/// The steps of a new store as one text, with their stamps.
pub(crate) fn whole(sql: impl Fn(&'static Migration) -> &'static str) -> (String, String) {
    let texts: Vec<&str> = STEPS.iter().map(sql).collect();
    (texts.join("\n"), STEPS.iter().map(Migration::stamp).collect::<Vec<_>>().join(" "))
}

impl Migration {
    /// Its name and checksum, as the store remembers it.
    pub(crate) fn stamp(&self) -> String {
        format!("{}:{}", self.name, &sha256_hex(self.sqlite)[..16])
    }
}

/// What a migration did.
#[derive(Debug, serde::Serialize)]
pub struct Migrated {
    /// The schema before.
    pub before: i64,
    /// The schema now.
    pub after: i64,
    /// The verified backup that was made first.
    pub backup: Option<PathBuf>,
}

/// Brings a store to the schema of this program. Of a store on a server no backup is made here: the
/// whole migration is one transaction of a database that has backups of its own.
pub fn migrate(location: &Location) -> Result<Migrated> {
    match location {
        Location::File(file) => migrate_file(file),
        Location::Server(address) => {
            let (before, after) = postgres::migrate(address)?;
            Ok(Migrated { before, after, backup: None })
        }
    }
}

fn migrate_file(file: &Path) -> Result<Migrated> {
    let Found::Store(path) = look(file)? else {
        return Err(Error::new(
            Code::NotFound,
            format!("there is no store at `{}`", file.display()),
        )
        .hint("make one with `cotenant init`"));
    };
    let mut engine = Sqlite::open(&path)?;
    let before = schema_of(&engine)?;
    let known = known_schema();
    if before > known {
        return Err(newer(before));
    }
    if before == known {
        return Ok(Migrated { before, after: known, backup: None });
    }
    let backup = path.with_extension(format!("schema-{before}.db"));
    // Another process may be migrating too: the first backup is the one of the old schema.
    match admin::backup_of(&path, &backup) {
        Err(error) if error.code != Code::PathExists => return Err(error),
        _ => {}
    }
    engine.migrate(&mut |connection| {
        // Another process may have been faster; the gate and the write lock are held now.
        let mut at: i64 = connection
            .query_row("SELECT schema FROM meta WHERE id = 1", [], |row| row.get(0))
            .map_err(sqlite::error)?;
        for step in steps() {
            if step.schema != at + 1 {
                continue;
            }
            failpoint("migrate.step(n)")?;
            connection.execute_batch(step.sqlite).map_err(sqlite::error)?;
            connection
                .execute(
                    "UPDATE meta SET schema = ?1, min_reader = MAX(?1, min_reader), \
                     min_writer = MAX(?1, min_writer), migrations = migrations || ' ' || ?2 WHERE id = 1",
                    rusqlite::params![step.schema, step.stamp()],
                )
                .map_err(sqlite::error)?;
            connection.pragma_update(None, "user_version", step.schema).map_err(sqlite::error)?;
            at = step.schema;
        }
        failpoint("migrate.before_commit")
    })?;
    Ok(Migrated { before, after: schema_of(&engine)?, backup: Some(backup) })
}

/// The error of a store whose schema is newer than this program.
pub(crate) fn newer(schema: i64) -> Error {
    Error::new(
        Code::SchemaNewer,
        format!("the store has schema {schema}; this cotenant knows {}", known_schema()),
    )
    .hint("upgrade cotenant on this machine")
}

fn schema_of(engine: &Sqlite) -> Result<i64> {
    engine
        .connection()
        .query_row("SELECT schema FROM meta WHERE id = 1", [], |row| row.get(0))
        .map_err(sqlite::error)
}
