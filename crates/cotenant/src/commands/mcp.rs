//! `cotenant mcp`: the server that an agent starts for itself.
//!
//! It is found by the agent's configuration, lives as long as the agent keeps its end of stdin
//! open, and may be started anew at any time. So nothing is kept here that cannot be found again:
//! the store by the project, the session by the agent's process and conversation.

mod origin;
mod registry;

use std::{
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cotenant_core::{
    Code, Error, Result,
    claim::Item,
    id::SessionId,
    name::SessionRef,
    offer::{self, OfferItem},
    process::{Liveness, Processes as _},
    session::{ChangeNative, IfBusy, SessionView, ShowSession, SignOn, SignedOn},
    store::{Actor, Guard, Request, Store},
};
use cotenant_server::mcp::{Caller, Host};
use cotenant_store::host::LocalProcesses;

use self::origin::{Agent, Choice, Origin, Sessions, choose, noted};
use crate::{
    context::{Context, Options, blank_sign_on, decode, native_reference, process_reference},
    env,
    hook::marks::{Marks, Place},
    token,
};

/// Serve the project's tools to an agent over MCP; agents start this
///
/// Speaks JSON-RPC on stdin and stdout. `cotenant init` puts it into the agent's configuration.
#[derive(clap::Args)]
pub(crate) struct Args {}

/// Serves the agent at the other end of stdin and stdout.
pub(crate) fn run(options: &Options) -> Result<()> {
    let directory = match env::path(env::CLAUDE_PROJECT) {
        Some(directory) => directory,
        None => env::working_directory().map_err(|error| {
            Error::invalid(format!("the working directory is not there: {error}")).caused_by(error)
        })?,
    };
    let program = Program {
        options: Options { quiet: true, ..options.clone() },
        directory,
        agent: Agent::above(),
        opened: Mutex::default(),
    };
    let program = Arc::new(program);
    // The store is opened beside the first answer, if it is there: other processes of the agent find
    // a combiner, whether it ever uses a tool or not.
    let opening = Arc::clone(&program);
    let _ = std::thread::Builder::new().spawn(move || opening.open().map(drop));
    cotenant_server::mcp::serve(program, std::io::stdin(), std::io::stdout())
}

/// What the server asks of.
struct Program {
    options: Options,
    directory: PathBuf,
    agent: Agent,
    opened: Mutex<Option<Opened>>,
}

/// A project whose store is open.
struct Opened {
    context: Context,
    /// The file that was opened; none on a server.
    file: Option<(u64, u64)>,
}

impl Opened {
    fn new(options: &Options, directory: &std::path::Path) -> Result<Self> {
        let context = Context::new(options.clone(), directory.to_path_buf()).that_stays();
        context.store()?;
        let file = file_of(&context)?;
        Ok(Self { context, file })
    }

    /// Whether the file that was opened is still the project's store; a restored copy is another.
    fn is_current(&self) -> bool {
        file_of(&self.context).is_ok_and(|file| file == self.file)
    }
}

fn file_of(context: &Context) -> Result<Option<(u64, u64)>> {
    let Some(file) = context.project()?.store.file() else { return Ok(None) };
    let found = std::fs::metadata(file).map_err(|error| vanished().caused_by(error))?;
    Ok(Some((found.dev(), found.ino())))
}

fn vanished() -> Error {
    Error::new(Code::StoreIo, "the store was replaced while it was being opened")
}

/// The open project, for the time of one question.
struct Open<'a>(MutexGuard<'a, Option<Opened>>);

impl Open<'_> {
    fn context(&self) -> Result<&Context> {
        self.0.as_ref().map(|opened| &opened.context).ok_or_else(vanished)
    }
}

impl Program {
    fn open(&self) -> Result<Open<'_>> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if !opened.as_ref().is_some_and(Opened::is_current) {
            *opened = Some(Opened::new(&self.options, &self.directory)?);
        }
        Ok(Open(opened))
    }

    /// The session that this server was told to act for.
    fn told(&self) -> Option<String> {
        self.options.session.clone().or_else(|| env::text(env::SESSION))
    }

    /// The name of that session, for a sign-on; an id cannot be signed on under.
    fn told_name(&self) -> Option<String> {
        self.told().filter(|session| !cotenant_core::id::is_id(session))
    }

    /// Where a call comes from, and the session that it runs as.
    fn choice(&self, context: &Context, caller: &Caller) -> Result<(Origin, Choice)> {
        let directory = context.project()?.home.clone();
        let noted = caller.tool_use_id.as_deref().and_then(|id| noted(&directory, id));
        let origin = self.agent.origin(caller, noted);
        if let Some(name) = self.told()
            && let Some(view) = show(context, Some(SessionRef(name)))?.filter(|v| v.state.is_live())
        {
            return Ok((origin, Choice::Take(view)));
        }
        let native = origin.conversation.id().map(|id| native_reference(origin.kind, id));
        let process = origin.process.as_ref().and_then(process_reference);
        let sessions = Sessions {
            noted: show(context, origin.noted.clone().map(|SessionId(id)| SessionRef(id)))?,
            by_native: show(context, native)?,
            by_process: show(context, process)?,
        };
        let choice = choose(&origin, sessions);
        Ok((origin, choice))
    }
}

