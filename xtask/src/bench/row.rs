//! A line of the table: a figure, what it must be and what it should become.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// What a figure is held against.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Limit {
    /// At most so much.
    Most(f64),
    /// At least so much.
    Least(f64),
}

impl Limit {
    fn holds(self, figure: f64) -> bool {
        match self {
            Self::Most(most) => figure <= most,
            Self::Least(least) => figure >= least,
        }
    }

    fn text(limit: Option<Self>) -> String {
        match limit {
            Some(Self::Most(most)) => format!("≤ {most}"),
            Some(Self::Least(least)) => format!("≥ {least}"),
            None => String::new(),
        }
    }
}

/// How a figure stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is where it should become.
    Goal,
    /// It is as it must be.
    Hard,
    /// It is not as it must be.
    Failed,
    /// It is not yet as it must be; nobody asks for it yet.
    Open,
    /// It is held against nothing.
    Measured,
}

impl Verdict {
    const fn word(self) -> &'static str {
        match self {
            Self::Goal => "goal",
            Self::Hard => "hard",
            Self::Failed => "FAILED",
            Self::Open => "not yet",
            Self::Measured => "",
        }
    }
}

/// A line of the table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    what: String,
    figure: f64,
    unit: &'static str,
    hard: Option<Limit>,
    goal: Option<Limit>,
    is_required: bool,
    from: String,
}

impl Row {
    /// A figure, and in words what it was computed from.
    pub(crate) fn new(
        what: impl Into<String>,
        figure: f64,
        unit: &'static str,
        from: impl Into<String>,
    ) -> Self {
        let (what, from) = (what.into(), from.into());
        Self { what, figure, unit, hard: None, goal: None, is_required: false, from }
    }

    /// What it must be, else the command fails.
    pub(crate) fn hard(self, limit: Limit) -> Self {
        Self { hard: Some(limit), is_required: true, ..self }
    }

    /// What it must be one day.
    pub(crate) fn later(self, limit: Limit) -> Self {
        Self { hard: Some(limit), ..self }
    }

    /// What it should become.
    pub(crate) fn goal(self, limit: Limit) -> Self {
        Self { goal: Some(limit), ..self }
    }

    /// How it stands.
    pub(crate) fn verdict(&self) -> Verdict {
        let holds = |limit: Limit| limit.holds(self.figure);
        match (self.hard, self.goal) {
            (None, None) => Verdict::Measured,
            (hard, goal) if hard.is_none_or(holds) && goal.is_some_and(holds) => Verdict::Goal,
            (Some(hard), goal) if holds(hard) => {
                if goal.is_none() {
                    Verdict::Goal
                } else {
                    Verdict::Hard
                }
            }
            (Some(_), _) if self.is_required => Verdict::Failed,
            _ => Verdict::Open,
        }
    }

    /// What it says.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// As JSON.
    pub(crate) fn json(&self) -> Value {
        let limit = |limit: Option<Limit>| match limit {
            Some(Limit::Most(most)) => json!({"most": most}),
            Some(Limit::Least(least)) => json!({"least": least}),
            None => Value::Null,
        };
        json!({
            "what": self.what,
            "figure": self.figure,
            "unit": self.unit,
            "hard": limit(self.hard),
            "goal": limit(self.goal),
            "required": self.is_required,
            "verdict": self.verdict().word(),
            "from": self.from,
        })
    }
}

/// The lines of a group, aligned.
pub(crate) fn table(group: &str, rows: &[Row]) -> String {
    let wide = rows.iter().map(|row| row.what.chars().count()).max().unwrap_or_default();
    let mut text = format!("\n{group}\n");
    for row in rows {
        let figure = format!("{} {}", short(row.figure), row.unit);
        let _ = writeln!(
            text,
            "  {:wide$}  {figure:>14}  {:>8}  {:>8}  {:<7}  {}",
            row.what,
            Limit::text(row.hard),
            Limit::text(row.goal),
            row.verdict().word(),
            row.from,
        );
    }
    text
}

/// A figure with three digits that say something.
pub(crate) fn short(figure: f64) -> String {
    let decimals = match figure.abs() {
        value if value >= 100.0 || value == 0.0 => 0,
        value if value >= 10.0 => 1,
        value if value >= 1.0 => 2,
        _ => 3,
    };
    format!("{figure:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(figure: f64) -> Row {
        Row::new("a", figure, "x", "")
    }

    #[test]
    fn a_row_says_how_it_stands() {
        let both = |figure| row(figure).hard(Limit::Most(3.0)).goal(Limit::Most(2.0)).verdict();
        assert_eq!(both(1.9), Verdict::Goal);
        assert_eq!(both(2.5), Verdict::Hard);
        assert_eq!(both(3.1), Verdict::Failed);
        assert_eq!(row(3.1).later(Limit::Most(3.0)).verdict(), Verdict::Open);
        assert_eq!(row(3.1).hard(Limit::Least(3.0)).verdict(), Verdict::Goal);
        assert_eq!(row(3.1).goal(Limit::Most(3.0)).verdict(), Verdict::Open);
        assert_eq!(row(3.1).verdict(), Verdict::Measured);
    }

    #[test]
    fn a_figure_that_is_no_number_holds_nothing() {
        assert_eq!(row(f64::NAN).hard(Limit::Most(3.0)).verdict(), Verdict::Failed);
        assert_eq!(row(f64::NAN).hard(Limit::Least(3.0)).verdict(), Verdict::Failed);
    }
}
