//! `cotenant instruction approve`.

use cotenant_core::{
    Result,
    instruction::{ApproveInstruction, InstructionRef},
};

use crate::{context::Context, exit::Exit, output::Screen};

/// Put an instruction in force that no person wrote; people only
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant instruction approve 12
  cotenant instruction approve inst_019")]
pub(crate) struct Args {
    /// The entry, by number or alias
    #[arg(value_name = "ID")]
    id: String,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    let reply = context.ask(&ApproveInstruction { id: InstructionRef(args.id) })?;
    screen.answer::<ApproveInstruction>(&reply, |screen, ruled| {
        let again = if ruled.already { " already" } else { "" };
        screen.line(format!("{} is in force{again}", ruled.id));
    })?;
    Ok(Exit::SUCCESS)
}
