//! `cotenant lease break`.

use cotenant_core::{Result, lease::Break, render::for_terminal};

use crate::{
    complete,
    context::Context,
    exit::Exit,
    output::{Screen, in_time},
};

/// End a grant against its holder's will; people only
///
/// Takes a lease or a claimed item. It is free after the lock delay, and the holder's guarded
/// writes fail from now on.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant lease break deploy --reason 'the machine is gone'
  cotenant lease break issue:15 --reason 'reassigned'")]
pub(crate) struct Args {
    /// A lease or a claimed item
    #[arg(add = complete::leases())]
    resource: String,
    /// Why, for the log
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    context.store()?;
    let operation = Break { resource: context.resource(args.resource)?, reason: args.reason };
    let reply = context.ask(&operation)?;
    screen.answer::<Break>(&reply, |screen, broken| {
        let holders: Vec<String> = broken.holders.iter().map(|name| for_terminal(name)).collect();
        if holders.is_empty() {
            screen.line("nobody held it");
        } else {
            let free = in_time(broken.free_in_ms);
            screen.line(format!("ended the grant of {}; free {free}", holders.join(", ")));
        }
    })?;
    Ok(Exit::SUCCESS)
}
