//! The `SQLite` engine: one file in WAL mode, one connection, the writer gate, the commit signal.
//!
//! # Invariants
//! - Every write runs under the gate in a `BEGIN IMMEDIATE` transaction.
//! - The log stays small: a passive checkpoint every [`CHECKPOINT_PAGES`] pages under the gate, a
//!   truncation above [`LOG_BYTES_MAX`].
//! - A log's entry in its directory is durable before the first commit in it.
//! - No connection is closed in an orderly way at exit: the last close would checkpoint and sync,
//!   4 to 10 ms for a process that lives for 1 ms (measured).

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use cotenant_core::{Code, Error, Result, clock::Reading};
use nix::time::ClockId;
use rusqlite::{
    Connection, ErrorCode, OpenFlags, TransactionBehavior,
    config::DbConfig,
    types::{ToSqlOutput, ValueRef},
};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

use crate::{
    create::sync_directory,
    gate::{self, Gate, Turn},
    host,
    signal::Signal,
    sql::{self, Clock, Durability, Engine, Finish, Param, Patience, Row, Sql, Value, Wake},
    testing::{failpoint, mutant},
};

/// Pages in the log after which the next commit checkpoints.
const CHECKPOINT_PAGES: u32 = 250;
/// The log's size above which it is truncated.
const LOG_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// `SQLite` 3.51.3 fixes a corruption of the log that many processes can trigger.
const SQLITE_VERSION_MIN: i32 = 3_051_003;

/// An open database file.
pub(crate) struct Sqlite {
    connection: Connection,
    gate: Gate,
    gate_path: PathBuf,
    log_path: PathBuf,
    signal: Arc<Signal>,
    writes_prepared: bool,
    log_kept: bool,
    /// Whether all that this connection found in the log is durable.
    log_flushed: bool,
    /// What the next commit syncs; `SQLite` begins with everything.
    durability: Durability,
}

