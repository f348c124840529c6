//! What a statement touches, read from its text.
//!
//! Statements of this store are plain: one table, conditions joined by `AND`. Of those that are, this tells
//! which rows they can concern, and how many of a kind become one. Whatever is not understood has no shape,
//! and is taken to concern everything.

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
    /// More rows, each of a value per column; those that replace a row must differ in these parameters.
    Rows { head: &'static str, tail: &'static str, distinct: Vec<usize> },
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
        let head = &sql[..sql.len() - rest.len() - "VALUES (".len()];
        let in_order = places.iter().enumerate().all(|(at, place)| *place == Some(at));
        let many = match distinct {
            Some(distinct) if in_order && !tail.contains('$') => {
                Many::Rows { head, tail, distinct }
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

    /// The query for many at once, and its parameters. Each row begins with what it was asked for. The text
    /// is the same however many they are: a list of so many places takes a server longer to read than to look
    /// up. A join is looked up in the index whatever the server believes of the table.
    pub(super) fn together(&self, asked: &[Vec<Value>]) -> (String, Vec<Given>) {
        let names = |prefix: &str| {
            let names = (1..=self.width()).map(|at| format!("{prefix}{at}"));
            names.collect::<Vec<_>>().join(", ")
        };
        let (keys, list, from) = (self.keys.join(", "), self.list, self.from);
        let (wanted, numbers) = (names("wanted"), names("$"));
        let given = (0..self.width())
            .map(|at| Given::Column(asked.iter().map(|one| one[at].clone()).collect()))
            .collect();
        let mut text = format!(
            "SELECT {keys}, {list} FROM unnest({numbers}) AS wanted ({wanted}) JOIN {from} ON "
        );
        let equal = self.keys.iter().enumerate();
        let equal = equal.map(|(at, key)| format!("{key} = wanted{}", at + 1));
        let also = self.also.iter().map(|condition| (*condition).to_owned());
        text += &equal.chain(also).collect::<Vec<_>>().join(" AND ");
        if list == COUNT {
            text += " GROUP BY ";
            text += &keys;
        }
        if !self.order.is_empty() {
            text += " ORDER BY ";
            text += self.order;
        }
        (text, given)
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
            Many::Rows { distinct, .. } => {
                let same = |row: &Vec<Value>| distinct.iter().all(|at| row[*at] == values[*at]);
                distinct.is_empty() || !waiting.iter().any(same)
            }
            Many::List { .. } => waiting.first().is_some_and(|first| {
                let common = values.len() - 1;
                first[..common] == values[..common]
            }),
        }
    }

    /// The statement for these, unless it is as it stands, and its parameters.
    pub(super) fn together(&self, rows: Vec<Vec<Value>>) -> (Option<String>, Vec<Given>) {
        match &self.many {
            Many::Rows { head, tail, .. } if rows.len() > 1 => {
                let (columns, given) = columns(rows);
                let numbers: Vec<_> =
                    (1..=given.len()).map(|number| format!("${number}")).collect();
                let names: Vec<_> = (1..=given.len()).map(|number| format!("c{number}")).collect();
                let (columns, numbers, names) =
                    (columns.join(", "), numbers.join(", "), names.join(", "));
                let from = format!("SELECT {columns} FROM unnest({numbers}) AS r ({names})");
                (Some(format!("{head}{from}{tail}")), given)
            }
            Many::List { head } if rows.len() > 1 => {
                let first = rows[0].len();
                let numbers = (first..first + rows.len()).map(|number| format!("${number}"));
                let text = format!("{head}{})", numbers.collect::<Vec<_>>().join(", "));
                let rows = rows.into_iter().enumerate();
                let given = rows.flat_map(|(number, row)| {
                    let common = if number == 0 { 0 } else { row.len() - 1 };
                    row.into_iter().skip(common).map(Given::One)
                });
                (Some(text), given.collect())
            }
            _ => (None, rows.into_iter().flatten().map(Given::One).collect()),
        }
    }
}

