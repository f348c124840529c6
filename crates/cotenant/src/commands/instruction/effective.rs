//! `cotenant instruction effective`.

use std::path::Path;

use cotenant_core::{Error, Result, instruction::Effective};

use crate::{context::Context, exit::Exit, output::Screen};

/// Tell which instructions are in force, which one wins over which, and why
///
/// Only what a person wrote or approved is in force. Of those with one key, what a person wrote wins over what
/// was approved, then a path over the project over the organisation, then the newer over the older.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant instruction effective
  cotenant instruction effective --path src/parser.rs    what holds for that file")]
pub(crate) struct Args {
    /// What holds for this file or directory
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    let path = match args.path {
        None => None,
        Some(path) => {
            let found = context.project()?.path_item(Path::new(&path));
            Some(found.map_err(|error| Error::invalid(error.message))?.name)
        }
    };
    let reply = context.ask(&Effective { path, since: None })?;
    screen.answer::<Effective>(&reply, |screen, found| {
        if found.rulings.is_empty() {
            screen.line("no instruction is in force");
        }
        for ruling in &found.rulings {
            super::print(screen, &ruling.instruction);
            for beaten in &ruling.over {
                screen.line(format!(
                    "    wins over {}: {}",
                    beaten.reference(),
                    beaten.why.words()
                ));
            }
        }
        if found.proposed > 0 {
            screen.line(format!("{} await a person's approval", found.proposed));
        }
    })?;
    Ok(Exit::SUCCESS)
}
