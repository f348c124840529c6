//! What a command works with: the project, its store, and the session it acts for.
//!
//! Everything is found when it is first needed, so that a command that asks little costs little.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    thread,
    time::{Duration, Instant},
};

use cotenant_core::{
    Code, Error, Operation, Result,
    claim::Item,
    name::{SessionRef, shown},
    offer::{OfferItem, Place},
    operation::{ActorRule, Effect},
    session::{SessionView, SignOff, SignOn, SignedOn, State},
    store::{Actor, Answered, Guard, Outcome, Reply, Request, Store},
};
use cotenant_store::{
    Batching, IfMissing, LocalStore, Location,
    combine::{Combiner, combine},
    postgres::{Address, Sharing},
    testing::mutant,
};

use crate::{
    config, env,
    project::Project,
    token::{self, Token, Tokens},
};

mod caller;

pub(crate) use caller::{Caller, blank_sign_on, native_reference, process_reference};

/// How often a request is sent at most; repeats carry the same id.
const TRIES_MAX: usize = 3;
/// How long a server that refuses connections may take to start again.
const RESTART: Duration = Duration::from_secs(1);
/// How long it is left alone after it failed.
const PAUSE: Duration = Duration::from_millis(100);
/// Which part of its turn a process in a hurry waits for others to carry out what it asks for.
pub(crate) const HASTE: u32 = 4;

/// What the global options say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// The store to use instead of the project's.
    pub(crate) store: Option<String>,
    /// The session to act for.
    pub(crate) session: Option<String>,
    /// The id of the request.
    pub(crate) request_id: Option<String>,
    /// What must still be held.
    pub(crate) guards: Vec<Guard>,
    /// Whether notes for people are kept back.
    pub(crate) quiet: bool,
}

/// What a command works with.
pub(crate) struct Context {
    options: Options,
    directory: PathBuf,
    project: OnceLock<Project>,
    store: OnceLock<Arc<dyn Store>>,
    caller: OnceLock<Caller>,
    actor: OnceLock<Actor>,
    patience: Patience,
    stays: bool,
    serves_many: bool,
    combiner: OnceLock<Combiner>,
}

/// How long the store is asked.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// How long a writer waits for its turn; as configured when absent.
    turn: Option<Duration>,
    /// How often a request is sent at most.
    tries: usize,
}

impl Context {
    /// A context that finds everything when it is needed.
    pub(crate) fn new(options: Options, directory: PathBuf) -> Self {
        Self {
            options,
            directory,
            project: OnceLock::new(),
            store: OnceLock::new(),
            caller: OnceLock::new(),
            actor: OnceLock::new(),
            patience: Patience { turn: None, tries: TRIES_MAX },
            stays: false,
            serves_many: false,
            combiner: OnceLock::new(),
        }
    }

    /// Of a process that stays: it has the database open itself, and carries out what short
    /// processes ask for.
    pub(crate) fn that_stays(mut self) -> Self {
        self.stays = true;
        self
    }

    /// Of a process that stays and carries out requests side by side.
    pub(crate) fn that_serves_many(mut self) -> Self {
        self.serves_many = true;
        self.that_stays()
    }

    /// Sets how long a writer waits for its turn; a request is then repeated at most once.
    pub(crate) fn in_a_hurry(mut self, turn: Duration) -> Self {
        self.patience = Patience { turn: Some(turn), tries: 2 };
        self
    }

    /// The project of the working directory.
    pub(crate) fn project(&self) -> Result<&Project> {
        get_or_try_init(&self.project, || {
            let address = self.options.store.clone().or_else(|| env::text(env::STORE));
            Project::discover(&self.directory, address.as_deref())
        })
    }

    /// Whether this command, or its environment, names the store.
    pub(crate) fn names_store(&self) -> bool {
        self.options.store.is_some() || env::text(env::STORE).is_some()
    }

    /// The store, which is not made if it is missing.
    pub(crate) fn store(&self) -> Result<&Arc<dyn Store>> {
        self.open_store(IfMissing::Fail)
    }

