//! `cotenant instruction conflicts`.

use cotenant_core::{
    Result,
    instruction::{About, ListConflicts},
    render::for_terminal,
};

use crate::{context::Context, exit::Exit, output::Screen};

/// List instructions that contradict each other, the one that wins first
///
/// Those are live entries that supersede the same one, or that have one key and different texts. Supersede or
/// revoke one to decide.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant instruction conflicts
  cotenant instruction conflicts --json | jq '.data.conflicts | length'")]
pub(crate) struct Args {}

pub(super) fn run(context: &Context, screen: &mut Screen, _: &Args) -> Result<Exit> {
    let reply = context.ask(&ListConflicts {})?;
    screen.answer::<ListConflicts>(&reply, |screen, found| {
        if found.conflicts.is_empty() {
            screen.line("no conflicts");
        }
        for conflict in &found.conflicts {
            screen.gap();
            let about = match &conflict.about {
                About::Key(key) => format!("about `{}`", for_terminal(key)),
                About::Superseded(id) => format!("all supersede {id}"),
            };
            let (first, why) = (conflict.entries[0].reference(), conflict.why.words());
            screen.line(format!("{about}; {first} wins: {why}"));
            conflict.entries.iter().for_each(|entry| super::print(screen, entry));
        }
    })?;
    Ok(Exit::SUCCESS)
}
