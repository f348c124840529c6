//! One call of a hook: what the agent said, and what it takes to answer.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use cotenant_core::{
    Code, Error, Operation, Result,
    operation::Effect,
    process::ProcessIdentity,
    store::{Actor, Reply, Request},
};
use cotenant_store::IfMissing;

use super::{
    marks::{Marks, Place},
    payload::{Event, Payload},
};
use crate::{
    context::{Context, HASTE, Options, decode},
    env, identity,
};

/// How long a hook may take.
const DEADLINE: Duration = Duration::from_millis(1_500);
/// How long a hook waits for its turn to write; it asks others once and the database twice at most.
const PATIENCE: Duration = Duration::from_millis(600);

/// What one call of a hook is about.
pub(crate) struct Call<'a> {
    begun: Instant,
    pub(crate) event: Event,
    pub(crate) payload: &'a Payload,
    /// Which agent.
    pub(crate) kind: &'static str,
    /// Its conversation id.
    pub(crate) native_id: &'a str,
    /// Its process.
    pub(crate) process: Option<ProcessIdentity>,
    /// Its working directory.
    pub(crate) directory: PathBuf,
    pub(crate) context: Context,
    pub(crate) marks: Marks,
}

impl<'a> Call<'a> {
    /// Takes a payload apart; `None` if there is nothing to do for it.
    pub(crate) fn new(
        payload: &'a Payload,
        argument: Option<&str>,
        store: Option<&str>,
    ) -> Option<Self> {
        let begun = Instant::now();
        let event = payload.event(argument)?;
        let native_id = payload.native_id()?;
        let kind = payload.kind(env::is_set(env::CLAUDE_SESSION));
        let directory = payload
            .cwd
            .as_deref()
            .map(PathBuf::from)
            .filter(|directory| directory.is_absolute())
            .or_else(|| env::working_directory().ok())?;
        // The directory that the agent was started in stays, wherever its shell has gone.
        let started_in = env::path(env::CLAUDE_PROJECT).filter(|_| kind == "claude");
        let (context, marks) =
            started_in.iter().chain([&directory]).find_map(|place| with_store(place, store))?;
        let process = identity::agent_for_hook();
        Some(Self { begun, event, payload, kind, native_id, process, directory, context, marks })
    }

    /// The place of this call's marks.
    pub(crate) fn place(&self) -> Place<'_> {
        self.place_of(self.native_id)
    }

    /// The place of the marks of another conversation in this process.
    pub(crate) fn place_of<'b>(&'b self, native_id: &'b str) -> Place<'b> {
        let pid = self.process.as_ref().map_or(0, |process| process.pid);
        Place { kind: self.kind, native_id, pid }
    }

    /// When the agent's process was started.
    pub(crate) fn started(&self) -> u64 {
        self.process.as_ref().map_or(0, |process| process.started)
    }

    /// Carries out an operation, in a session's name if there is one.
    pub(crate) fn ask<O: Operation>(
        &self,
        operation: &O,
        actor: Option<&Actor>,
        once: Once,
    ) -> Result<O::Answer> {
        let mut request = Request::new(operation.clone());
        if let Some(actor) = actor {
            request = request.by(actor.clone());
        }
        if O::EFFECT == Effect::Write {
            request = request.id(self.request_id(once)?);
        }
        decode::<O>(&self.send(request)?)
    }

    /// Sends a request.
    pub(crate) fn send(&self, request: Request) -> Result<Reply> {
        if request.op.effect() != Effect::Read {
            self.check_time()?;
        }
        self.context.submit(request)
    }

    /// Fails if there is no time left for a write: one that would wait past the deadline is not begun.
    pub(crate) fn check_time(&self) -> Result<()> {
        if self.begun.elapsed() + PATIENCE / HASTE + 2 * PATIENCE > DEADLINE {
            return Err(Error::new(Code::Busy, "the store was busy for too long"));
        }
        Ok(())
    }

    /// Where things are kept beside the store.
    pub(crate) fn project_home(&self) -> Option<PathBuf> {
        self.context.project().ok().map(|project| project.home.clone())
    }

    fn request_id(&self, once: Once) -> Result<String> {
        match (&self.payload.tool_use_id, once) {
            (Some(id), Once::PerToolCall) => {
                let event = self.event.name();
                let text = format!("{}\n{event}\n{id}", self.native_id);
                Ok(format!("hook-{}", &cotenant_core::event::sha256_hex(&text)[..32]))
            }
            _ => crate::token::request_id(),
        }
    }
}

/// How often a write may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Once {
    /// Once for each call of a tool, even if two hooks are installed.
    PerToolCall,
    /// Once for each call of this program.
    PerCall,
}

/// The context of a directory, if its project has a store's directory.
fn with_store(directory: &Path, store: Option<&str>) -> Option<(Context, Marks)> {
    let options = Options { store: store.map(str::to_owned), ..Options::default() };
    let context = Context::new(options, directory.to_path_buf()).in_a_hurry(PATIENCE);
    let project = context.project().ok()?;
    let marks = Marks::of(&project.home);
    if !project.is_prepared() {
        return None;
    }
    if project.store.file().is_none() {
        // Its failures are counted there, whether the server can be reached or not.
        project.make_home().ok()?;
    }
    Some((context, marks))
}

/// Opens the store; a hook never makes one.
pub(crate) fn open(context: &Context) -> Result<()> {
    context.open_store(IfMissing::Fail).map(drop)
}

/// Whether an error says that the session is over, so that another one must be signed on.
pub(crate) fn is_over(error: &Error) -> bool {
    matches!(
        error.code,
        Code::SessionLost | Code::SessionEnded | Code::Unauthenticated | Code::NotFound
    )
}
