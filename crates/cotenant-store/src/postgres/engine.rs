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
use tokio_postgres::{
    SimpleQueryMessage,
    types::{ToSql, Type},
};

use super::{
    address::Address,
    ahead::{Ahead, Ready, Shapes},
    client::{Bound, Client},
    error::{error, is_lost, no_nul, silent},
    line::Line,
    shape::Given,
    wake::ServerWake,
};
use crate::{
    meta::{SELECT_META, SELECT_META_TIMER},
    sql::{Clock, Durability, Engine, Finish, Param, Patience, Query, Row, Sql, Value, Wake},
    testing::{failpoint, mutant},
};

/// The longest wait for the row of `meta`.
const LOCK: Duration = Duration::from_secs(5);
/// How soon the log is written anew again while somebody still sees what was erased.
const ERASE_PAUSE: Duration = Duration::from_millis(100);
/// How long that is left to others after it was in vain: the log may be large.
const ERASE_AGAIN: Duration = Duration::from_mins(1);
/// The longest statement of a read; one of a write may take as long as the address allows.
const READ: Duration = Duration::from_secs(5);
/// The longest rewriting of the log.
const REWRITE: Duration = Duration::from_mins(10);
/// What a server that ends a statement in time may need to say so, at most.
const GRACE: Duration = Duration::from_secs(1);
/// The longest statement that makes a store, waiting for other makers included.
const MAKE: Duration = Duration::from_mins(1);
/// The most statements that are sent before it is looked whether the server still answers.
const TOGETHER_MAX: usize = 16;
/// After how long the server rolls back a transaction whose process says nothing.
const IDLE_MS: u64 = 5_000;
/// The same while a store is made, whose rows may come from elsewhere.
const IDLE_MAKING_MS: u64 = 60_000;
/// The largest step of the tick: the server's clock is wall time, which may jump.
const STEP_MAX_MS: u64 = 30_000;
/// All that is looked up in a transaction has an index, which the server shall use also when it believes a
/// table to be small: one that grows fast is scanned for as long as its statistics are old.
const PLANS: &str = "SET LOCAL enable_seqscan TO off; SET LOCAL enable_hashjoin TO off; \
     SET LOCAL enable_mergejoin TO off";
/// A full queue of notifications is the only thing that a notification can fail of.
const QUEUE_FULL: &str = "54000";

/// The database system with its timeline, which changes with each failover, and its clock. Not `now()`:
/// that is when the transaction began, before it waited.
const CLOCK: &str = "SELECT system_identifier || '/' || CASE WHEN pg_is_in_recovery() \
     THEN 'standby' ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END, \
     CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT) FROM pg_control_system()";

/// A connection to a project's store.
pub(crate) struct Postgres {
    address: Arc<Address>,
    line: Option<Line>,
    /// Whether a transaction was begun and neither committed nor rolled back, as after a panic.
    open: bool,
    wake: Arc<ServerWake>,
    /// How many row versions somebody still saw when the log was written anew.
    still_seen: Arc<AtomicU64>,
    /// When that was more than none.
    erased_in_vain: Option<Instant>,
    shapes: Shapes,
}

/// Why the server did not do what it was asked for.
enum Trouble {
    /// It said why.
    Refused(Error),
    /// The connection broke.
    Broken(Error),
    /// It said nothing in time.
    Silent(Error),
}

impl Trouble {
    /// What became of a job.
    fn of<T>(
        answer: Option<std::result::Result<T, tokio_postgres::Error>>,
        address: &Address,
    ) -> std::result::Result<T, Self> {
        match answer {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(cause)) if is_lost(&cause) => Err(Self::Broken(error(cause))),
            Some(Err(cause)) => Err(Self::Refused(error(cause))),
            None => Err(Self::Silent(silent(&address.server()))),
        }
    }

    /// Whether the connection can be used no more.
    fn ends_line(&self) -> bool {
        !matches!(self, Self::Refused(_))
    }

    fn error(self) -> Error {
        let (Self::Refused(error) | Self::Broken(error) | Self::Silent(error)) = self;
        error
    }
}

/// What a transaction is for.
#[derive(Clone, Copy)]
enum Begin {
    Read,
    Write(Patience, Durability),
    /// A write that takes long.
    Rewrite(Patience),
    /// Makes the store, under the advisory lock of its makers.
    Make {
        lock: i64,
    },
}

