//! Rows on their way: read in order, summed up, written in bulk.

use std::collections::BTreeMap;

use cotenant_core::{Result, event::hex};
use sha2::{Digest as _, Sha256};

use super::table::{ROWS_AT_ONCE, TABLES, Table};
use crate::sql::{Param, Sql, Value};

/// Rows are written at the latest when they take so many bytes.
const BYTES_AT_ONCE: usize = 1024 * 1024;
/// After so many rows it is told how far a step has come.
const TELL_EVERY: u64 = 1_000;

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Rows are read and written.
    Copying,
    /// Rows are read back and compared.
    Checking,
    /// The new store has arrived and is closed; the old one goes on.
    Arrived,
    /// The old store is closed.
    Retired,
}

/// How far a step has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// What is being done.
    pub step: Step,
    /// How many rows are done.
    pub done: u64,
    /// How many rows there are.
    pub rows: u64,
}

/// Who is told how far it is.
pub(super) type Tell<'a> = dyn FnMut(Progress) + 'a;

/// How many rows each table has.
pub(super) type Counts = BTreeMap<String, u64>;

/// Counts the rows of every table.
pub(super) fn counts(sql: &mut dyn Sql) -> Result<Counts> {
    let mut counts = Counts::new();
    for table in &TABLES {
        let count = sql.rows(table.count(), &[])?.pop().map_or(Ok(0), |mut row| row.int())?;
        counts.insert(table.name.to_owned(), count.cast_unsigned());
    }
    Ok(counts)
}

/// Which rows are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    All,
    /// Those that may change although the head of the log does not.
    WithoutEvents,
}

/// What lines add up to.
#[derive(Clone)]
pub(super) struct Sum {
    hasher: Sha256,
    counts: Counts,
    /// What the lines before the first event add up to.
    without_events: Option<String>,
    done: u64,
    rows: u64,
    step: Step,
}

impl Sum {
    /// Begins with the header, which says how many rows to expect.
    pub(super) fn begin(header: &str, expected: &Counts, step: Step) -> Self {
        let counts = TABLES.iter().map(|table| (table.name.to_owned(), 0)).collect();
        let rows = expected.values().sum();
        let hasher = Sha256::new();
        let mut sum = Self { hasher, counts, without_events: None, done: 0, rows, step };
        sum.line(header);
        sum
    }

    fn line(&mut self, line: &str) {
        self.hasher.update(line);
        self.hasher.update(b"\n");
    }

    /// Adds the line of a row.
    pub(super) fn row(&mut self, table: &Table, line: &str, tell: &mut Tell<'_>) {
        if table.name == "event" && self.without_events.is_none() {
            self.without_events = Some(self.digest());
        }
        self.line(line);
        *self.counts.entry(table.name.to_owned()).or_default() += 1;
        self.done += 1;
        if self.done.is_multiple_of(TELL_EVERY) || self.done == self.rows {
            tell(Progress { step: self.step, done: self.done, rows: self.rows });
        }
    }

    /// How many rows were added.
    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The SHA-256 of all lines so far.
    pub(super) fn digest(&self) -> String {
        hex(&self.hasher.clone().finalize())
    }

    /// The SHA-256 of the header and of all rows but events.
    pub(super) fn without_events(&self) -> String {
        self.without_events.clone().unwrap_or_else(|| self.digest())
    }
}

/// Who takes rows, each with its line.
type Each<'a> = dyn FnMut(&'static Table, Vec<Value>, &str) -> Result<()> + 'a;

/// Reads rows in order, each with its line, and sums them up.
pub(super) fn read(
    sql: &mut dyn Sql,
    which: Which,
    sum: &mut Sum,
    tell: &mut Tell<'_>,
    each: &mut Each<'_>,
) -> Result<()> {
    for table in TABLES.iter().filter(|table| which == Which::All || table.name != "event") {
        let mut last: Option<Vec<Value>> = None;
        loop {
            let rows = match &last {
                None => sql.rows(table.first(), &[])?,
                Some(key) => sql.rows(table.next(), &params(key))?,
            };
            let count = rows.len();
            for (number, row) in rows.into_iter().enumerate() {
                let row: Vec<Value> = row.0.collect();
                let line = table.line(&row)?;
                sum.row(table, &line, tell);
                if number + 1 == count {
                    last = Some(row[..table.key()].to_vec());
                }
                each(table, row, &line)?;
            }
            if count < table.page() {
                break;
            }
        }
    }
    Ok(())
}

fn params(values: &[Value]) -> Vec<Param<'_>> {
    let param = |value| match value {
        &Value::Null => Param::Null,
        &Value::Int(number) => Param::Int(number),
        Value::Text(text) => Param::Text(text),
        Value::Bytes(bytes) => Param::Bytes(bytes),
    };
    values.iter().map(param).collect()
}

/// Writes rows, many at a time.
#[derive(Default)]
pub(super) struct Writer {
    table: Option<&'static Table>,
    values: Vec<Value>,
    bytes: usize,
}

impl Writer {
    /// Takes a row.
    pub(super) fn write(
        &mut self,
        sql: &mut dyn Sql,
        table: &'static Table,
        row: Vec<Value>,
    ) -> Result<()> {
        let is_other = self.table.is_some_and(|before| before.name != table.name);
        if is_other || self.bytes >= BYTES_AT_ONCE {
            self.flush(sql)?;
        }
        self.table = Some(table);
        self.bytes += row.iter().map(size).sum::<usize>();
        self.values.extend(row);
        if self.values.len() == ROWS_AT_ONCE * table.width() {
            sql.run(table.insert_many(), &params(&self.values))?;
            self.values.clear();
            self.bytes = 0;
        }
        Ok(())
    }

    /// Writes what was taken and not yet written.
    pub(super) fn flush(&mut self, sql: &mut dyn Sql) -> Result<()> {
        if let Some(table) = self.table {
            for row in self.values.chunks(table.width()) {
                sql.run(table.insert(), &params(row))?;
            }
        }
        self.values.clear();
        self.bytes = 0;
        Ok(())
    }
}

fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Int(_) => size_of::<i64>(),
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
    }
}
