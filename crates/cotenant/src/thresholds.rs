//! The thresholds of a session: its checkpoints and the levels of its pressure.
//!
//! Which are passed follows from all that was reported of a session, whoever reported it. The store keeps which of
//! them a session has crossed, so that each is one event, whatever is reported again.

use cotenant_core::{
    Result,
    metric::{Numbers, ReportMetrics, ShowMetrics, Threshold, names},
    pressure::{Cause, Filling, Level, Pressure, checkpoints, pressure},
    store::{Actor, Request},
};

use crate::{
    config,
    context::{Context, decode},
    hook::measure::now_ms,
    token,
};

/// The gauge of the pressure, in per mille.
pub(crate) const PRESSURE: &str = "pressure";
/// The gauge of the tokens that count against a budget.
pub(crate) const TOKENS_USED: &str = "tokens_used";

/// What a report of a session's figures led to.
#[derive(Debug)]
pub(crate) struct Crossing {
    /// The thresholds that were crossed just now.
    pub(crate) crossed: Vec<String>,
    /// How full the session is.
    pub(crate) pressure: Pressure,
}

/// The thresholds that are passed and not known to the store.
pub(crate) fn passed(
    filling: &Filling,
    pressure: &Pressure,
    is_known: impl Fn(&str) -> bool,
) -> Vec<Threshold> {
    let window = pressure.context_window;
    let checkpoint = |percent: i64| {
        let of_context = filling.context_tokens * 100 >= window * percent;
        let (metric, whole) = match filling.budget {
            Some(budget) if !of_context => (TOKENS_USED, budget),
            _ => (names::CONTEXT_TOKENS, window),
        };
        let at_least = (whole * percent).div_euclid(100);
        Threshold { name: format!("tokens-{percent}"), metric: metric.to_owned(), at_least }
    };
    let level = |(level, from): (Level, i64)| {
        let by_tokens = pressure.cause == Cause::Tokens && pressure.per_mille < from;
        let (metric, at_least) =
            if by_tokens { (names::CONTEXT_TOKENS, 0) } else { (PRESSURE, from) };
        Threshold { name: format!("level-{}", level.word()), metric: metric.to_owned(), at_least }
    };
    let levels = Level::ABOVE.into_iter().filter(|(level, _)| *level <= pressure.level);
    let all = checkpoints(filling).map(checkpoint).chain(levels.map(level));
    all.filter(|threshold| !is_known(&threshold.name)).collect()
}

/// Crosses what a session has passed by now, in the name of a source that has just reported. A caller that dies
/// before this has lost nothing: the next report crosses it.
pub(crate) fn cross(context: &Context, actor: &Actor, source: &str) -> Result<Option<Crossing>> {
    let show = ShowMetrics { session: Some(actor.session.clone()), all: true, by: None };
    let Some(session) = context.call_aside(&show)?.answer.sessions.pop() else { return Ok(None) };
    let limits = config::limits(context.project()?);
    let filling = limits.over(session.filling());
    let pressure = pressure(&filling, &limits.tokens);
    let thresholds = passed(&filling, &pressure, |name| session.crossed.contains_key(name));
    let mut crossed = Vec::new();
    if !thresholds.is_empty() {
        let number = |metric: &str| match metric {
            PRESSURE => pressure.per_mille,
            TOKENS_USED => filling.session_tokens,
            _ => filling.context_tokens,
        };
        let gauges = thresholds.iter().map(|it| (it.metric.clone(), number(&it.metric)));
        let report = ReportMetrics {
            source: source.to_owned(),
            model: None,
            counters: Numbers::new(),
            gauges: gauges.collect(),
            seq: now_ms(),
            thresholds,
        };
        let request = Request::new(report).by(actor.clone()).id(token::request_id()?);
        crossed = decode::<ReportMetrics>(&context.submit(request)?)?.crossed;
    }
    Ok(Some(Crossing { crossed, pressure }))
}
