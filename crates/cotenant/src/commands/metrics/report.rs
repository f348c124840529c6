//! `cotenant metrics report`.

use cotenant_core::{Result, metric::ReportMetrics};

use super::super::parse;
use crate::{context::Context, exit::Exit, hook::measure, output::Screen};

/// Report what your session has used since its conversation began
///
/// Counters are cumulative: of the old and the new number the greater one is kept, so repeating a report
/// changes nothing. Gauges are numbers of a moment: the newest is kept. Hooks report for agents that have them.
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
    screen.answer::<ReportMetrics>(&reply, |screen, _| screen.line("reported"))?;
    Ok(Exit::SUCCESS)
}
