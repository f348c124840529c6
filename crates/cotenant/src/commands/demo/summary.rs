//! What the demo found, row by row.

use cotenant_core::render::for_terminal;
use serde::Serialize;

use crate::output::{Look, Screen, Table};

/// One promise, and whether it was kept.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    promise: String,
    measured: String,
    good: bool,
}

/// All rows.
#[derive(Debug, Default, Serialize)]
pub(super) struct Summary {
    rows: Vec<Row>,
}

impl Summary {
    /// Adds a row.
    pub(super) fn row(&mut self, promise: &str, measured: impl Into<String>, good: bool) {
        self.rows.push(Row { promise: promise.to_owned(), measured: measured.into(), good });
    }

    /// Whether every promise was kept, and there was one.
    pub(super) fn is_good(&self) -> bool {
        !self.rows.is_empty() && self.rows.iter().all(|row| row.good)
    }

    /// Prints the table and the verdict.
    pub(super) fn print(&self, screen: &mut Screen) {
        screen.line("");
        let mut table = Table::new(["", "PROMISE", "MEASURED"]);
        for row in &self.rows {
            let (word, look) = if row.good { ("good", Look::Good) } else { ("BAD", Look::Warning) };
            table.styled_row([
                (look, word.to_owned()),
                (Look::Plain, row.promise.clone()),
                (Look::Plain, for_terminal(&row.measured)),
            ]);
        }
        screen.table(&table);
        let bad = self.rows.iter().filter(|row| !row.good).count();
        screen.line(match bad {
            0 => format!("\nAll {} rows are good.", self.rows.len()),
            bad => format!("\n{bad} of {} rows are BAD.", self.rows.len()),
        });
    }
}
