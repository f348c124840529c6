//! The seam to a database: two methods on a transaction, and what an engine supplies.
//!
//! Operations speak SQL that `SQLite` and `PostgreSQL` both take; only whole numbers, text and
//! bytes cross the seam, and JSON is text.

use std::{sync::Arc, time::Instant};

use cotenant_core::{Code, Error, Result, clock::Reading};

/// A bound parameter.
#[derive(Clone, Copy, Debug)]
pub enum Param<'a> {
    /// SQL NULL.
    Null,
    /// A whole number.
    Int(i64),
    /// Text.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
}

impl From<i64> for Param<'_> {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl<'a> From<&'a str> for Param<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a String> for Param<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a [u8]> for Param<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a, T: Into<Param<'a>>> From<Option<T>> for Param<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Builds a parameter list.
#[macro_export]
#[doc(hidden)]
macro_rules! params {
    ($($value:expr),* $(,)?) => { &[$($crate::sql::Param::from($value)),*] };
}

/// A value that came back, or that goes with a statement that waits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// SQL NULL.
    Null,
    /// A whole number.
    Int(i64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

impl From<&Param<'_>> for Value {
    fn from(param: &Param<'_>) -> Self {
        match *param {
            Param::Null => Self::Null,
            Param::Int(number) => Self::Int(number),
            Param::Text(text) => Self::Text(text.to_owned()),
            Param::Bytes(bytes) => Self::Bytes(bytes.to_vec()),
        }
    }
}

/// A query that will be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The statement.
    pub sql: &'static str,
    /// Its parameters.
    pub values: Vec<Value>,
}

impl Query {
    /// A query with these parameters.
    pub(crate) fn new(sql: &'static str, params: &[Param<'_>]) -> Self {
        Self { sql, values: params.iter().map(Value::from).collect() }
    }
}

/// A row that came back, read from the left.
#[derive(Debug)]
pub struct Row(pub std::vec::IntoIter<Value>);

impl Row {
    fn next(&mut self) -> Result<Value> {
        self.0.next().ok_or_else(|| Error::internal("a row is shorter than its statement"))
    }

    /// The next column, a whole number.
    pub fn int(&mut self) -> Result<i64> {
        match self.next()? {
            Value::Int(number) => Ok(number),
            other => Err(damaged("a whole number", &other)),
        }
    }

    /// The next column, a whole number or NULL.
    pub fn optional_int(&mut self) -> Result<Option<i64>> {
        match self.next()? {
            Value::Int(number) => Ok(Some(number)),
            Value::Null => Ok(None),
            other => Err(damaged("a whole number", &other)),
        }
    }

    /// The next column, text.
    pub fn text(&mut self) -> Result<String> {
        match self.next()? {
            Value::Text(text) => Ok(text),
            other => Err(damaged("text", &other)),
        }
    }

    /// The next column, text or NULL.
    pub fn optional_text(&mut self) -> Result<Option<String>> {
        match self.next()? {
            Value::Text(text) => Ok(Some(text)),
            Value::Null => Ok(None),
            other => Err(damaged("text", &other)),
        }
    }

    /// The next column, bytes or NULL.
    pub fn optional_bytes(&mut self) -> Result<Option<Vec<u8>>> {
        match self.next()? {
            Value::Bytes(bytes) => Ok(Some(bytes)),
            Value::Null => Ok(None),
            other => Err(damaged("bytes", &other)),
        }
    }

    /// The next column, a SHA-256 digest.
    pub fn hash(&mut self) -> Result<[u8; 32]> {
        match self.next()? {
            Value::Bytes(bytes) => {
                bytes.try_into().map_err(|_| corrupt("a stored hash has not 32 bytes"))
            }
            other => Err(damaged("a hash", &other)),
        }
    }
}

fn damaged(expected: &str, found: &Value) -> Error {
    let found = match found {
        Value::Null => "nothing",
        Value::Int(_) => "a number",
        Value::Text(_) => "text",
        Value::Bytes(_) => "bytes",
    };
    corrupt(format!("the store holds {found} where {expected} belongs"))
}

/// The error of a store that holds what nobody stored.
pub(crate) fn corrupt(message: impl Into<String>) -> Error {
    Error::new(Code::StoreCorrupt, message)
        .hint("`cotenant doctor --deep` looks closer; `cotenant restore BACKUP` goes back")
}

/// A transaction, or a snapshot where `run` fails.
pub trait Sql {
    /// Runs a statement that returns no rows; answers how many rows it touched.
    fn run(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<u64>;
    /// Runs a query.
    fn rows(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<Vec<Row>>;
    /// Runs a statement that returns no rows, and of which nobody asks how many it touched. Where each
    /// statement is a round trip it goes with others, before anything could notice; so does its failure.
    fn later(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<()> {
        self.run(sql, params).map(drop)
    }
    /// Is told of queries that will be made. Where each is a round trip, many are made in one.
    fn foresee(&mut self, _: Vec<Query>) -> Result<()> {
        Ok(())
    }
    /// Whether each statement is a round trip.
    fn is_far(&self) -> bool {
        false
    }
    /// How many statements were run: whether something was, told by comparing.
    fn written(&self) -> u64;
    /// The clock of a server, which was read where it must be: behind the lock of a write, before the
    /// snapshot of a read.
    fn reading(&self) -> Option<Reading> {
        None
    }
    /// Whether writing is impossible here.
    fn is_snapshot(&self) -> bool {
        false
    }
}

/// What a finished write transaction wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// Keep the effects.
    Commit,
    /// Keep nothing.
    Rollback,
    /// There is nothing to keep, and what was answered from the store must be as durable as a commit.
    Unchanged,
}

/// How long a writer waits for its turn.
#[derive(Clone, Copy, Debug)]
pub enum Patience {
    /// Not at all.
    Try,
    /// Until then.
    Until(Instant),
}

/// How much a commit survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Power loss.
    Full,
    /// A process kill.
    Process,
}

/// A database.
pub trait Engine: Send {
    /// Runs a body in the one write transaction at a time. `BUSY` means that the body never ran.
    fn write(
        &mut self,
        patience: Patience,
        durability: Durability,
        body: &mut dyn FnMut(&mut dyn Sql) -> Result<Finish>,
    ) -> Result<()>;
    /// Runs a body on one snapshot.
    fn read(&mut self, body: &mut dyn FnMut(&mut dyn Sql) -> Result<()>) -> Result<()>;
    /// Rewrites what was freed, so that erased payloads are gone from every byte it keeps.
    fn erase(&mut self, patience: Patience) -> Result<()>;
    /// What tells waiters that something was committed.
    fn wake(&self) -> Arc<dyn Wake>;
}

/// Tells waiters that something was committed.
pub trait Wake: Send + Sync {
    /// A number that changes with every commit.
    fn value(&self) -> u32;
    /// Waits until the number differs from `seen`, until the time, or a little shorter.
    fn wait(&self, seen: u32, until: Instant);
}

/// The clocks that a store reads.
pub trait Clock: Send + Sync {
    /// The source that drives the tick.
    fn reading(&self, sql: &mut dyn Sql) -> Result<Reading>;
    /// Wall time in milliseconds since 1970, for display and for fences.
    fn wall_ms(&self) -> i64;
    /// The largest step of the tick, where the source can jump.
    fn step_max(&self) -> Option<u64> {
        None
    }
}
