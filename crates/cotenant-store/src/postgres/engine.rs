//! Transactions on a server.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use cotenant_core::{Code, Error, Result, clock::Reading};
use postgres::{
    Client, SimpleQueryMessage,
    types::{ToSql, Type},
};

use super::{
    address::Address,
    error::{error, is_lost},
    wake::ServerWake,
};
use crate::{
    sql::{Clock, Durability, Engine, Finish, Param, Patience, Row, Sql, Value, Wake},
    testing::{failpoint, mutant},
};

/// The longest wait for the row of `meta`.
const LOCK: Duration = Duration::from_secs(5);
/// How soon the log is written anew again while somebody still sees what was erased.
const ERASE_PAUSE: Duration = Duration::from_millis(100);
/// How long that is left to others after it was in vain: the log may be large.
const ERASE_AGAIN: Duration = Duration::from_mins(1);
/// The longest statement of a write, and of a read.
const STATEMENT_MS: u64 = 10_000;
const READ_STATEMENT_MS: u64 = 5_000;
/// After how long the server rolls back a transaction whose process says nothing.
const IDLE_MS: u64 = 5_000;
/// The largest step of the tick: the server's clock is wall time, which may jump.
const STEP_MAX_MS: u64 = 30_000;
/// A full queue of notifications is the only thing that a notification can fail of.
const QUEUE_FULL: &str = "54000";

/// The database system with its timeline, which changes with each failover, and its clock. Not `now()`:
/// that is when the transaction began, before it waited.
pub(super) const CLOCK: &str = "SELECT system_identifier || '/' || CASE WHEN pg_is_in_recovery() \
     THEN 'standby' ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END, \
     CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT) FROM pg_control_system()";

/// A connection to a project's store.
pub(crate) struct Postgres {
    address: Arc<Address>,
    client: Option<Client>,
    /// Whether a transaction was begun and neither committed nor rolled back, as after a panic.
    open: bool,
    wake: Arc<ServerWake>,
    /// How many row versions somebody still saw when the log was written anew.
    still_seen: Arc<AtomicU64>,
    /// When that was more than none.
    erased_in_vain: Option<Instant>,
}

/// What a transaction is for.
#[derive(Clone, Copy)]
enum Begin {
    Read,
    Write(Patience, Durability),
}

impl Postgres {
    /// An engine over a connection that was made.
    pub(super) fn over(address: Address, client: Client, still_seen: Arc<AtomicU64>) -> Self {
        let address = Arc::new(address);
        let wake = ServerWake::new(Arc::clone(&address));
        let (client, open, erased_in_vain) = (Some(client), false, None);
        Self { address, client, open, wake, still_seen, erased_in_vain }
    }

    /// Writes the log's table anew, under the writer's turn. Answers whether nothing erased was copied.
    fn rewrite_log(&mut self, patience: Patience) -> Result<bool> {
        self.still_seen.store(u64::MAX, Ordering::SeqCst);
        self.run(Begin::Write(patience, Durability::Full), |statements| {
            statements.run("CLUSTER VERBOSE event USING event_pkey", &[]).map(drop)
        })?;
        self.end("COMMIT")?;
        Ok(self.still_seen.load(Ordering::SeqCst) == 0)
    }

    /// Begins a transaction and reads the clock, in one round trip. If a connection turns out to be
    /// broken, nothing was begun on it, and another one is made.
    fn begin(&mut self, begin: Begin) -> Result<(&mut Client, Reading)> {
        let idle = self.client.as_ref().is_some_and(|client| !client.is_closed());
        let batch = begin.batch(&self.address);
        let answered = match self.ask(&batch) {
            Err((_, true)) if idle => self.ask(&batch),
            answered => answered,
        };
        let messages = match answered {
            Ok(messages) => messages,
            Err((error, _)) => {
                self.roll_back();
                return Err(error);
            }
        };
        let reading = reading(&messages)?;
        let client = self.client.as_mut();
        let client = client.ok_or_else(|| Error::internal("a transaction has no connection"))?;
        Ok((client, reading))
    }

    /// Sends a batch that begins a transaction. An error comes with whether the connection is lost.
    fn ask(&mut self, batch: &str) -> std::result::Result<Vec<SimpleQueryMessage>, (Error, bool)> {
        if self.open {
            self.roll_back();
        }
        if self.client.as_ref().is_none_or(Client::is_closed) {
            self.client = Some(self.address.connect().map_err(|error| (error, false))?);
        }
        let Some(client) = &mut self.client else {
            return Err((Error::internal("a connection vanished"), false));
        };
        self.open = true;
        client.simple_query(batch).map_err(|cause| {
            let lost = is_lost(&cause);
            if lost {
                self.client = None;
                self.open = false;
            }
            (error(cause), lost)
        })
    }