    /// The store, opened on the first call; what happens to a missing one is decided then.
    pub(crate) fn open_store(&self, missing: IfMissing) -> Result<&Arc<dyn Store>> {
        get_or_try_init(&self.store, || {
            let project = self.project()?;
            let configured = project.clone();
            let turn = self.patience.turn;
            let turn = move || match turn {
                Some(turn) => Ok(turn),
                None => Ok(Duration::from_millis(config::load(&configured)?.busy_timeout())),
            };
            let file = match &project.store {
                Location::File(file) => file.clone(),
                Location::Server(address) => {
                    return self.open_server(project, address, missing, turn);
                }
            };
            if !self.stays {
                let mut store = cotenant_store::open_for_few(&file, missing, turn)?;
                if let Some(turn) = self.patience.turn {
                    store = store.patience(turn / HASTE);
                }
                return Ok(Arc::new(store) as Arc<dyn Store>);
            }
            let store = LocalStore::open(&file, missing)?.busy_timeout_by(turn.clone());
            let own = file.clone();
            let open = move || LocalStore::open(&own, IfMissing::Fail);
            // Without a thread to spare, the others do without a combiner.
            if let Ok(combiner) = combine(&file, open.clone()) {
                let _ = self.combiner.set(combiner);
            }
            if self.serves_many {
                let open = move || Ok(open()?.busy_timeout_by(turn.clone()));
                return Ok(Arc::new(Batching::new(store, open)) as Arc<dyn Store>);
            }
            Ok(Arc::new(store) as Arc<dyn Store>)
        })
    }

    /// Opens a store on a server.
    fn open_server(
        &self,
        project: &Project,
        address: &Address,
        missing: IfMissing,
        turn: impl Fn() -> Result<Duration> + Send + Sync + 'static,
    ) -> Result<Arc<dyn Store>> {
        let mut address = address.clone();
        if let Some(turn) = self.patience.turn {
            address = address.answering_within(turn);
        }
        let began = Instant::now();
        let store = loop {
            match LocalStore::open_postgres(&address, missing) {
                // It may be starting, which takes it a moment.
                Err(error)
                    if error.code == Code::StoreIo
                        && self.patience.turn.is_none()
                        && began.elapsed() < RESTART =>
                {
                    thread::sleep(PAUSE);
                }
                opened => break opened?,
            }
        };
        project.make_home()?;
        let turn = Arc::new(turn);
        let patient = move |store: LocalStore| {
            let turn = Arc::clone(&turn);
            store.busy_timeout_by(move || turn())
        };
        let own = patient(store);
        let open = move |address: &Address, missing| {
            LocalStore::open_postgres(address, missing).map(&patient)
        };
        if self.serves_many {
            let (again, place) = (open.clone(), address.clone());
            let own = Batching::new(own, move || again(&place, IfMissing::Fail));
            return Ok(Arc::new(Sharing::new(own, &address, open)));
        }
        Ok(Arc::new(Sharing::new(own, &address, open)))
    }

    /// The token files beside the store.
    pub(crate) fn tokens(&self) -> Result<Tokens> {
        Ok(Tokens::of(&self.project()?.home))
    }

    /// The options the command was given.
    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// Gives the path claims among items their tree; their names are paths from the working
    /// directory.
    pub(crate) fn place(&self, item: Item) -> Result<Item> {
        if item.kind == cotenant_core::claim::ItemKind::Path && item.tree.is_none() {
            return self.project()?.path_item(Path::new(&item.name));
        }
        Ok(item)
    }

    /// Where the work is that is handed over with these items, as far as nothing else is said.
    pub(crate) fn work(&self, said: &Place, items: &[OfferItem]) -> Result<Place> {
        let project = self.project()?;
        Ok(project.work(said, items, &project.start))
    }

    /// Gives a resource that is a claimed path its tree; others stay as they are.
    pub(crate) fn resource(&self, name: String) -> Result<String> {
        if !name.starts_with("path:") {
            return Ok(name);
        }
        let item = self.place(name.parse()?)?;
        Ok(cotenant_core::lease::Resource::Claim(item).to_string())
    }

