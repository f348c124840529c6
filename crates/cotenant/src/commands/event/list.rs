//! `cotenant event list`.

use std::collections::VecDeque;

use cotenant_core::{
    Result,
    data::PAGE_MAX,
    event::{Events, Read},
    store::Answered,
};

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
    /// So many of the newest
    #[arg(long, value_name = "N", conflicts_with = "after", default_value_t = 50)]
    last: usize,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    let found = match args.after {
        Some(after) => context.call(&args.filter.read(context, after, args.limit)?)?,
        None => {
            newest(context, args.filter.read(context, "start".to_owned(), PAGE_MAX)?, args.last)?
        }
    };
    if screen.json() {
        screen.data(&found.answer, found.seq, found.tick)?;
        return Ok(Exit::SUCCESS);
    }
    if found.answer.events.is_empty() {
        screen.line("no events");
    }
    found.answer.events.iter().for_each(|event| filter::print(screen, event));
    if found.answer.more {
        context.note(&format!("there are more: --after {}", found.answer.cursor));
    }
    Ok(Exit::SUCCESS)
}

/// Reads the whole log and keeps the newest events that match.
fn newest(context: &Context, mut operation: Read, count: usize) -> Result<Answered<Events>> {
    let mut newest = VecDeque::new();
    loop {
        let mut page = context.call(&operation)?;
        newest.extend(page.answer.events);
        newest.drain(..newest.len().saturating_sub(count));
        if !page.answer.more {
            page.answer.events = newest.into();
            return Ok(page);
        }
        operation.after = page.answer.cursor;
    }
}