    /// Ends a transaction without effect. If that fails, so does the connection, which ends it too.
    fn roll_back(&mut self) {
        if let Some(client) = self.client.as_mut().filter(|_| self.open)
            && client.batch_execute("ROLLBACK").is_err()
        {
            self.client = None;
        }
        self.open = false;
    }

    /// Commits, and tells the waiters in a transaction of its own: inside this one it would hold a lock
    /// of the whole server during the flush. Both are one round trip.
    fn commit(&mut self) -> Result<()> {
        let channel = self.address.quoted();
        let batch =
            format!("COMMIT; BEGIN; SET LOCAL synchronous_commit TO off; NOTIFY {channel}; COMMIT");
        self.end(&batch).or_else(|failure| {
            let told_nobody = failure.details.get("sqlstate").is_some_and(|s| s == QUEUE_FULL);
            if told_nobody { Ok(()) } else { Err(failure) }
        })
    }

    fn end(&mut self, batch: &str) -> Result<()> {
        let Some(client) = &mut self.client else {
            return Err(Error::internal("a transaction has no connection"));
        };
        self.open = false;
        client.batch_execute(batch).map_err(|cause| {
            // Whatever went wrong, a new connection is in no transaction.
            self.client = None;
            error(cause)
        })
    }

    /// Runs a body in a transaction that was begun. If it fails, nothing stays.
    fn run<T>(
        &mut self,
        begin: Begin,
        body: impl FnOnce(&mut Statements<'_>) -> Result<T>,
    ) -> Result<T> {
        let (client, reading) = self.begin(begin)?;
        let mut statements = Statements { client, reading, failed: false, lost: false };
        let result = body(&mut statements).and_then(|done| {
            // The server would answer such a COMMIT with a rollback, and without an error.
            if statements.failed {
                return Err(Error::internal("a statement failed, and nobody minded"));
            }
            Ok(done)
        });
        if statements.lost {
            self.client = None;
            self.open = false;
        }
        if result.is_err() {
            self.roll_back();
        }
        result
    }
}

impl Begin {
    fn batch(self, address: &Address) -> String {
        let schema = address.quoted();
        let mut batch = String::with_capacity(512);
        let (mode, statement_ms) = match self {
            // The snapshot is taken by the first statement, so the clock is read in a transaction before.
            Self::Read => {
                let _ = write!(batch, "BEGIN; {CLOCK}; COMMIT; ");
                ("REPEATABLE READ READ ONLY", READ_STATEMENT_MS)
            }
            Self::Write(..) => ("READ COMMITTED READ WRITE", STATEMENT_MS),
        };
        let _ = write!(
            batch,
            "BEGIN ISOLATION LEVEL {mode}; SET LOCAL search_path TO {schema}, pg_temp; \
             SET LOCAL statement_timeout TO {statement_ms}; \
             SET LOCAL idle_in_transaction_session_timeout TO {IDLE_MS}"
        );
        if let Self::Write(patience, durability) = self {
            let (wait, lock) = match patience {
                Patience::Try => (" NOWAIT", LOCK),
                Patience::Until(until) => ("", until.saturating_duration_since(Instant::now())),
            };
            // A time limit of 0 would be none.
            let lock_ms = lock.min(LOCK).as_millis().max(1);
            let flush = if durability == Durability::Full { "on" } else { "off" };
            let turn = if mutant("no_gate_transaction") { "" } else { " FOR UPDATE" };
            let wait = if turn.is_empty() { "" } else { wait };
            let _ = write!(
                batch,
                "; SET LOCAL lock_timeout TO {lock_ms}; SET LOCAL synchronous_commit TO {flush}; \
                 SELECT 1 FROM meta WHERE id = 1{turn}{wait}; {CLOCK}"
            );
        }
        batch
    }
}

/// The clock among the answers to a batch.
pub(super) fn reading(messages: &[SimpleQueryMessage]) -> Result<Reading> {
    let found = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) if row.len() == 2 => {
            Some(Reading { source: row.get(0)?.to_owned(), value_ms: row.get(1)?.parse().ok()? })
        }
        _ => None,
    });
    found.ok_or_else(|| Error::internal("the PostgreSQL server does not tell the time"))
}

impl Engine for Postgres {
    fn write(
        &mut self,
        patience: Patience,
        durability: Durability,
        body: &mut dyn FnMut(&mut dyn Sql) -> Result<Finish>,
    ) -> Result<()> {
        failpoint("gate.before")?;
        let finish = self.run(Begin::Write(patience, durability), |statements| {
            failpoint("gate.after")?;
            failpoint("txn.begun")?;
            let finish = body(statements)?;
            if finish == Finish::Rollback {
                statements.failed = false;
            }
            Ok(finish)
        })?;
        if finish == Finish::Rollback {
            self.roll_back();
            return Ok(());
        }
        if let Err(error) = failpoint("txn.before_commit") {
            self.roll_back();
            return Err(error);
        }
        self.commit()?;
        failpoint("txn.after_commit")?;
        self.wake.bump();
        Ok(())
    }