impl Sqlite {
    /// Opens an existing database. The directory's ownership and modes were checked before.
    pub(crate) fn open(file: &Path) -> Result<Self> {
        check_version(rusqlite::version_number())?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let connection = Connection::open_with_flags(file, flags).map_err(error)?;
        connection.busy_timeout(Duration::from_secs(5)).map_err(error)?;
        for (option, on) in [
            (DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true),
            (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
            (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
            // Else statements that might use a partial index are prepared anew for each value.
            (DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true),
        ] {
            connection.set_db_config(option, on).map_err(error)?;
        }
        connection.set_prepared_statement_cache_capacity(128);
        let directory = crate::directory(file);
        let gate_path = directory.join("gate");
        let mut log_path = file.as_os_str().to_owned();
        log_path.push("-wal");
        Ok(Self {
            connection,
            gate: Gate::new(gate_path.clone()),
            gate_path,
            log_path: log_path.into(),
            signal: Arc::new(Signal::new(directory.join("signal"))),
            writes_prepared: false,
            log_kept: false,
            log_flushed: false,
            durability: Durability::Full,
        })
    }

    /// The connection, for administration.
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Sets what only a writer needs, once, and how durable the next commit is.
    fn prepare_writes(&mut self, durability: Durability) -> Result<()> {
        if !self.writes_prepared {
            self.connection
                .pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)
                .map_err(error)?;
            self.writes_prepared = true;
        }
        if mutant("no_sync") {
            self.connection.pragma_update(None, "synchronous", "OFF").map_err(error)?;
            return Ok(());
        }
        if durability != self.durability {
            let level = match durability {
                Durability::Full => "FULL",
                Durability::Process => "NORMAL",
            };
            self.connection.pragma_update(None, "synchronous", level).map_err(error)?;
            self.durability = durability;
        }
        Ok(())
    }

    /// Makes the log's entry durable before a transaction that does not go through [`Engine::write`].
    fn keep_log_at_once(connection: &Connection, log: &Path, turn: &Turn<'_>) -> Result<()> {
        // The log is there once the database has been read.
        connection
            .query_row("SELECT COUNT(*) FROM sqlite_master", [], |_| Ok(()))
            .map_err(error)?;
        keep_log(log, Some(turn))
    }

    /// Runs a migration under the gate in one transaction.
    pub(crate) fn migrate(
        &mut self,
        body: &mut dyn FnMut(&Connection) -> Result<()>,
    ) -> Result<()> {
        let patience = Patience::Until(std::time::Instant::now() + Duration::from_secs(30));
        let turn = self.gate.take(patience)?;
        Self::keep_log_at_once(&self.connection, &self.log_path, &turn)?;
        let tx = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(error)?;
        body(&tx)?;
        tx.commit().map_err(error)?;
        self.signal.bump();
        Ok(())
    }

    /// Replaces the whole content by that of another database file, in one transaction, if it may go.
    pub(crate) fn replace_content(
        &mut self,
        source: &Path,
        patience: Patience,
        may_go: &dyn Fn(&mut dyn Sql) -> Result<()>,
    ) -> Result<()> {
        let turn = self.gate.take(patience)?;
        may_go(&mut Statements::of(&self.connection))?;
        Self::keep_log_at_once(&self.connection, &self.log_path, &turn)?;
        let from = Connection::open(source).map_err(error)?;
        rusqlite::backup::Backup::new(&from, &mut self.connection)
            .and_then(|run| run.run_to_completion(i32::MAX, Duration::from_millis(10), None))
            .map_err(error)?;
        self.signal.bump();
        Ok(())
    }

    fn transact(
        connection: &mut Connection,
        body: &mut dyn FnMut(&mut dyn Sql) -> Result<Finish>,
        keep_log: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Finish> {
        if mutant("no_gate_transaction") {
            body(&mut Statements::of(connection))?;
            return Ok(Finish::Commit);
        }
        let tx =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(error)?;
        failpoint("txn.begun")?;
        let finish = body(&mut Statements::of(&tx))?;
        if finish != Finish::Commit {
            tx.rollback().map_err(error)?;
            return Ok(finish);
        }
        // A checkpoint, which the commit may run, relies on the log as much as an answer does.
        keep_log()?;
        failpoint("txn.before_commit")?;
        if let Err(cause) = tx.commit() {
            overwrite_frames(connection);
            return Err(error(cause));
        }
        failpoint("txn.after_commit")?;
        Ok(Finish::Commit)
    }
}

impl Engine for Sqlite {
    fn write(
        &mut self,
        patience: Patience,
        durability: Durability,
        body: &mut dyn FnMut(&mut dyn Sql) -> Result<Finish>,
    ) -> Result<()> {
        failpoint("gate.before")?;
        self.prepare_writes(durability)?;
        let committed = {
            let turn =
                if mutant("no_gate_transaction") { None } else { Some(self.gate.take(patience)?) };
            failpoint("gate.after")?;
            let (log, kept) = (&self.log_path, &mut self.log_kept);
            let committed = Self::transact(&mut self.connection, body, &mut || {
                if !*kept {
                    keep_log(log, turn.as_ref())?;
                    *kept = true;
                }
                Ok(())
            });
            if matches!(committed, Ok(Finish::Unchanged)) && durability == Durability::Full {
                flush_log(&self.log_path, &mut self.log_flushed)?;
            }
            if matches!(committed, Ok(Finish::Commit)) {
                // A flush takes along whatever is in the log.
                self.log_flushed |= durability == Durability::Full;
                let large =
                    std::fs::metadata(&self.log_path).is_ok_and(|m| m.len() > LOG_BYTES_MAX);
                if large {
                    let _ = self.connection.query_row(
                        "PRAGMA wal_checkpoint(TRUNCATE)",
                        [],
                        |_| Ok(()),
                    );
                }
            }
            committed
        };
        let committed = committed.map_err(|failure| {
            let waited = matches!(patience, Patience::Until(_));
            if failure.code == Code::Busy && waited { gate::busy(&self.gate_path) } else { failure }
        })?;
        if committed == Finish::Commit {
            self.signal.bump();
        }
        Ok(())
    }

    fn read(&mut self, body: &mut dyn FnMut(&mut dyn Sql) -> Result<()>) -> Result<()> {
        let tx = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Deferred)
            .map_err(error)?;
        body(&mut Statements::of(&tx))?;
        tx.commit().map_err(error)
    }

    fn erase(&mut self, patience: Patience) -> Result<()> {
        let _turn = self.gate.take(patience)?;
        self.connection.execute_batch("VACUUM").map_err(error)?;
        self.connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0))
            .map_err(error)
            .and_then(|blocked| {
                if blocked == 0 {
                    return Ok(());
                }
                Err(Error::new(Code::Busy, "a reader still sees the erased payload")
                    .hint("it is erased for good by the next write after that reader is done"))
            })
    }

    fn wake(&self) -> Arc<dyn Wake> {
        Arc::clone(&self.signal) as Arc<dyn Wake>
    }
}

