//! `cotenant data get`.

use cotenant_core::{Result, data::Get};

use crate::{complete, context::Context, exit::Exit, output::Screen};

/// Print the value of a key
///
/// Prints the value as it was stored. Fails with 66 if there is none. `--json` also tells its
/// rev, for `data set --expect`, and who wrote it.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant data get build color
  cotenant data get issue:15 notes --raw
  cotenant data get build color --json")]
pub(crate) struct Args {
    /// The scope, e.g. `issue:15`
    #[arg(add = complete::scopes())]
    scope: String,
    /// The key in it
    key: String,
    /// Print a string without its quotes
    #[arg(long)]
    raw: bool,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    let reply = context.ask(&Get { scope: args.scope, key: args.key })?;
    screen.answer::<Get>(&reply, |screen, entry| {
        let text = entry.value.text();
        match args.raw.then(|| serde_json::from_str::<String>(text)) {
            Some(Ok(string)) => screen.verbatim(&string),
            _ => screen.verbatim(text),
        }
    })?;
    Ok(Exit::SUCCESS)
}
