//! `cotenant rpc`: JSON lines for programs that would rather not start a process per call.
//!
//! One request a line in, one envelope a line out. Tokens are found as for commands: programs of the
//! same user never handle one, unless they signed on with a token of their own.
//!
//! # Order
//! Lines with an `id` are carried out side by side and answered when they are done, in any order. A
//! line without one begins when all before it are done, and those behind it wait for it: a program
//! that sends no ids has its requests carried out one after the other.

use std::{
    io::{self, BufRead, Read as _},
    thread,
    time::Duration,
};

use cotenant_core::{
    Error, Result,
    operation::{ActorRule, Effect, TABLE},
    wire::{self, LINE_BYTES_MAX},
};
use serde_json::{Value, json};

use crate::{context::Context, exit::Exit, output::Screen};

mod crew;
mod output;
mod server;

use crew::Crew;
use output::Output;
use server::Server;

/// How often to look whether answers are still heard, when there are no more requests.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Answer requests given as JSON lines
///
/// A line is an object with `op`, `args`, and optionally `actor` (`session`, `token`), `guards`,
/// `request_id`, `at_least_seq` and `id`; its answer is the result envelope, with the same `id`.
/// Without an actor the session of the command acts; the actor `null` is nobody. Lines with an
/// `id` are carried out side by side, up to 128, and answered when they are done; a line without
/// one waits for all before it. `{"id": 1, "batch": [line, …]}` is one transaction.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  echo '{\"id\":1,\"op\":\"data.get\",\"args\":{\"scope\":\"build\",\"key\":\"color\"}}' | cotenant rpc
  cotenant rpc --schema | jq '.operations[].name'")]
pub(crate) struct Args {
    /// Print the JSON schemas of all operations instead
    #[arg(long)]
    schema: bool,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: &Args) -> Result<Exit> {
    if args.schema {
        screen.line(schema()?);
        return Ok(Exit::SUCCESS);
    }
    let (server, output, crew) = (Server::new(context), Output::new(screen), Crew::default());
    let answer = |(id, asked): Job| output.line(&server.answer(id.as_ref(), asked));
    let answer = &answer;
    thread::scope(|scope| {
        let read = read(&output, |job| {
            if job.0.is_none() {
                crew.wait(None);
                answer(job);
            } else if crew.hand(job) {
                let more = thread::Builder::new().spawn_scoped(scope, || crew.work(answer));
                // Without a thread to spare, it is carried out here.
                if more.is_err() {
                    crew.help(answer);
                }
            }
        });
        while !crew.wait(Some(LOOK_EVERY)) {
            if output.is_closed() {
                // Nobody hears what is still under way, and it may wait for long.
                std::process::exit(i32::from(Exit::SUCCESS.0));
            }
        }
        crew.dismiss();
        read
    })?;
    output.finish()?;
    Ok(Exit::SUCCESS)
}

/// What a line asks for, and the id of its answer.
type Job = (Option<Value>, Result<wire::Asked>);

/// Reads lines until there are no more, or nobody hears the answers.
fn read(output: &Output<'_>, mut take: impl FnMut(Job)) -> Result<()> {
    let mut input = io::stdin().lock();
    while !output.is_over() {
        match read_line(&mut input)? {
            None => break,
            Some(Ok(line)) if line.trim_ascii().is_empty() => {}
            Some(Ok(line)) => {
                let (id, asked) = wire::parse(&line);
                take((id.filter(|id| !id.is_null()), asked));
            }
            Some(Err(error)) => take((None, Err(error))),
        }
    }
    Ok(())
}

/// Reads a line; of one that is too long only the end is looked for.
fn read_line(input: &mut impl BufRead) -> Result<Option<Result<Vec<u8>>>> {
    let failed = |error: io::Error| {
        Error::invalid(format!("cannot read from stdin: {error}")).caused_by(error)
    };
    let mut line = Vec::new();
    let read = input.by_ref().take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line);
    if read.map_err(failed)? == 0 {
        return Ok(None);
    }
    if line.len() < LINE_BYTES_MAX || line.ends_with(b"\n") {
        return Ok(Some(Ok(line)));
    }
    input.skip_until(b'\n').map_err(failed)?;
    Ok(Some(Err(wire::too_long())))
}

/// The JSON schemas of all operations.
fn schema() -> Result<String> {
    let operations: Vec<Value> = TABLE
        .iter()
        .map(|entry| {
            json!({
                "name": entry.name,
                "summary": entry.summary,
                "effect": match entry.effect {
                    Effect::Read => "read",
                    Effect::Write => "write",
                    Effect::Soft => "soft",
                },
                "actor": match entry.actor {
                    ActorRule::Required => "required",
                    ActorRule::Optional => "optional",
                },
                "arguments": (entry.arguments)(),
                "answer": (entry.answer)(),
            })
        })
        .collect();
    serde_json::to_string_pretty(&json!({ "operations": operations }))
        .map_err(|error| Error::internal("the schemas cannot be written").caused_by(error))
}
