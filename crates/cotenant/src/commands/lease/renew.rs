//! `cotenant lease renew`.

use cotenant_core::{Result, clock::in_words, id::Fence, lease::Renew};

use super::super::parse;
use crate::{complete, context::Context, exit::Exit, output::Screen};

/// Extend a lease you hold; the fence stays
///
/// Fails with 76 if the lease is over: stop the work that it protects.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What is held
    #[arg(add = complete::leases())]
    resource: String,
    /// The fence of your grant
    #[arg(value_parser = parse::fence)]
    fence: Fence,
    /// The new TTL; as before when absent
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    ttl: Option<u64>,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    context.store()?;
    let operation =
        Renew { resource: context.resource(args.resource)?, fence: args.fence, ttl_ms: args.ttl };
    let reply = context.ask(&operation)?;
    screen.answer::<Renew>(&reply, |screen, renewed| {
        screen.line(format!("held for another {}", in_words(renewed.expires_in_ms)));
    })?;
    Ok(Exit::SUCCESS)
}