impl Postgres {
    /// An engine over a connection that was made.
    pub(super) fn over(address: Address, line: Line, still_seen: Arc<AtomicU64>) -> Self {
        let address = Arc::new(address);
        let wake = ServerWake::new(Arc::clone(&address));
        let (line, open, erased_in_vain) = (Some(line), false, None);
        let shapes = Shapes::default();
        Self { address, line, open, wake, still_seen, erased_in_vain, shapes }
    }

    /// Begins a transaction, reads the clock and the row of `meta`, in one round trip. If an idle connection
    /// turns out to be broken, nothing was begun on it, and another one is made.
    fn begin(&mut self, begin: Begin) -> Result<Statements<'_>> {
        if self.open {
            self.roll_back();
        }
        let (batch, limit) = begin.batch(&self.address);
        let first = begin.first();
        let was_idle = self.line.is_some();
        let answer = match self.ask(&batch, first, limit) {
            Err(Trouble::Broken(_)) if was_idle && !mutant("broken_line_is_kept") => {
                self.ask(&batch, first, limit)
            }
            answer => answer,
        };
        let (messages, rows) = answer.map_err(|trouble| {
            self.roll_back();
            trouble.error()
        })?;
        let told = reading(&messages).and_then(|reading| {
            let rows = rows.iter().map(values).collect::<Result<Vec<_>>>()?;
            Ok((reading, first.map(|sql| (sql, rows))))
        });
        let (reading, first) = told.inspect_err(|_| self.roll_back())?;
        let limit = begin.statement(&self.address) + grace(&self.address);
        match &self.line {
            Some(line) => Ok(Statements {
                line,
                address: &self.address,
                limit,
                reading,
                first,
                shapes: &mut self.shapes,
                ahead: Ahead::default(),
                written: 0,
                failed: false,
                lost: false,
            }),
            None => Err(Error::internal("a transaction has no connection")),
        }
    }

    /// Sends a batch that begins a transaction, and its first query.
    fn ask(
        &mut self,
        batch: &str,
        first: Option<&'static str>,
        limit: Duration,
    ) -> std::result::Result<(Vec<SimpleQueryMessage>, Vec<tokio_postgres::Row>), Trouble> {
        let line = match self.line.take() {
            Some(line) => line,
            None => Line::open(&self.address).map_err(Trouble::Refused)?,
        };
        let batch = batch.to_owned();
        let answer = line.ask(limit, move |client| client.simple_query_and(&batch, first));
        let answer = Trouble::of(answer, &self.address);
        self.open = !answer.as_ref().is_err_and(Trouble::ends_line);
        self.line = self.open.then_some(line);
        answer
    }

    /// Ends a transaction without effect. If that fails, so does the connection, which ends it too.
    fn roll_back(&mut self) {
        if self.open && self.line.is_some() {
            let _ = self.end(Vec::new(), "ROLLBACK".to_owned());
        }
        self.open = false;
    }

    /// Writes what waits, commits, and tells the waiters in a transaction of its own: inside this one it
    /// would hold a lock of the whole server during the flush. All of that is one round trip.
    fn commit(&mut self, rest: Vec<Ready>) -> Result<()> {
        let channel = self.address.quoted();
        let batch =
            format!("COMMIT; BEGIN; SET LOCAL synchronous_commit TO off; NOTIFY {channel}; COMMIT");
        let told_nobody = |failure: Error| {
            let is_full = failure.details.get("sqlstate").is_some_and(|state| state == QUEUE_FULL);
            if is_full { Ok(()) } else { Err(failure) }
        };
        match self.end(rest, batch) {
            Ok(ended) => ended.or_else(told_nobody),
            Err(failure) if mutant("full_queue_excuses_all") => told_nobody(failure),
            Err(failure) => Err(failure),
        }
    }

    /// Writes what is left and ends a transaction; answers how the batch went that ends it. Whatever goes
    /// wrong, a new connection is in none.
    fn end(&mut self, rest: Vec<Ready>, batch: String) -> Result<Result<()>> {
        let line = self.line.take();
        let line = line.ok_or_else(|| Error::internal("a transaction has no connection"))?;
        self.open = false;
        let limit = self.address.answer() + grace(&self.address);
        let answer = line.ask(limit, move |client| {
            with_bound(&rest, |bound| client.execute_all_and(bound, &batch))
        });
        let ended = Trouble::of(answer, &self.address).map_err(Trouble::error)?;
        if ended.is_ok() {
            self.line = Some(line);
        }
        Ok(ended.map_err(error))
    }

    /// Runs a body in a transaction that was begun. If it fails, nothing stays.
    fn run<T>(
        &mut self,
        begin: Begin,
        body: impl FnOnce(&mut Statements<'_>) -> Result<T>,
    ) -> Result<T> {
        let mut statements = self.begin(begin)?;
        let result = body(&mut statements).and_then(|done| {
            // The server would answer such a COMMIT with a rollback, and without an error.
            if statements.failed {
                return Err(Error::internal("a statement failed, and nobody minded"));
            }
            Ok(done)
        });
        if statements.lost {
            self.line = None;
            self.open = false;
        }
        if result.is_err() {
            self.roll_back();
        }
        result
    }

    /// Makes the store in one transaction, or does something else under the lock of its makers.
    pub(super) fn make(
        &mut self,
        lock: i64,
        body: &mut dyn FnMut(&mut Statements<'_>) -> Result<()>,
    ) -> Result<()> {
        self.run(Begin::Make { lock }, |statements| {
            body(statements)?;
            let rest = statements.ahead.all();
            statements.send(rest)
        })?;
        if let Err(error) = failpoint("create.before_commit") {
            self.roll_back();
            return Err(error);
        }
        self.end(Vec::new(), "COMMIT".to_owned())?
    }

    /// Writes the log's table anew, under the writer's turn. Answers whether nothing erased was copied.
    fn rewrite_log(&mut self, patience: Patience) -> Result<bool> {
        self.still_seen.store(u64::MAX, Ordering::SeqCst);
        self.run(Begin::Rewrite(patience), |statements| {
            statements.run("CLUSTER VERBOSE event USING event_pkey", &[]).map(drop)
        })?;
        self.end(Vec::new(), "COMMIT".to_owned())??;
        Ok(self.still_seen.load(Ordering::SeqCst) == 0 || mutant("erased_while_seen"))
    }
}

impl Begin {
    /// What every transaction of its kind asks for first.
    fn first(self) -> Option<&'static str> {
        match self {
            Self::Read => Some(SELECT_META),
            Self::Write(..) => Some(SELECT_META_TIMER),
            Self::Rewrite(_) | Self::Make { .. } => None,
        }
    }

    /// The longest statement.
    fn statement(self, address: &Address) -> Duration {
        match self {
            Self::Read => address.answer().min(READ),
            Self::Write(..) => address.answer(),
            Self::Rewrite(_) => REWRITE,
            Self::Make { .. } => MAKE,
        }
    }

    /// What begins it, and how long that may take.
    fn batch(self, address: &Address) -> (String, Duration) {
        let (schema, statement) = (address.quoted(), self.statement(address));
        let mut batch = String::with_capacity(512);
        let mode = match self {
            // The snapshot is taken by the first statement, so the clock is read in a transaction before.
            Self::Read => {
                let _ = write!(batch, "BEGIN; {CLOCK}; COMMIT; ");
                "REPEATABLE READ READ ONLY"
            }
            Self::Write(..) | Self::Rewrite(_) | Self::Make { .. } => "READ COMMITTED READ WRITE",
        };
        let idle = if matches!(self, Self::Make { .. }) { IDLE_MAKING_MS } else { IDLE_MS };
        let _ = write!(
            batch,
            "BEGIN ISOLATION LEVEL {mode}; SET LOCAL search_path TO {schema}, pg_temp; \
             SET LOCAL statement_timeout TO {}; {PLANS}; \
             SET LOCAL idle_in_transaction_session_timeout TO {idle}",
            statement.as_millis().max(1)
        );
        let (patience, durability) = match self {
            Self::Read => return (batch, statement + grace(address)),
            Self::Write(patience, durability) => (patience, durability),
            Self::Rewrite(patience) => (patience, Durability::Full),
            Self::Make { lock } => {
                let _ = write!(
                    batch,
                    "; SET LOCAL synchronous_commit TO on; SELECT pg_advisory_xact_lock({lock}); {CLOCK}"
                );
                return (batch, statement + grace(address));
            }
        };
        let (wait, lock) = match patience {
            Patience::Try => (" NOWAIT", address.answer()),
            Patience::Until(until) => ("", until.saturating_duration_since(Instant::now())),
        };
        let lock = lock.min(LOCK);
        let durable = durability == Durability::Full && !mutant("commit_without_flush");
        let flush = if durable { "on" } else { "off" };
        let turn = if mutant("no_gate_transaction") { "" } else { " FOR UPDATE" };
        let wait = if turn.is_empty() { "" } else { wait };
        // A time limit of 0 would be none.
        let _ = write!(
            batch,
            "; SET LOCAL lock_timeout TO {}; SET LOCAL synchronous_commit TO {flush}; \
             SELECT 1 FROM meta WHERE id = 1{turn}{wait}; {CLOCK}",
            lock.as_millis().max(1)
        );
        (batch, lock.max(address.answer()) + grace(address))
    }
}

