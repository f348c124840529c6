//! The tables as they are carried, each with its statements.

use std::sync::OnceLock;

use cotenant_core::{Code, Error, Result, event::hex};
use serde_json::{Map, Value as Field};

use crate::sql::Value;

/// How many rows one statement writes.
pub(super) const ROWS_AT_ONCE: usize = 100;

/// What a column holds, apart from NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Int,
    Text,
    Bytes,
}
use Kind::{Bytes, Int, Text};

/// A table that is carried. The columns of its key come first.
pub(super) struct Table {
    pub(super) name: &'static str,
    key: usize,
    columns: &'static [(&'static str, Kind)],
    /// How many rows one statement reads: fewer where a row can be large.
    page: usize,
    /// Which rows are carried.
    condition: &'static str,
    statements: OnceLock<Statements>,
}

/// The statements of a table.
struct Statements {
    first: String,
    next: String,
    count: String,
    insert: String,
    insert_many: String,
}

/// The condition of a table that is carried whole.
const ALL: &str = "";

const fn table(
    name: &'static str,
    key: usize,
    page: usize,
    condition: &'static str,
    columns: &'static [(&'static str, Kind)],
) -> Table {
    Table { name, key, columns, page, condition, statements: OnceLock::new() }
}

/// All tables but `meta`, in the order in which they are carried. Events come last: the head of the log
/// says of them all whether they changed.
pub(super) static TABLES: [Table; 17] = [
    table(
        "session",
        1,
        500,
        ALL,
        &[
            ("id", Text),
            ("name", Text),
            ("name_given", Int),
            ("kind", Text),
            ("native_id", Text),
            ("state", Text),
            ("user", Text),
            ("purpose", Text),
            ("labels", Text),
            ("ns", Text),
            ("token_digest", Text),
            ("process", Text),
            ("ttl_ms", Int),
            ("expires_tick", Int),
            ("heartbeat_tick", Int),
            ("heartbeat_ms", Int),
            ("since_ms", Int),
            ("parent", Text),
            ("relation", Text),
            ("outcome", Text),
            ("reason", Text),
        ],
    ),
    table("alias", 1, 500, ALL, &[("key", Text), ("session", Text)]),
    table(
        "edge",
        3,
        500,
        ALL,
        &[("child", Text), ("parent", Text), ("relation", Text), ("seq", Int), ("purpose", Text)],
    ),
    table(
        "data",
        2,
        50,
        ALL,
        &[
            ("scope", Text),
            ("key", Text),
            ("value", Text),
            ("rev", Int),
            ("ver", Int),
            ("writer", Text),
            ("trust", Text),
            ("at_ms", Int),
            ("owner", Text),
            ("expires_tick", Int),
        ],
    ),
    table(
        "lease",
        4,
        500,
        ALL,
        &[
            ("kind", Text),
            ("name", Text),
            ("tree", Text),
            ("session", Text),
            ("state", Text),
            ("fence", Int),
            ("slots", Int),
            ("mode", Text),
            ("automatic", Int),
            ("ttl_ms", Int),
            ("expires_tick", Int),
            ("lock_delay_ms", Int),
            ("since_tick", Int),
            ("since_ms", Int),
            ("note", Text),
        ],
    ),
    table(
        "mark",
        2,
        500,
        // Why a store is closed is said of one place, and stays there.
        "kind <> 'gate'",
        &[("kind", Text), ("name", Text), ("value", Int), ("seen_tick", Int)],
    ),
    table(
        "request",
        1,
        500,
        ALL,
        &[
            ("number", Int),
            ("actor", Text),
            ("id", Text),
            ("digest", Text),
            ("result", Text),
            ("seq", Int),
            ("tick", Int),
        ],
    ),
    table(
        "progress",
        1,
        500,
        ALL,
        &[
            ("subject", Text),
            ("phase", Text),
            ("percent", Int),
            ("message", Text),
            ("session", Text),
            ("name", Text),
            ("at_ms", Int),
            ("tick", Int),
            ("seq", Int),
        ],
    ),
    table(
        "offer",
        2,
        50,
        ALL,
        &[
            ("state", Text),
            ("id", Int),
            ("giver", Text),
            ("name", Text),
            ("trust", Text),
            ("addressee", Text),
            ("to_session", Text),
            ("payload", Text),
            ("items", Text),
            ("expires_tick", Int),
            ("at_ms", Int),
            ("closed_by", Text),
        ],
    ),
    table(
        "message",
        3,
        250,
        ALL,
        &[
            ("recipient", Text),
            ("state", Text),
            ("id", Int),
            ("sender", Text),
            ("name", Text),
            ("trust", Text),
            ("addressee", Text),
            ("text", Text),
            ("at_ms", Int),
            ("tick", Int),
            ("expires_tick", Int),
        ],
    ),
    table(
        "barrier",
        2,
        500,
        ALL,
        &[
            ("name", Text),
            ("session", Text),
            ("state", Text),
            ("generation", Int),
            ("parties", Int),
            ("expires_tick", Int),
            ("why", Text),
        ],
    ),
    table("timer", 3, 500, ALL, &[("tick", Int), ("kind", Text), ("id", Text)]),
    table(
        "task",
        1,
        50,
        ALL,
        &[
            ("id", Int),
            ("queue", Text),
            ("state", Text),
            ("priority", Int),
            ("ready_tick", Int),
            ("payload", Text),
            ("needs", Text),
            ("on_dep_fail", Text),
            ("attempts", Int),
            ("max_attempts", Int),
            ("rescues", Int),
            ("visibility_ms", Int),
            ("due_tick", Int),
            ("not_before_ms", Int),
            ("dedupe_key", Text),
            ("fence", Int),
            ("ended", Text),
            ("session", Text),
            ("result", Text),
            ("reason", Text),
            ("creator", Text),
            ("trust", Text),
            ("added_ms", Int),
            ("since_ms", Int),
        ],
    ),
    table("dependency", 2, 500, ALL, &[("needs", Int), ("task", Int)]),
    table(
        "instruction",
        1,
        250,
        ALL,
        &[
            ("id", Int),
            ("text", Text),
            ("scope", Text),
            ("key", Text),
            ("alias", Text),
            ("source", Text),
            ("trust", Text),
            ("session", Text),
            ("name", Text),
            ("user", Text),
            ("at_ms", Int),
            ("supersedes", Int),
            ("superseded_by", Int),
            ("approved_by", Text),
            ("revoked_by", Text),
            ("reason", Text),
        ],
    ),
    table(
        "metric",
        4,
        250,
        ALL,
        &[
            ("session", Text),
            ("native_id", Text),
            ("model", Text),
            ("source", Text),
            ("kept", Text),
            ("at_ms", Int),
        ],
    ),
    table(
        "event",
        1,
        250,
        ALL,
        &[
            ("seq", Int),
            ("at", Text),
            ("tick", Int),
            ("kind", Text),
            ("scope", Text),
            ("session", Text),
            ("name", Text),
            ("user", Text),
            ("trust", Text),
            ("payload", Text),
            ("salt", Bytes),
            ("payload_digest", Bytes),
            ("hash", Bytes),
            ("writer_version", Text),
        ],
    ),
];