/// What a statement is given for one of its parameters.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Given {
    One(Value),
    /// A column: to read as many parameters takes a server longer than to write the rows.
    Column(Vec<Value>),
}

/// Rows by their columns: how the statement names each, and those that it is given. Of a column of nothing but
/// NULL nobody knows the type, so it is no parameter.
fn columns(rows: Vec<Vec<Value>>) -> (Vec<String>, Vec<Given>) {
    let mut columns: Vec<Vec<Value>> = Vec::new();
    for row in rows {
        columns.resize_with(row.len(), Vec::new);
        for (column, value) in columns.iter_mut().zip(row) {
            column.push(value);
        }
    }
    let (mut names, mut given) = (Vec::new(), Vec::new());
    for column in columns {
        if column.iter().all(|value| *value == Value::Null) {
            names.push("NULL".to_owned());
        } else {
            given.push(Given::Column(column));
            names.push(format!("c{}", given.len()));
        }
    }
    (names, given)
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
        let (sql, given) = one.together(&[vec![text("1")], vec![text("2")]]);
        assert_eq!(
            sql,
            "SELECT s.id, s.id, s.name FROM unnest($1) AS wanted (wanted1) \
             JOIN session s ON s.id = wanted1"
        );
        assert_eq!(given, [Given::Column(["1", "2"].map(text).to_vec())]);
        let named = "SELECT l.name FROM lease l WHERE l.kind = $1 AND l.name = $2 AND l.state <> 'released' \
             ORDER BY l.tree";
        let (sql, given) = read(named)
            .unwrap()
            .together(&[["a", "b"].map(text).to_vec(), ["c", "d"].map(text).to_vec()]);
        assert_eq!(
            sql,
            "SELECT l.kind, l.name, l.name FROM unnest($1, $2) AS wanted (wanted1, wanted2) \
             JOIN lease l ON l.kind = wanted1 AND l.name = wanted2 AND l.state <> 'released' \
             ORDER BY l.tree"
        );
        assert_eq!(
            given,
            [["a", "c"], ["b", "d"]].map(|column| Given::Column(column.map(text).to_vec()))
        );
        let count = read("SELECT COUNT(*) FROM lease WHERE session = $1").unwrap();
        assert_eq!(
            count.together(&[vec![text("1")]]).0,
            "SELECT session, COUNT(*) FROM unnest($1) AS wanted (wanted1) \
             JOIN lease ON session = wanted1 GROUP BY session"
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
        let insert = write("INSERT INTO t (a, b, c) VALUES ($1, $2, $3)");
        let row = |a: &str, c: &str| vec![text(a), Value::Null, text(c)];
        let (sql, given) = insert.together(vec![row("1", "2"), row("3", "4")]);
        assert_eq!(
            sql.unwrap(),
            "INSERT INTO t (a, b, c) SELECT c1, NULL, c2 FROM unnest($1, $2) AS r (c1, c2)"
        );
        let column = |values: [&str; 2]| Given::Column(values.map(text).to_vec());
        assert_eq!(given, [column(["1", "3"]), column(["2", "4"])]);
        let alone = row("1", "2").into_iter().map(Given::One).collect();
        assert_eq!(insert.together(vec![row("1", "2")]), (None, alone));
        let touch = write("UPDATE t SET c = $1 + d WHERE a IN ($2)");
        let rows = vec![vec![text("x"), text("1")], vec![text("x"), text("2")]];
        assert!(touch.may_join(&rows, &[text("x"), text("1")]));
        assert!(!touch.may_join(&rows, &[text("y"), text("1")]));
        let (sql, given) = touch.together(rows);
        assert_eq!(sql.unwrap(), "UPDATE t SET c = $1 + d WHERE a IN ($2, $3)");
        assert_eq!(given, ["x", "1", "2"].map(text).map(Given::One));
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
