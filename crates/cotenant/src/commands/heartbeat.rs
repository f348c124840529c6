//! `cotenant heartbeat`.

use cotenant_core::{Result, clock::in_words, session::Heartbeat};

use crate::{context::Context, exit::Exit, output::Screen};

/// Say that your session is still there
///
/// Sessions whose agent runs `cotenant mcp`, and those of a live process, need none.
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(super) fn run(context: &Context, screen: &mut Screen, _: &Args) -> Result<Exit> {
    let reply = context.ask(&Heartbeat {})?;
    screen.answer::<Heartbeat>(&reply, |screen, beat| {
        screen.line(format!("the next one is due within {}", in_words(beat.expires_in_ms)));
    })?;
    Ok(Exit::SUCCESS)
}
