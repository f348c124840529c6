//! `cotenant data set`.

use std::path::PathBuf;

use cotenant_core::{Result, data::Put, id::Rev};

use super::{super::parse, value};
use crate::{complete, context::Context, exit::Exit, output::Screen};

/// Store a value under a key
///
/// Prints the rev of the write. Without `--expect` the last writer wins.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant data set build color '\"green\"'
  cotenant data set build note --string 'all green'
  cotenant data set build report --file report.json
  cotenant data set build state '{\"step\":2}' --expect 17    only if its rev is still 17
  cotenant data set locks leader true --expect 0            only if there is none")]
pub(crate) struct Args {
    /// The scope, e.g. `issue:15`
    #[arg(add = complete::scopes())]
    scope: String,
    /// The key in it
    key: String,
    /// The value as JSON; `-` reads it from stdin
    #[arg(
        allow_hyphen_values = true,
        required_unless_present_any = ["string", "file"],
        conflicts_with_all = ["string", "file"]
    )]
    value: Option<String>,
    /// The value as plain text
    #[arg(long, value_name = "TEXT", conflicts_with = "file", allow_hyphen_values = true)]
    string: Option<String>,
    /// A file that holds the value as JSON; `-` is stdin
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Only if the key has this rev; 0 means that it must not exist
    #[arg(long, value_name = "REV")]
    expect: Option<Rev>,
    /// Delete it together with your session
    #[arg(long)]
    ephemeral: bool,
    /// Delete it after so long, 1s to 365d
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    ttl: Option<u64>,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    let value = match (&args.value, &args.string, &args.file) {
        (_, Some(text), _) => value::string(text),
        (_, _, Some(file)) => value::file(file)?,
        (text, _, _) => {
            let text = text.as_deref().unwrap_or("-");
            value::argument(text).map_err(|error| match error.code {
                cotenant_core::Code::Invalid if text != "-" => {
                    error.hint("plain text goes with `--string TEXT`, or in quotes: '\"text\"'")
                }
                _ => error,
            })?
        }
    };
    let operation = Put {
        scope: args.scope,
        key: args.key,
        value,
        expect: args.expect,
        ephemeral: args.ephemeral,
        ttl_ms: args.ttl,
    };
    let reply = context.ask(&operation)?;
    screen.answer::<Put>(&reply, |screen, written| {
        screen.line(format!("rev {}", written.rev));
    })?;
    Ok(Exit::SUCCESS)
}
