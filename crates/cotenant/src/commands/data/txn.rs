//! `cotenant data txn`.

use std::path::PathBuf;

use cotenant_core::{
    Error, Result,
    data::{Txn, WriteAnswer},
};

use super::value;
use crate::{context::Context, exit::Exit, output::Screen};

/// Do several writes if all conditions hold, else none
///
/// Reads an object with `compares`, each with `scope`, `key` and one of `rev`, `ver`, `exists`, and
/// `ops`, each a `put`, a `delete` or an `update`.
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  echo '{\"compares\":[{\"scope\":\"a\",\"key\":\"k\",\"rev\":7}],
         \"ops\":[{\"put\":{\"scope\":\"a\",\"key\":\"k\",\"value\":1}},
                {\"delete\":{\"scope\":\"a\",\"key\":\"old\"}}]}' | cotenant data txn -")]
pub(crate) struct Args {
    /// A file that holds the transaction; `-` is stdin
    file: PathBuf,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: &Args) -> Result<Exit> {
    let text = value::text(&args.file)?;
    let operation: Txn = serde_json::from_str(&text).map_err(|error| {
        Error::invalid(format!("`{}` is no transaction: {error}", args.file.display()))
            .hint("`cotenant rpc --schema` shows its form under `data.txn`")
    })?;
    let reply = context.ask(&operation)?;
    screen.answer::<Txn>(&reply, |screen, done| {
        for result in done.results {
            screen.line(match result {
                WriteAnswer::Put(written) => format!("rev {}", written.rev),
                WriteAnswer::Update(updated) => format!("rev {}", updated.rev),
                WriteAnswer::Delete(deleted) if deleted.existed => "deleted".to_owned(),
                WriteAnswer::Delete(_) => "there was none".to_owned(),
            });
        }
    })?;
    Ok(Exit::SUCCESS)
}