fn grace(address: &Address) -> Duration {
    GRACE.min(address.answer())
}

/// The clock among the answers to a batch.
fn reading(messages: &[SimpleQueryMessage]) -> Result<Reading> {
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
        let (finish, rest) = self.run(Begin::Write(patience, durability), |statements| {
            failpoint("gate.after")?;
            failpoint("txn.begun")?;
            let finish = body(statements)?;
            if finish == Finish::Commit {
                let rest = statements.ahead.all();
                return Ok((finish, statements.send_until_last(rest)?));
            }
            statements.failed = false;
            Ok((finish, Vec::new()))
        })?;
        if finish != Finish::Commit {
            self.roll_back();
            return Ok(());
        }
        if let Err(error) = failpoint("txn.before_commit") {
            self.roll_back();
            return Err(error);
        }
        self.commit(rest)?;
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
        self.end(Vec::new(), "COMMIT".to_owned())?
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
pub(super) struct Statements<'a> {
    line: &'a Line,
    address: &'a Address,
    limit: Duration,
    reading: Reading,
    /// The first query and its rows, until something is written.
    first: Option<(&'static str, Vec<Vec<Value>>)>,
    shapes: &'a mut Shapes,
    ahead: Ahead,
    written: u64,
    /// Whether a statement failed, after which the server takes none until it is rolled back.
    failed: bool,
    /// Whether the connection can be used no more.
    lost: bool,
}

impl Statements<'_> {
    /// Runs statements that are put together from what was checked.
    pub(super) fn batch(&mut self, sql: String) -> Result<()> {
        self.ask(move |client| client.batch_execute(&sql))
    }

    /// Lets the connection do something, if it still can.
    fn ask<T: Send + 'static>(
        &mut self,
        job: impl FnOnce(&mut Client) -> std::result::Result<T, tokio_postgres::Error> + Send + 'static,
    ) -> Result<T> {
        if self.lost {
            return Err(silent(&self.address.server()));
        }
        Trouble::of(self.line.ask(self.limit, job), self.address).map_err(|trouble| {
            self.failed = true;
            self.lost = trouble.ends_line();
            trouble.error()
        })
    }
}

