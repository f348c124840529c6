//! Aligned columns.

use cotenant_core::render::{cut, for_terminal};

use super::Look;

/// The longest cell in bytes; a table is for looking, `--json` for the whole text.
const CELL_BYTES_MAX: usize = 120;

/// A table with a line of headings.
pub(crate) struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<(Look, String)>>,
}

impl Table {
    /// An empty table.
    pub(crate) fn new<const COLUMNS: usize>(headings: [&'static str; COLUMNS]) -> Self {
        Self { headings: headings.to_vec(), rows: Vec::new() }
    }

    /// Adds a row of plain cells.
    pub(crate) fn row<const COLUMNS: usize>(&mut self, cells: [String; COLUMNS]) {
        self.styled_row(cells.map(|cell| (Look::Plain, cell)));
    }

    /// Adds a row.
    pub(crate) fn styled_row<const COLUMNS: usize>(&mut self, cells: [(Look, String); COLUMNS]) {
        self.rows.push(cells.into_iter().map(|(look, text)| (look, fit(&text))).collect());
    }

    /// Whether it has no rows.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as lines; columns that are empty in every row are left out.
    pub(super) fn render(&self, paint: impl Fn(Look, &str) -> String) -> String {
        let width = |column: usize| {
            self.rows.iter().map(|row| row[column].1.chars().count()).max().unwrap_or(0)
        };
        let columns: Vec<(usize, usize)> = (0..self.headings.len())
            .filter(|column| width(*column) > 0)
            .map(|column| (column, width(column).max(self.headings[column].len())))
            .collect();
        let mut text = String::new();
        let headings: Vec<(Look, String)> =
            self.headings.iter().map(|heading| (Look::Faint, (*heading).to_owned())).collect();
        for row in std::iter::once(&headings).chain(&self.rows) {
            let mut gap = 0;
            for (column, width) in &columns {
                let (look, cell) = &row[*column];
                if !cell.is_empty() {
                    text.push_str(&" ".repeat(gap));
                    text.push_str(&paint(*look, cell));
                    gap = 0;
                }
                gap += width - cell.chars().count() + 2;
            }
            text.push('\n');
        }
        text
    }
}

fn fit(text: &str) -> String {
    let text = for_terminal(text);
    let short = cut(&text, CELL_BYTES_MAX);
    if short.len() < text.len() { format!("{short}…") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_empty_ones_left_out() {
        let mut table = Table::new(["NAME", "NOTHING", "AGE", "TEXT"]);
        table.row(["a".into(), String::new(), "10s".into(), "é\u{1b}[31m".into()]);
        table.row(["longer".into(), String::new(), "3s".into(), String::new()]);
        let text = table.render(|_, text| text.to_owned());
        assert_eq!(text, "NAME    AGE  TEXT\na       10s  é[31m\nlonger  3s\n");
    }

    #[test]
    fn a_long_cell_is_cut() {
        let mut table = Table::new(["TEXT"]);
        table.row(["é".repeat(200)]);
        let text = table.render(|_, text| text.to_owned());
        assert!(text.ends_with("…\n") && text.len() < 200);
    }
}
