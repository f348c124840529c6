//! `cotenant event prune`.

use cotenant_core::{Result, event::Prune, id::Seq, render::counted};

use crate::{context::Context, exit::Exit, output::Screen};

/// Remove the oldest events; people only
///
/// Events that a consumer of the last 7 days has not read are kept, unless forced.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The first event to keep
    #[arg(long, value_name = "SEQ")]
    before: Seq,
    /// Even if a consumer has not read them
    #[arg(long)]
    force: bool,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: &Args) -> Result<Exit> {
    let reply = context.ask(&Prune { before: args.before, force: args.force })?;
    screen.answer::<Prune>(&reply, |screen, pruned| {
        screen.line(format!(
            "removed {}; the oldest is {}",
            counted(pruned.removed, "event"),
            pruned.oldest
        ));
    })?;
    Ok(Exit::SUCCESS)
}
