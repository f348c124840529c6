//! What a transaction asks for ahead and writes behind.
//!
//! A statement to a server costs a round trip, whatever it does. So the queries that the requests of a batch
//! will surely make are asked at once, one statement for all of a kind, and what is written without asking
//! how many rows it touched waits until something could notice.
//!
//! # Invariants
//! - A query is answered as if every statement had been sent when it was made.
//! - Statements of one table keep their order; those of different tables do not see each other: no table has
//!   a foreign key or a trigger.

use std::{collections::HashMap, sync::Arc};

use super::shape::{Given, Kind, Shape};
use crate::{
    sql::{Query, Value},
    testing::mutant,
};

/// The most rows of one statement.
const ROWS_MAX: usize = 200;

/// The shapes of statements, once they were read.
#[derive(Default)]
pub(super) struct Shapes(HashMap<&'static str, Option<Arc<Shape>>>);

impl Shapes {
    fn of(&mut self, sql: &'static str) -> Option<Arc<Shape>> {
        self.0.entry(sql).or_insert_with(|| Shape::of(sql).map(Arc::new)).clone()
    }
}

/// A statement to be sent, with its parameters.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ready {
    pub(super) sql: String,
    pub(super) given: Vec<Given>,
}

impl Ready {
    /// A statement as it stands.
    pub(super) fn one(sql: &str, values: Vec<Value>) -> Self {
        Self { sql: sql.to_owned(), given: values.into_iter().map(Given::One).collect() }
    }
}

/// A statement that asks for many things at once.
pub(super) struct Foreseen {
    pub(super) ready: Ready,
    sql: &'static str,
    shape: Arc<Shape>,
    asked: Vec<Vec<Value>>,
}

