//! What all projects of one database share: the scope `org` and those below it.
//!
//! It is kept in a project of that name. Whoever writes there is also a session of that project, named
//! `PROJECT/NAME` and with its own id as native id, so that data and log say who wrote what from where.
//! A session that is over in its project writes no more.

use std::sync::{Mutex, OnceLock, PoisonError};

use cotenant_core::{
    Code, Error, Op, Result,
    data::{PAGE_MAX, Txn, Write},
    id::SessionId,
    instruction::{
        AddInstruction, Conflicts, Effective, Instruction, Instructions, ListInstructions, Scope,
        conflicts,
    },
    name::{SessionRef, shown},
    operation::Effect,
    session::{IfBusy, SessionView, ShowSession, SignOn, State},
    store::{Actor, Answered, Outcome, Reply, Request, Store},
};

use super::Address;
use crate::{IfMissing, LocalStore, execute::raw};

/// The scope, and the project that keeps it.
const ORG: &str = "org";

/// Opens the shared project.
type Open = Box<dyn Fn(IfMissing) -> Result<LocalStore> + Send + Sync>;

/// A project's store, together with what it shares with the others of its database.
pub struct Sharing {
    own: Box<dyn Store>,
    project: String,
    open: Open,
    shared: OnceLock<LocalStore>,
    opening: Mutex<()>,
}

/// Where a request belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Own,
    Shared,
    /// Both are asked, and their answers put together.
    Both,
}

impl Sharing {
    /// A project's store, and how the shared project's is opened.
    pub fn new(
        own: impl Store + 'static,
        address: &Address,
        open: impl Fn(&Address, IfMissing) -> Result<LocalStore> + Send + Sync + 'static,
    ) -> Self {
        let shared = address.of_project(ORG);
        Self {
            own: Box::new(own),
            project: address.project().to_owned(),
            open: Box::new(move |missing| open(&shared, missing)),
            shared: OnceLock::new(),
            opening: Mutex::new(()),
        }
    }

    /// The shared project, which the first write makes.
    fn shared(&self, missing: IfMissing) -> Result<&LocalStore> {
        let _turn = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = self.shared.get() {
            return Ok(shared);
        }
        let opened = (self.open)(missing)?;
        Ok(self.shared.get_or_init(|| opened))
    }

    fn place(&self, op: &Op) -> Result<Place> {
        // In the shared project itself all is its own.
        if self.project == ORG { Ok(Place::Own) } else { place(op) }
    }

    fn in_shared(&self, mut request: Request) -> Outcome {
        check(&request)?;
        let writes = request.op.effect() != Effect::Read;
        let shared = match self.shared(if writes { IfMissing::Create } else { IfMissing::Fail }) {
            // Nobody has shared anything yet: as in a scope without keys.
            Err(error) if error.code == Code::NotFound && !writes => {
                return self.own.one(request);
            }
            opened => opened?,
        };
        let shared: &dyn Store = shared;
        let Some(actor) = request.actor.take().filter(|_| writes) else {
            return shared.one(request);
        };
        let member = self.member(&actor)?;
        let known = Actor {
            session: SessionRef(format!("native:{}:{}", member.kind, member.session)),
            token_digest: actor.token_digest.clone(),
        };
        match shared.one(request.clone().by(known)) {
            Err(error) if is_of_actor(error.code) => {}
            outcome => return outcome,
        }
        let session = self.sign_on(shared, member, &actor.token_digest)?;
        let actor = Actor { session: SessionRef(session.0), token_digest: actor.token_digest };
        shared.one(request.by(actor))
    }

    /// Asks the project and what is shared after instructions.
    fn in_both(&self, request: &Request) -> Outcome {
        let shared: &dyn Store = match self.shared(IfMissing::Fail) {
            Err(error) if error.code == Code::NotFound => return self.own.one(request.clone()),
            opened => opened?,
        };
        if let Op::Effective(op) = &request.op {
            let all = Effective { since: None, ..op.clone() };
            let own = self.own.call(&all, |request| request)?;
            let of_org = shared.call(&all, |request| request)?.answer;
            let data = raw(&own.answer.with(of_org, op))?;
            return Ok(Reply { data, seq: own.seq, tick: own.tick, replayed: false });
        }
        let (mut entries, last) = live(self.own.as_ref())?;
        entries.extend(live(shared)?.0);
        let data = raw(&Conflicts { conflicts: conflicts(&entries) })?;
        Ok(Reply { data, seq: last.seq, tick: last.tick, replayed: false })
    }

    /// The session of this project that wants to write.
    fn member(&self, actor: &Actor) -> Result<SessionView> {
        let show = ShowSession { session: actor.session.clone() };
        let member = self.own.call(&show, |request| request)?.answer.session;
        if member.token_digest != actor.token_digest {
            return Err(Error::new(
                Code::Unauthenticated,
                format!("this is not the token of session `{}`", member.name),
            ));
        }
        let (code, over) = match member.state {
            State::Lost => (Code::SessionLost, "was lost"),
            State::Ended => (Code::SessionEnded, "has ended"),
            State::Active | State::Silent => return Ok(member),
        };
        Err(Error::new(code, format!("session `{}` {over}", member.name))
            .hint("sign on again with `cotenant sign-on NAME`"))
    }

