//! `cotenant instruction import`.

use std::path::PathBuf;

use cotenant_core::{
    Code, Error, Result,
    data::{Get, Put},
    id::{Rev, Seq, Tick},
    instruction::{ApproveInstruction, InstructionRef},
    json::Json,
    render::{counted, for_terminal},
};
use serde::Serialize;

use crate::{
    context::Context,
    exit::Exit,
    legacy::{self, Own, Piece},
    output::Screen,
};

/// Take in what other tools keep in `.claude`: instruction histories, session state, checkpoints
///
/// Instructions keep their ids as aliases and await approval, since a file is not a person; `--approve` approves
/// those that were active. Everything else an entry says is kept under `legacy/…`, and keys of
/// `session-state/` under their scopes. Importing again adds nothing, nor does importing what `export --legacy` wrote
/// from this store; what has an unknown shape is told.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant instruction import .claude/instruction-history.json
  cotenant instruction import . --approve      everything known in ./.claude
See `cotenant export --legacy` for the way back; `cotenant import` makes a store of a whole export.")]
pub(crate) struct Args {
    /// A file, or a directory that holds some or has a `.claude`
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Also approve the instructions that were active; people only
    #[arg(long)]
    approve: bool,
}

/// What an import did.
#[derive(Default, Serialize)]
struct Imported {
    instructions: u64,
    instructions_known: u64,
    approved: u64,
    keys: u64,
    keys_known: u64,
    remarks: Vec<String>,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: &Args) -> Result<Exit> {
    let own = Own::find(context)?;
    let found = legacy::read(&args.path, &own)?;
    let mut done = Imported {
        instructions_known: found.own_instructions,
        keys_known: found.own_keys,
        remarks: found.remarks,
        ..Imported::default()
    };
    for piece in found.pieces {
        match piece {
            Piece::Instruction { add, active } => {
                let alias = add.alias.clone().unwrap_or_default();
                match context.call_aside(&*add) {
                    Ok(added) if added.answer.already => done.instructions_known += 1,
                    Ok(_) => done.instructions += 1,
                    Err(error) if is_about_one(&error) => {
                        done.remarks.push(format!("{alias}: {}", error.message));
                        continue;
                    }
                    Err(error) => return Err(error),
                }
                if args.approve && active {
                    let approve = ApproveInstruction { id: InstructionRef(alias.clone()) };
                    match context.call_aside(&approve) {
                        Ok(ruled) => done.approved += u64::from(!ruled.answer.already),
                        Err(error) if matches!(error.code, Code::Gone | Code::RevMismatch) => {
                            done.remarks.push(format!("{alias}: {}", error.message));
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
            Piece::Key { scope, key, value } => done.key(context, scope, key, value)?,
        }
    }
    if screen.json() {
        screen.data(&done, Seq(0), Tick(0))?;
        return Ok(Exit::SUCCESS);
    }
    screen.line(format!(
        "new: {}, {}; there before: {}, {}; approved: {}",
        counted(done.instructions, "instruction"),
        counted(done.keys, "key"),
        counted(done.instructions_known, "instruction"),
        counted(done.keys_known, "key"),
        done.approved
    ));
    done.remarks.iter().for_each(|remark| screen.line(format!("  {}", for_terminal(remark))));
    Ok(Exit::SUCCESS)
}

/// Whether a refusal is about one entry, so that the others go on.
fn is_about_one(error: &Error) -> bool {
    matches!(
        error.code,
        Code::RevMismatch | Code::NotFound | Code::Gone | Code::Forbidden | Code::Invalid
    )
}

impl Imported {
    /// Stores a key, unless there is one: what is in the store is newer than a file.
    fn key(&mut self, context: &Context, scope: String, key: String, value: Json) -> Result<()> {
        let put = Put {
            scope: scope.clone(),
            key: key.clone(),
            value,
            expect: Some(Rev(0)),
            ephemeral: false,
            ttl_ms: None,
        };
        match context.call_aside(&put) {
            Ok(_) => self.keys += 1,
            Err(error) if error.code == Code::RevMismatch => {
                let there = context.call_aside(&Get { scope, key })?.answer;
                if there.value.value()? == put.value.value()? {
                    self.keys_known += 1;
                } else {
                    let place = format!("{} {}", put.scope, put.key);
                    self.remarks
                        .push(format!("{place} is another value in the store, which stays"));
                }
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
