//! `cotenant lease admit`.

use cotenant_core::{Result, id::Fence, lease::Admit};

use super::super::parse;
use crate::{complete, context::Context, exit::Exit, output::Screen};

/// Let a fence pass if no higher one has passed
///
/// For resources outside the store: ask before each step, with the fence of the lease that
/// protects it. Fails with 76 once a later holder has passed.
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  cotenant lease admit deploy $COTENANT_FENCE && ./push-to-production")]
pub(crate) struct Args {
    /// The resource
    #[arg(add = complete::leases())]
    resource: String,
    /// The fence that asks to pass
    #[arg(value_parser = parse::fence)]
    fence: Fence,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    let operation = Admit { resource: args.resource, fence: args.fence };
    let reply = context.ask(&operation)?;
    screen.answer::<Admit>(&reply, |screen, _| screen.line("admitted"))?;
    Ok(Exit::SUCCESS)
}
