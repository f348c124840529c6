//! Metrics: what each session has used, and how full it is.
//!
//! # Invariants
//! - A counter never goes down; repeats and reordering of reports change nothing.
//! - Sessions never share a row. Totals are computed when they are read; what is full is told per session
//!   only and never added up.
//! - A session crosses each threshold once.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Code, Error, Operation, Result,
    id::{Seq, SessionId, check_count},
    name::{SessionRef, check_name},
    operation::{ActorRule, Effect},
    pressure::Filling,
};

/// The most counters, gauges or thresholds of one report.
pub const METRICS_MAX: usize = 64;
/// The most counters and gauges that one source keeps of a session.
pub const KEPT_MAX: usize = 256;

/// How many of the newest tasks of a store are looked at for those that a session added.
pub const TASKS_NEWEST_MAX: i64 = 1_000;
/// How many older tasks are looked up to follow chains.
pub const TASKS_LOOKED_UP_MAX: usize = 200;

/// Numbers by name.
pub type Numbers = BTreeMap<String, i64>;

/// Names that mean something here.
pub mod names {
    /// Prompts and answers of a conversation.
    pub const MESSAGES: &str = "messages";
    /// Tokens sent and not cached.
    pub const TOKENS_INPUT: &str = "tokens_input";
    /// Tokens answered.
    pub const TOKENS_OUTPUT: &str = "tokens_output";
    /// Tokens written to the cache.
    pub const TOKENS_CACHE_WRITE: &str = "tokens_cache_write";
    /// Tokens read from the cache.
    pub const TOKENS_CACHE_READ: &str = "tokens_cache_read";
    /// Tokens of subagents, sent, written to the cache and answered.
    pub const TOKENS_SUBAGENT: &str = "tokens_subagent";
    /// What the session has cost, in millionths of a dollar.
    pub const COST: &str = "cost_microusd";
    /// Calls of tools.
    pub const TOOL_CALLS: &str = "tool_calls";
    /// Calls of tools that failed; `errors/TOOL/KIND` tells which and how.
    pub const ERRORS: &str = "errors";
    /// How often the conversation was compacted.
    pub const COMPACTIONS: &str = "compactions";
    /// Gauge: tokens in the context now.
    pub const CONTEXT_TOKENS: &str = "context_tokens";
    /// Gauge: tokens that fit into the context.
    pub const CONTEXT_WINDOW: &str = "context_window";
    /// Gauge: tokens that the session may use.
    pub const BUDGET: &str = "token_budget";
    /// Gauge: failures among the last ten calls of tools.
    pub const RECENT_ERRORS: &str = "recent_errors";
    /// Gauge: files that were edited.
    pub const FILES_TOUCHED: &str = "files_touched";
    /// Gauge: tasks that the session runs, or that it added and nobody else runs, and that are not over. Computed
    /// when it is shown, unless it was reported.
    pub const OPEN_TASKS: &str = "open_tasks";
    /// Gauge: the longest chain of unfinished tasks that those need. Computed likewise.
    pub const DEPENDENCY_DEPTH: &str = "dependency_depth";
}

/// A mark on the way of a counter or gauge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// Its name, e.g. `tokens-25`; a session crosses it once.
    pub name: String,
    /// The counter or gauge.
    pub metric: String,
    /// From where on it is crossed.
    pub at_least: i64,
}

/// Reports what the actor has used since its conversation began.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReportMetrics {
    /// Who counts, e.g. `transcript`.
    pub source: String,
    /// The model that was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Cumulative numbers: the greater of old and new is kept.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counters: Numbers,
    /// Numbers of a moment: that of the highest `seq` is kept.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub gauges: Numbers,
    /// The source's own sequence, for the gauges.
    #[serde(default)]
    pub seq: i64,
    /// Marks to look at. With any, the report is as durable as an event.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub thresholds: Vec<Threshold>,
}

/// The answer of [`ReportMetrics`].
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Reported {
    /// The thresholds that this report crossed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub crossed: Vec<String>,
    /// When the session must have been heard of again: a report is a sign of life.
    pub expires_in_ms: u64,
}

impl Operation for ReportMetrics {
    const NAME: &'static str = "metrics.report";
    const EFFECT: Effect = Effect::Soft;
    const ACTOR: ActorRule = ActorRule::Required;
    const SUMMARY: &'static str = "Report what a session has used";
    type Answer = Reported;

    /// An event must not vanish once somebody may have read it.
    fn effect(&self) -> Effect {
        if self.thresholds.is_empty() { Effect::Soft } else { Effect::Write }
    }