/// Makes the entry of a log in its directory durable, once for each log: the gate's note says of
/// which log that is known. `SQLite` would do so at the first commit of every process, which is a
/// second flush of the disk; our build leaves it to us (`SQLITE_DISABLE_DIRSYNC`).
fn keep_log(log: &Path, turn: Option<&Turn<'_>>) -> Result<()> {
    if mutant("no_directory_sync") {
        return Ok(());
    }
    let wanted = StatxFlags::INO | StatxFlags::BTIME;
    let found = statx(CWD, log, AtFlags::empty(), wanted).ok();
    let identity = found
        .filter(|found| StatxFlags::from_bits_retain(found.stx_mask).contains(wanted))
        .map(|found| {
            let born = found.stx_btime;
            format!("{} {}.{}", found.stx_ino, born.tv_sec, born.tv_nsec)
        });
    let noted = turn.and_then(Turn::noted);
    if identity.is_some() && noted == identity {
        return Ok(());
    }
    sync_directory(&crate::directory(log))?;
    if let (Some(turn), Some(identity)) = (turn, identity) {
        turn.note(&identity);
    }
    Ok(())
}

/// Flushes the log before an answer that no commit of ours made durable. A process that was killed in its
/// flush leaves a whole commit in the page cache; whoever recovers the log sees it, and repeats its result.
fn flush_log(log: &Path, is_flushed: &mut bool) -> Result<()> {
    if *is_flushed || mutant("replays_are_not_flushed") {
        return Ok(());
    }
    match std::fs::File::open(log).and_then(|file| file.sync_data()) {
        // Without a log there is nothing that was not written back.
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::new(Code::StoreIo, "the store's log cannot be flushed to the disk")
                .hint("check the disk, then repeat")
                .caused_by(cause))
        }
        _ => {
            *is_flushed = true;
            Ok(())
        }
    }
}

/// Makes a commit whose flush failed impossible to recover. Its frames are whole in the log, behind the
/// end that this process knows; the next one that recovers the log would take them for a commit,
/// which was refused. A commit that changes nothing takes the place of their first.
fn overwrite_frames(connection: &Connection) {
    if mutant("unflushed_frames_stay") {
        return;
    }
    let overwritten = connection.execute_batch("BEGIN IMMEDIATE; UPDATE meta SET id = id; COMMIT");
    if overwritten.is_err() && !connection.is_autocommit() {
        let _ = connection.execute_batch("ROLLBACK");
    }
}

/// Statements of a connection, prepared once.
pub(crate) struct Statements<'a> {
    connection: &'a Connection,
    written: u64,
}

impl<'a> Statements<'a> {
    /// Those of a connection, whatever transaction it is in.
    pub(crate) fn of(connection: &'a Connection) -> Self {
        Self { connection, written: 0 }
    }
}

struct Bound<'a>(&'a Param<'a>);

