//! `cotenant barrier`.

use cotenant_core::{Result, barrier::Arrive, render::for_terminal};

use super::parse;
use crate::{
    context::Context,
    exit::Exit,
    output::{Look, Screen},
};

/// Pass a point together with other sessions
///
/// With `--wait` it returns when all are there; fails with 75 when the time is over, and with 65,
/// naming it, if a party was lost or has signed off. Without, the arrival stands, and the next call
/// tells what became of it.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant barrier release/tests-done --parties 3 --wait 30m && ./publish.sh
  cotenant barrier ready --parties 2")]
pub(crate) struct Args {
    /// The barrier
    name: String,
    /// How many sessions must arrive
    #[arg(long, value_name = "N")]
    parties: u32,
    /// Wait so long for the others
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    wait: Option<u64>,
    /// How long all may take from the first arrival on, 5s to 24h; 1h when absent
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    timeout: Option<u64>,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    let operation = Arrive {
        name: args.name,
        parties: args.parties,
        timeout_ms: args.timeout,
        wait_ms: args.wait,
    };
    let reply = context.ask(&operation)?;
    screen.answer::<Arrive>(&reply, |screen, arrived| {
        let names: Vec<String> = arrived.arrived.iter().map(|name| for_terminal(name)).collect();
        let name = screen.paint(Look::Strong, &for_terminal(&arrived.name));
        let state = if arrived.open {
            screen.paint(Look::Good, "open")
        } else {
            format!("{} of {} are there", names.len(), arrived.parties)
        };
        screen.line(format!("{name}: {state}: {}", names.join(", ")));
    })?;
    Ok(Exit::SUCCESS)
}