/// A session that the store knows.
fn show(context: &Context, session: Option<SessionRef>) -> Result<Option<SessionView>> {
    let Some(session) = session else {
        return Ok(None);
    };
    let reply = context.submit(Request::new(ShowSession { session }));
    match reply.and_then(|reply| decode::<ShowSession>(&reply)) {
        Ok(shown) => Ok(Some(shown.session)),
        Err(error) if matches!(error.code, Code::NotFound | Code::Invalid) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Records the conversation id that `/clear` gave to a session.
fn follow(context: &Context, view: &SessionView, origin: &Origin) -> Result<()> {
    let Some(native_id) = origin.conversation.id() else {
        return Ok(());
    };
    let change = ChangeNative { native_id: native_id.to_owned() };
    let request = Request::new(change).by(context.actor_for(view)?).id(token::request_id()?);
    match context.submit(request) {
        // Another live process has that conversation: then this session stays what it was.
        Err(error) if error.code != Code::AgentBusy => Err(error),
        _ => Ok(()),
    }
}

impl Host for Program {
    fn store(&self) -> Result<Arc<dyn Store>> {
        Ok(Arc::clone(self.open()?.context()?.store()?))
    }

    fn find(&self, caller: &Caller) -> Result<Option<Actor>> {
        let open = self.open()?;
        let context = open.context()?;
        match self.choice(context, caller)?.1 {
            Choice::Take(view) | Choice::Follow(view) => context.actor_for(&view).map(Some),
            Choice::Nobody { .. } => Ok(None),
        }
    }

    fn actor(&self, caller: &Caller) -> Result<Actor> {
        let open = self.open()?;
        let context = open.context()?;
        let (origin, choice) = self.choice(context, caller)?;
        match choice {
            Choice::Take(view) => return context.actor_for(&view),
            Choice::Follow(view) => {
                follow(context, &view, &origin)?;
                return context.actor_for(&view);
            }
            Choice::Nobody { .. } => {}
        }
        // As hooks do: a conversation that is open twice becomes two sessions, not a failure.
        let signed = context.sign_on(SignOn {
            name: self.told_name(),
            native_id: origin.conversation.id().map(str::to_owned),
            process: origin.process,
            if_busy: IfBusy::Fork,
            ..blank_sign_on(origin.kind)
        })?;
        Ok(Actor {
            session: SessionRef(signed.answer.session.0),
            token_digest: signed.answer.token_digest,
        })
    }

    fn sign_on(
        &self,
        caller: &Caller,
        name: Option<String>,
        purpose: Option<String>,
    ) -> Result<SignedOn> {
        let open = self.open()?;
        let context = open.context()?;
        if let (Some(told), Some(name)) = (self.told(), &name)
            && told != *name
        {
            return Err(Error::invalid(format!("this server acts for session `{told}`"))
                .hint("call sign_on without `session_id`, or unset COTENANT_SESSION"));
        }
        let (origin, choice) = self.choice(context, caller)?;
        let native_id = origin.conversation.id().map(str::to_owned);
        let before = choice.session().cloned();
        let (kind, native_id, process) = match choice {
            // Who speaks for a session may name it, so it is asked for as what it is.
            Choice::Take(view) => (view.kind, view.native_id, view.process),
            Choice::Follow(view) => {
                follow(context, &view, &origin)?;
                (view.kind, native_id, view.process)
            }
            Choice::Nobody { taken: true } => (origin.kind.to_owned(), None, origin.process),
            Choice::Nobody { taken: false } => (origin.kind.to_owned(), native_id, origin.process),
        };
        let name = name.or_else(|| self.told_name());
        let operation =
            SignOn { name, purpose, native_id, process: process.clone(), ..blank_sign_on(&kind) };
        let place = (operation.native_id.clone(), process.map_or(0, |process| process.pid));
        let signed = context.sign_on(operation)?.answer;
        if let (Some(native_id), pid) = place
            && before.as_ref() != Some(&signed.session)
        {
            // The hooks of the conversation act for the session that it goes by now.
            let marks = Marks::of(&context.project()?.home);
            marks.forget(Place { kind: &kind, native_id: &native_id, pid });
        }
        Ok(signed)
    }

    fn locate(&self, item: Item) -> Result<Item> {
        self.open()?.context()?.place(item)
    }

    fn work(&self, said: &offer::Place, items: &[OfferItem]) -> Result<offer::Place> {
        Ok(self.open()?.context()?.project()?.work(said, items, &self.directory))
    }

    fn guards(&self) -> Result<Vec<Guard>> {
        self.open()?.context()?.guards()
    }

    fn request_id(&self) -> Result<String> {
        token::request_id()
    }

    fn agent_lives(&self) -> bool {
        let dead = |process| LocalProcesses.liveness(process) == Liveness::Dead;
        !self.agent.process.as_ref().is_some_and(dead)
    }
}
