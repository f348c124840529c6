//! `cotenant lease list`.

use cotenant_core::{Result, claim::HoldingState, lease::ListLeases};

use crate::{
    complete,
    context::Context,
    exit::Exit,
    output::{Look, Screen, Table, ago, in_time},
};

/// List leases and who waits for them
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  cotenant lease list 'branch/*'")]
pub(crate) struct Args {
    /// Only those that match; `*` matches any run of characters
    #[arg(add = complete::leases())]
    pattern: Option<String>,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    let none = match args.pattern {
        Some(_) => "nobody holds a lease of such a name",
        None => "nobody holds a lease",
    };
    let reply = context.ask(&ListLeases { pattern: args.pattern })?;
    screen.answer::<ListLeases>(&reply, |screen, found| {
        if found.holdings.is_empty() {
            screen.line(none);
            return;
        }
        let mut table =
            Table::new(["LEASE", "STATE", "SESSION", "FENCE", "SINCE", "ENDS", "HEARD OF", "NOTE"]);
        for holding in found.holdings {
            let state = match holding.state {
                HoldingState::Held => (Look::Plain, "held"),
                HoldingState::Cooling => (Look::Warning, "cooling"),
                HoldingState::Waiting => (Look::Faint, "waiting"),
            };
            table.styled_row([
                (Look::Strong, holding.resource),
                (state.0, state.1.to_owned()),
                (Look::Plain, holding.name),
                (Look::Plain, holding.fence.to_string()),
                (Look::Plain, ago(holding.held_for_ms)),
                (Look::Plain, holding.expires_in_ms.map(in_time).unwrap_or_default()),
                (Look::Plain, ago(holding.heartbeat_age_ms)),
                (Look::Plain, holding.note.unwrap_or_default()),
            ]);
        }
        screen.table(&table);
    })?;
    Ok(Exit::SUCCESS)
}
