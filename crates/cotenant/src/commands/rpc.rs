//! `cotenant rpc`: JSON lines for programs that would rather not start a process per call.
//!
//! One request a line in, one envelope a line out, in order. Tokens are found as for commands:
//! programs of the same user never handle one, unless they signed on with a token of their own.

mod line;

use std::collections::HashMap;

use cotenant_core::{
    Code, Error, Operation, Result,
    event::sha256_hex,
    name::SessionRef,
    operation::{ActorRule, Effect, TABLE},
    session::{ShowSession, SignOn},
    store::{Actor, Envelope, Outcome, Request},
};
use serde_json::{Map, Value, json, value::RawValue};

use self::line::{Line, LineActor, id_of, read_line};
use crate::{context::Context, exit::Exit, identity, output::Screen, token};

/// Answer requests given as JSON lines
///
/// A line is an object with `op`, `args`, and optionally `actor` (`session`, `token`), `guards`,
/// `request_id`, `at_least_seq` and `id`; its answer is the result envelope, with the same `id`.
/// Without an actor the session of the command acts.
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
    let mut server = Server { context, actors: HashMap::new() };
    let mut input = std::io::stdin().lock();
    while let Some(line) = read_line(&mut input)? {
        let (id, outcome) = match line {
            Ok(line) if line.trim_ascii().is_empty() => continue,
            Ok(line) => (id_of(&line), server.answer(&line)),
            Err(error) => (None, Err(error)),
        };
        let envelope = Envelope::of(&outcome).line();
        screen.line(match id {
            // The envelope is an object with members, so one more fits in front.
            Some(id) => format!("{{\"id\":{id},{}", &envelope[1..]),
            None => envelope,
        });
        if !screen.flush()? {
            break;
        }
    }
    Ok(Exit::SUCCESS)
}

struct Server<'a> {
    context: &'a Context,
    /// The actors of sessions by the words they were named with.
    actors: HashMap<String, Actor>,
}

impl Server<'_> {
    fn answer(&mut self, line: &[u8]) -> Outcome {
        let line = Line::decode(line)?;
        if line.op == SignOn::NAME {
            return self.sign_on(&line.args, line.actor.as_ref(), line.request_id);
        }
        let mut op = line.operation()?;
        op.check()?;
        self.context.prepare_for(op.effect(), op.actor_rule(), line.actor.is_some())?;
        let writes = op.effect() != Effect::Read;
        let mut request = Request::new(op).guarded_by(line.guards);
        request.at_least_seq = line.at_least_seq;
        if writes {
            request.request_id = Some(line.request_id.map_or_else(token::request_id, Ok)?);
            request = request.guarded_by(self.context.guards()?);
        }
        let acts = request.op.actor_rule() == ActorRule::Required;
        if !acts && line.actor.is_none() {
            return self.context.submit(request);
        }
        let actor = self.actor(line.actor.as_ref())?;
        match (self.context.submit(request.clone().by(actor)), &line.actor) {
            // A name may belong to another session by now.
            (Err(error), Some(named))
                if matches!(
                    error.code,
                    Code::SessionEnded | Code::SessionLost | Code::Unauthenticated
                ) && self.actors.remove(&named.session).is_some() =>
            {
                let actor = self.actor(line.actor.as_ref())?;
                self.context.submit(request.by(actor))
            }
            (outcome, _) => outcome,
        }
    }

    fn actor(&mut self, named: Option<&LineActor>) -> Result<Actor> {
        let Some(LineActor { session, token }) = named else {
            return self.context.actor().cloned();
        };
        let session = SessionRef(session.clone());
        if let Some(token) = token {
            return Ok(Actor { session, token_digest: sha256_hex(token) });
        }
        if let Some(actor) = self.actors.get(&session.0) {
            return Ok(actor.clone());
        }
        let name = session.0.clone();
        let shown = self.context.call(&ShowSession { session })?;
        let actor = self.context.actor_for(&shown.answer.session)?;
        self.actors.insert(name, actor.clone());
        Ok(actor)
    }

    /// Signs on; a program that brings no token of its own gets one as commands do.
    fn sign_on(
        &mut self,
        args: &RawValue,
        actor: Option<&LineActor>,
        request_id: Option<String>,
    ) -> Outcome {
        let mut fields: Map<String, Value> = serde_json::from_str(args.get()).map_err(|error| {
            Error::unreadable(format_args!("arguments of `{}`", SignOn::NAME), &error)
        })?;
        fields.entry("user").or_insert_with(|| identity::user().into());
        let brings_token = fields.contains_key("token_digest");
        fields.entry("token_digest").or_insert_with(|| "".into());
        let mut operation: SignOn =
            serde_json::from_value(Value::Object(fields)).map_err(|error| {
                Error::unreadable(format_args!("arguments of `{}`", SignOn::NAME), &error)
            })?;
        if !brings_token {
            return self.context.ask_sign_on(operation, request_id);
        }
        operation.check()?;
        self.context.prepare_for(Effect::Write, ActorRule::Optional, false)?;
        let id = request_id.map_or_else(token::request_id, Ok)?;
        let mut request = Request::new(operation).id(id);
        if actor.is_some() {
            request = request.by(self.actor(actor)?);
        }
        self.context.submit(request)
    }
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
