//! Pressure: how full a session is, as one figure and a level.
//!
//! The score is the greatest of four shares, each with a weight: the context in its window, the session's
//! tokens in its budget, messages, and failures among the last ten calls of tools. It belongs to one session;
//! the pressure of several has no meaning and is never computed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The window of a model unless it is known.
pub const WINDOW: i64 = 200_000;
/// So many messages make a conversation as long as one should be.
const MESSAGES_FULL: i64 = 400;
/// What a long conversation counts at most, in per cent.
const MESSAGES_WEIGHT: i64 = 60;
/// How many calls of tools are looked at for failures.
pub const RECENT_CALLS: i64 = 10;
/// What failures alone count at most, in per cent.
const ERRORS_WEIGHT: i64 = 60;
/// The share of the window or the budget, in per cent, at which a checkpoint is due.
pub const CHECKPOINTS: [i64; 3] = [25, 50, 75];

/// What fills a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filling {
    /// Tokens in the context.
    pub context_tokens: i64,
    /// Tokens that fit; [`WINDOW`] unless known.
    pub context_window: Option<i64>,
    /// Tokens used over the session.
    pub session_tokens: i64,
    /// Tokens that may be used; no limit unless set.
    pub budget: Option<i64>,
    /// Messages of the conversation.
    pub messages: i64,
    /// Failures among the last [`RECENT_CALLS`] calls of tools.
    pub recent_errors: i64,
}

/// How full a session is, in words.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Below 30 %.
    #[default]
    Normal,
    /// From 30 %: a handoff may come.
    Elevated,
    /// From 50 %: a handoff is recommended.
    High,
    /// From 70 %: a handoff is asked for.
    Critical,
    /// From 85 %: compaction is near.
    Dangerous,
}

impl Level {
    /// Those above normal, with the per mille from which they are reached.
    pub const ABOVE: [(Self, i64); 4] =
        [(Self::Elevated, 300), (Self::High, 500), (Self::Critical, 700), (Self::Dangerous, 850)];

    /// The word on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Elevated => "elevated",
            Self::High => "high",
            Self::Critical => "critical",
            Self::Dangerous => "dangerous",
        }
    }

    /// The level of a word.
    pub fn of(word: &str) -> Option<Self> {
        let above = Self::ABOVE.into_iter().map(|(level, _)| level);
        above.chain([Self::Normal]).find(|level| level.word() == word)
    }
}

/// What the score is due to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The context in its window.
    Context,
    /// The session's tokens in its budget.
    Budget,
    /// The length of the conversation.
    Messages,
    /// Failures of tools.
    Errors,
    /// An absolute number of tokens.
    Tokens,
}

/// How full a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pressure {
    /// The score in per mille, rounded down.
    pub per_mille: i64,
    /// The level.
    pub level: Level,
    /// What it is due to.
    pub cause: Cause,
    /// Tokens in the context.
    pub context_tokens: i64,
    /// Tokens that fit.
    pub context_window: i64,
}

impl Pressure {
    /// The score in per cent with one digit: `14.7`.
    pub fn percent(&self) -> String {
        format!("{}.{}", self.per_mille / 10, self.per_mille % 10)
    }
}

/// A share in per mille, at most all of it, rounded down.
fn share(part: i64, whole: i64) -> i64 {
    let part = i128::from(part.clamp(0, whole.max(0)));
    if whole <= 0 { 0 } else { i64::try_from(part * 1_000 / i128::from(whole)).unwrap_or(1_000) }
}

/// Computes the pressure of one session. `tokens` are absolute numbers of tokens in the context at which
/// the levels above normal are reached at the latest, since windows differ.
pub fn pressure(filling: &Filling, tokens: &[i64]) -> Pressure {
    let context_window = filling.context_window.unwrap_or(WINDOW);
    let context = share(filling.context_tokens, context_window);
    let budget = filling.budget.map_or(0, |budget| share(filling.session_tokens, budget));
    let messages = share(filling.messages, MESSAGES_FULL) * MESSAGES_WEIGHT / 100;
    let errors = share(filling.recent_errors, RECENT_CALLS) * ERRORS_WEIGHT / 100;
    let mut most = (context, Cause::Context);
    for (share, cause) in
        [(budget, Cause::Budget), (messages, Cause::Messages), (errors, Cause::Errors)]
    {
        if share > most.0 {
            most = (share, cause);
        }
    }
    let (per_mille, mut cause) = most;
    let reached = |(_, from): &&(Level, i64)| per_mille >= *from;
    let by_score = Level::ABOVE.iter().rfind(reached).map_or(Level::Normal, |(level, _)| *level);
    let by_tokens = Level::ABOVE
        .iter()
        .zip(tokens)
        .rfind(|(_, tokens)| filling.context_tokens >= **tokens)
        .map_or(Level::Normal, |((level, _), _)| *level);
    if by_tokens > by_score {
        cause = Cause::Tokens;
    }
    Pressure {
        per_mille,
        level: by_score.max(by_tokens),
        cause,
        context_tokens: filling.context_tokens,
        context_window,
    }
}

