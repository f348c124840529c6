//! `cotenant lease release`.

use cotenant_core::{Result, id::Fence, lease::Release};

use super::super::parse;
use crate::{complete, context::Context, exit::Exit, output::Screen};

/// Give a lease back; it is free at once
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What is held
    #[arg(add = complete::leases())]
    resource: String,
    /// The fence of your grant
    #[arg(value_parser = parse::fence)]
    fence: Fence,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    context.store()?;
    let operation = Release { resource: context.resource(args.resource)?, fence: args.fence };
    let reply = context.ask(&operation)?;
    screen.answer::<Release>(&reply, |screen, released| {
        screen.line(if released.already { "was given back before" } else { "gave it back" });
    })?;
    Ok(Exit::SUCCESS)
}
