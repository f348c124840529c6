//! F5: requests as lines of JSON, and as messages to a combiner.

use cotenant_core::{
    Op, Result,
    operation::TABLE,
    store::Request,
    wire::{self, Asked, Line},
};
use serde_json::value::RawValue;

use crate::{check_refusal, message};

/// The file that messages are for.
const FILE: (u64, u64) = (1, 2);

pub(crate) fn requests(bytes: &[u8]) {
    let (id, asked) = wire::parse(bytes);
    if asked.is_ok() {
        let plain: serde_json::Value = serde_json::from_slice(bytes).expect("a request is JSON");
        assert_eq!(plain.get("id").filter(|id| !id.is_null()), id.as_ref());
    }
    match asked {
        Ok(Asked::One(line)) => request(Ok(line)),
        Ok(Asked::Batch(lines)) => lines.into_iter().for_each(request),
        Err(error) => request(Err(error)),
    }
    arguments(bytes);
    if let Some(request) = message::request(FILE, bytes) {
        posted(&request);
    }
    if let Some(outcome) = message::outcome(bytes) {
        let written = message::of_outcome(outcome).expect("an outcome can be written");
        assert!(message::outcome(&written).is_some(), "what was written can be read");
    }
}

/// A line that was read, or why it could not be.
fn request(line: Result<Line>) {
    match line.and_then(|line| line.operation()) {
        Ok(op) => operation(op),
        Err(error) => {
            check_refusal(&error);
            let answer = wire::answer_one(None, &Err(error));
            assert!(answer.starts_with("{\"ok\":false,\"error\":"), "{answer}");
        }
    }
}

/// The bytes as arguments of every operation.
fn arguments(bytes: &[u8]) {
    let Ok(raw) = serde_json::from_slice::<Box<RawValue>>(bytes) else { return };
    for entry in TABLE {
        match Op::decode(entry.name, &raw) {
            Ok(op) => {
                assert_eq!(op.name(), entry.name);
                operation(op);
            }
            Err(error) => check_refusal(&error),
        }
    }
}

/// What was understood and is allowed has one form, which is understood again.
fn operation(mut op: Op) {
    let checked = op.check();
    if let Err(error) = checked {
        check_refusal(&error);
        return;
    }
    let written = op.arguments();
    let raw = RawValue::from_string(written.clone()).expect("arguments are JSON");
    let mut again = Op::decode(op.name(), &raw).expect("what was written can be read");
    assert_eq!(again.arguments(), written);
    again.check().expect("what is allowed stays so");
    assert_eq!(again.arguments(), written, "it was in its one form");
    posted(&Request::new(op));
}

/// A message is the request that it was made of.
fn posted(request: &Request) {
    let written = message::of_request(FILE, request).expect("a request can be written");
    let again = message::request(FILE, &written).expect("what was written can be read");
    assert_eq!(again.op.arguments(), request.op.arguments());
    assert_eq!((again.op.name(), &again.actor), (request.op.name(), &request.actor));
    assert_eq!((&again.guards, &again.request_id), (&request.guards, &request.request_id));
    assert!(message::request((1, 3), &written).is_none(), "it is for another file");
}
