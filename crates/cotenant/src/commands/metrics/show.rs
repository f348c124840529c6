//! `cotenant metrics show`.

use clap::ValueEnum;
use cotenant_core::{
    Result,
    metric::{By, Metrics, Numbers, SessionMetrics, ShowMetrics, names},
    name::SessionRef,
    pressure::pressure,
};

use crate::{
    complete,
    config::{self, Limits},
    context::Context,
    exit::Exit,
    output::{Look, Screen, Table},
};

/// Show what each session has used and, if asked, totals
///
/// Every session stands by itself. Totals are sums of what only grows; how full sessions are has no total.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant metrics show
  cotenant metrics show --all --by day
  cotenant metrics show claude_1 --json | jq '.data.sessions[0].counters'")]
pub(crate) struct Args {
    /// Only this session, by id or live name
    #[arg(value_name = "NAME", add = complete::sessions())]
    name: Option<String>,
    /// Also sessions that are over
    #[arg(long)]
    all: bool,
    /// Put totals together by this
    #[arg(long, value_enum)]
    by: Option<ByWhat>,
}

/// How totals are put together.
#[derive(Clone, Copy, ValueEnum)]
enum ByWhat {
    User,
    Day,
    Model,
    Label,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    let by = args.by.map(|by| match by {
        ByWhat::User => By::User,
        ByWhat::Day => By::Day,
        ByWhat::Model => By::Model,
        ByWhat::Label => By::Label,
    });
    let one = args.name.is_some();
    let operation = ShowMetrics { session: args.name.map(SessionRef), all: args.all, by };
    let reply = context.ask(&operation)?;
    let limits = config::limits(context.project()?);
    screen.answer::<ShowMetrics>(&reply, |screen, metrics| {
        if one && let [session] = &metrics.sessions[..] {
            all_of(screen, session);
        } else {
            sessions(screen, &metrics, &limits);
        }
        totals(screen, &metrics);
    })?;
    Ok(Exit::SUCCESS)
}

fn number(numbers: &Numbers, name: &str) -> String {
    numbers.get(name).map(i64::to_string).unwrap_or_default()
}

fn dollars(numbers: &Numbers) -> String {
    let cost = numbers.get(names::COST).copied().unwrap_or(0);
    if cost == 0 {
        String::new()
    } else {
        format!("${}.{:02}", cost / 1_000_000, cost / 10_000 % 100)
    }
}

fn sessions(screen: &mut Screen, metrics: &Metrics, limits: &Limits) {
    if metrics.sessions.is_empty() {
        screen.line(
            "no session has reported anything; `cotenant metrics show --all` shows past ones",
        );
        return;
    }
    let mut table = Table::new([
        "SESSION",
        "MESSAGES",
        "CONTEXT",
        "PRESSURE",
        "OUTPUT",
        "CALLS",
        "ERRORS",
        "COMPLEXITY",
        "COST",
    ]);
    for session in &metrics.sessions {
        let pressure = pressure(&limits.over(session.filling()), &limits.tokens);
        let used = &session.counters;
        table.styled_row([
            (Look::Strong, session.name.clone()),
            (Look::Plain, number(used, names::MESSAGES)),
            (Look::Plain, number(&session.gauges, names::CONTEXT_TOKENS)),
            (
                super::super::pressure::look(pressure.level),
                format!("{} {}", pressure.percent(), pressure.level.word()),
            ),
            (Look::Plain, number(used, names::TOKENS_OUTPUT)),
            (Look::Plain, number(used, names::TOOL_CALLS)),
            (Look::Plain, number(used, names::ERRORS)),
            (Look::Plain, session.complexity().to_string()),
            (Look::Plain, dollars(used)),
        ]);
    }
    screen.table(&table);
}

/// Everything that is known of one session.
fn all_of(screen: &mut Screen, session: &SessionMetrics) {
    let mut table = Table::new(["METRIC", "ALL", "THIS CONVERSATION", "NOW"]);
    let names: std::collections::BTreeSet<&String> =
        session.counters.keys().chain(session.gauges.keys()).collect();
    for name in names {
        table.row([
            name.clone(),
            number(&session.counters, name),
            number(&session.conversation, name),
            number(&session.gauges, name),
        ]);
    }
    if table.is_empty() {
        screen.line("it has reported nothing");
    } else {
        screen.table(&table);
    }
    for (threshold, seq) in &session.crossed {
        let threshold = cotenant_core::render::for_terminal(threshold);
        screen.line(format!("crossed {threshold} (event {seq})"));
    }
}

fn totals(screen: &mut Screen, metrics: &Metrics) {
    if metrics.totals.is_empty() {
        return;
    }
    screen.gap();
    let mut table =
        Table::new(["TOTAL", "SESSIONS", "MESSAGES", "INPUT", "OUTPUT", "CALLS", "ERRORS", "COST"]);
    for total in &metrics.totals {
        let of = if total.of.is_empty() { "-".to_owned() } else { total.of.clone() };
        let used = &total.counters;
        table.row([
            of,
            total.sessions.to_string(),
            number(used, names::MESSAGES),
            number(used, names::TOKENS_INPUT),
            number(used, names::TOKENS_OUTPUT),
            number(used, names::TOOL_CALLS),
            number(used, names::ERRORS),
            dollars(used),
        ]);
    }
    screen.table(&table);
}