    fn read(&mut self, body: &mut dyn FnMut(&mut dyn Sql) -> Result<()>) -> Result<()> {
        // A snapshot that noticed a failure has told its caller; there is nothing to keep.
        self.run(Begin::Read, |statements| {
            let result = body(statements);
            statements.failed = false;
            result
        })?;
        self.end("COMMIT")
    }

    /// What a transaction of anybody in this database may still see is copied with the rest, so it is
    /// tried again until those are over.
    fn erase(&mut self, patience: Patience) -> Result<()> {
        if self.erased_in_vain.is_some_and(|at| at.elapsed() < ERASE_AGAIN) {
            return Err(still_seen());
        }
        while !self.rewrite_log(patience)? {
            match patience {
                Patience::Until(until) if Instant::now() < until => thread::sleep(ERASE_PAUSE),
                _ => {
                    self.erased_in_vain = Some(Instant::now());
                    return Err(still_seen());
                }
            }
        }
        self.erased_in_vain = None;
        Ok(())
    }

    fn wake(&self) -> Arc<dyn Wake> {
        Arc::clone(&self.wake) as Arc<dyn Wake>
    }
}

fn still_seen() -> Error {
    Error::new(Code::Busy, "another transaction on the server still sees the erased payload")
        .hint("it is erased for good by a write after that transaction is over")
}

/// Statements of a transaction. None is kept by the server, so that any of its sessions will do.
struct Statements<'a> {
    client: &'a mut Client,
    reading: Reading,
    /// Whether a statement failed, after which the server takes none until it is rolled back.
    failed: bool,
    lost: bool,
}

impl Statements<'_> {
    fn note<T>(&mut self, result: std::result::Result<T, postgres::Error>) -> Result<T> {
        result.map_err(|cause| {
            self.failed = true;
            self.lost |= is_lost(&cause);
            error(cause)
        })
    }
}

/// A parameter and its type. The server finds out itself what type a NULL has.
fn bound<'a>(param: &'a Param<'a>) -> (&'a (dyn ToSql + Sync), Type) {
    const NULL: Option<&str> = None;
    match param {
        Param::Null => (&NULL, Type::UNKNOWN),
        Param::Int(number) => (number, Type::INT8),
        Param::Text(text) => (text, Type::TEXT),
        Param::Bytes(bytes) => (bytes, Type::BYTEA),
    }
}

fn value(row: &postgres::Row, index: usize) -> Result<Value> {
    let number = |number: Option<i64>| number.map_or(Value::Null, Value::Int);
    Ok(match *row.columns()[index].type_() {
        Type::INT8 => number(row.try_get(index).map_err(error)?),
        Type::INT4 => number(row.try_get::<_, Option<i32>>(index).map_err(error)?.map(i64::from)),
        Type::TEXT | Type::UNKNOWN => {
            let text: Option<String> = row.try_get(index).map_err(error)?;
            text.map_or(Value::Null, Value::Text)
        }
        Type::BYTEA => {
            let bytes: Option<Vec<u8>> = row.try_get(index).map_err(error)?;
            bytes.map_or(Value::Null, Value::Bytes)
        }
        ref other => {
            return Err(Error::new(Code::StoreCorrupt, format!("the store holds a `{other}`")));
        }
    })
}

impl Sql for Statements<'_> {
    fn run(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<u64> {
        if sql.starts_with("ROLLBACK TO") {
            let result = self.client.batch_execute(sql);
            self.note(result)?;
            self.failed = false;
            return Ok(0);
        }
        let params: Vec<_> = params.iter().map(bound).collect();
        let result = self.client.execute_typed(sql, &params);
        self.note(result)
    }

    fn rows(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<Vec<Row>> {
        let params: Vec<_> = params.iter().map(bound).collect();
        let result = self.client.query_typed(sql, &params);
        let rows = self.note(result)?;
        rows.iter()
            .map(|row| {
                let values: Result<Vec<Value>> = (0..row.len()).map(|i| value(row, i)).collect();
                Ok(Row(values?.into_iter()))
            })
            .collect()
    }

    fn reading(&self) -> Option<Reading> {
        Some(self.reading.clone())
    }
}

/// The server's clock: no two machines need agree on the time.
#[derive(Debug, Default)]
pub(crate) struct ServerClock {
    wall_ms: AtomicI64,
}

impl Clock for ServerClock {
    fn reading(&self, sql: &mut dyn Sql) -> Result<Reading> {
        let reading =
            sql.reading().ok_or_else(|| Error::internal("the database does not tell the time"))?;
        self.wall_ms.store(reading.value_ms, Ordering::Relaxed);
        Ok(reading)
    }

    /// That of the last reading, which every transaction begins with.
    fn wall_ms(&self) -> i64 {
        self.wall_ms.load(Ordering::Relaxed)
    }

    fn step_max(&self) -> Option<u64> {
        Some(STEP_MAX_MS)
    }
}
