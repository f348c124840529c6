//! `cotenant instruction list`.

use cotenant_core::{
    Result,
    data::PAGE_MAX,
    instruction::{ListInstructions, Scope},
};

use super::super::parse;
use crate::{context::Context, exit::Exit, output::Screen};

/// List instructions with who gave them, when, and where they stand
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant instruction list
  cotenant instruction list --history          also what was superseded or revoked
  cotenant instruction list --json | jq -r '.data.entries[].text'")]
pub(crate) struct Args {
    /// Also what was superseded or revoked
    #[arg(long)]
    history: bool,
    /// Only of this scope
    #[arg(long, value_parser = parse::scope)]
    scope: Option<Scope>,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    let none = if args.scope.is_some() {
        "no instructions of that scope"
    } else {
        "no instructions; `cotenant instruction add TEXT` adds one"
    };
    let mut list =
        ListInstructions { history: args.history, scope: args.scope, after: None, limit: PAGE_MAX };
    let mut entries = Vec::new();
    let mut found = loop {
        let mut page = context.call(&list)?;
        entries.append(&mut page.answer.entries);
        list.after = page.answer.next;
        if list.after.is_none() {
            break page;
        }
    };
    found.answer.entries = entries;
    if screen.json() {
        screen.data(&found.answer, found.seq, found.tick)?;
    } else if found.answer.entries.is_empty() {
        screen.line(none);
    } else {
        found.answer.entries.iter().for_each(|entry| super::print(screen, entry));
    }
    Ok(Exit::SUCCESS)
}