    fn check(&mut self) -> Result<()> {
        check_name("source", &self.source)?;
        self.model.as_ref().map_or(Ok(()), |model| check_name("model", model))?;
        check_count("seq", self.seq)?;
        if self.counters.is_empty() && self.gauges.is_empty() && self.thresholds.is_empty() {
            return Err(Error::invalid("a report without a number").hint(
                "give counters or gauges, e.g. `--counter messages=8 --gauge context_tokens=29414`",
            ));
        }
        let most = self.counters.len().max(self.gauges.len()).max(self.thresholds.len());
        if most > METRICS_MAX {
            return Err(Error::new(
                Code::TooLarge,
                format!("a report of {most} numbers; at most {METRICS_MAX} of a kind"),
            ));
        }
        for (name, number) in self.counters.iter().chain(&self.gauges) {
            check_name("metric", name)?;
            check_count(name, *number)?;
        }
        for threshold in &self.thresholds {
            check_name("threshold", &threshold.name)?;
            check_name("metric", &threshold.metric)?;
            check_count("at_least", threshold.at_least)?;
        }
        Ok(())
    }
}

/// How totals are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// By the account that sessions work for.
    User,
    /// By the day on which it was used.
    Day,
    /// By model; what was counted without one is under no name.
    Model,
    /// By label; a session with two counts under both, one without any under no name.
    Label,
}

/// Shows metrics per session, and totals.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShowMetrics {
    /// Only this session, by id or live name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionRef>,
    /// Also those that are over.
    #[serde(default)]
    pub all: bool,
    /// Put totals together so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<By>,
}

/// What one session has used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionMetrics {
    /// The session.
    pub session: String,
    /// Its name.
    pub name: String,
    /// The account that it works for.
    pub user: String,
    /// The model that was reported last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Since when it is here.
    pub since: String,
    /// What it has used, over all its conversations.
    pub counters: Numbers,
    /// What its present conversation has used.
    pub conversation: Numbers,
    /// How it stands now.
    pub gauges: Numbers,
    /// The thresholds that it has crossed, each with its event.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub crossed: BTreeMap<String, Seq>,
}

/// What several sessions have used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Total {
    /// The account, day, model or label; empty for what has none.
    pub of: String,
    /// How many sessions are in it.
    pub sessions: u64,
    /// The sums of their counters. Gauges have no sum.
    pub counters: Numbers,
}

/// The answer of [`ShowMetrics`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Metrics {
    /// Each session, the newest first.
    pub sessions: Vec<SessionMetrics>,
    /// The totals that were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub totals: Vec<Total>,
}

impl Operation for ShowMetrics {
    const NAME: &'static str = "metrics.show";
    const EFFECT: Effect = Effect::Read;
    const ACTOR: ActorRule = ActorRule::Optional;
    const SUMMARY: &'static str = "Show what sessions have used, each by itself, and totals";
    type Answer = Metrics;

    fn check(&mut self) -> Result<()> {
        self.session.as_ref().map_or(Ok(()), SessionRef::check)
    }
}

impl SessionMetrics {
    /// A counter or, if there is none of that name, a gauge.
    fn number(&self, name: &str) -> i64 {
        self.conversation.get(name).or_else(|| self.gauges.get(name)).copied().unwrap_or(0)
    }

    /// The id, as a session.
    pub fn id(&self) -> SessionId {
        SessionId(self.session.clone())
    }

    /// Tokens that the session has used: what was sent again from the cache was counted before.
    pub fn tokens_used(&self) -> i64 {
        use names::{TOKENS_CACHE_WRITE, TOKENS_INPUT, TOKENS_OUTPUT, TOKENS_SUBAGENT};
        let all = [TOKENS_INPUT, TOKENS_OUTPUT, TOKENS_CACHE_WRITE, TOKENS_SUBAGENT];
        all.iter().filter_map(|name| self.counters.get(*name)).sum()
    }

    /// What fills the session.
    pub fn filling(&self) -> Filling {
        let gauge = |name: &str| self.gauges.get(name).copied().filter(|number| *number > 0);
        Filling {
            context_tokens: self.number(names::CONTEXT_TOKENS),
            context_window: gauge(names::CONTEXT_WINDOW),
            session_tokens: self.tokens_used(),
            budget: gauge(names::BUDGET),
            messages: self.number(names::MESSAGES),
            recent_errors: self.number(names::RECENT_ERRORS),
        }
    }

    /// How involved the session's work is: 3 for each open task, 1 for each file touched, 1 for each ten calls
    /// of tools, 5 for each link of the longest chain of tasks that wait for each other.
    pub fn complexity(&self) -> i64 {
        3 * self.number(names::OPEN_TASKS)
            + self.number(names::FILES_TOUCHED)
            + self.number(names::TOOL_CALLS) / 10
            + 5 * self.number(names::DEPENDENCY_DEPTH)
    }

