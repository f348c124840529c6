//! What a statement touches, read from its text.
//!
//! Statements of this store are plain: one table, conditions joined by `AND`. Of those that are, this tells
//! which rows they can concern, and how many of a kind become one. Whatever is not understood has no shape,
//! and is taken to concern everything.

use std::fmt::Write as _;

use crate::sql::Value;

/// A statement that was understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) table: &'static str,
    pub(super) kind: Kind,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Read(Read),
    Write(Write),
}

/// A query for the rows with given values in some columns.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Read {
    list: &'static str,
    from: &'static str,
    /// Columns as they are written, in the order of their parameters.
    keys: Vec<&'static str>,
    /// Further conditions, which no parameter is in.
    also: Vec<&'static str>,
    order: &'static str,
}

/// A statement that writes rows with given values in some columns.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Write {
    /// Columns of which a parameter says what the rows have there.
    bound: Vec<(&'static str, usize)>,
    /// Columns that get another value.
    sets: Vec<&'static str>,
    many: Many,
}

/// How several become one statement.
#[derive(Debug, PartialEq, Eq)]
enum Many {
    /// Not at all.
    Never,
    /// More rows behind `VALUES`; those that replace a row must differ in these parameters.
    Values { head: &'static str, tuple: &'static str, tail: &'static str, distinct: Vec<usize> },
    /// More values in a list that the statement ends with; all other parameters are the same.
    List { head: &'static str },
}

impl Shape {
    /// Reads a statement.
    pub(super) fn of(sql: &'static str) -> Option<Self> {
        let (verb, rest) = sql.split_once(' ')?;
        match verb {
            "SELECT" => Self::of_select(rest),
            "INSERT" => Self::of_insert(sql, rest.strip_prefix("INTO ")?),
            "UPDATE" => {
                let (table, rest) = rest.split_once(" SET ")?;
                let (sets, conditions) = split(rest, " WHERE ")?;
                let sets = list(sets).into_iter().map(|set| Some(column(set.split_once(" = ")?.0)));
                Self::of_change(sql, table, sets.collect::<Option<_>>()?, conditions)
            }
            "DELETE" => {
                let (table, conditions) = rest.strip_prefix("FROM ")?.split_once(" WHERE ")?;
                Self::of_change(sql, table, Vec::new(), conditions)
            }
            _ => None,
        }
    }

    fn of_select(rest: &'static str) -> Option<Self> {
        let (list, rest) = split(rest, " FROM ")?;
        let (from, rest) = split(rest, " WHERE ")?;
        let (conditions, order) = split(rest, " ORDER BY ").unwrap_or((rest, ""));
        let plain = |text: &str| !text.contains(['$', '(']);
        let ends = [" LIMIT ", " GROUP BY ", " RETURNING "];
        if ends.iter().any(|end| rest.contains(end))
            || from.split(' ').count() > 2
            || from.contains(',')
            || !(plain(list) || list == COUNT)
            || !plain(order)
        {
            return None;
        }
        let (mut keys, mut also) = (Vec::new(), Vec::new());
        for condition in conditions.split(" AND ") {
            match equality(condition) {
                Some((column, number)) if number == keys.len() => keys.push(column),
                None if plain(condition) && !condition.contains(" OR ") => also.push(condition),
                _ => return None,
            }
        }
        let table = from.split(' ').next()?;
        let read = Read { list, from, keys, also, order };
        (!read.keys.is_empty()).then_some(Self { table, kind: Kind::Read(read) })
    }

    fn of_insert(sql: &'static str, rest: &'static str) -> Option<Self> {
        let (table, rest) = rest.split_once(" (")?;
        let (columns, rest) = rest.split_once(") VALUES (")?;
        let (values, tail) = rest.split_once(')')?;
        let columns: Vec<&str> = list(columns).into_iter().map(column).collect();
        let places: Vec<Option<usize>> = list(values).into_iter().map(parameter).collect();
        let is_one = tail.is_empty() || tail.starts_with(" ON CONFLICT ");
        if columns.len() != places.len() || values.contains('(') || !is_one {
            return None;
        }
        let place = |wanted: &str| {
            let at = columns.iter().position(|column| *column == wanted)?;
            Some((columns[at], places[at]?))
        };
        // A row that is there may get other values, but keeps those that tell it is the same. No statement
        // may replace one row twice.
        let (bound, distinct): (Vec<_>, Option<Vec<usize>>) =
            match tail.strip_prefix(" ON CONFLICT (").and_then(|tail| tail.split_once(')')) {
                Some((target, rest)) if rest.starts_with(" DO UPDATE ") => {
                    let target = list(target).into_iter().map(|name| place(column(name)));
                    let target: Vec<_> = target.collect::<Option<_>>()?;
                    let distinct = target.iter().map(|(_, at)| *at).collect();
                    (target, Some(distinct))
                }
                _ => {
                    let bound = columns.iter().zip(&places);
                    let bound = bound.filter_map(|(column, at)| Some((*column, (*at)?)));
                    let many = matches!(tail, "" | " ON CONFLICT DO NOTHING");
                    (bound.collect(), many.then(Vec::new))
                }
            };
        let head = sql.len() - rest.len() - 1;
        let tuple = head + values.len() + 2;
        let many = match distinct {
            Some(distinct) if !tail.contains('$') => {
                Many::Values { head: &sql[..head], tuple: &sql[head..tuple], tail, distinct }
            }
            _ => Many::Never,
        };
        Some(Self { table, kind: Kind::Write(Write { bound, sets: Vec::new(), many }) })
    }

    fn of_change(
        sql: &'static str,
        table: &'static str,
        sets: Vec<&'static str>,
        conditions: &'static str,
    ) -> Option<Self> {
        if conditions.contains(" OR ") || table.contains(' ') {
            return None;
        }
        let mut bound = Vec::new();
        let mut many = Many::Never;
        for condition in conditions.split(" AND ") {
            if let Some((name, number)) = equality(condition) {
                bound.push((column(name), number));
            }
        }
        if let Some((name, number)) = conditions.split_once(" IN (").and_then(|(name, rest)| {
            let number = parameter(rest.strip_suffix(')')?)?;
            name.chars().all(|c| c.is_ascii_lowercase() || c == '_').then_some((name, number))
        }) {
            bound.push((name, number));
            let head = sql.rfind('$')?;
            many = Many::List { head: &sql[..head] };
        }
        Some(Self { table, kind: Kind::Write(Write { bound, sets, many }) })
    }
}

/// The list of a query that counts.
const COUNT: &str = "COUNT(*)";

impl Read {
    /// How many columns say which rows are wanted.
    pub(super) fn width(&self) -> usize {
        self.keys.len()
    }

    /// Whether it answers one row in any case, and which one where there is nothing.
    pub(super) fn of_nothing(&self) -> Vec<Vec<Value>> {
        if self.list == COUNT { vec![vec![Value::Int(0)]] } else { Vec::new() }
    }

    /// The query for so many at once. Each row begins with what it was asked for. A join is looked up in the
    /// index whatever the server believes of the table; a list may be looked for in all of it.
    pub(super) fn text(&self, many: usize) -> String {
        let keys = self.keys.join(", ");
        let tuple = |row: usize| {
            let numbers = (1..=self.width()).map(|at| format!("${}", row * self.width() + at));
            format!("({})", numbers.collect::<Vec<_>>().join(", "))
        };
        let tuples = (0..many).map(tuple).collect::<Vec<_>>().join(", ");
        let wanted = format!("({keys}) IN (VALUES {tuples})");
        let mut text = format!("SELECT {keys}, {} FROM {} WHERE {wanted}", self.list, self.from);
        for condition in &self.also {
            text += " AND ";
            text += condition;
        }
        if self.list == COUNT {
            text += " GROUP BY ";
            text += &keys;
        }
        if !self.order.is_empty() {
            text += " ORDER BY ";
            text += self.order;
        }
        text
    }
}

impl Write {
    /// Whether it can change what a query finds.
    pub(super) fn may_change(&self, values: &[Value], read: &Read, asked: &[Value]) -> bool {
        let names = || read.keys.iter().map(|name| column(name));
        if names().any(|name| self.sets.contains(&name)) {
            return true;
        }
        let differs = |(name, wanted): (&'static str, &Value)| {
            self.bound.iter().any(|(bound, at)| *bound == name && values.get(*at) != Some(wanted))
        };
        !names().zip(asked).any(differs)
    }

    /// Whether one more may go with those that wait.
    pub(super) fn may_join(&self, waiting: &[Vec<Value>], values: &[Value]) -> bool {
        match &self.many {
            Many::Never => false,
            Many::Values { distinct, .. } => {
                let same = |row: &Vec<Value>| distinct.iter().all(|at| row[*at] == values[*at]);
                distinct.is_empty() || !waiting.iter().any(same)
            }
            Many::List { .. } => waiting.first().is_some_and(|first| {
                let common = values.len() - 1;
                first[..common] == values[..common]
            }),
        }
    }

    /// The statement for these; `None` if it is as it stands.
    pub(super) fn text(&self, rows: &[Vec<Value>]) -> Option<String> {
        if rows.len() < 2 {
            return None;
        }
        match &self.many {
            Many::Never => None,
            Many::Values { head, tuple, tail, .. } => {
                let mut text = (*head).to_owned();
                let width = rows[0].len();
                for row in 0..rows.len() {
                    text += if row == 0 { "" } else { ", " };
                    renumber(tuple, row * width, &mut text);
                }
                text += tail;
                Some(text)
            }
            Many::List { head } => {
                let first = rows[0].len();
                let numbers = (first..first + rows.len()).map(|number| format!("${number}"));
                Some(format!("{head}{})", numbers.collect::<Vec<_>>().join(", ")))
            }
        }
    }

    /// The parameters for these.
    pub(super) fn values(&self, rows: Vec<Vec<Value>>) -> Vec<Value> {
        let skipped = |number: usize, row: &Vec<Value>| match self.many {
            Many::List { .. } if number > 0 => row.len() - 1,
            _ => 0,
        };
        let rows = rows.into_iter().enumerate();
        rows.flat_map(|(number, row)| {
            let skipped = skipped(number, &row);
            row.into_iter().skip(skipped)
        })
        .collect()
    }
}

/// Writes a text whose parameters have numbers that begin later.
fn renumber(text: &str, by: usize, into: &mut String) {
    let mut parts = text.split('$');
    into.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let number: usize = part[..digits].parse().unwrap_or_default();
        let _ = write!(into, "${}{}", number + by, &part[digits..]);
    }
}

/// Splits a text at the first place that is in no parentheses.
fn split(text: &'static str, at: &str) -> Option<(&'static str, &'static str)> {
    let outside = |found: &usize| {
        let before = &text[..*found];
        before.matches('(').count() == before.matches(')').count()
    };
    let found = text.match_indices(at).map(|(found, _)| found).find(outside)?;
    Some((&text[..found], &text[found + at.len()..]))
}

/// The parts of a list, at commas that are in no parentheses.
fn list(text: &'static str) -> Vec<&'static str> {
    let mut rest = text;
    let mut parts = Vec::new();
    while let Some((part, behind)) = split(rest, ",") {
        parts.push(part.trim());
        rest = behind;
    }
    parts.push(rest.trim());
    parts
}

/// A column's name without its table and its quotes.
fn column(text: &'static str) -> &'static str {
    text.rsplit('.').next().unwrap_or(text).trim_matches('"')
}

/// A column that equals a parameter, by its number from 0.
fn equality(condition: &'static str) -> Option<(&'static str, usize)> {
    let (name, value) = condition.split_once(" = ")?;
    let is_name = name.chars().all(|c| c.is_ascii_lowercase() || matches!(c, '_' | '.' | '"'));
    Some((is_name.then_some(name)?, parameter(value)?))
}

fn parameter(text: &str) -> Option<usize> {
    text.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(sql: &'static str) -> Option<Read> {
        match Shape::of(sql)?.kind {
            Kind::Read(read) => Some(read),
            Kind::Write(_) => None,
        }
    }

    fn write(sql: &'static str) -> Write {
        match Shape::of(sql).unwrap().kind {
            Kind::Write(write) => write,
            Kind::Read(_) => panic!("{sql} reads"),
        }
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn queries_by_key_become_one() {
        let one = read("SELECT s.id, s.name FROM session s WHERE s.id = $1").unwrap();
        assert_eq!(
            one.text(2),
            "SELECT s.id, s.id, s.name FROM session s WHERE (s.id) IN (VALUES ($1), ($2))"
        );
        let named = "SELECT l.name FROM lease l WHERE l.kind = $1 AND l.name = $2 AND l.state <> 'released' \
             ORDER BY l.tree";
        assert_eq!(
            read(named).unwrap().text(2),
            "SELECT l.kind, l.name, l.name FROM lease l WHERE (l.kind, l.name) IN \
             (VALUES ($1, $2), ($3, $4)) AND l.state <> 'released' ORDER BY l.tree"
        );
        let count = read("SELECT COUNT(*) FROM lease WHERE session = $1").unwrap();
        assert_eq!(
            count.text(1),
            "SELECT session, COUNT(*) FROM lease WHERE (session) IN (VALUES ($1)) GROUP BY session"
        );
        assert_eq!(count.of_nothing(), [[Value::Int(0)]]);
    }

    #[test]
    fn other_queries_have_no_shape() {
        for sql in [
            "SELECT a FROM t WHERE a = $1 OR b = $2",
            "SELECT a FROM t WHERE a > $1",
            "SELECT a FROM t WHERE a = $1 LIMIT $2",
            "SELECT a FROM t WHERE a = $1 GROUP BY a",
            "SELECT a FROM t, u WHERE a = $1",
            "SELECT a FROM t JOIN u ON t.b = u.b WHERE a = $1",
            "SELECT a FROM t WHERE a = $1 AND b IN (SELECT b FROM u)",
            "SELECT MAX(a) FROM t WHERE a = $1",
            "SELECT a FROM t WHERE a = $2 AND b = $1",
            "SELECT a FROM t",
            "INSERT INTO t (a, b) VALUES ($1, $2), ($3, $4)",
            "SAVEPOINT request",
        ] {
            assert_eq!(Shape::of(sql), None, "{sql}");
        }
    }

    #[test]
    fn rows_are_written_at_once() {
        let insert = write("INSERT INTO t (a, b) VALUES ($1, $2)");
        let rows = vec![vec![text("1"), text("2")], vec![text("3"), text("4")]];
        assert_eq!(insert.text(&rows).unwrap(), "INSERT INTO t (a, b) VALUES ($1, $2), ($3, $4)");
        assert_eq!(insert.values(rows), ["1", "2", "3", "4"].map(text));
        assert_eq!(insert.text(&[vec![text("1"), text("2")]]), None);
        let touch = write("UPDATE t SET c = $1 + d WHERE a IN ($2)");
        let rows = vec![vec![text("x"), text("1")], vec![text("x"), text("2")]];
        assert!(touch.may_join(&rows, &[text("x"), text("1")]));
        assert!(!touch.may_join(&rows, &[text("y"), text("1")]));
        assert_eq!(touch.text(&rows).unwrap(), "UPDATE t SET c = $1 + d WHERE a IN ($2, $3)");
        assert_eq!(touch.values(rows), ["x", "1", "2"].map(text));
        let upsert = write(
            "INSERT INTO t (a, b) VALUES ($1, $2) ON CONFLICT (a) DO UPDATE SET b = excluded.b",
        );
        assert!(!upsert.may_join(&[vec![text("1"), text("2")]], &[text("1"), text("3")]));
        assert!(upsert.may_join(&[vec![text("1"), text("2")]], &[text("2"), text("2")]));
        assert!(!write("DELETE FROM t WHERE a = $1").may_join(&[vec![text("1")]], &[text("1")]));
    }

    #[test]
    fn a_write_concerns_what_it_may_change() {
        let by_key = read("SELECT b FROM t WHERE a = $1 AND c = $2").unwrap();
        let asked = [text("1"), text("2")];
        let concerns = |sql, values: &[&str]| {
            write(sql).may_change(
                &values.iter().map(|v| text(v)).collect::<Vec<_>>(),
                &by_key,
                &asked,
            )
        };
        assert!(concerns("INSERT INTO t (c, a) VALUES ($1, $2)", &["2", "1"]));
        assert!(!concerns("INSERT INTO t (c, a) VALUES ($1, $2)", &["2", "3"]));
        assert!(concerns("INSERT INTO t (b) VALUES ($1)", &["2"]));
        assert!(!concerns("DELETE FROM t WHERE a = $1", &["2"]));
        assert!(concerns("DELETE FROM t WHERE a = $1", &["1"]));
        assert!(concerns("DELETE FROM t WHERE a < $1", &["0"]));
        assert!(!concerns("UPDATE t SET b = $1 WHERE a = $2", &["9", "2"]));
        assert!(
            concerns("UPDATE t SET a = $1 WHERE a = $2", &["1", "2"]),
            "it may become what is asked for"
        );
    }
}
