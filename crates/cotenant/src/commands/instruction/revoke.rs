//! `cotenant instruction revoke`.

use cotenant_core::{
    Result,
    instruction::{InstructionRef, RevokeInstruction},
};

use crate::{context::Context, exit::Exit, output::Screen};

/// Take an instruction out of force for good; people only
///
/// It stays in the history. What it superseded does not come back.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant instruction revoke 12 --reason 'the parser is gone'")]
pub(crate) struct Args {
    /// The entry, by number or alias
    #[arg(value_name = "ID")]
    id: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    let operation = RevokeInstruction { id: InstructionRef(args.id), reason: args.reason };
    let reply = context.ask(&operation)?;
    screen.answer::<RevokeInstruction>(&reply, |screen, ruled| {
        let again = if ruled.already { "was" } else { "is" };
        screen.line(format!("{} {again} revoked", ruled.id));
    })?;
    Ok(Exit::SUCCESS)
}
