//! Whom a storm asks: a process, or the library in this one.

use anyhow::{Context, Result};
use cotenant_core::Op;
use cotenant_core::id::Fence;
use cotenant_core::name::SessionRef;
use cotenant_core::operation::Effect;
use cotenant_core::store::{Actor, Envelope, Guard, Outcome, Request as StoreRequest, Store};
use cotenant_store::LocalStore;
use serde_json::Value;
use serde_json::value::RawValue;

use super::lab::digest;
use super::worker::{Request, Worker};

/// Whoever answers requests.
pub(crate) trait Ask {
    /// Sends a request and waits for its envelope.
    fn ask(&mut self, request: &Request) -> Result<Value>;
}

impl Ask for Worker {
    fn ask(&mut self, request: &Request) -> Result<Value> {
        Self::ask(self, request)
    }
}

/// A store in this process.
pub(crate) struct InProcess(pub(crate) LocalStore);

impl Ask for InProcess {
    fn ask(&mut self, request: &Request) -> Result<Value> {
        let outcome = read(request).and_then(|request| (&self.0 as &dyn Store).one(request));
        envelope(&outcome)
    }
}

/// The envelope of an outcome, as programs see it.
fn envelope(outcome: &Outcome) -> Result<Value> {
    serde_json::from_str(&Envelope::of(outcome).line()).context("an envelope that is no JSON")
}

/// A line as the program would read it.
fn read(request: &Request) -> cotenant_core::Result<StoreRequest> {
    let args = RawValue::from_string(request.args.to_string());
    let args = args.map_err(|why| cotenant_core::Error::internal(why.to_string()))?;
    let mut op = Op::decode(&request.op, &args)?;
    op.check()?;
    let writes = op.effect() != Effect::Read;
    let guard = |(resource, fence): &(String, i64)| Guard {
        resource: resource.clone(),
        fence: Fence(*fence),
    };
    let mut read = StoreRequest::new(op).guarded_by(request.guards.iter().map(guard));
    read.request_id = request.id.clone().filter(|_| writes);
    read.actor = request.member.as_ref().map(|member| Actor {
        session: SessionRef(member.name.clone()),
        token_digest: digest(&member.token),
    });
    Ok(read)
}
