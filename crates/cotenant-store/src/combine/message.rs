//! Requests and outcomes as bytes.

use cotenant_core::{
    Error, Op,
    error::ErrorBody,
    id::{Seq, Tick},
    name::SessionRef,
    store::{Actor, Guard, Outcome, Reply, Request},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

#[derive(Serialize, Deserialize)]
struct Asked {
    /// The file that is meant by the store's path.
    file: (u64, u64),
    op: String,
    args: Box<RawValue>,
    actor: Option<(String, String)>,
    guards: Vec<Guard>,
    id: Option<String>,
}

#[derive(Serialize, Deserialize)]
enum Answer {
    Done { data: Box<RawValue>, seq: Seq, tick: Tick, replayed: bool },
    Failed(ErrorBody),
}

/// A request for a store's file, as bytes.
pub(super) fn of_request(file: (u64, u64), request: &Request) -> Option<Vec<u8>> {
    let asked = Asked {
        file,
        op: request.op.name().to_owned(),
        args: RawValue::from_string(request.op.arguments()).ok()?,
        actor: request.actor.clone().map(|actor| (actor.session.0, actor.token_digest)),
        guards: request.guards.clone(),
        id: request.request_id.clone(),
    };
    serde_json::to_vec(&asked).ok()
}

/// A request from bytes; none if it is not one of this program for that file.
pub(super) fn request(file: (u64, u64), message: &[u8]) -> Option<Request> {
    let asked: Asked = serde_json::from_slice(message).ok()?;
    if asked.file != file {
        return None;
    }
    let actor = asked
        .actor
        .map(|(session, token_digest)| Actor { session: SessionRef(session), token_digest });
    Some(Request {
        op: Op::decode(&asked.op, &asked.args).ok()?,
        actor,
        guards: asked.guards,
        request_id: asked.id,
        at_least_seq: None,
    })
}

/// An outcome as bytes.
pub(super) fn of_outcome(outcome: Outcome) -> Option<Vec<u8>> {
    let answer = match outcome {
        Ok(Reply { data, seq, tick, replayed }) => Answer::Done { data, seq, tick, replayed },
        Err(error) => Answer::Failed(error.to_wire()),
    };
    serde_json::to_vec(&answer).ok()
}

/// An outcome from bytes.
pub(super) fn outcome(message: &[u8]) -> Option<Outcome> {
    let answer: Answer = serde_json::from_slice(message).ok()?;
    Some(match answer {
        Answer::Done { data, seq, tick, replayed } => Ok(Reply { data, seq, tick, replayed }),
        Answer::Failed(body) => Err(Error::from(body)),
    })
}