    /// Carries out an operation as the command's main action, under the request id it was given.
    pub(crate) fn call<O: Operation>(&self, operation: &O) -> Result<Answered<O::Answer>> {
        answered::<O>(&self.ask(operation)?)
    }

    /// As [`Self::call`], with the answer as the store gave it.
    pub(crate) fn ask<O: Operation>(&self, operation: &O) -> Result<Reply> {
        let id = self.options.request_id.clone();
        self.send(operation, id)
    }

    /// As [`Self::call`], of one of several operations that are the main action together: each has an
    /// id of its own, so that a repeat of all of them is harmless too.
    pub(crate) fn call_part<O: Operation>(
        &self,
        operation: &O,
        number: usize,
    ) -> Result<Answered<O::Answer>> {
        let id = self.options.request_id.as_ref().map(|id| format!("{id}.{number}"));
        answered::<O>(&self.send(operation, id)?)
    }

    /// Carries out an operation that only serves the main action, under an id of its own.
    pub(crate) fn call_aside<O: Operation>(&self, operation: &O) -> Result<Answered<O::Answer>> {
        answered::<O>(&self.send(operation, None)?)
    }

    fn send<O: Operation>(&self, operation: &O, id: Option<String>) -> Result<Reply> {
        // Wrong arguments are refused before a store is made or a session signed on for them.
        let mut operation = operation.clone();
        operation.check()?;
        self.prepare::<O>()?;
        let mut request = Request::new(operation);
        if O::EFFECT == Effect::Write {
            request = request.id(id.map_or_else(token::request_id, Ok)?);
            if O::ACTOR == ActorRule::Required {
                request = request.guarded_by(self.guards()?);
            }
        }
        let acts = O::EFFECT != Effect::Read && !matches!(self.caller(), Caller::Nobody);
        if O::ACTOR == ActorRule::Required || acts {
            if let Some(noted) = self.noted_actor()? {
                match self.submit(request.clone().by(noted.clone())) {
                    // The name stands for another session now, or for none.
                    Err(error) if is_of_actor(error.code) => {}
                    outcome => {
                        let _ = self.actor.set(noted);
                        return outcome;
                    }
                }
            }
            request = request.by(self.actor()?.clone());
        }
        self.submit(request)
    }

    /// Opens the store for an operation, if there is somebody to carry it out for.
    pub(crate) fn prepare<O: Operation>(&self) -> Result<()> {
        self.prepare_for(O::EFFECT, O::ACTOR, false)
    }

    /// As [`Self::prepare`]; with `named` the operation brings its own actor. A mutation makes a
    /// missing store, unless it is for a session that must have been signed on in it.
    pub(crate) fn prepare_for(&self, effect: Effect, rule: ActorRule, named: bool) -> Result<()> {
        let acts = rule == ActorRule::Required;
        if acts && !named && *self.caller() == Caller::Nobody {
            return Err(caller::nobody());
        }
        let known = acts && (named || matches!(self.caller(), Caller::Named(_)));
        let missing =
            if effect == Effect::Read || known { IfMissing::Fail } else { IfMissing::Create };
        self.open_store(missing).map(drop)
    }

    /// Sends a request, again if the store was busy.
    pub(crate) fn submit(&self, request: Request) -> Result<Reply> {
        let outcome = self.submit_all(&[request]).pop();
        outcome.unwrap_or_else(|| Err(Error::internal("the store gave no outcome")))
    }