    fn sign_on(
        &self,
        shared: &dyn Store,
        member: SessionView,
        token_digest: &str,
    ) -> Result<SessionId> {
        let operation = SignOn {
            name: Some(format!("{}/{}", self.project, member.name)),
            native_id: Some(member.session.0),
            process: member.process,
            purpose: member.purpose,
            labels: member.labels,
            // An earlier session of this name may not be over yet for those who see only this project.
            if_busy: IfBusy::Fork,
            ..SignOn::new(&member.kind, member.user, token_digest)
        };
        Ok(shared.call(&operation, |request| request)?.answer.session)
    }
}

impl Store for Sharing {
    fn submit(&self, requests: Vec<Request>) -> Vec<Outcome> {
        let places: Vec<_> = requests.iter().map(|request| self.place(&request.op)).collect();
        if places.iter().all(|place| matches!(place, Ok(Place::Own))) {
            return self.own.submit(requests);
        }
        let one = |(request, place): (Request, Result<Place>)| match place? {
            Place::Own => self.own.one(request),
            Place::Shared => self.in_shared(request),
            Place::Both => self.in_both(&request),
        };
        requests.into_iter().zip(places).map(one).collect()
    }
}

/// Every entry of a history that is neither superseded nor revoked, and the last page of them.
fn live(store: &dyn Store) -> Result<(Vec<Instruction>, Answered<Instructions>)> {
    let mut list = ListInstructions { history: false, scope: None, after: None, limit: PAGE_MAX };
    let mut all = Vec::new();
    loop {
        let mut page = store.call(&list, |request| request)?;
        all.append(&mut page.answer.entries);
        list.after = page.answer.next;
        if list.after.is_none() {
            return Ok((all, page));
        }
    }
}

/// Where an instruction belongs: its scope says it, and what it supersedes is there too.
fn place_of_instruction(add: &AddInstruction) -> Result<Place> {
    let of_org = add.scope == Scope::Org;
    if let Some(before) = add.supersedes.as_ref().filter(|before| before.is_of_org() != of_org) {
        return Err(Error::invalid(format!(
            "an instruction for `{}` cannot supersede `{}`",
            add.scope,
            shown(&before.0)
        ))
        .hint("what holds for `org` is named `org:ID` and superseded by another for `org`"));
    }
    Ok(if of_org { Place::Shared } else { Place::Own })
}

/// Whether a scope, or a pattern of scopes, is in what is shared.
fn is_shared(scope: &str) -> bool {
    scope.strip_prefix(ORG).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn place(op: &Op) -> Result<Place> {
    let scope = match op {
        Op::Get(get) => &get.scope,
        Op::List(list) => &list.scope,
        Op::Put(put) => &put.scope,
        Op::Delete(delete) => &delete.scope,
        Op::DeleteScope(delete) => &delete.scope,
        Op::Update(update) => &update.scope,
        Op::ListScopes(list) => &list.pattern,
        Op::Append(append) => &append.scope,
        Op::Read(read) => read.scope.as_deref().unwrap_or_default(),
        Op::Txn(txn) => return place_of(txn),
        Op::AddInstruction(add) => return place_of_instruction(add),
        Op::ApproveInstruction(op) if op.id.is_of_org() => return Ok(Place::Shared),
        Op::RevokeInstruction(op) if op.id.is_of_org() => return Ok(Place::Shared),
        Op::ListInstructions(list) if list.scope == Some(Scope::Org) => return Ok(Place::Shared),
        Op::Effective(_) | Op::ListConflicts(_) => return Ok(Place::Both),
        _ => return Ok(Place::Own),
    };
    Ok(if is_shared(scope) { Place::Shared } else { Place::Own })
}

fn place_of(txn: &Txn) -> Result<Place> {
    let compared = txn.compares.iter().map(|compare| &compare.scope);
    let written = txn.ops.iter().map(|write| match write {
        Write::Put(put) => &put.scope,
        Write::Delete(delete) => &delete.scope,
        Write::Update(update) => &update.scope,
    });
    let (shared, own): (Vec<_>, Vec<_>) =
        compared.chain(written).partition(|scope| is_shared(scope));
    match (shared.is_empty(), own.is_empty()) {
        (true, _) => Ok(Place::Own),
        (false, true) => Ok(Place::Shared),
        (false, false) => Err(Error::invalid(format!(
            "one transaction cannot write both to `{}` and to `{}`",
            shared[0], own[0]
        ))
        .hint("what `org` holds is shared by all projects; use a transaction for each")),
    }
}

/// What cannot be promised for what is shared.
fn check(request: &Request) -> Result<()> {
    if let Some(guard) = request.guards.first() {
        return Err(Error::invalid(format!(
            "a write to `org` cannot be guarded by `{}`, which is held in the project alone",
            guard.resource
        ))
        .hint("write it without guards, outside of `lease run`"));
    }
    let is_ephemeral = |write: &Write| matches!(write, Write::Put(put) if put.ephemeral);
    let ephemeral = match &request.op {
        Op::Put(put) => put.ephemeral,
        Op::Txn(txn) => txn.ops.iter().any(is_ephemeral),
        _ => false,
    };
    if ephemeral {
        return Err(Error::invalid("a key in `org` cannot go with a session of one project")
            .hint("give it a time to live instead"));
    }
    Ok(())
}

fn is_of_actor(code: Code) -> bool {
    matches!(code, Code::Unauthenticated | Code::SessionLost | Code::SessionEnded | Code::NotFound)
}
