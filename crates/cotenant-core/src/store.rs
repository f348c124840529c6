//! The seam between those who ask and the store: requests in, outcomes out.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    Error, Op, Operation, Result,
    id::{Fence, Seq, Tick},
    name::SessionRef,
    wire,
};

/// The most guards of a request.
pub const GUARDS_MAX: usize = 16;
/// The most operations of a batch.
pub const BATCH_MAX: usize = 128;

/// The session in whose name a request runs, with the digest of its token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The session, by id or live name.
    pub session: SessionRef,
    /// SHA-256 of the token, in hex; the token itself never reaches a store.
    pub token_digest: String,
}

/// A fence that must be current for a mutation to happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Guard {
    /// A lease, e.g. `migration`, or a claim, e.g. `issue:15`.
    pub resource: String,
    /// The fence that the actor was granted.
    pub fence: Fence,
}

impl std::str::FromStr for Guard {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (resource, fence) = text.rsplit_once('=').ok_or_else(|| {
            Error::invalid(format!("guard `{}` is not RESOURCE=FENCE", crate::name::shown(text)))
        })?;
        Ok(Self { resource: resource.to_owned(), fence: fence.parse()? })
    }
}

/// One operation on its way to the store.
#[derive(Clone, Debug)]
pub struct Request {
    /// What to do.
    pub op: Op,
    /// In whose name.
    pub actor: Option<Actor>,
    /// What must still be held.
    pub guards: Vec<Guard>,
    /// Makes a repeat harmless: the same id, operation and arguments return the first result.
    pub request_id: Option<String>,
    /// A read waits for this head, on replicas.
    pub at_least_seq: Option<Seq>,
}

impl Request {
    /// A request without actor, guards or id.
    pub fn new(op: impl Into<Op>) -> Self {
        Self {
            op: op.into(),
            actor: None,
            guards: Vec::new(),
            request_id: None,
            at_least_seq: None,
        }
    }

    /// Sets the actor.
    pub fn by(mut self, actor: Actor) -> Self {
        self.actor = Some(actor);
        self
    }

    /// Sets the request id.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.request_id = Some(id.into());
        self
    }

    /// Adds guards.
    pub fn guarded_by(mut self, guards: impl IntoIterator<Item = Guard>) -> Self {
        self.guards.extend(guards);
        self
    }
}

/// The result of a request that succeeded.
#[derive(Debug)]
pub struct Reply {
    /// The answer as JSON, of the operation's answer type.
    pub data: Box<RawValue>,
    /// The head of the log after the operation.
    pub seq: Seq,
    /// The store's clock at the operation.
    pub tick: Tick,
    /// Whether this is the stored result of an earlier request with the same id.
    pub replayed: bool,
}

/// What became of a request.
pub type Outcome = Result<Reply>;

/// A place where requests are carried out: a local database, or one behind a connection.
pub trait Store: Send + Sync {
    /// Carries out requests as one batch, in order; each succeeds or fails on its own.
    fn submit(&self, requests: Vec<Request>) -> Vec<Outcome>;
}

/// The answer of a typed call.
#[derive(Debug)]
pub struct Answered<T> {
    /// The answer.
    pub answer: T,
    /// The head of the log after the operation.
    pub seq: Seq,
    /// The store's clock at the operation.
    pub tick: Tick,
    /// Whether the result was remembered from an earlier request.
    pub replayed: bool,
}

impl dyn Store + '_ {
    /// Carries out one request.
    pub fn one(&self, request: Request) -> Outcome {
        self.submit(vec![request])
            .pop()
            .unwrap_or_else(|| Err(Error::internal("the store gave no outcome")))
    }

    /// Carries out one typed operation, dressed by `dress` with actor, guards and id.
    pub fn call<O: Operation>(
        &self,
        operation: &O,
        dress: impl FnOnce(Request) -> Request,
    ) -> Result<Answered<O::Answer>> {
        let reply = self.one(dress(Request::new(operation.clone())))?;
        let answer = serde_json::from_str(reply.data.get()).map_err(|error| {
            Error::internal(format!("the answer of `{}` cannot be read", O::NAME)).caused_by(error)
        })?;
        Ok(Answered { answer, seq: reply.seq, tick: reply.tick, replayed: reply.replayed })
    }
}

/// The result envelope of the contract's section 0, as JSON on one line.
#[derive(Serialize)]
pub struct Envelope<'a> {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Cow<'a, RawValue>>,
    /// The data's text, where it has line breaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    exact: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<Seq>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tick: Option<Tick>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replayed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<crate::error::ErrorBody>,
}

impl<'a> Envelope<'a> {
    /// The envelope of a success.
    pub fn success(reply: &'a Reply) -> Self {
        let (mut data, mut exact) = (Cow::Borrowed(&*reply.data), None);
        if wire::breaks(data.get()) {
            exact = Some(reply.data.get());
            // They stand between tokens, where a blank does as well.
            let blank = RawValue::from_string(data.get().replace(['\n', '\r'], " "));
            data = Cow::Owned(blank.expect("blanks and line breaks are the same between tokens"));
        }
        Self {
            ok: true,
            data: Some(data),
            exact,
            seq: Some(reply.seq),
            tick: Some(reply.tick),
            replayed: Some(reply.replayed),
            error: None,
        }
    }

    /// The envelope of a failure.
    pub fn failure(error: &Error) -> Self {
        Self {
            ok: false,
            data: None,
            exact: None,
            seq: None,
            tick: None,
            replayed: None,
            error: Some(error.to_wire()),
        }
    }

    /// The envelope of an outcome.
    pub fn of(outcome: &'a Outcome) -> Self {
        match outcome {
            Ok(reply) => Self::success(reply),
            Err(error) => Self::failure(error),
        }
    }

    /// As one line of JSON.
    pub fn line(&self) -> String {
        serde_json::to_string(self).expect("an envelope has string keys and finite numbers only")
    }
}
