//! `cotenant lease check`.

use cotenant_core::{Code, Result, clock::in_words, id::Fence, lease::Check};

use super::super::parse;
use crate::{complete, context::Context, exit::Exit, output::Screen};

/// Tell whether a fence is current
///
/// Advice only: the answer may be old when it arrives. A guard on the operation itself, or
/// `lease admit` in front of a resource outside the store, is what protects. Exits with 76 if the
/// fence is not current.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What is held
    #[arg(add = complete::leases())]
    resource: String,
    /// The fence in question
    #[arg(value_parser = parse::fence)]
    fence: Fence,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    context.store()?;
    let operation = Check { resource: context.resource(args.resource)?, fence: args.fence };
    let reply = context.ask(&operation)?;
    let valid = crate::context::decode::<Check>(&reply)?.valid;
    screen.answer::<Check>(&reply, |screen, checked| {
        screen.line(match (checked.valid, checked.expires_in_ms) {
            (false, _) => "not current".to_owned(),
            (true, Some(ms)) => format!("current for {}", in_words(ms)),
            (true, None) => "current as long as its session lives".to_owned(),
        });
    })?;
    Ok(if valid { Exit::SUCCESS } else { Exit::of(Code::Fenced) })
}
