//! What a line asks for, carried out.

use std::{
    any::Any,
    collections::{BTreeMap, HashMap},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, MutexGuard, PoisonError},
};

use cotenant_core::{
    Code, Error, Op, Operation as _, Result,
    claim::{Claim, Unclaim, Who},
    event::sha256_hex,
    name::SessionRef,
    offer::{Offer, OfferItem},
    operation::{ActorRule, Effect},
    process::ProcessIdentity,
    session::{ShowSession, SignOn},
    store::{Actor, BATCH_MAX, Outcome, Request},
    wire::{self, Asked, Line, LineActor, Speaker},
};
use cotenant_store::testing::mutant;
use serde_json::{
    Map, Value, json,
    value::{RawValue, to_raw_value},
};

use crate::{
    context::{Context, admit},
    identity::{self, Runner},
    token,
};

/// Carries out requests for the session of the command, or for those that the lines name.
pub(super) struct Server<'a> {
    context: &'a Context,
    /// The actors of sessions by the words they were named with.
    actors: Mutex<HashMap<String, Actor>>,
    /// One at a time finds out who the session of the command is, and signs it on.
    finding_own: Mutex<()>,
}

impl<'a> Server<'a> {
    pub(super) fn new(context: &'a Context) -> Self {
        Self { context, actors: Mutex::default(), finding_own: Mutex::default() }
    }

    /// Carries out what a line asks for and answers the line of its outcome.
    pub(super) fn answer(&self, id: Option<&Value>, asked: Result<Asked>) -> String {
        let (count, is_batch) = match &asked {
            Ok(Asked::Batch(lines)) => (lines.len(), true),
            _ => (1, false),
        };
        // A bug that ends a request ends no other.
        let outcomes = catch_unwind(AssertUnwindSafe(|| match asked {
            Err(error) => vec![Err(error)],
            Ok(Asked::One(line)) => vec![self.one(&line)],
            Ok(Asked::Batch(lines)) => self.batch(lines),
        }))
        .unwrap_or_else(|panic| (0..count).map(|_| Err(panicked(&*panic))).collect());
        match &outcomes[..] {
            [outcome] if !is_batch => wire::answer_one(id, outcome),
            outcomes => wire::answer_batch(id, outcomes),
        }
    }

    fn one(&self, line: &Line) -> Outcome {
        if line.op == SignOn::NAME {
            let (operation, is_drawn) = sign_on(line)?;
            if is_drawn {
                return self.sign_on_drawn(operation, line);
            }
        }
        let request = self.request(line)?;
        let outcome = self.context.submit(request.clone());
        if self.is_of_another(line, &outcome) {
            let actor = self.actor(&line.actor)?;
            return self.context.submit(Request { actor, ..request });
        }
        outcome
    }

    fn batch(&self, lines: Vec<Result<Line>>) -> Vec<Outcome> {
        if lines.len() > BATCH_MAX {
            let error = || {
                Error::new(Code::TooLarge, format!("more than {BATCH_MAX} requests in one batch"))
            };
            return lines.iter().map(|_| Err(error())).collect();
        }
        let mut requests = Vec::with_capacity(lines.len());
        let mut speakers = Vec::new();
        let asked: Vec<Result<()>> = lines
            .into_iter()
            .map(|line| {
                let line = line?;
                requests.push(self.request(&line)?);
                speakers.push(line);
                Ok(())
            })
            .collect();
        let mut outcomes = self.context.submit_all(&requests).into_iter();
        for (line, outcome) in speakers.iter().zip(outcomes.as_slice()) {
            // Looked up again by the next request.
            let _ = self.is_of_another(line, outcome);
        }
        let mut next =
            || outcomes.next().unwrap_or_else(|| Err(Error::internal("the store gave no outcome")));
        asked.into_iter().map(|asked| asked.and_then(|()| next())).collect()
    }

