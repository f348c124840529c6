//! `cotenant data update`.

use cotenant_core::{
    Result,
    data::{Change, Update},
};

use super::value;
use crate::{complete, context::Context, exit::Exit, output::Screen};

/// Change a value inside one transaction, so that no update is lost
///
/// Prints the new number after `--add`, the new length after `--append`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant data update build runs --add 1
  cotenant data update build log --append '{\"step\":\"lint\"}' --keep 100
  cotenant data update build state --merge '{\"color\":\"green\",\"old\":null}'")]
#[command(group = clap::ArgGroup::new("change").required(true).args(["add", "append", "merge"]))]
pub(crate) struct Args {
    /// The scope
    #[arg(add = complete::scopes())]
    scope: String,
    /// The key in it
    key: String,
    /// Add to a whole number; an absent key counts as 0
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    add: Option<i64>,
    /// Append to an array; an absent key counts as empty
    #[arg(long, value_name = "JSON")]
    append: Option<String>,
    /// Apply a JSON merge patch (RFC 7396); an absent key counts as `{}`
    #[arg(long, value_name = "JSON")]
    merge: Option<String>,
    /// Keep only so many of the newest items
    #[arg(long, value_name = "N", requires = "append")]
    keep: Option<u32>,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    let change = match (args.add, args.append, args.merge) {
        (Some(number), _, _) => Change::Add(number),
        (_, Some(text), _) => Change::Append(value::argument(&text)?),
        (_, _, text) => Change::Merge(value::argument(text.as_deref().unwrap_or_default())?),
    };
    let operation = Update { scope: args.scope, key: args.key, change, keep: args.keep };
    let reply = context.ask(&operation)?;
    screen.answer::<Update>(&reply, |screen, updated| {
        screen.line(match (updated.value, updated.length) {
            (Some(number), _) => number.to_string(),
            (_, Some(length)) => length.to_string(),
            (None, None) => format!("rev {}", updated.rev),
        });
    })?;
    Ok(Exit::SUCCESS)
}