/// The checkpoints that have been passed, as shares in per cent of the window or, if more, of the budget.
pub fn checkpoints(filling: &Filling) -> impl Iterator<Item = i64> {
    let context = share(filling.context_tokens, filling.context_window.unwrap_or(WINDOW));
    let budget = filling.budget.map_or(0, |budget| share(filling.session_tokens, budget));
    let most = context.max(budget);
    CHECKPOINTS.into_iter().filter(move |percent| most >= percent * 10)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn session(messages: i64, context_tokens: i64) -> Filling {
        Filling {
            context_tokens,
            context_window: Some(200_000),
            session_tokens: context_tokens,
            messages,
            ..Filling::default()
        }
    }

    /// The two sessions of the architecture paper, and what became of them when they were blended.
    #[test]
    fn the_figures_of_the_paper() {
        let shown = |filling| {
            let pressure = pressure(&filling, &[]);
            (pressure.percent(), pressure.level)
        };
        assert_eq!(shown(session(8, 29_414)), ("14.7".to_owned(), Level::Normal));
        assert_eq!(shown(session(42, 85_000)), ("42.5".to_owned(), Level::Elevated));
        assert_eq!(shown(session(18, 32_000)), ("16.0".to_owned(), Level::Normal));
        assert_eq!(checkpoints(&session(8, 29_414)).count(), 0);
        assert_eq!(checkpoints(&session(42, 85_000)).collect::<Vec<_>>(), [25]);
    }

    #[test]
    fn the_levels_begin_where_they_say() {
        for (percent, level) in [
            (29, Level::Normal),
            (30, Level::Elevated),
            (49, Level::Elevated),
            (50, Level::High),
            (69, Level::High),
            (70, Level::Critical),
            (84, Level::Critical),
            (85, Level::Dangerous),
            (100, Level::Dangerous),
            (170, Level::Dangerous),
        ] {
            assert_eq!(pressure(&session(0, percent * 2_000), &[]).level, level, "{percent}");
        }
        assert_eq!(pressure(&session(0, 59_999), &[]).level, Level::Normal);
    }

    #[test]
    fn what_weighs_most_decides() {
        let cause = |filling| {
            let pressure = pressure(&filling, &[]);
            (pressure.cause, pressure.per_mille)
        };
        let base = session(10, 20_000);
        assert_eq!(cause(base), (Cause::Context, 100));
        assert_eq!(cause(Filling { budget: Some(25_000), ..base }), (Cause::Budget, 800));
        assert_eq!(cause(Filling { messages: 300, ..base }), (Cause::Messages, 450));
        assert_eq!(cause(Filling { recent_errors: 9, ..base }), (Cause::Errors, 540));
        assert_eq!(cause(Filling { context_window: None, ..base }), (Cause::Context, 100));
    }

    #[test]
    fn absolute_numbers_of_tokens_count_too() {
        let large = Filling { context_window: Some(1_000_000), ..session(0, 150_000) };
        assert_eq!(pressure(&large, &[]).level, Level::Normal);
        let by_tokens = pressure(&large, &[80_000, 120_000, 160_000, 180_000]);
        assert_eq!((by_tokens.level, by_tokens.cause), (Level::High, Cause::Tokens));
        assert_eq!(by_tokens.percent(), "15.0");
    }

    proptest! {
        #[test]
        fn more_is_never_less(tokens in 0..400_000i64, more in 0..50_000i64, messages in 0..900i64, errors in 0..12i64) {
            let less = Filling { recent_errors: errors, ..session(messages, tokens) };
            let full = Filling { context_tokens: tokens + more, ..less };
            let (one, other) = (pressure(&less, &[]), pressure(&full, &[]));
            prop_assert!(one.per_mille <= other.per_mille && one.level <= other.level);
            prop_assert!(other.per_mille <= 1_000);
        }
    }
}
