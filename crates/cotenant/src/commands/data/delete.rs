//! `cotenant data delete`.

use cotenant_core::{Result, data::Delete, id::Rev};

use crate::{complete, context::Context, exit::Exit, output::Screen};

/// Delete a key
///
/// Deleting what is not there is no error. A key such as `issue:15` `claimed_by` that nobody stored
/// tells of a claim; deleting it does not end the claim.
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  cotenant data delete build color")]
pub(crate) struct Args {
    /// The scope
    #[arg(add = complete::scopes())]
    scope: String,
    /// The key in it
    key: String,
    /// Only if the key has this rev
    #[arg(long, value_name = "REV")]
    expect: Option<Rev>,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    let operation = Delete { scope: args.scope, key: args.key, expect: args.expect };
    let reply = context.ask(&operation)?;
    screen.answer::<Delete>(&reply, |screen, deleted| {
        screen.line(if deleted.existed { "deleted" } else { "there was none" });
        screen.holder_goes_on(deleted.held_by.as_deref());
    })?;
    Ok(Exit::SUCCESS)
}
