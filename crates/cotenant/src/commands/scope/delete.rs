//! `cotenant scope delete`.

use cotenant_core::{Result, data::DeleteScope, render::counted};

use crate::{complete, context::Context, exit::Exit, output::Screen};

/// Delete all keys of exactly one scope
///
/// `issue:1` is not `issue:15`: scopes below one are those after a `/`, and only with
/// `--recursive`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant scope delete issue:1
  cotenant scope delete build --recursive --expect-count 12")]
pub(crate) struct Args {
    /// The scope
    #[arg(add = complete::scopes())]
    scope: String,
    /// Also the scopes below it, after a `/`
    #[arg(long)]
    recursive: bool,
    /// Only if it holds so many keys
    #[arg(long, value_name = "N")]
    expect_count: Option<u64>,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    let operation = DeleteScope {
        scope: args.scope,
        recursive: args.recursive,
        expect_count: args.expect_count,
    };
    let reply = context.ask(&operation)?;
    screen.answer::<DeleteScope>(&reply, |screen, done| {
        screen.line(match done.deleted {
            0 => "there was nothing to delete".to_owned(),
            count => format!("deleted {}", counted(count, "key")),
        });
        screen.holder_goes_on(done.held_by.as_deref());
    })?;
    Ok(Exit::SUCCESS)
}