impl rusqlite::ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match *self.0 {
            Param::Null => ValueRef::Null,
            Param::Int(number) => ValueRef::Integer(number),
            Param::Text(text) => ValueRef::Text(text.as_bytes()),
            Param::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

impl Sql for Statements<'_> {
    fn run(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<u64> {
        self.written += 1;
        let mut statement = self.connection.prepare_cached(sql).map_err(error)?;
        let touched = statement
            .execute(rusqlite::params_from_iter(params.iter().map(Bound)))
            .map_err(error)?;
        Ok(touched as u64)
    }

    fn rows(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<Vec<Row>> {
        let mut statement = self.connection.prepare_cached(sql).map_err(error)?;
        let width = statement.column_count();
        let mut rows =
            statement.query(rusqlite::params_from_iter(params.iter().map(Bound))).map_err(error)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(error)? {
            let mut values = Vec::with_capacity(width);
            for index in 0..width {
                values.push(match row.get_ref(index).map_err(error)? {
                    ValueRef::Null => Value::Null,
                    ValueRef::Integer(number) => Value::Int(number),
                    ValueRef::Text(text) => Value::Text(
                        String::from_utf8(text.to_vec())
                            .map_err(|cause| damage("text is not UTF-8").caused_by(cause))?,
                    ),
                    ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
                    ValueRef::Real(_) => return Err(damage("a fraction where none belongs")),
                });
            }
            found.push(Row(values.into_iter()));
        }
        Ok(found)
    }

    fn written(&self) -> u64 {
        self.written
    }
}

fn damage(what: &str) -> Error {
    sql::corrupt(format!("the store is damaged: {what}"))
}

/// Refuses an `SQLite` that can corrupt its log.
fn check_version(version: i32) -> Result<()> {
    if version >= SQLITE_VERSION_MIN {
        return Ok(());
    }
    Err(Error::new(
        Code::FsUnsupported,
        format!("the linked SQLite has version number {version}; at least {SQLITE_VERSION_MIN} is needed"),
    )
    .hint("build with the bundled SQLite"))
}

/// The one place where the database's errors become ours.
pub(crate) fn error(cause: rusqlite::Error) -> Error {
    let made = match &cause {
        rusqlite::Error::SqliteFailure(failure, text) => {
            let text = text.as_deref().unwrap_or_default();
            match failure.code {
                ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
                    Error::new(Code::Busy, "another process is writing to the store").hint("try again")
                }
                ErrorCode::DiskFull => Error::new(Code::StoreFull, "the disk is full; nothing was changed")
                    .hint("free some space and repeat"),
                ErrorCode::ReadOnly => Error::new(Code::StoreReadonly, "the store cannot be written; nothing was changed")
                    .hint("check the file's mode, its owner and whether its file system is mounted read-only"),
                ErrorCode::CannotOpen => Error::new(Code::StoreIo, "the store's database cannot be opened")
                    .hint("check that its directory exists and can be written"),
                ErrorCode::PermissionDenied => {
                    Error::new(Code::StoreReadonly, "the store may not be opened by this user")
                }
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => damage(
                    if text.is_empty() { "its database cannot be read" } else { text },
                ),
                ErrorCode::SystemIoFailure => {
                    Error::new(Code::StoreIo, "reading or writing the store failed; nothing was changed")
                        .hint("check the disk, then repeat")
                }
                ErrorCode::Unknown if text.starts_with("no such table") || text.starts_with("no such column") => {
                    Error::new(Code::StoreForeign, format!("the database is not a store of cotenant: {text}"))
                        .hint("name another file with `--store`")
                }
                _ => Error::internal(format!("the database refused a statement: {text}")),
            }
        }
        _ => Error::internal("the database refused a statement"),
    };
    made.caused_by(cause)
}

/// The kernel's clock of this boot: excludes suspend, ignores wall-clock jumps.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BootClock;

impl Clock for BootClock {
    fn reading(&self, _: &mut dyn Sql) -> Result<Reading> {
        if mutant("wall_clock") {
            return Ok(Reading { source: host::boot_id().to_owned(), value_ms: self.wall_ms() });
        }
        let now = ClockId::CLOCK_MONOTONIC.now().map_err(|cause| {
            Error::internal("the kernel does not tell the time").caused_by(cause)
        })?;
        let ms = now.tv_sec() * 1_000 + now.tv_nsec() / 1_000_000;
        Ok(Reading {
            source: host::boot_id().to_owned(),
            value_ms: ms - namespace_offset_ms() + crate::testing::clock_ahead(),
        })
    }

