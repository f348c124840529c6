//! `cotenant lease acquire`.

use cotenant_core::{Result, lease::Acquire};

use super::super::parse;
use crate::{complete, context::Context, exit::Exit, output::Screen};

/// Take a lease, or extend one you hold
///
/// Prints the fence. Fails with 73 if someone else holds the resource. Consider the lease lost
/// when 70 % of its TTL have passed without a renewal.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  fence=$(cotenant lease acquire deploy --ttl 5m --wait 10m)
  cotenant --guard deploy=$fence data set deploy state '\"running\"'
  cotenant lease release deploy $fence

`cotenant lease run` does all that around a command.")]
pub(crate) struct Args {
    /// What to hold, e.g. `branch/main`
    #[arg(add = complete::leases())]
    resource: String,
    /// How long without a renewal, 5s to 24h
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse::duration)]
    ttl: u64,
    /// How many sessions may hold it at once; 1 when absent
    #[arg(long, value_name = "N")]
    slots: Option<u32>,
    /// Wait so long for it
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    wait: Option<u64>,
    /// How long nobody gets it after its holder was lost, up to 60s; 5s when absent, on a server 15s
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    lock_delay: Option<u64>,
    /// What for, shown to others
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    let operation = Acquire {
        resource: args.resource,
        ttl_ms: args.ttl,
        slots: args.slots,
        wait_ms: args.wait,
        lock_delay_ms: args.lock_delay,
        note: args.note,
    };
    let reply = context.ask(&operation)?;
    screen.answer::<Acquire>(&reply, |screen, granted| {
        screen.line(granted.fence.to_string());
    })?;
    Ok(Exit::SUCCESS)
}