/// Queries of one kind: the statement, its shape, what each asks for.
type Kindred = (&'static str, Arc<Shape>, Vec<Vec<Value>>);

/// Writes that wait, of one statement.
struct Waiting {
    sql: &'static str,
    shape: Arc<Shape>,
    rows: Vec<Vec<Value>>,
}

/// What was found, by what was asked for.
type Found = HashMap<Vec<Value>, Vec<Vec<Value>>>;

/// What is known ahead and written behind in one transaction.
#[derive(Default)]
pub(super) struct Ahead {
    found: HashMap<&'static str, (Arc<Shape>, Found)>,
    waiting: Vec<Waiting>,
}

impl Ahead {
    /// What to ask for so that these queries are answered.
    pub(super) fn foresee(shapes: &mut Shapes, queries: Vec<Query>) -> Vec<Foreseen> {
        let mut kinds: Vec<Kindred> = Vec::new();
        for Query { sql, values } in queries {
            let Some(shape) = shapes.of(sql) else { continue };
            let Kind::Read(read) = &shape.kind else { continue };
            // Nothing equals NULL, and a column of nothing else has no type. A text that the server cannot keep
            // must fail for its own request only.
            let can_be_asked = |value: &Value| match value {
                Value::Null => false,
                Value::Text(text) => !text.contains('\0'),
                Value::Int(_) | Value::Bytes(_) => true,
            };
            let fits = read.width() == values.len() && values.iter().all(can_be_asked);
            let at = kinds.iter().position(|(known, ..)| *known == sql).unwrap_or_else(|| {
                kinds.push((sql, Arc::clone(&shape), Vec::new()));
                kinds.len() - 1
            });
            let asked = &mut kinds[at].2;
            if fits && asked.len() < ROWS_MAX && !asked.contains(&values) {
                asked.push(values);
            }
        }
        let foreseen = kinds.into_iter().filter_map(|(sql, shape, asked)| {
            let Kind::Read(read) = &shape.kind else { return None };
            if asked.is_empty() {
                return None;
            }
            let (text, given) = read.together(&asked);
            let ready = Ready { sql: text, given };
            Some(Foreseen { ready, sql, shape, asked })
        });
        foreseen.collect()
    }

    /// Keeps what was found.
    pub(super) fn keep(&mut self, foreseen: Foreseen, rows: Vec<Vec<Value>>) {
        let Foreseen { sql, shape, asked, .. } = foreseen;
        let Kind::Read(read) = &shape.kind else { return };
        let mut found: Found = asked.into_iter().map(|asked| (asked, Vec::new())).collect();
        for mut row in rows {
            let rest = row.split_off(read.width());
            if let Some(rows) = found.get_mut(&row) {
                rows.push(rest);
            }
        }
        for rows in found.values_mut().filter(|rows| rows.is_empty()) {
            *rows = read.of_nothing();
        }
        self.found.insert(sql, (shape, found));
    }

    /// The answer to a query, if it is known.
    pub(super) fn answer(&self, sql: &'static str, values: &[Value]) -> Option<Vec<Vec<Value>>> {
        self.found.get(sql)?.1.get(values).cloned()
    }

    /// A statement is being written: what it may change is known no more.
    pub(super) fn write(&mut self, shapes: &mut Shapes, sql: &'static str, values: &[Value]) {
        if mutant("ahead_is_never_stale") {
            return;
        }
        let Some(shape) = shapes.of(sql) else {
            self.found.clear();
            return;
        };
        let Kind::Write(write) = &shape.kind else { return };
        for (of, found) in self.found.values_mut().filter(|(of, _)| of.table == shape.table) {
            let Kind::Read(read) = &of.kind else { continue };
            found.retain(|asked, _| !write.may_change(values, read, asked));
        }
    }

    /// Lets a statement wait; gives it back if it cannot.
    pub(super) fn later(
        &mut self,
        shapes: &mut Shapes,
        sql: &'static str,
        values: Vec<Value>,
    ) -> Option<Vec<Value>> {
        let Some(shape) = shapes.of(sql) else { return Some(values) };
        let Kind::Write(write) = &shape.kind else { return Some(values) };
        self.write(shapes, sql, &values);
        match self.waiting.iter_mut().rfind(|waiting| waiting.shape.table == shape.table) {
            Some(last)
                if last.sql == sql
                    && last.rows.len() < ROWS_MAX
                    && write.may_join(&last.rows, &values) =>
            {
                last.rows.push(values);
            }
            _ => self.waiting.push(Waiting { sql, shape: Arc::clone(&shape), rows: vec![values] }),
        }
        None
    }

    /// What must be sent before a statement that is none of those that wait.
    pub(super) fn due(&mut self, sql: &'static str) -> Vec<Ready> {
        if mutant("behind_is_never_due") {
            return Vec::new();
        }
        // What is no statement on rows may end what they are part of.
        let names_its_tables =
            ["SELECT ", "INSERT ", "UPDATE ", "DELETE "].iter().any(|verb| sql.starts_with(verb));
        self.take(|table| !names_its_tables || sql.contains(table))
    }

    /// All that waits.
    pub(super) fn all(&mut self) -> Vec<Ready> {
        self.take(|_| true)
    }

    /// What was written behind a savepoint that is gone.
    pub(super) fn undo(&mut self) {
        self.waiting.clear();
    }

    fn take(&mut self, wanted: impl Fn(&str) -> bool) -> Vec<Ready> {
        let (due, waiting) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|waiting: &Waiting| wanted(waiting.shape.table));
        self.waiting = waiting;
        let due: Vec<Waiting> = due;
        due.into_iter().filter_map(Waiting::ready).collect()
    }
}

