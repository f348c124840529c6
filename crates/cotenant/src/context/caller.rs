//! The session that a command acts for.
//!
//! In this order: the option `--session`; the variable `COTENANT_SESSION`; the conversation of the
//! agent that runs the command; that agent's process; the person at the terminal. The last three
//! are signed on by the first mutation.

use cotenant_core::{
    Code, Error, Result,
    name::SessionRef,
    process::ProcessIdentity,
    session::{SessionView, ShowSession, ShownSession, SignOn, State},
    store::{Actor, Answered, Request},
};

use super::{Context, answered, get_or_try_init};
use crate::{
    env,
    identity::{self, Runner},
};

/// Who runs a command, before the store is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// The session with this id or live name.
    Named(SessionRef),
    /// An agent's conversation.
    Conversation {
        /// What kind of agent.
        kind: &'static str,
        /// Its own conversation id.
        native_id: String,
    },
    /// An agent that does not tell its conversation.
    Agent {
        /// What kind of agent.
        kind: &'static str,
        /// Its process.
        process: ProcessIdentity,
    },
    /// A person at a terminal.
    Person {
        /// Stands for this stay at this terminal.
        native_id: String,
        /// The terminal's session leader.
        process: ProcessIdentity,
    },
    /// A script that names no session.
    Nobody,
}

/// The variables in which agents tell their conversation, and their kinds.
const CONVERSATIONS: &[(&str, &str)] = &[
    (env::CLAUDE_SESSION, "claude"),
    (env::CODEX_THREAD, "codex"),
    (env::GEMINI_SESSION, "gemini"),
];

/// The conversations that the environment tells of.
fn told() -> Vec<(&'static str, String)> {
    let told = CONVERSATIONS.iter().filter_map(|(name, kind)| Some((*kind, env::text(name)?)));
    told.collect()
}

/// The kind of agent that this command runs inside of, whoever it acts for.
pub(super) fn agent() -> Option<&'static str> {
    match identity::runner() {
        Runner::Agent { kind, .. } => Some(kind),
        _ => told().into_iter().next().map(|(kind, _)| kind),
    }
}

impl Caller {
    /// Finds out who runs this command.
    fn find(option: Option<&String>) -> Self {
        if let Some(session) = option.cloned().or_else(|| env::text(env::SESSION)) {
            return Self::Named(SessionRef(session));
        }
        let told = told();
        // One agent may have started another, which inherits its variables: the nearest process
        // decides.
        match identity::runner() {
            Runner::Agent { kind, process } => match told.into_iter().find(|(of, _)| *of == kind) {
                Some((kind, native_id)) => Self::Conversation { kind, native_id },
                None => Self::Agent { kind, process },
            },
            runner => match (told.into_iter().next(), runner) {
                (Some((kind, native_id)), _) => Self::Conversation { kind, native_id },
                (None, Runner::Terminal { native_id, process }) => {
                    Self::Person { native_id, process }
                }
                (None, _) => Self::Nobody,
            },
        }
    }

    /// What the store can look the session up by, the best first.
    ///
    /// An agent's process comes before its conversation: the conversation's id may have changed,
    /// as by `/clear`, and of two processes on one conversation each has a session of its own.
    fn references(&self) -> Vec<SessionRef> {
        match self {
            Self::Named(session) => vec![session.clone()],
            Self::Conversation { kind, native_id } => {
                let process = match identity::runner() {
                    Runner::Agent { kind: runner, process } if runner == *kind => {
                        process_reference(&process)
                    }
                    _ => None,
                };
                process.into_iter().chain([native_reference(kind, native_id)]).collect()
            }
            Self::Agent { process, .. } => process_reference(process).into_iter().collect(),
            Self::Person { native_id, .. } => vec![native_reference("human", native_id)],
            Self::Nobody => Vec::new(),
        }
    }

    /// Whether a session that was found is this caller's. A process may have signed on others for
    /// somebody else, and earlier ones.
    fn owns(&self, reference: &SessionRef, session: &SessionView) -> bool {
        match self {
            Self::Conversation { kind, .. } | Self::Agent { kind, .. } => {
                !reference.0.starts_with("process:")
                    || (session.state.is_live() && session.kind == *kind)
            }
            Self::Named(_) | Self::Person { .. } | Self::Nobody => true,
        }
    }

