//! `cotenant event watch`.

use std::time::{Duration, Instant};

use cotenant_core::{
    Result,
    clock::MINUTE,
    data::PAGE_MAX,
    event::{Commit, Events, Read},
    store::Answered,
};

use super::{
    super::parse,
    filter::{self, Filter},
};
use crate::{context::Context, exit::Exit, output::Screen};

/// Print events as they happen
///
/// Never misses one: a cursor that was pruned or belongs to another history is an error. With
/// `--json` each line is an envelope with some events and the cursor behind them.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant event watch
  cotenant event watch --kind 'claim.*' --json
  cotenant event watch --consumer deploy-bot       goes on where it stopped
  cotenant event watch --kind user.done --count 1 --for 10m")]
pub(crate) struct Args {
    #[command(flatten)]
    filter: Filter,
    /// Begin behind this cursor
    #[arg(long, value_name = "CURSOR", default_value = "head", conflicts_with = "consumer")]
    after: String,
    /// Remember in the store how far this consumer has come
    #[arg(long, value_name = "NAME")]
    consumer: Option<String>,
    /// Stop after so many events
    #[arg(long, value_name = "N")]
    count: Option<usize>,
    /// Stop after so long
    #[arg(long = "for", value_name = "DURATION", value_parser = parse::duration)]
    duration: Option<u64>,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    let end = args.duration.map(|ms| Instant::now() + Duration::from_millis(ms));
    let after = match &args.consumer {
        Some(consumer) => stand(context, consumer, None)?,
        None => args.after,
    };
    let mut left = args.count.unwrap_or(usize::MAX);
    let mut operation = Read { after: Some(after), ..args.filter.read(context)? };
    while left > 0 {
        let wait = end.map_or(MINUTE, |end| {
            let left = end.saturating_duration_since(Instant::now()).as_millis();
            u64::try_from(left).unwrap_or(MINUTE).min(MINUTE)
        });
        operation.limit = u32::try_from(left).unwrap_or(PAGE_MAX).min(PAGE_MAX);
        operation.wait_ms = Some(wait);
        let found = context.call(&operation)?;
        operation.after = Some(found.answer.cursor.clone());
        left -= found.answer.events.len().min(left);
        if !print(screen, &found)? {
            break;
        }
        // Only what was printed is done: a reader that left gets these events again.
        if let Some(consumer) = &args.consumer {
            stand(context, consumer, Some(found.answer.cursor))?;
        }
        if wait == 0 && !found.answer.more {
            break;
        }
    }
    Ok(Exit::SUCCESS)
}

/// Moves a consumer, or asks where it stands.
fn stand(context: &Context, consumer: &str, cursor: Option<String>) -> Result<String> {
    let operation = Commit { consumer: consumer.to_owned(), cursor };
    Ok(context.call_aside(&operation)?.answer.cursor)
}

/// Prints a batch. Answers whether somebody still reads.
fn print(screen: &mut Screen, found: &Answered<Events>) -> Result<bool> {
    if screen.json() && !found.answer.events.is_empty() {
        screen.data(&found.answer, found.seq, found.tick)?;
    } else {
        found.answer.events.iter().for_each(|event| filter::print(screen, event));
    }
    screen.flush()
}