    fn wall_ms(&self) -> i64 {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// What a time name space adds to the monotonic clock, so that containers of one kernel agree.
fn namespace_offset_ms() -> i64 {
    static OFFSET: std::sync::OnceLock<i64> = std::sync::OnceLock::new();
    *OFFSET.get_or_init(|| {
        host::read("/proc/self/timens_offsets").map_or(0, |text| parse_offset(&text))
    })
}

fn parse_offset(text: &str) -> i64 {
    text.lines()
        .find_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            // Older kernels name the clock by its number.
            matches!(fields.next()?, "monotonic" | "1").then_some(())?;
            let seconds: i64 = fields.next()?.parse().ok()?;
            let nanos: i64 = fields.next()?.parse().ok()?;
            Some(seconds * 1_000 + nanos / 1_000_000)
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_sqlite_is_refused() {
        assert_eq!(check_version(3_051_002).unwrap_err().code, Code::FsUnsupported);
        check_version(rusqlite::version_number()).unwrap();
    }

    #[test]
    fn a_commit_syncs_what_it_should_after_one_that_failed() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("cotenant/store.db");
        crate::LocalStore::open(&file, crate::IfMissing::Create).unwrap();
        let mut engine = Sqlite::open(&file).unwrap();
        let mut level = |durability| {
            let mut level = 0;
            let written = engine.write(Patience::Try, durability, &mut |sql| {
                level = sql.rows("PRAGMA synchronous", &[])?[0].int()?;
                Ok(Finish::Rollback)
            });
            written.map(|()| level)
        };
        let mut other = Gate::new(directory.path().join("cotenant/gate"));
        let turn = other.take(Patience::Try).unwrap();
        assert_eq!(level(Durability::Process).unwrap_err().code, Code::Busy);
        drop(turn);
        assert_eq!(level(Durability::Full).unwrap(), 2);
        assert_eq!(level(Durability::Process).unwrap(), 1);
        assert_eq!(level(Durability::Full).unwrap(), 2);
    }

    #[test]
    fn the_entry_of_every_log_is_made_durable_once() {
        let directory = tempfile::tempdir().unwrap();
        let (log, other) = (directory.path().join("log"), directory.path().join("other"));
        std::fs::write(&log, "").unwrap();
        let mut gate = Gate::new(directory.path().join("gate"));
        let turn = gate.take(Patience::Try).unwrap();
        keep_log(&log, Some(&turn)).unwrap();
        let noted = turn.noted().unwrap();
        let inode = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&log).unwrap());
        assert_eq!(noted.split(' ').next(), Some(inode.to_string().as_str()));
        keep_log(&log, Some(&turn)).unwrap();
        assert_eq!(turn.noted().as_ref(), Some(&noted));
        // Another log under the same name, be it with the same inode number, is not the same log.
        std::fs::write(&other, "").unwrap();
        std::fs::rename(&other, &log).unwrap();
        keep_log(&log, Some(&turn)).unwrap();
        assert_ne!(turn.noted(), Some(noted));
        keep_log(&log, None).unwrap();
    }

    #[test]
    fn time_name_space_offsets_are_read() {
        assert_eq!(parse_offset("monotonic           5 250000000\nboottime 0 0\n"), 5_250);
        assert_eq!(parse_offset(""), 0);
    }
}