    /// Sends requests as one batch, and those again that found the store busy.
    pub(crate) fn submit_all(&self, requests: &[Request]) -> Vec<Outcome> {
        let is_of = |outcome: &Outcome, code| outcome.as_ref().is_err_and(|e| e.code == code);
        let is_busy =
            |outcome: &Outcome| is_of(outcome, Code::Busy) || is_of(outcome, Code::StoreIo);
        let found = self.project().and_then(|project| Ok((self.store()?, project)));
        let (store, on_server) = match found {
            Ok((store, project)) => (store, project.store.file().is_none()),
            Err(error) => return requests.iter().map(|_| Err(error.to_wire().into())).collect(),
        };
        let mut outcomes = store.submit(requests.to_vec());
        for _ in 1..self.patience.tries {
            let busy: Vec<usize> =
                (0..outcomes.len()).filter(|place| is_busy(&outcomes[*place])).collect();
            if busy.is_empty() {
                break;
            }
            // A server that ended the connection may be restarting.
            if on_server && busy.iter().any(|place| is_of(&outcomes[*place], Code::StoreIo)) {
                thread::sleep(PAUSE);
            }
            let mut again: Vec<Request> =
                busy.iter().map(|place| requests[*place].clone()).collect();
            if mutant("repeats_under_another_id") {
                let written = again.iter_mut().filter_map(|request| request.request_id.as_mut());
                written.for_each(|id| id.push('x'));
            }
            for (place, outcome) in busy.into_iter().zip(store.submit(again)) {
                outcomes[place] = outcome;
            }
        }
        outcomes
    }

    /// The guards of every mutation, from the command line and the environment.
    pub(crate) fn guards(&self) -> Result<Vec<Guard>> {
        let mut guards = self.options.guards.clone();
        for guard in &mut guards {
            guard.resource = self.resource(std::mem::take(&mut guard.resource))?;
        }
        for line in env::text(env::GUARDS).unwrap_or_default().lines() {
            let guard = line.parse()?;
            if !guards.contains(&guard) {
                guards.push(guard);
            }
        }
        Ok(guards)
    }

    /// Signs a session on; its token is drawn here and kept for the user's other commands. The
    /// digest that the operation brings does not matter.
    pub(crate) fn sign_on(&self, operation: SignOn) -> Result<Answered<SignedOn>> {
        answered::<SignOn>(&self.ask_sign_on(operation, None)?)
    }

    /// As [`Self::sign_on`], with the answer as the store gave it.
    pub(crate) fn ask_sign_on(&self, operation: SignOn, id: Option<String>) -> Result<Reply> {
        self.sign_on_with(operation, id, |request| {
            // Whoever has the token of a live session is that session, whatever the process.
            if matches!(self.caller(), Caller::Named(_))
                && let Some(own) = self.own_session()?
                && own.answer.session.state.is_live()
            {
                return Ok(request.by(self.actor_for(&own.answer.session)?));
            }
            Ok(request)
        })
    }

    /// As [`Self::ask_sign_on`], in the name that `dress` gives it.
    pub(crate) fn sign_on_with(
        &self,
        mut operation: SignOn,
        id: Option<String>,
        dress: impl FnOnce(Request) -> Result<Request>,
    ) -> Result<Reply> {
        self.limit(&mut operation)?;
        admit(&operation)?;
        let token = Token::draw()?;
        operation.token_digest.clone_from(&token.digest);
        operation.check()?;
        self.open_store(IfMissing::Create)?;
        let tokens = self.tokens()?;
        // A session with a process is over when the machine has lost its power, and needs its token no more. One
        // without lives on, and hooks, which must be quick, sign none on.
        tokens.keep(&token, operation.process.is_none())?;
        let id = id.map_or_else(token::request_id, Ok)?;
        let outcome = self.submit(dress(Request::new(operation).id(id))?);
        // A session that was there before keeps the token it has. After a failure of the machine
        // the session may be there all the same, so only a refusal makes the token useless.
        let useless = match &outcome {
            Ok(reply) => !reply.data.get().contains(&token.digest),
            Err(error) => !matches!(error.code, Code::Internal | Code::StoreIo | Code::StoreFull),
        };
        if useless {
            tokens.forget(&token.digest);
        }
        if let Ok(reply) = &outcome {
            let signed = decode::<SignOn>(reply)?;
            if tokens.has(&signed.token_digest) {
                tokens.note(&signed.name, &signed.token_digest);
            } else {
                tokens.forget_note(&signed.name);
            }
        }
        outcome
    }

