//! `cotenant unclaim`.

use cotenant_core::{
    Result,
    claim::{Item, Unclaim},
    render::for_terminal,
};

use super::parse;
use crate::{complete, context::Context, exit::Exit, output::Screen};

/// Give claimed items back
///
/// They are free at once.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant unclaim issue:15 path:src/parser/
  cotenant unclaim --all")]
pub(crate) struct Args {
    /// What to give back: issue:15, path:src/, branch:name, other:name
    #[arg(
        value_name = "ITEM",
        value_parser = parse::item,
        required_unless_present = "all",
        conflicts_with = "all",
        add = complete::claims()
    )]
    items: Vec<Item>,
    /// Everything you have claimed
    #[arg(long)]
    all: bool,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    context.store()?;
    let items = args.items.into_iter().map(|item| context.place(item)).collect::<Result<_>>()?;
    let reply = context.ask(&Unclaim { items, all: args.all })?;
    screen.answer::<Unclaim>(&reply, |screen, done| {
        for item in &done.released {
            screen.line(format!("gave back {}", for_terminal(item)));
        }
        for item in &done.not_held {
            screen.line(format!("you did not hold {}", for_terminal(item)));
        }
        if done.released.is_empty() && done.not_held.is_empty() {
            screen.line("you held no claims");
        }
    })?;
    Ok(Exit::SUCCESS)
}
