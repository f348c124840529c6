//! `cotenant handoff accept`.

use std::path::Path;

use cotenant_core::{
    Result,
    clock::in_words,
    id::Seq,
    offer::{AcceptOffer, AcceptedOffer, MovedItem, Place},
    render::for_terminal,
    task::view::about,
};

use super::payload;
use crate::{
    context::Context,
    exit::Exit,
    output::{Look, Screen, holding_line},
};

/// Take over what another session put up
///
/// All that it holds is yours at once, with new fences; the giver's are void. A task goes on as yours:
/// finish it by its new fence. Fails with 66 if somebody was faster, or if the offer has ended.
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  cotenant handoff list --mine
  cotenant handoff accept 214")]
pub(crate) struct Args {
    /// The number of the offer
    offer: Seq,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: &Args) -> Result<Exit> {
    let reply = context.ask(&AcceptOffer { offer: args.offer })?;
    let here = context.project()?.root.clone();
    screen.answer::<AcceptOffer>(&reply, |screen, accepted| print(screen, &accepted, &here))?;
    Ok(Exit::SUCCESS)
}

fn print(screen: &mut Screen, accepted: &AcceptedOffer, here: &Path) {
    screen.line(format!(
        "took over offer {} of {}",
        accepted.offer,
        for_terminal(&accepted.from_name)
    ));
    for moved in &accepted.items {
        let name = screen.paint(Look::Strong, &for_terminal(&moved.item));
        screen.line(format!("  {name} (fence {}){}", moved.fence, of_task(moved)));
    }
    for left in &accepted.not_moved {
        let name = for_terminal(&left.item);
        let warning = screen.paint(Look::Warning, "not moved");
        for holding in &left.holders {
            screen.line(format!("  {warning}: {name}: {}", holding_line(holding)));
        }
        if let Some(state) = left.state.filter(|_| left.holders.is_empty()) {
            screen.line(format!("  {warning}: {name} is {}", state.word()));
        }
    }
    payload::print(screen, &accepted.payload);
    let worktree = Place::of(&accepted.payload).worktree;
    if let Some(worktree) = worktree.filter(|it| Path::new(it) != here) {
        screen.line(format!("go on where the work is: {}", for_terminal(&worktree)));
    }
}

/// What is to be done, and how long it may take.
fn of_task(moved: &MovedItem) -> String {
    let Some(task) = &moved.task else { return String::new() };
    format!(
        ": attempt {} of {}, {} to finish it: {}",
        task.attempt,
        task.max_attempts,
        in_words(task.visible_for_ms),
        for_terminal(&about(&task.payload))
    )
}
