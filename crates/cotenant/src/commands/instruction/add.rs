//! `cotenant instruction add`.

use std::io::Read as _;

use cotenant_core::{
    Error, Result,
    instruction::{AddInstruction, Scope},
};

use super::super::parse;
use crate::{context::Context, exit::Exit, output::Screen};

/// Add an instruction for all sessions
///
/// What a person adds is in force at once: sessions that start are told it, running ones at their next
/// hook. What an agent adds awaits a person's approval. Secrets in the text are taken out.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant instruction add 'Run the tests before every commit'
  cotenant instruction add --scope path:src/parser --key style 'No recursion here'
  cotenant instruction add - < rule.txt")]
pub(crate) struct Args {
    /// What is wanted; `-` for stdin
    text: String,
    #[command(flatten)]
    place: Place,
    /// A name of its own; adding the same again under it adds nothing
    #[arg(long, value_name = "NAME")]
    alias: Option<String>,
}

/// What can be said of an instruction besides its text.
#[derive(clap::Args)]
pub(super) struct Place {
    /// Where it holds: `project`, `org` or `path:DIRECTORY`
    #[arg(long, default_value = "project", value_parser = parse::scope)]
    scope: Scope,
    /// What it is about; of those with one key, one wins
    #[arg(long)]
    key: Option<String>,
    /// Where it comes from, e.g. a file
    #[arg(long, value_name = "TEXT")]
    source: Option<String>,
}

impl Place {
    /// An instruction with this text.
    pub(super) fn instruction(self, text: String) -> Result<AddInstruction> {
        let text = if text == "-" { stdin()? } else { text };
        let Self { scope, key, source } = self;
        Ok(AddInstruction { scope, key, source, ..AddInstruction::new(text.trim_end()) })
    }
}

fn stdin() -> Result<String> {
    let mut text = String::new();
    std::io::stdin()
        .lock()
        .read_to_string(&mut text)
        .map_err(|error| Error::invalid("cannot read stdin").caused_by(error))?;
    Ok(text)
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    let operation = AddInstruction { alias: args.alias, ..args.place.instruction(args.text)? };
    let reply = context.ask(&operation)?;
    screen.answer::<AddInstruction>(&reply, |screen, added| {
        super::added(screen, &operation.scope, &added);
    })?;
    Ok(Exit::SUCCESS)
}
