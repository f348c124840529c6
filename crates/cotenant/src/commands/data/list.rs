//! `cotenant data list`.

use cotenant_core::{
    Result,
    data::{Entries, Entry, List, PAGE_MAX},
    store::Answered,
};

use crate::{
    complete,
    context::Context,
    exit::Exit,
    output::{Screen, Table, since},
};

/// List keys with their values
///
/// Values are cut to fit; `data get` and `--json` show them whole.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant data list build
  cotenant data list build --key step
  cotenant data list issue: --prefix       all scopes that begin with issue:")]
pub(crate) struct Args {
    /// Only this scope
    #[arg(add = complete::scopes())]
    scope: Option<String>,
    /// Only keys that begin so
    #[arg(long, value_name = "PREFIX", default_value = "", hide_default_value = true)]
    key: String,
    /// All scopes that begin so
    #[arg(long, requires = "scope")]
    prefix: bool,
    /// At most so many; all when absent
    #[arg(long)]
    limit: Option<usize>,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    let none =
        if args.scope.is_some() || !args.key.is_empty() { "no such keys" } else { "no keys" };
    let operation = List {
        exact: args.scope.is_some() && !args.prefix,
        scope: args.scope.unwrap_or_default(),
        key: args.key,
        after: None,
        limit: PAGE_MAX,
    };
    let found = pages(context, operation, args.limit.unwrap_or(usize::MAX))?;
    if screen.json() {
        screen.data(&found.answer, found.seq, found.tick)?;
    } else if found.answer.entries.is_empty() {
        screen.line(none);
    } else {
        screen.table(&table(&found.answer.entries));
    }
    Ok(Exit::SUCCESS)
}

fn pages(context: &Context, mut operation: List, limit: usize) -> Result<Answered<Entries>> {
    let mut all = Vec::new();
    loop {
        let mut page = context.call(&operation)?;
        all.append(&mut page.answer.entries);
        operation.after.clone_from(&page.answer.next);
        if all.len() >= limit || operation.after.is_none() {
            if all.len() > limit {
                all.truncate(limit);
                page.answer.next = all.last().map(|entry| (entry.scope.clone(), entry.key.clone()));
            }
            page.answer.entries = all;
            return Ok(page);
        }
    }
}

fn table(entries: &[Entry]) -> Table {
    let mut table = Table::new(["SCOPE", "KEY", "REV", "WRITER", "WRITTEN", "VALUE"]);
    for entry in entries {
        table.row([
            entry.scope.clone(),
            entry.key.clone(),
            entry.rev.to_string(),
            entry.writer.clone(),
            since(&entry.at),
            entry.value.text().to_owned(),
        ]);
    }
    table
}
