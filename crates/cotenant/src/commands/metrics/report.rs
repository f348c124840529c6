//! `cotenant metrics report`.

use cotenant_core::{
    Result,
    metric::{ReportMetrics, Reported},
    pressure::Level,
};

use super::super::parse;
use crate::{
    context::{Context, decode},
    exit::Exit,
    hook::measure,
    output::Screen,
    thresholds,
};

/// Report what your session has used since its conversation began
///
/// Counters are cumulative: of the old and the new number the greater one is kept, so repeating a report
/// changes nothing. Gauges are numbers of a moment: the newest is kept. Hooks report for agents that have them.
/// What this takes past a checkpoint or a level of pressure is told, once each.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant metrics report --counter messages=8 --gauge context_tokens=29414
  cotenant metrics report --source ci --counter validations_run=15")]
pub(crate) struct Args {
    /// A cumulative number, e.g. `messages=8`
    #[arg(long = "counter", value_name = "NAME=NUMBER", value_parser = parse::number)]
    counters: Vec<(String, i64)>,
    /// A number of this moment, e.g. `context_tokens=29414`
    #[arg(long = "gauge", value_name = "NAME=NUMBER", value_parser = parse::number)]
    gauges: Vec<(String, i64)>,
    /// Who counts; numbers of different sources are added up
    #[arg(long, value_name = "NAME", default_value = "command")]
    source: String,
    /// The model that was used
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    let operation = ReportMetrics {
        source: args.source,
        model: args.model,
        counters: args.counters.into_iter().collect(),
        gauges: args.gauges.into_iter().collect(),
        seq: measure::now_ms(),
        thresholds: Vec::new(),
    };
    let reply = context.ask(&operation)?;
    let actor = context.actor()?.clone();
    let crossing = thresholds::cross(context, &actor, &operation.source)?;
    let (crossed, pressure) = crossing.map(|it| (it.crossed, it.pressure)).unzip();
    let crossed = crossed.unwrap_or_default();
    if screen.json() {
        let reported = Reported { crossed, ..decode::<ReportMetrics>(&reply)? };
        screen.data(&reported, reply.seq, reply.tick)?;
        return Ok(Exit::SUCCESS);
    }
    screen.line("reported");
    if let Some(pressure) = pressure.filter(|_| !crossed.is_empty()) {
        screen.line(format!("crossed {}", crossed.join(", ")));
        let level = pressure.level;
        let is_new = crossed.contains(&format!("level-{}", level.word()));
        let advice = what_to_do(level).filter(|_| is_new).map(|it| format!(": {it}"));
        let advice = advice.unwrap_or_default();
        screen.line(format!("pressure {} % {}{advice}", pressure.percent(), level.word()));
    }
    Ok(Exit::SUCCESS)
}

/// What is advised at a level.
const fn what_to_do(level: Level) -> Option<&'static str> {
    match level {
        Level::Normal => None,
        Level::Elevated => {
            Some("a handoff may become necessary; `cotenant handoff draft` notes what comes next")
        }
        Level::High => Some("a handoff is recommended: `cotenant handoff offer`"),
        Level::Critical | Level::Dangerous => Some("hand over now: `cotenant handoff offer`"),
    }
}
