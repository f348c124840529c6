//! `cotenant claim`.

use std::time::{Duration, Instant};

use cotenant_core::{
    Code, Error, Result,
    claim::{Claim, Claimed, Item, Mode},
    event::{Head, Read},
    render::for_terminal,
    store::Reply,
};

use super::parse;
use crate::{
    context::Context,
    exit::Exit,
    output::{Look, Screen, holding_line, item_words},
};

/// The longest sleep between two tries: a holder that dies writes no event, and only the next try
/// finds it dead.
const SLEEP_MAX_MS: u64 = 1_000;

/// Claim issues, paths or branches, all or none
///
/// Fails with 73 if another session has one of them, and names all that are taken, and tasks that are
/// ready instead. A claim lives
/// as long as your session. Paths are those of the working directory; a directory stands for all
/// below it.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant claim issue:15 path:src/parser/ --intent 'rewrite the lexer'
  cotenant claim branch:release --wait 10m
  cotenant claim --any issue:15 issue:16       the first that is free
  cotenant claim path:docs --advisory          tells others, keeps nobody out")]
pub(crate) struct Args {
    /// What to claim: issue:15, path:src/, branch:name, other:name
    #[arg(required = true, value_name = "ITEM", value_parser = parse::item)]
    items: Vec<Item>,
    /// Only one of them: the first that is free, in this order
    #[arg(long)]
    any: bool,
    /// Tell others, keep nobody out
    #[arg(long)]
    advisory: bool,
    /// What for, shown to others
    #[arg(long, value_name = "TEXT")]
    intent: Option<String>,
    /// How long, 5s to 24h; as long as the session when absent
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    ttl: Option<u64>,
    /// Wait so long until all are free, or one with `--any`
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    wait: Option<u64>,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    context.prepare::<Claim>()?;
    let items = args.items.into_iter().map(|item| context.place(item)).collect::<Result<_>>()?;
    let operation = Claim {
        items,
        mode: if args.advisory { Mode::Advisory } else { Mode::Exclusive },
        intent: args.intent,
        ttl_ms: args.ttl,
        automatic: false,
        any: args.any,
    };
    let reply = match args.wait {
        Some(wait) => claim_in_time(context, &operation, wait)?,
        None => context.ask(&operation)?,
    };
    screen.answer::<Claim>(&reply, |screen, claimed| print(screen, &claimed))?;
    Ok(Exit::SUCCESS)
}

/// Tries again whenever something has happened, until the wait is over.
fn claim_in_time(context: &Context, operation: &Claim, wait_ms: u64) -> Result<Reply> {
    let end = Instant::now() + Duration::from_millis(wait_ms);
    // Taken before the first try, so that what is given back meanwhile is not missed.
    let mut cursor = context.call(&Head {})?.answer.cursor;
    loop {
        let error = match context.ask(operation) {
            Err(error) if matches!(error.code, Code::Claimed | Code::Cooling) => error,
            outcome => return outcome,
        };
        let left = end.saturating_duration_since(Instant::now());
        let left = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        if left == 0 {
            return Err(Error {
                code: Code::Timeout,
                message: format!("waited in vain: {}", error.message),
                ..error
            });
        }
        let sleep = error.retry_after_ms.unwrap_or(SLEEP_MAX_MS).clamp(10, SLEEP_MAX_MS);
        cursor = wait_for_event(context, cursor, sleep.min(left))?;
    }
}

/// Waits for the next event, at most so long. Answers the cursor behind it.
fn wait_for_event(context: &Context, cursor: String, wait_ms: u64) -> Result<String> {
    let operation = Read {
        after: Some(cursor),
        last: None,
        kind: None,
        scope: None,
        session: None,
        limit: cotenant_core::data::PAGE_MAX,
        wait_ms: Some(wait_ms),
    };
    match context.call(&operation) {
        Ok(read) => Ok(read.answer.cursor),
        Err(error) if matches!(error.code, Code::Compacted | Code::HistoryChanged) => {
            Ok(context.call(&Head {})?.answer.cursor)
        }
        Err(error) => Err(error),
    }
}

fn print(screen: &mut Screen, claimed: &Claimed) {
    for item in &claimed.items {
        let name = screen.paint(Look::Strong, &for_terminal(&item.item));
        let already = if item.already_held { ", held before" } else { "" };
        screen.line(format!("claimed {name} (fence {}{already})", item.fence));
    }
    for overlap in &claimed.overlaps {
        screen.line(format!("also: {}: {}", item_words(overlap), holding_line(overlap)));
    }
    for warning in &claimed.warnings {
        let warning = for_terminal(warning);
        screen.line(format!("{}: {warning}", screen.paint(Look::Warning, "warning")));
    }
}