    /// The sign-on of a session for this caller; none for one that must exist.
    pub(crate) fn sign_on(&self) -> Option<SignOn> {
        let (kind, native_id, process) = match self {
            Self::Named(_) | Self::Nobody => return None,
            Self::Conversation { kind, native_id } => {
                let process = match identity::runner() {
                    Runner::Agent { kind: runner, process } if runner == *kind => Some(process),
                    _ => None,
                };
                (*kind, Some(native_id.clone()), process)
            }
            Self::Agent { kind, process } => (*kind, None, Some(process.clone())),
            Self::Person { native_id, process } => {
                ("human", Some(native_id.clone()), Some(process.clone()))
            }
        };
        Some(SignOn { native_id, process, ..blank_sign_on(kind) })
    }
}

/// A sign-on that says only what takes part, for the user of this process.
pub(crate) fn blank_sign_on(kind: &str) -> SignOn {
    SignOn::new(kind, identity::user(), "")
}

/// The reference to an agent's conversation.
pub(crate) fn native_reference(kind: &str, native_id: &str) -> SessionRef {
    SessionRef(format!("native:{kind}:{native_id}"))
}

/// The reference to the session of a process; none if its name space is not known.
pub(crate) fn process_reference(process: &ProcessIdentity) -> Option<SessionRef> {
    let ProcessIdentity { host, boot, namespace, pid, started } = process;
    (!namespace.is_empty())
        .then(|| SessionRef(format!("process:{host}/{boot}/{namespace}/{pid}/{started}")))
}

impl Context {
    /// Who runs this command.
    pub(crate) fn caller(&self) -> &Caller {
        self.caller.get_or_init(|| Caller::find(self.options().session.as_ref()))
    }

    /// The session that the command acts for, if there is one. Nobody is signed on.
    pub(crate) fn own_session(&self) -> Result<Option<Answered<ShownSession>>> {
        let caller = self.caller();
        for reference in caller.references() {
            let request = Request::new(ShowSession { session: reference.clone() });
            match self.submit(request).and_then(|reply| answered::<ShowSession>(&reply)) {
                Ok(shown) if caller.owns(&reference, &shown.answer.session) => {
                    return Ok(Some(shown));
                }
                Err(error) if error.code != Code::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(None)
    }

    /// The actor of the command's mutations, signed on if need be.
    pub(crate) fn actor(&self) -> Result<&Actor> {
        get_or_try_init(&self.actor, || {
            let found = self.own_session()?.map(|shown| shown.answer.session);
            let named = matches!(self.caller(), Caller::Named(_));
            match found {
                // A conversation that another process goes on with gets a session that follows
                // this one and takes over what it held.
                Some(session) if named || is_here(&session) => self.actor_for(&session),
                before => self.sign_on_caller(before.as_ref()),
            }
        })
    }

    fn sign_on_caller(&self, before: Option<&SessionView>) -> Result<Actor> {
        let Some(operation) = self.caller().sign_on() else {
            return Err(match self.caller() {
                Caller::Named(session) => unknown_session(session),
                _ => nobody(),
            });
        };
        let signed = self.sign_on(operation)?.answer;
        if !signed.existing {
            let before = before.map(|before| match before.state {
                State::Lost | State::Ended => format!("session {} is over; ", before.name),
                _ => format!("the process of session {} is gone; ", before.name),
            });
            self.note(&format!("{}signed on as {}", before.unwrap_or_default(), signed.name));
        }
        Ok(Actor { session: SessionRef(signed.session.0), token_digest: signed.token_digest })
    }

    /// Tells a person something beside the answer.
    pub(crate) fn note(&self, text: &str) {
        if !self.options().quiet {
            crate::output::talk(&format!("note: {}", cotenant_core::render::for_terminal(text)));
        }
    }
}

/// Whether a session can go on acting: it is live, and so is its process as far as can be told.
fn is_here(session: &SessionView) -> bool {
    session.state.is_live() && session.process_alive != Some(false)
}

/// Nobody can be told to act.
pub(super) fn nobody() -> Error {
    Error::invalid("no session to act for: neither a terminal nor a known agent")
        .hint("`cotenant sign-on NAME`, then `--session NAME` or COTENANT_SESSION=NAME")
}

fn unknown_session(session: &SessionRef) -> Error {
    let shown = cotenant_core::name::shown(&session.0);
    Error::new(Code::NotFound, format!("no session `{shown}` is signed on")).hint(format!(
        "`cotenant sign-on {shown}` signs it on; `cotenant session list` shows who is"
    ))
}
