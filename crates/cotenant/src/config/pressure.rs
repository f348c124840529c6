//! The settings of pressure: `[pressure]` in both files.

use std::path::Path;

use cotenant_core::{Error, Result, name::shown, pressure::Filling};

use super::{Shown, nearest};
use crate::project::Project;

/// The table.
pub(super) const TABLE: &str = "pressure";
const NAMES: [&str; 3] = ["window", "budget", "tokens"];
/// As many levels are above normal.
const LEVELS: usize = 4;

/// Against what the pressure of a session is measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Tokens that fit into a context, whatever the agent says.
    pub(crate) window: Option<i64>,
    /// Tokens that a session may use.
    pub(crate) budget: Option<i64>,
    /// Tokens in the context at which the levels above normal are reached at the latest.
    pub(crate) tokens: Vec<i64>,
    origins: [String; 3],
}

/// The limits that hold for a project; none where a file cannot be read, since hooks do not fail.
pub(crate) fn limits(project: &Project) -> Limits {
    super::load(project).map(|config| config.limits).unwrap_or_default()
}

impl Limits {
    /// What fills a session, against these limits: they stand over what was reported.
    pub(crate) fn over(&self, filling: Filling) -> Filling {
        Filling {
            context_window: self.window.or(filling.context_window),
            budget: self.budget.or(filling.budget),
            ..filling
        }
    }

    /// Takes the table of a file in. A project may only make things stricter: lower. Answers what has no effect.
    pub(super) fn take(
        &mut self,
        value: &toml::Value,
        file: &Path,
        is_project: bool,
    ) -> Result<Vec<String>> {
        let origin = file.display().to_string();
        let wrong = |what: &str| Error::invalid(format!("`{TABLE}` in {origin}: {what}"));
        let table = value.as_table().ok_or_else(|| wrong("it must be a table"))?;
        let mut warnings = Vec::new();
        for (name, value) in table {
            let Some(index) = NAMES.iter().position(|known| known == name) else {
                let near = nearest::nearest(name, NAMES.into_iter());
                let near = near.map(|it| format!("; did you mean `{it}`?")).unwrap_or_default();
                let name = shown(name);
                warnings.push(format!("`{TABLE}.{name}` in `{origin}` is no setting{near}"));
                continue;
            };
            let stricter = if index == 2 {
                self.take_tokens(value, is_project).ok_or_else(|| {
                    wrong("`tokens` must be up to four ascending numbers, e.g. [60000, 100000]")
                })?
            } else {
                let number = value.as_integer().filter(|number| *number > 0);
                let number =
                    number.ok_or_else(|| wrong(&format!("`{name}` must be a number of tokens")))?;
                let limit = if index == 0 { &mut self.window } else { &mut self.budget };
                let stricter = !is_project || limit.is_none_or(|before| number <= before);
                if stricter {
                    *limit = Some(number);
                }
                stricter
            };
            if stricter {
                self.origins[index].clone_from(&origin);
            } else {
                warnings.push(format!(
                    "`{TABLE}.{name}` in `{origin}` has no effect: a project may only make things stricter"
                ));
            }
        }
        Ok(warnings)
    }

    /// `None` if it is no list of levels; else whether it was taken.
    fn take_tokens(&mut self, value: &toml::Value, is_project: bool) -> Option<bool> {
        let list =
            value.as_array()?.iter().map(toml::Value::as_integer).collect::<Option<Vec<_>>>()?;
        if list.len() > LEVELS || !list.is_sorted() || list.iter().any(|number| *number <= 0) {
            return None;
        }
        let lower = list.len() >= self.tokens.len()
            && self.tokens.iter().zip(&list).all(|(before, after)| after <= before);
        let taken = !is_project || lower;
        if taken {
            self.tokens = list;
        }
        Some(taken)
    }

    /// For people; what is not set is not shown.
    pub(super) fn shown(&self) -> Vec<Shown> {
        let tokens = self.tokens.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
        let values = [
            ("pressure.window", self.window.map(|number| number.to_string())),
            ("pressure.budget", self.budget.map(|number| number.to_string())),
            ("pressure.tokens", (!tokens.is_empty()).then_some(tokens)),
        ];
        let set = values.into_iter().zip(&self.origins);
        set.filter_map(|((name, value), origin)| {
            Some(Shown { name, value: value?, origin: origin.clone() })
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(limits: &mut Limits, text: &str, is_project: bool) -> Result<Vec<String>> {
        let table: toml::Table = text.parse().unwrap();
        limits.take(&toml::Value::Table(table), Path::new("x.toml"), is_project)
    }

    #[test]
    fn a_project_only_lowers_limits() {
        let mut limits = Limits::default();
        let user = "window = 150000\ntokens = [60000, 100000]";
        assert_eq!(take(&mut limits, user, false).unwrap(), [""; 0]);
        let project = "window = 200000\nbudget = 900000\ntokens = [50000, 90000, 120000]";
        assert_eq!(take(&mut limits, project, true).unwrap().len(), 1);
        assert_eq!((limits.window, limits.budget), (Some(150_000), Some(900_000)));
        assert_eq!(limits.tokens, [50_000, 90_000, 120_000]);
        assert_eq!(take(&mut limits, "tokens = [70000]", true).unwrap().len(), 1);
        assert_eq!(limits.shown().len(), 3);
    }

    #[test]
    fn wrong_limits_are_refused_and_unknown_names_told() {
        let mut limits = Limits::default();
        for bad in [
            "window = 0",
            "window = \"1\"",
            "tokens = [2, 1]",
            "tokens = [1, 2, 3, 4, 5]",
            "tokens = 5",
        ] {
            assert!(take(&mut limits, bad, false).is_err(), "{bad}");
        }
        let told = take(&mut limits, "budgt = 5", false).unwrap();
        assert!(told[0].ends_with("did you mean `budget`?"), "{told:?}");
    }
}
