//! One tool call on its way to the store, off the runtime.

use std::cell::RefCell;

use cotenant_core::{
    Code, Error, Operation, Result,
    claim::{Item, ItemKind},
    event::sha256_hex,
    render::{Part, for_agent},
    store::{Actor, Guard, Request},
};

use super::host::{Caller, Host};

/// How often a request is sent at most.
const TRIES: usize = 3;

/// One tool call.
pub(crate) struct Call<'a> {
    pub(crate) host: &'a dyn Host,
    pub(crate) caller: &'a Caller,
    /// The session that an earlier try of this call ran as; this one acts as no other.
    earlier: Option<Actor>,
    actor: RefCell<Option<Actor>>,
}

impl<'a> Call<'a> {
    pub(crate) fn new(host: &'a dyn Host, caller: &'a Caller, earlier: Option<Actor>) -> Self {
        Self { host, caller, actor: RefCell::new(earlier.clone()), earlier }
    }

    /// The session that the call turned out to run as.
    pub(crate) fn into_actor(self) -> Option<Actor> {
        self.actor.into_inner()
    }

    /// The caller's session, if it has one.
    pub(crate) fn find(&self) -> Result<Option<Actor>> {
        let actor = match &self.earlier {
            Some(earlier) => Some(earlier.clone()),
            None => self.host.find(self.caller)?,
        };
        self.actor.replace(actor.clone());
        Ok(actor)
    }

    /// Asks without an actor.
    pub(crate) fn read<O: Operation>(&self, operation: &O) -> Result<O::Answer> {
        self.send(operation, |request| request)
    }

    /// Changes something in the name of the caller's session, which is signed on if need be.
    pub(crate) fn write<O: Operation>(&self, operation: O) -> Result<O::Answer> {
        self.guarded(operation, Vec::new())
    }

    /// The same, if the guards hold.
    pub(crate) fn guarded<O: Operation>(
        &self,
        mut operation: O,
        mut guards: Vec<Guard>,
    ) -> Result<O::Answer> {
        // A wrong argument must not sign anybody on.
        operation.check()?;
        guards.extend(self.host.guards()?);
        let actor = match &self.earlier {
            Some(earlier) => earlier.clone(),
            None => self.host.actor(self.caller)?,
        };
        self.actor.replace(Some(actor.clone()));
        self.as_actor(&operation, &actor, &guards)
    }

    /// Changes something in the name of a given session.
    pub(crate) fn as_actor<O: Operation>(
        &self,
        operation: &O,
        actor: &Actor,
        guards: &[Guard],
    ) -> Result<O::Answer> {
        let id = self.host.request_id()?;
        self.send(operation, |request| {
            request.by(actor.clone()).id(id.clone()).guarded_by(guards.iter().cloned())
        })
    }

    /// Reads items and gives paths their tree.
    pub(crate) fn items(&self, items: &[String]) -> Result<Vec<Item>> {
        items.iter().map(|item| self.item(item)).collect()
    }

    pub(crate) fn item(&self, item: &str) -> Result<Item> {
        let item: Item = item.parse()?;
        if item.kind == ItemKind::Path { self.host.locate(item) } else { Ok(item) }
    }

    /// What others wrote, framed so that it cannot be taken for anything else. The delimiter is drawn anew.
    pub(crate) fn framed(&self, parts: &[Part]) -> Result<String> {
        let drawn = sha256_hex(&self.host.request_id()?);
        Ok(for_agent(parts, &drawn[..12]))
    }

    /// Sends a request, again when it certainly had no effect or its repetition is harmless.
    fn send<O: Operation>(
        &self,
        operation: &O,
        dress: impl Fn(Request) -> Request,
    ) -> Result<O::Answer> {
        let store = self.host.store()?;
        let mut tries = 1;
        loop {
            match store.call(operation, &dress) {
                Ok(answered) => return Ok(answered.answer),
                Err(error) if tries < TRIES && may_pass(&error) => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }
}

fn may_pass(error: &Error) -> bool {
    matches!(error.code, Code::Busy | Code::StoreIo)
}
