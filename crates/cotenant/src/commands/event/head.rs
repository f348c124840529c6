//! `cotenant event head`.

use cotenant_core::{Result, event::Head};

use crate::{context::Context, exit::Exit, output::Screen};

/// Print the cursor behind the newest event
///
/// Kept elsewhere, it lets `event verify --head` find out whether the log was cut.
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(super) fn run(context: &Context, screen: &mut Screen, _: &Args) -> Result<Exit> {
    let reply = context.ask(&Head {})?;
    screen.answer::<Head>(&reply, |screen, head| screen.line(head.cursor))?;
    Ok(Exit::SUCCESS)
}
