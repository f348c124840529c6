//! `cotenant instruction supersede`.

use cotenant_core::{
    Result,
    instruction::{AddInstruction, InstructionRef},
};

use super::add::Place;
use crate::{context::Context, exit::Exit, output::Screen};

/// Add an instruction that takes the place of another
///
/// The other stays in the history. One that was superseded already is refused with 65: read its successor
/// and decide anew. Only a person supersedes what is in force.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant instruction supersede 12 'Run the tests and the lints before every commit'
  cotenant instruction supersede inst_019 --contest 'Both stand until a person decides'")]
pub(crate) struct Args {
    /// The entry to take the place of, by number or alias
    #[arg(value_name = "ID")]
    id: String,
    /// What is wanted; `-` for stdin
    text: String,
    #[command(flatten)]
    place: Place,
    /// Also if it was superseded already; both successors stand, as a conflict
    #[arg(long)]
    contest: bool,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    let operation = AddInstruction {
        supersedes: Some(InstructionRef(args.id)),
        contest: args.contest,
        ..args.place.instruction(args.text)?
    };
    let reply = context.ask(&operation)?;
    screen.answer::<AddInstruction>(&reply, |screen, added| {
        super::added(screen, &operation.scope, &added);
    })?;
    Ok(Exit::SUCCESS)
}