    /// The request of a line, ready for the store.
    fn request(&self, line: &Line) -> Result<Request> {
        let op = if line.op == SignOn::NAME {
            let (mut operation, is_drawn) = sign_on(line)?;
            if is_drawn {
                return Err(Error::invalid("a sign-on in a batch needs a `token_digest`")
                    .hint("draw a token and send its SHA-256, or sign on in a line of its own"));
            }
            self.context.limit(&mut operation)?;
            admit(&operation)?;
            operation.into()
        } else {
            self.operation(line)?
        };
        let mut request = Request::new(op);
        if !mutant("rpc_drops_guards") {
            request = request.guarded_by(line.guards.iter().cloned());
        }
        request.op.check()?;
        let (effect, rule) = (request.op.effect(), request.op.actor_rule());
        // Nobody is refused by the store, as others are that it does not know.
        self.context.prepare_for(effect, rule, line.actor != Speaker::Absent)?;
        request.at_least_seq = line.at_least_seq;
        request.request_id.clone_from(&line.request_id);
        if effect == Effect::Write && request.request_id.is_none() {
            request.request_id = Some(token::request_id()?);
        }
        if rule == ActorRule::Required || line.actor != Speaker::Absent {
            request.actor = self.actor(&line.actor)?;
        }
        if effect != Effect::Read && rule == ActorRule::Required {
            request = request.guarded_by(self.context.guards()?);
        }
        Ok(request)
    }

    /// The operation of a line. Items of a claim or an offer may be words as on the command line: a path
    /// is one of the working directory then.
    fn operation(&self, line: &Line) -> Result<Op> {
        let arguments = line.arguments()?;
        let has_words = matches!(&*line.op, Claim::NAME | Unclaim::NAME | Who::NAME | Offer::NAME)
            && serde_json::from_str(arguments.get()).is_ok_and(|fields: Value| {
                let items = fields["items"].as_array().into_iter().flatten();
                items.chain([&fields["item"]]).any(Value::is_string)
            });
        if !has_words {
            return Op::decode(&line.op, &arguments);
        }
        let unreadable = |error| Error::unreadable("the arguments", &error);
        // All other fields stay as they were written.
        let mut fields: BTreeMap<String, Box<RawValue>> =
            serde_json::from_str(arguments.get()).map_err(unreadable)?;
        let place = |item: &mut Value, in_any_tree: bool| -> Result<()> {
            let Value::String(words) = &*item else { return Ok(()) };
            let of_offer = (line.op == Offer::NAME).then(|| words.parse()).transpose()?;
            if let Some(OfferItem::Lease(_) | OfferItem::Task(_)) = &of_offer {
                *item = json!(of_offer);
                return Ok(());
            }
            let mut named = self.context.place(words.parse()?)?;
            named.tree = named.tree.filter(|_| !in_any_tree);
            *item = match of_offer {
                Some(_) => json!(OfferItem::Claim(named)),
                None => json!(named),
            };
            Ok(())
        };
        for (name, in_any_tree) in [("items", false), ("item", true)] {
            let Some(field) = fields.get_mut(name) else { continue };
            let mut value: Value = serde_json::from_str(field.get()).map_err(unreadable)?;
            match &mut value {
                Value::Array(items) if name == "items" => {
                    items.iter_mut().try_for_each(|item| place(item, in_any_tree))?;
                }
                item => place(item, in_any_tree)?,
            }
            *field = to_raw_value(&value).map_err(unreadable)?;
        }
        Op::decode(&line.op, &to_raw_value(&fields).map_err(unreadable)?)
    }