/// A parameter with its type. The server finds out itself what type a NULL has.
fn bound(given: &Given) -> (Box<dyn ToSql + Sync + '_>, Type) {
    const NULL: Option<&str> = None;
    match given {
        Given::One(Value::Null) => (Box::new(NULL), Type::UNKNOWN),
        Given::One(Value::Int(number)) => (Box::new(number), Type::INT8),
        Given::One(Value::Text(text)) => (Box::new(text), Type::TEXT),
        Given::One(Value::Bytes(bytes)) => (Box::new(bytes), Type::BYTEA),
        Given::Column(values) => match values.iter().find(|value| **value != Value::Null) {
            Some(Value::Bytes(_)) => {
                let bytes = values.iter().map(|value| match value {
                    Value::Bytes(bytes) => Some(bytes.as_slice()),
                    _ => None,
                });
                (Box::new(bytes.collect::<Vec<_>>()), Type::BYTEA_ARRAY)
            }
            Some(Value::Int(_)) => {
                let numbers = values.iter().map(|value| match value {
                    Value::Int(number) => Some(*number),
                    _ => None,
                });
                (Box::new(numbers.collect::<Vec<_>>()), Type::INT8_ARRAY)
            }
            _ => {
                let texts = values.iter().map(|value| match value {
                    Value::Text(text) => Some(text.as_str()),
                    _ => None,
                });
                (Box::new(texts.collect::<Vec<_>>()), Type::TEXT_ARRAY)
            }
        },
    }
}