    /// Failures of tools by tool and kind, e.g. `Bash/exit`.
    pub fn errors(&self) -> impl Iterator<Item = (&str, i64)> {
        self.counters
            .iter()
            .filter_map(|(name, count)| Some((name.strip_prefix("errors/")?, *count)))
    }
}

/// What of a session is kept of one source: counters, gauges with their sequence, counters at each day's end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kept {
    /// The greatest of each counter.
    pub counters: Numbers,
    /// The gauge of the highest sequence, with it.
    pub gauges: BTreeMap<String, (i64, i64)>,
    /// The counters as they were last on each day.
    pub days: BTreeMap<String, Numbers>,
}

impl Kept {
    /// Takes a report in. Answers whether anything changed.
    pub fn take(&mut self, report: &ReportMetrics, day: &str) -> bool {
        let mut changed = false;
        for (name, number) in &report.counters {
            let kept = self.counters.entry(name.clone()).or_insert(-1);
            changed |= number > kept;
            *kept = (*kept).max(*number);
        }
        for (name, number) in &report.gauges {
            let kept = self.gauges.entry(name.clone()).or_insert((-1, 0));
            if report.seq > kept.0 {
                changed = true;
                *kept = (report.seq, *number);
            }
        }
        if changed && !self.counters.is_empty() {
            self.days.insert(day.to_owned(), self.counters.clone());
        }
        changed
    }

    /// How much was used on each day.
    pub fn by_day(&self) -> BTreeMap<&str, Numbers> {
        let mut before = Numbers::new();
        let mut days = BTreeMap::new();
        for (day, counters) in &self.days {
            let used = |(name, number): (&String, &i64)| {
                (name.clone(), number - before.get(name).copied().unwrap_or(0))
            };
            days.insert(day.as_str(), counters.iter().map(used).collect());
            before.clone_from(counters);
        }
        days
    }
}

/// Adds numbers up.
pub fn add(sum: &mut Numbers, numbers: &Numbers) {
    for (name, number) in numbers {
        let sum = sum.entry(name.clone()).or_default();
        *sum = sum.saturating_add(*number);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn report(seq: i64, counter: i64, gauge: i64) -> ReportMetrics {
        ReportMetrics {
            source: "s".into(),
            model: None,
            counters: [("c".to_owned(), counter)].into(),
            gauges: [("g".to_owned(), gauge)].into(),
            seq,
            thresholds: Vec::new(),
        }
    }

    proptest! {
        #[test]
        fn the_order_of_reports_does_not_matter(
            order in Just((1..8).collect::<Vec<i64>>()).prop_shuffle(),
            twice in 0..7usize,
        ) {
            let mut kept = Kept::default();
            for seq in order.iter().chain([&order[twice]]) {
                kept.take(&report(*seq, seq * 10, 100 - seq), "d");
            }
            prop_assert_eq!(kept.counters["c"], 70);
            prop_assert_eq!(kept.gauges["g"], (7, 93));
            prop_assert!(!kept.take(&report(7, 70, 93), "d"));
        }
    }

    #[test]
    fn a_day_has_what_was_used_on_it() {
        let mut kept = Kept::default();
        kept.take(&report(1, 10, 0), "2026-11-29");
        kept.take(&report(2, 15, 0), "2026-11-29");
        kept.take(&report(3, 40, 0), "2026-11-30");
        let used: Vec<i64> = kept.by_day().values().map(|day| day["c"]).collect();
        assert_eq!(used, [15, 25]);
    }

    #[test]
    fn a_report_that_may_write_an_event_is_durable() {
        let mut one = report(1, 1, 1);
        assert_eq!(one.effect(), Effect::Soft);
        one.thresholds.push(Threshold { name: "t".into(), metric: "c".into(), at_least: 1 });
        assert_eq!(one.effect(), Effect::Write);
    }

    #[test]
    fn complexity_is_as_defined() {
        let numbers = |numbers: &[(&str, i64)]| {
            numbers.iter().map(|(name, number)| ((*name).to_owned(), *number)).collect()
        };
        let one = SessionMetrics {
            gauges: numbers(&[
                (names::OPEN_TASKS, 2),
                (names::FILES_TOUCHED, 7),
                (names::DEPENDENCY_DEPTH, 3),
            ]),
            conversation: numbers(&[(names::TOOL_CALLS, 45)]),
            counters: numbers(&[("errors/Bash/exit", 3), ("errors", 3)]),
            ..SessionMetrics::default()
        };
        assert_eq!(one.complexity(), 6 + 7 + 4 + 15);
        assert_eq!(one.errors().collect::<Vec<_>>(), [("Bash/exit", 3)]);
    }
}