    fn actors(&self) -> MutexGuard<'_, HashMap<String, Actor>> {
        self.actors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The actor that a line names.
    fn actor(&self, speaker: &Speaker) -> Result<Option<Actor>> {
        let LineActor { session, token } = match speaker {
            Speaker::Absent => {
                let _one = self.finding_own.lock().unwrap_or_else(PoisonError::into_inner);
                return self.context.actor().cloned().map(Some);
            }
            Speaker::Nobody => return Ok(None),
            Speaker::Session(actor) => actor,
        };
        let reference = SessionRef(session.clone());
        if let Some(token) = token {
            return Ok(Some(Actor { session: reference, token_digest: sha256_hex(token) }));
        }
        if let Some(actor) = self.actors().get(session) {
            return Ok(Some(actor.clone()));
        }
        let shown = self.context.call(&ShowSession { session: reference })?;
        let actor = self.context.actor_for(&shown.answer.session)?;
        self.actors().insert(session.clone(), actor.clone());
        Ok(Some(actor))
    }

    /// Whether a request may have been refused because the name belongs to another session by now,
    /// which is then looked up again.
    fn is_of_another(&self, line: &Line, outcome: &Outcome) -> bool {
        let Speaker::Session(LineActor { session, token: None }) = &line.actor else {
            return false;
        };
        let refused = outcome.as_ref().is_err_and(|error| {
            matches!(error.code, Code::SessionEnded | Code::SessionLost | Code::Unauthenticated)
        });
        refused && self.actors().remove(session).is_some()
    }

    /// Signs on a program that brings no token of its own: it gets one as commands do.
    fn sign_on_drawn(&self, operation: SignOn, line: &Line) -> Outcome {
        let id = line.request_id.clone();
        if line.actor == Speaker::Absent && line.guards.is_empty() {
            return self.context.ask_sign_on(operation, id);
        }
        self.context.sign_on_with(operation, id, |request| {
            let actor = match &line.actor {
                Speaker::Absent => None,
                speaker => self.actor(speaker)?,
            };
            let request = request.guarded_by(line.guards.iter().cloned());
            Ok(Request { actor, at_least_seq: line.at_least_seq, ..request })
        })
    }
}

/// The sign-on of a line, and whether its token is still to be drawn.
fn sign_on(line: &Line) -> Result<(SignOn, bool)> {
    let arguments = line.arguments()?;
    let wrong = |error| Error::invalid(format!("arguments of `{}`: {error}", SignOn::NAME));
    let mut fields: Map<String, Value> = serde_json::from_str(arguments.get()).map_err(wrong)?;
    fields.entry("user").or_insert_with(|| identity::user().into());
    name_process(&mut fields)?;
    let is_drawn = !fields.contains_key("token_digest");
    fields.entry("token_digest").or_insert_with(|| "".into());
    Ok((serde_json::from_value(Value::Object(fields)).map_err(wrong)?, is_drawn))
}

/// The process that a sign-on names by its number: as `pid` the one that the session lives with, as
/// `library` that of a program which asks for itself. The latter counts if neither an agent nor a
/// terminal runs it.
fn name_process(fields: &mut Map<String, Value>) -> Result<()> {
    let (pid, library) = (fields.remove("pid"), fields.remove("library"));
    let (kind, process) = match (pid, library) {
        (Some(pid), _) => ("agent", process_of(&pid)?),
        (None, Some(library)) => match identity::runner() {
            Runner::Agent { kind, process } => (kind, process),
            Runner::Terminal { process, .. } => ("agent", process),
            Runner::Nobody => ("agent", process_of(&library)?),
        },
        (None, None) => return Ok(()),
    };
    fields.entry("kind").or_insert_with(|| kind.into());
    fields.entry("process").or_insert_with(|| json!(process));
    Ok(())
}

fn process_of(pid: &Value) -> Result<ProcessIdentity> {
    let number = pid.as_u64().and_then(|number| u32::try_from(number).ok());
    let found = number.and_then(cotenant_store::host::identity);
    found.ok_or_else(|| Error::invalid(format!("there is no process {pid}")))
}

fn panicked(panic: &(dyn Any + Send)) -> Error {
    let why = panic.downcast_ref::<String>().map(String::as_str);
    let why = why.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    Error::internal(format!("the request panicked: {why}"))
}