/// Statements and their parameters, as the client takes them.
fn with_bound<T>(ready: &[Ready], body: impl FnOnce(&[Bound<'_>]) -> T) -> T {
    let given: Vec<Vec<_>> =
        ready.iter().map(|ready| ready.given.iter().map(bound).collect()).collect();
    let statements = ready.iter().zip(&given).map(|(ready, given)| {
        let params =
            given.iter().map(|(value, of)| (value.as_ref() as &(dyn ToSql + Sync), of.clone()));
        (ready.sql.as_str(), params.collect())
    });
    body(&statements.collect::<Vec<_>>())
}

/// Parameters that the connection's thread can have.
fn owned(params: &[Param<'_>]) -> Result<Vec<Value>> {
    // Said here, for a statement that waits would fail for others too.
    if params.iter().any(|param| matches!(param, Param::Text(text) if text.contains('\0'))) {
        return Err(no_nul());
    }
    Ok(params.iter().map(Value::from).collect())
}

/// The values of a row.
fn values(row: &tokio_postgres::Row) -> Result<Vec<Value>> {
    (0..row.len()).map(|at| value(row, at)).collect()
}

fn value(row: &tokio_postgres::Row, index: usize) -> Result<Value> {
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

impl Statements<'_> {
    fn execute(&mut self, ready: Ready) -> Result<u64> {
        self.ask(move |client| with_bound(&[ready], |bound| client.execute(&bound[0])))
    }

    /// Asks for several things in one round trip.
    fn query_all(&mut self, ready: Vec<Ready>) -> Result<Vec<Vec<Vec<Value>>>> {
        let found = self.ask(move |client| with_bound(&ready, |bound| client.query_all(bound)))?;
        found.iter().map(|rows| rows.iter().map(values).collect()).collect()
    }

    /// Sends what waits.
    fn send(&mut self, due: Vec<Ready>) -> Result<()> {
        let last = self.send_until_last(due)?;
        if last.is_empty() {
            return Ok(());
        }
        self.ask(move |client| with_bound(&last, |bound| client.execute_all(bound)))
    }

    /// Sends what waits but for the last statements, which may go together with what follows.
    fn send_until_last(&mut self, mut due: Vec<Ready>) -> Result<Vec<Ready>> {
        while due.len() > TOGETHER_MAX {
            let rest = due.split_off(TOGETHER_MAX);
            let now = std::mem::replace(&mut due, rest);
            self.ask(move |client| with_bound(&now, |bound| client.execute_all(bound)))?;
        }
        Ok(due)
    }
}

impl Sql for Statements<'_> {
    fn run(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<u64> {
        self.written += 1;
        if sql.starts_with("ROLLBACK TO") {
            self.ahead.undo();
            self.ask(|client| client.batch_execute(sql))?;
            self.failed = false;
            return Ok(0);
        }
        let values = owned(params)?;
        let due = self.ahead.due(sql);
        self.send(due)?;
        self.ahead.write(self.shapes, sql, &values);
        self.execute(Ready::one(sql, values))
    }

    fn rows(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<Vec<Row>> {
        let values = owned(params)?;
        let first = self.first.take().filter(|(first, _)| *first == sql && self.written == 0);
        let rows = if let Some((_, rows)) = first {
            rows
        } else if let Some(rows) = self.ahead.answer(sql, &values) {
            rows
        } else {
            let due = self.ahead.due(sql);
            self.send(due)?;
            self.query_all(vec![Ready::one(sql, values)])?.pop().unwrap_or_default()
        };
        Ok(rows.into_iter().map(|row| Row(row.into_iter())).collect())
    }

    fn later(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<()> {
        match self.ahead.later(self.shapes, sql, owned(params)?) {
            None => {
                self.written += 1;
                Ok(())
            }
            Some(_) => self.run(sql, params).map(drop),
        }
    }

    fn foresee(&mut self, queries: Vec<Query>) -> Result<()> {
        // What was settled before is not to be seen as it was.
        let due = self.ahead.all();
        self.send(due)?;
        let mut foreseen = Ahead::foresee(self.shapes, queries);
        let ready: Vec<Ready> =
            foreseen.iter_mut().map(|it| std::mem::take(&mut it.ready)).collect();
        for (foreseen, rows) in foreseen.into_iter().zip(self.query_all(ready)?) {
            self.ahead.keep(foreseen, rows);
        }
        Ok(())
    }

    fn is_far(&self) -> bool {
        true
    }

    fn written(&self) -> u64 {
        self.written
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
        let mut reading =
            sql.reading().ok_or_else(|| Error::internal("the database does not tell the time"))?;
        self.wall_ms.store(reading.value_ms, Ordering::Relaxed);
        reading.value_ms += crate::testing::clock_ahead();
        Ok(reading)
    }

    /// That of the last reading, which every transaction begins with.
    fn wall_ms(&self) -> i64 {
        self.wall_ms.load(Ordering::Relaxed)
    }

    fn step_max(&self) -> Option<u64> {
        if mutant("clock_steps_any_length") {
            return None;
        }
        Some(STEP_MAX_MS)
    }
}
