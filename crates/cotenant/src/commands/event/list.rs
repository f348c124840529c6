//! `cotenant event list`.

use cotenant_core::{Result, event::Read};

use super::filter::{self, Filter};
use crate::{context::Context, exit::Exit, output::Screen};

/// List events, the newest last
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant event list                       the newest 50
  cotenant event list --kind 'claim.*' --last 10
  cotenant event list --after start --limit 1000 --json")]
pub(crate) struct Args {
    #[command(flatten)]
    filter: Filter,
    /// Begin behind this cursor; `start` is the oldest event
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
    /// With `--after`, at most so many
    #[arg(long, value_name = "N", requires = "after", default_value_t = 100)]
    limit: u32,
    /// So many of the newest, up to 1,000
    #[arg(long, value_name = "N", conflicts_with = "after", default_value_t = 50)]
    last: u32,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    let read = args.filter.read(context)?;
    let filters = read.kind.is_some() || read.scope.is_some() || read.session.is_some();
    let none = if filters || args.after.is_some() { "no such events" } else { "no events" };
    let found = context.call(&match args.after {
        Some(after) => Read { after: Some(after), limit: args.limit, ..read },
        None => Read { last: Some(args.last), ..read },
    })?;
    if screen.json() {
        screen.data(&found.answer, found.seq, found.tick)?;
        return Ok(Exit::SUCCESS);
    }
    if found.answer.events.is_empty() {
        screen.line(none);
    }
    found.answer.events.iter().for_each(|event| filter::print(screen, event));
    if found.answer.more {
        context.note(&format!("there are more: --after {}", found.answer.cursor));
    }
    Ok(Exit::SUCCESS)
}
