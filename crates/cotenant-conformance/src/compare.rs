//! What several back ends did, in one report.

use std::{collections::BTreeSet, fmt::Write as _};

use cotenant_core::Code;

use crate::{
    expected::EXPECTED,
    report::{Pair, Report, declared, table, words},
};

/// The reports of several back ends.
#[derive(Debug, Default)]
pub struct Comparison(Vec<(String, Report)>);

impl Comparison {
    /// Adds a back end's report.
    pub fn add(&mut self, name: &str, report: Report) {
        self.0.push((name.to_owned(), report));
    }

    /// How many back ends have an outcome.
    fn count(&self, pair: Pair) -> usize {
        self.0.iter().filter(|(_, report)| report.has(pair)).count()
    }

    fn pairs(&self) -> Vec<Pair> {
        let codes: BTreeSet<Code> = self.0.iter().flat_map(|(_, report)| report.codes()).collect();
        let codes: Vec<Option<Code>> =
            [None].into_iter().chain(codes.into_iter().map(Some)).collect();
        EXPECTED.iter().flat_map(|(name, _)| codes.iter().map(|code| (*name, *code))).collect()
    }

    /// The outcomes that some back ends have and others lack, and which do.
    pub fn differences(&self) -> Vec<String> {
        let differs =
            |pair: &Pair| !matches!(self.count(*pair), 0) && self.count(*pair) < self.0.len();
        let told = |pair: Pair| {
            let (have, lack): (Vec<_>, Vec<_>) =
                self.0.iter().partition(|(_, report)| report.has(pair));
            let names = |reports: Vec<&(String, Report)>| {
                reports.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
            };
            format!("{}: {} does, {} does not", words(&pair), names(have), names(lack))
        };
        self.pairs().into_iter().filter(differs).map(told).collect()
    }

    /// A line a back end, then code × operation: `+` expected and seen on all, `-` expected and seen
    /// on none, a digit seen on so many only, `!` seen and not expected, `.` neither.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let expected: Vec<Pair> = self.pairs().into_iter().filter(declared).collect();
        for (name, report) in &self.0 {
            let seen = expected.iter().filter(|pair| report.has(**pair)).count();
            let (cases, failed, all) = (report.cases, report.failures.len(), expected.len());
            let _ = writeln!(
                text,
                "{name:24} {cases} cases, {failed} failed; {seen} of {all} outcomes of {} operations",
                EXPECTED.len()
            );
        }
        let codes = self.0.iter().flat_map(|(_, report)| report.codes()).collect();
        let mark = |pair: Pair| match (declared(&pair), self.count(pair)) {
            (true, 0) => '-',
            (true, count) if count == self.0.len() => '+',
            (false, 0) => '.',
            (false, _) => '!',
            (true, count) => count.to_string().pop().unwrap_or_default(),
        };
        text + "\n" + &table(&codes, mark)
    }

    /// Whether every back end passed every case, with exactly the outcomes of the contract.
    pub fn verdict(&self) -> Result<(), String> {
        let mut text = String::new();
        for (name, report) in &self.0 {
            if let Err(why) = report.verdict() {
                let _ = writeln!(text, "{name}: {why}");
            }
        }
        for difference in self.differences() {
            let _ = writeln!(text, "{difference}");
        }
        if text.is_empty() { Ok(()) } else { Err(text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Recorder;

    fn report(codes: &[Code]) -> Report {
        let recorder = Recorder::default();
        for code in codes {
            recorder.saw("data.get", *code);
        }
        let mut report = Report::default();
        report.add(&recorder);
        report
    }

    #[test]
    fn what_one_back_end_lacks_is_told() {
        let mut both = Comparison::default();
        both.add("one", report(&[Code::NotFound, Code::Invalid]));
        both.add("two", report(&[Code::Invalid, Code::Held]));
        assert_eq!(
            both.differences(),
            [
                "data.get → NOT_FOUND: one does, two does not",
                "data.get → HELD: two does, one does not"
            ]
        );
        let table = both.table();
        let row = table.lines().find(|line| line.starts_with("data.get ")).unwrap_or_default();
        for mark in ['+', '1', '!', '-'] {
            assert!(row.contains(mark), "{mark} in {row}");
        }
        assert!(both.verdict().is_err());
    }
}