impl Waiting {
    fn ready(self) -> Option<Ready> {
        let Kind::Write(write) = &self.shape.kind else { return None };
        let (sql, given) = write.together(self.rows);
        Some(Ready { sql: sql.unwrap_or_else(|| self.sql.to_owned()), given })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SELECT: &str = "SELECT b FROM thing WHERE a = $1";
    const INSERT: &str = "INSERT INTO thing (a, b) VALUES ($1, $2)";
    const OTHER: &str = "INSERT INTO other (c) VALUES ($1)";

    fn values(texts: &[&str]) -> Vec<Value> {
        texts.iter().map(|text| Value::Text((*text).to_owned())).collect()
    }

    fn known(shapes: &mut Shapes) -> Ahead {
        let query = |key| Query { sql: SELECT, values: values(&[key]) };
        let mut foreseen = Ahead::foresee(shapes, vec![query("1"), query("2"), query("1")]);
        let one = foreseen.pop().unwrap();
        assert!(foreseen.is_empty());
        let sql = "SELECT a, b FROM unnest($1) AS wanted (wanted1) JOIN thing ON a = wanted1";
        assert_eq!(one.ready.sql, sql);
        let mut ahead = Ahead::default();
        ahead.keep(one, vec![values(&["1", "x"]), values(&["1", "y"])]);
        ahead
    }

    #[test]
    fn what_was_foreseen_is_answered_until_it_may_have_changed() {
        let mut shapes = Shapes::default();
        let mut ahead = known(&mut shapes);
        assert_eq!(
            ahead.answer(SELECT, &values(&["1"])),
            Some(vec![values(&["x"]), values(&["y"])])
        );
        assert_eq!(ahead.answer(SELECT, &values(&["2"])), Some(Vec::new()));
        assert_eq!(ahead.answer(SELECT, &values(&["3"])), None);
        assert_eq!(ahead.later(&mut shapes, INSERT, values(&["2", "z"])), None);
        assert_eq!(ahead.answer(SELECT, &values(&["2"])), None);
        assert!(ahead.answer(SELECT, &values(&["1"])).is_some());
        ahead.write(&mut shapes, "TRUNCATE thing", &[]);
        assert_eq!(ahead.answer(SELECT, &values(&["1"])), None);
    }

    #[test]
    fn what_no_row_can_have_is_not_asked_for() {
        let of = |value: Value| Query { sql: SELECT, values: vec![value] };
        let text = |text: &str| Value::Text(text.to_owned());
        let queries = vec![of(Value::Null), of(text("a\0")), of(text("a"))];
        let mut foreseen = Ahead::foresee(&mut Shapes::default(), queries);
        let asked = foreseen.pop().unwrap().asked;
        assert_eq!((asked, foreseen.len()), (vec![values(&["a"])], 0));
        assert!(Ahead::foresee(&mut Shapes::default(), vec![of(Value::Null)]).is_empty());
    }

    #[test]
    fn what_waits_is_due_before_something_could_notice() {
        let mut shapes = Shapes::default();
        let mut ahead = Ahead::default();
        for row in [["1", "x"], ["2", "y"]] {
            assert_eq!(ahead.later(&mut shapes, INSERT, values(&row)), None);
        }
        ahead.later(&mut shapes, OTHER, values(&["3"]));
        ahead.later(&mut shapes, "DELETE FROM thing WHERE a = $1", values(&["1"]));
        ahead.later(&mut shapes, INSERT, values(&["1", "z"]));
        assert_eq!(ahead.due("SELECT d FROM unlike WHERE d = $1"), []);
        let due = ahead.due(SELECT);
        let texts: Vec<&str> = due.iter().map(|ready| ready.sql.as_str()).collect();
        assert_eq!(
            texts,
            [
                "INSERT INTO thing (a, b) SELECT c1, c2 FROM unnest($1, $2) AS r (c1, c2)",
                "DELETE FROM thing WHERE a = $1",
                INSERT
            ]
        );
        let columns = [["1", "2"], ["x", "y"]].map(|column| Given::Column(values(&column)));
        assert_eq!(due[0].given, columns);
        assert_eq!(ahead.due("SAVEPOINT request").len(), 1, "whatever it is");
        ahead.later(&mut shapes, OTHER, values(&["3"]));
        ahead.undo();
        assert_eq!(ahead.all(), []);
    }
}