impl Table {
    /// The table of a name.
    pub(super) fn of(name: &str) -> Option<&'static Self> {
        TABLES.iter().find(|table| table.name == name)
    }

    /// How many columns make the key.
    pub(super) fn key(&self) -> usize {
        self.key
    }

    /// How many columns there are.
    pub(super) fn width(&self) -> usize {
        self.columns.len()
    }

    /// How many rows [`Self::first`] and [`Self::next`] give at most.
    pub(super) fn page(&self) -> usize {
        self.page
    }

    /// Reads the first rows.
    pub(super) fn first(&'static self) -> &'static str {
        &self.statements().first
    }

    /// Reads the rows behind a key.
    pub(super) fn next(&'static self) -> &'static str {
        &self.statements().next
    }

    /// Counts the rows.
    pub(super) fn count(&'static self) -> &'static str {
        &self.statements().count
    }

    /// Writes one row.
    pub(super) fn insert(&'static self) -> &'static str {
        &self.statements().insert
    }

    /// Writes [`ROWS_AT_ONCE`] rows.
    pub(super) fn insert_many(&'static self) -> &'static str {
        &self.statements().insert_many
    }

    fn statements(&'static self) -> &'static Statements {
        self.statements.get_or_init(|| {
            let (name, page, width) = (self.name, self.page, self.columns.len());
            let quoted = |columns: &[(&str, Kind)]| {
                let names = columns.iter().map(|(name, _)| format!("\"{name}\""));
                names.collect::<Vec<_>>().join(", ")
            };
            let places = |from: usize, count: usize| {
                let places = (from..from + count).map(|number| format!("${number}"));
                format!("({})", places.collect::<Vec<_>>().join(", "))
            };
            let (columns, key) = (quoted(self.columns), quoted(&self.columns[..self.key]));
            let behind = format!("({key}) > {}", places(1, self.key));
            let (all, rest) = match self.condition {
                ALL => (String::new(), format!(" WHERE {behind}")),
                condition => {
                    (format!(" WHERE {condition}"), format!(" WHERE {behind} AND {condition}"))
                }
            };
            let select = format!("SELECT {columns} FROM {name}");
            let order = format!(" ORDER BY {key} LIMIT {page}");
            let insert = format!("INSERT INTO {name} ({columns}) VALUES ");
            let many = (0..ROWS_AT_ONCE).map(|row| places(row * width + 1, width));
            Statements {
                first: format!("{select}{all}{order}"),
                next: format!("{select}{rest}{order}"),
                count: format!("SELECT COUNT(*) FROM {name}{all}"),
                insert_many: format!("{insert}{}", many.collect::<Vec<_>>().join(", ")),
                insert: format!("{insert}{}", places(1, width)),
            }
        })
    }

    /// A row as a line of the file, without its end.
    pub(super) fn line(&self, row: &[Value]) -> Result<String> {
        let mut text = format!("{{\"table\":\"{}\"", self.name);
        for ((name, _), value) in self.columns.iter().zip(row) {
            text.push_str(",\"");
            text.push_str(name);
            text.push_str("\":");
            match value {
                Value::Null => text.push_str("null"),
                Value::Int(number) => text.push_str(&number.to_string()),
                Value::Text(value) => text.push_str(&quoted(value)?),
                Value::Bytes(bytes) => {
                    text.push('"');
                    text.push_str(&hex(bytes));
                    text.push('"');
                }
            }
        }
        text.push('}');
        Ok(text)
    }

    /// A row from the fields of a line.
    pub(super) fn row(&self, mut fields: Map<String, Field>) -> Result<Vec<Value>> {
        let mut row = Vec::with_capacity(self.columns.len());
        for (name, kind) in self.columns {
            let field = fields.remove(*name);
            let value = field.and_then(|field| value(*kind, field)).ok_or_else(|| {
                damaged(format!("a row of `{}` has no fitting `{name}`", self.name))
            })?;
            row.push(value);
        }
        match fields.keys().find(|name| *name != "table") {
            Some(name) => {
                let name = cotenant_core::name::shown(name);
                Err(damaged(format!("a row of `{}` has an unknown `{name}`", self.name)))
            }
            None => Ok(row),
        }
    }
}

/// A text as JSON.
fn quoted(text: &str) -> Result<String> {
    serde_json::to_string(text)
        .map_err(|cause| Error::internal("a text cannot be written as JSON").caused_by(cause))
}

fn value(kind: Kind, field: Field) -> Option<Value> {
    match (kind, field) {
        (_, Field::Null) => Some(Value::Null),
        (Int, Field::Number(number)) => number.as_i64().map(Value::Int),
        (Text, Field::String(text)) => Some(Value::Text(text)),
        (Bytes, Field::String(digits)) => bytes(&digits).map(Value::Bytes),
        _ => None,
    }
}

/// The bytes that hexadecimal digits stand for.
pub(super) fn bytes(digits: &str) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).ok())
        .collect()
}

/// The refusal of a file that is not as it was written.
pub(super) fn damaged(what: impl Into<String>) -> Error {
    Error::new(Code::StoreCorrupt, format!("the export is damaged: {}", what.into()))
        .hint("export the store again, or take another copy of the file")
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use rusqlite::Connection;

    use super::*;

    type Columns = BTreeMap<String, BTreeSet<(String, String)>>;

    #[test]
    fn every_column_of_every_table_is_carried() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(&crate::migrate::whole(|step| step.sqlite).0).unwrap();
        let sql = "SELECT m.name, c.name, c.type FROM sqlite_master m, pragma_table_info(m.name) c \
             WHERE m.type = 'table' AND m.name <> 'meta'";
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        let mut stored = Columns::new();
        for row in rows.unwrap() {
            let (table, column, kind): (String, String, String) = row.unwrap();
            stored.entry(table).or_default().insert((column, kind));
        }
        let kind = |kind: Kind| match kind {
            Int => "INTEGER".to_owned(),
            Text => "TEXT".to_owned(),
            Bytes => "BLOB".to_owned(),
        };
        let carried: Columns = TABLES
            .iter()
            .map(|table| {
                let columns =
                    table.columns.iter().map(|(name, of)| ((*name).to_owned(), kind(*of)));
                (table.name.to_owned(), columns.collect())
            })
            .collect();
        assert_eq!(carried, stored);
    }

    #[test]
    fn a_row_survives_its_line() {
        let table = Table::of("event").unwrap();
        let mut row = vec![Value::Int(-1); table.width()];
        for (value, (_, kind)) in row.iter_mut().zip(table.columns) {
            match kind {
                Int => {}
                Text => *value = Value::Text("a\"\\\n\u{1f600}\u{0}\u{2028}".into()),
                Bytes => *value = Value::Bytes(vec![0, 255, 16]),
            }
        }
        row[9] = Value::Null;
        let line = table.line(&row).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(table.row(serde_json::from_str(&line).unwrap()).unwrap(), row);
        for (from, to) in [("\"tick\":-1", "\"tick\":1.5"), ("00ff10", "00ff1"), ("seq", "sec")] {
            let line = line.replacen(from, to, 1);
            let error = table.row(serde_json::from_str(&line).unwrap()).unwrap_err();
            assert_eq!(error.code, Code::StoreCorrupt, "{line}");
        }
    }
}