    /// Lets a sign-on of somebody who is no person know how many sessions may be live.
    pub(crate) fn limit(&self, operation: &mut SignOn) -> Result<()> {
        if operation.kind != "human" && operation.live_max.is_none() {
            operation.live_max = match config::load(self.project()?) {
                Ok(config) => config.sessions_max(),
                // A hook never fails an agent for a file that cannot be read.
                Err(_) if self.patience.turn.is_some() => None,
                Err(error) => return Err(error),
            };
        }
        Ok(())
    }

    /// Ends the session that the command acts for and forgets its token.
    pub(crate) fn ask_sign_off(&self, operation: &SignOff) -> Result<Reply> {
        let reply = self.ask(operation)?;
        let tokens = self.tokens()?;
        tokens.forget(&self.actor()?.token_digest);
        if let Caller::Named(session) = self.caller() {
            tokens.forget_note(&session.0);
        }
        Ok(reply)
    }

    /// The session that the caller's name stood for last, if the store was not asked yet.
    fn noted_actor(&self) -> Result<Option<Actor>> {
        match self.caller() {
            Caller::Named(session) if self.actor.get().is_none() => {
                Ok(self.tokens()?.noted(&session.0))
            }
            _ => Ok(None),
        }
    }

    /// The actor that stands for a session, if this user has its token.
    pub(crate) fn actor_for(&self, session: &SessionView) -> Result<Actor> {
        if !self.tokens()?.has(&session.token_digest) {
            let name = &session.name;
            // Its token went with it.
            let (code, message) = match session.state {
                State::Ended => (Code::SessionEnded, format!("session `{name}` has signed off")),
                State::Lost => (Code::SessionLost, format!("session `{name}` was lost")),
                State::Active | State::Silent => {
                    (Code::Unauthenticated, format!("the token of session `{name}` is not here"))
                }
            };
            return Err(Error::new(code, message).hint(if session.state.is_live() {
                format!(
                    "only the user who signed it on acts for it; sign on a session of your own. Where its token is \
                     gone, a person ends it: `cotenant session reap {} --force`",
                    shown(name)
                )
            } else {
                "the session is over; `cotenant sign-on NAME` begins another".to_owned()
            }));
        }
        Ok(Actor {
            session: SessionRef(session.session.0.clone()),
            token_digest: session.token_digest.clone(),
        })
    }
}

/// Refuses to sign a person on for an agent: what people may do, agents may not, and one may try by mistake. It keeps
/// nobody out who means to get in, since both have the same account.
pub(crate) fn admit(operation: &SignOn) -> Result<()> {
    if operation.kind != "human" || env::is_set(env::HUMAN) {
        return Ok(());
    }
    match caller::agent() {
        None => Ok(()),
        Some(kind) => Err(Error::new(
            Code::Forbidden,
            format!("this runs inside an agent (`{kind}`), which signs no person on"),
        )
        .hint(format!(
            "use a terminal of your own; a person who types here says {}=1",
            env::HUMAN
        ))),
    }
}

fn answered<O: Operation>(reply: &Reply) -> Result<Answered<O::Answer>> {
    let answer = decode::<O>(reply)?;
    Ok(Answered { answer, seq: reply.seq, tick: reply.tick, replayed: reply.replayed })
}

/// Reads the answer of an operation.
pub(crate) fn decode<O: Operation>(reply: &Reply) -> Result<O::Answer> {
    serde_json::from_str(reply.data.get()).map_err(|error| {
        Error::internal(format!("the answer of `{}` cannot be read", O::NAME)).caused_by(error)
    })
}

/// Whether a request was refused for who asks, whatever it asked for.
fn is_of_actor(code: Code) -> bool {
    matches!(code, Code::Unauthenticated | Code::SessionLost | Code::SessionEnded)
}

/// What a cell holds, found out if it is empty; if two threads do so, the first one's stays.
fn get_or_try_init<T>(cell: &OnceLock<T>, init: impl FnOnce() -> Result<T>) -> Result<&T> {
    if let Some(value) = cell.get() {
        return Ok(value);
    }
    let value = init()?;
    Ok(cell.get_or_init(|| value))
}
