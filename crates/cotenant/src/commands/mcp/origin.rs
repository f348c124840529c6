//! Whose call it is.
//!
//! A client names the caller in different ways, or not at all. In this order:
//!
//! 1. the conversation id in the call itself (Codex sends one);
//! 2. the note that our hook left under the id of the call (Claude Code sends that id);
//! 3. the conversation that Claude Code's register gives for the agent's process;
//! 4. the conversation in the environment, which `/clear` makes out of date;
//! 5. the agent's process.
//!
//! A subagent is the session of its parent: it has the same conversation and the same process.

use std::path::Path;

use cotenant_core::{
    event::sha256_hex,
    id::{SessionId, is_id},
    process::ProcessIdentity,
    session::SessionView,
};
use cotenant_server::mcp::Caller;

use super::registry;
use crate::{
    env,
    identity::{self, Runner},
};

/// The names by which clients introduce themselves, and their kinds.
const CLIENTS: &[(&str, &str)] = &[
    ("claude-code", "claude"),
    ("codex-mcp-client", "codex"),
    ("opencode", "opencode"),
    ("gemini-cli-mcp-client", "gemini"),
];
/// What a client is that says nothing known.
const UNKNOWN: &str = "agent";

/// The agent that started this server.
#[derive(Debug)]
pub(super) struct Agent {
    /// Its process.
    pub(super) process: Option<ProcessIdentity>,
    /// What kind it is by the name of its program.
    kind: Option<&'static str>,
}

/// Where a call comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// What kind of agent.
    pub(super) kind: &'static str,
    /// Its conversation.
    pub(super) conversation: Conversation,
    /// Its process.
    pub(super) process: Option<ProcessIdentity>,
    /// The session that a hook noted for the call.
    pub(super) noted: Option<SessionId>,
}

/// Which conversation makes a call, and how sure that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Conversation {
    /// The call names it; the process may have others.
    Named(String),
    /// It is that of the process at present.
    Present(String),
    /// It was that of the process when it started this server.
    Initial(String),
    /// Nobody tells.
    Untold,
}

/// What the store knows of a call's origin.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    /// The session that a hook noted, or that the server was told to act for.
    pub(super) noted: Option<SessionView>,
    /// The newest session of the conversation.
    pub(super) by_native: Option<SessionView>,
    /// The newest session of the process.
    pub(super) by_process: Option<SessionView>,
}

/// Which session a call runs as.
#[derive(Debug)]
pub(super) enum Choice {
    /// This one; without a conversation if that is another's as well.
    Take(SessionView),
    /// This one, which has another conversation now.
    Follow(SessionView),
    /// None yet.
    Nobody {
        /// Whether a session of another live process has the conversation.
        taken: bool,
    },
}

impl Choice {
    /// The session, if there is one.
    pub(super) fn session(&self) -> Option<&SessionId> {
        match self {
            Self::Take(view) | Self::Follow(view) => Some(&view.session),
            Self::Nobody { .. } => None,
        }
    }
}

impl Agent {
    /// The agent above this process, while it is still there.
    pub(super) fn above() -> Self {
        let process = identity::agent_for_hook();
        let kind = match identity::runner() {
            Runner::Agent { kind, process: known } if Some(&known) == process.as_ref() => {
                Some(kind)
            }
            _ => None,
        };
        Self { process, kind }
    }

    /// Where a call comes from.
    pub(super) fn origin(&self, caller: &Caller, noted: Option<SessionId>) -> Origin {
        let introduced = caller.client.as_deref().and_then(kind_of_client);
        let present = || self.process.as_ref().and_then(registry::conversation);
        let claude = || match present() {
            Some(id) => Conversation::present(id),
            None => Conversation::initial(env::CLAUDE_SESSION),
        };
        // Whoever has not introduced itself, as between two calls, is judged by what is there.
        let (kind, conversation) = match introduced.or(self.kind) {
            Some("claude") => ("claude", claude()),
            Some("codex") => ("codex", Conversation::initial(env::CODEX_THREAD)),
            Some("gemini") => ("gemini", Conversation::initial(env::GEMINI_SESSION)),
            Some(kind) => (kind, Conversation::Untold),
            None if caller.client.is_some() => (UNKNOWN, Conversation::Untold),
            None => match claude() {
                Conversation::Untold => (UNKNOWN, Conversation::Untold),
                told => ("claude", told),
            },
        };
        let named = caller.native_id.clone().filter(|id| is_usable(id)).map(Conversation::Named);
        Origin {
            kind,
            conversation: named.unwrap_or(conversation),
            process: self.process.clone(),
            noted,
        }
    }
}

impl Conversation {
    fn present(id: String) -> Self {
        if is_usable(&id) { Self::Present(id) } else { Self::Untold }
    }

    fn initial(variable: &str) -> Self {
        env::text(variable).filter(|id| is_usable(id)).map_or(Self::Untold, Self::Initial)
    }

    /// Its id.
    pub(super) fn id(&self) -> Option<&str> {
        match self {
            Self::Named(id) | Self::Present(id) | Self::Initial(id) => Some(id),
            Self::Untold => None,
        }
    }
}

fn is_usable(id: &str) -> bool {
    cotenant_core::name::check_name("native id", id).is_ok()
}

fn kind_of_client(client: &str) -> Option<&'static str> {
    CLIENTS.iter().find(|(name, _)| *name == client).map(|(_, kind)| *kind)
}

/// The session that our hook noted for a call, in `calls/<digest of its id>` beside the store.
pub(super) fn noted(directory: &Path, tool_use_id: &str) -> Option<SessionId> {
    let path = directory.join("calls").join(sha256_hex(tool_use_id));
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().next().filter(|id| is_id(id)).map(|id| SessionId(id.to_owned()))
}

/// Chooses among the sessions that are known; the rules are those of the hooks.
pub(super) fn choose(origin: &Origin, sessions: Sessions) -> Choice {
    let live = |view: &SessionView| view.state.is_live() && view.process_alive != Some(false);
    let ours = |view: &SessionView| match (&view.process, &origin.process) {
        (Some(one), Some(other)) => one == other || elsewhere(one, other),
        _ => true,
    };
    let named = matches!(origin.conversation, Conversation::Named(_));
    if let Some(view) = sessions.noted.filter(|view| !named && live(view) && ours(view)) {
        return Choice::Take(view);
    }
    let by_native = sessions.by_native.filter(live);
    let taken = by_native.is_some();
    if let Some(view) = by_native.filter(ours) {
        // Of several that this process signed on in one conversation, the last one counts.
        let last = sessions.by_process.filter(|last| {
            live(last) && last.process == view.process && last.native_id == view.native_id
        });
        return Choice::Take(last.unwrap_or(view));
    }
    let here =
        |view: &SessionView| live(view) && (view.kind == origin.kind || origin.kind == UNKNOWN);
    let Some(view) = sessions.by_process.filter(here) else {
        return Choice::Nobody { taken };
    };
    let differs = view.native_id.as_deref() != origin.conversation.id();
    match &origin.conversation {
        // A process whose calls name their conversation can hold several, each its own session.
        Conversation::Named(_) if differs && view.native_id.is_some() => Choice::Nobody { taken },
        Conversation::Named(_) | Conversation::Present(_) if differs && !taken => {
            Choice::Follow(view)
        }
        // While another live process has the conversation too, this one goes by itself alone.
        _ if taken => Choice::Take(SessionView { native_id: None, ..view }),
        _ => Choice::Take(view),
    }
}

/// Whether two processes are counted in different places, so that they cannot be compared.
fn elsewhere(one: &ProcessIdentity, other: &ProcessIdentity) -> bool {
    one.host != other.host || one.namespace != other.namespace
}

#[cfg(test)]
mod tests {
    use cotenant_core::session::State;

    use super::*;

    fn process(pid: u32) -> ProcessIdentity {
        ProcessIdentity {
            host: "h".into(),
            boot: "b".into(),
            namespace: "n".into(),
            pid,
            started: 1,
        }
    }

    fn session(name: &str, native_id: Option<&str>, pid: u32) -> SessionView {
        SessionView {
            session: SessionId(name.into()),
            name: name.into(),
            kind: "claude".into(),
            state: State::Active,
            user: "u".into(),
            native_id: native_id.map(str::to_owned),
            purpose: None,
            labels: Vec::new(),
            ns: "s1".into(),
            process: Some(process(pid)),
            process_alive: Some(true),
            since: String::new(),
            last_heartbeat: String::new(),
            heartbeat_age_ms: 0,
            expires_in_ms: 1,
            possibly_abandoned: false,
            parent: None,
            relation: None,
            outcome: None,
            reason: None,
            token_digest: String::new(),
        }
    }

    fn origin(conversation: Conversation) -> Origin {
        Origin { kind: "claude", conversation, process: Some(process(1)), noted: None }
    }

    fn told(
        conversation: Conversation,
        by_native: Option<SessionView>,
        by_process: Option<SessionView>,
    ) -> String {
        let sessions = Sessions { noted: None, by_native, by_process };
        match choose(&origin(conversation), sessions) {
            Choice::Take(view) => format!("take {}", view.name),
            Choice::Follow(view) => format!("follow {}", view.name),
            Choice::Nobody { taken } => format!("nobody, taken: {taken}"),
        }
    }

    fn present(id: &str) -> Conversation {
        Conversation::Present(id.into())
    }

    #[test]
    fn the_session_of_the_conversation_in_this_process_is_taken() {
        let a = || Some(session("a", Some("c1"), 1));
        assert_eq!(told(present("c1"), a(), a()), "take a");
        assert_eq!(told(Conversation::Untold, None, a()), "take a");
        assert_eq!(told(present("c1"), None, None), "nobody, taken: false");
    }

    #[test]
    fn the_last_of_several_names_counts() {
        let (a, b) = (session("a", Some("c1"), 1), session("b", Some("c1"), 1));
        assert_eq!(told(present("c1"), Some(b), Some(a)), "take a");
    }

    #[test]
    fn a_cleared_conversation_keeps_its_session() {
        let a = || Some(session("a", Some("c1"), 1));
        assert_eq!(told(present("c2"), None, a()), "follow a");
        // What the environment says can be older than what a hook has recorded since.
        assert_eq!(told(Conversation::Initial("c0".into()), None, a()), "take a");
    }

    #[test]
    fn a_conversation_that_is_open_twice_goes_by_its_process() {
        let other = || Some(session("other", Some("c1"), 2));
        let fork = Some(session("fork", Some("c1"), 1));
        assert_eq!(told(present("c1"), other(), fork), "take fork");
        assert_eq!(told(present("c1"), other(), None), "nobody, taken: true");
    }

    #[test]
    fn a_resumed_conversation_begins_anew_when_its_process_has_died() {
        let mut dead = session("dead", Some("c1"), 2);
        dead.process_alive = Some(false);
        assert_eq!(told(present("c1"), Some(dead), None), "nobody, taken: false");
        let mut ended = session("ended", Some("c1"), 1);
        ended.state = State::Ended;
        assert_eq!(told(present("c1"), Some(ended.clone()), Some(ended)), "nobody, taken: false");
    }

    #[test]
    fn conversations_that_share_a_process_are_told_apart() {
        let a = || Some(session("a", Some("c1"), 1));
        let c2 = Conversation::Named("c2".into());
        assert_eq!(told(c2.clone(), None, a()), "nobody, taken: false");
        assert_eq!(told(c2, Some(session("b", Some("c2"), 1)), a()), "take b");
        let plain = Some(session("plain", None, 1));
        assert_eq!(told(Conversation::Named("c2".into()), None, plain), "follow plain");
    }

    #[test]
    fn what_a_hook_noted_counts_in_its_own_process() {
        let noted = |pid| Sessions {
            noted: Some(session("noted", Some("c9"), pid)),
            by_native: None,
            by_process: Some(session("a", Some("c1"), 1)),
        };
        let choice = choose(&origin(present("c1")), noted(1));
        assert!(matches!(choice, Choice::Take(view) if view.name == "noted"));
        let choice = choose(&origin(present("c1")), noted(2));
        assert!(matches!(choice, Choice::Take(view) if view.name == "a"));
    }

    #[test]
    fn a_note_is_the_id_of_a_session_or_nothing() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("calls")).unwrap();
        let file = directory.path().join("calls").join(sha256_hex("toolu_1"));
        assert_eq!(noted(directory.path(), "toolu_1"), None);
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        std::fs::write(&file, format!("{id}\nagent-7\n")).unwrap();
        assert_eq!(noted(directory.path(), "toolu_1"), Some(SessionId(id.into())));
        std::fs::write(&file, "../../x\n").unwrap();
        assert_eq!(noted(directory.path(), "toolu_1"), None);
    }

    #[test]
    fn a_client_is_what_it_says_and_else_what_its_program_is() {
        let agent = Agent { process: None, kind: Some("opencode") };
        let caller = |client: Option<&str>, native_id: Option<&str>| Caller {
            client: client.map(str::to_owned),
            tool_use_id: None,
            native_id: native_id.map(str::to_owned),
        };
        let codex = agent.origin(&caller(Some("codex-mcp-client"), Some("t1")), None);
        assert_eq!((codex.kind, codex.conversation), ("codex", Conversation::Named("t1".into())));
        assert_eq!(agent.origin(&caller(Some("something"), None), None).kind, "opencode");
        let unknown = Agent { process: None, kind: None };
        assert_eq!(unknown.origin(&caller(Some("something"), None), None).kind, UNKNOWN);
        let bad = agent.origin(&caller(Some("codex-mcp-client"), Some("a//b")), None);
        assert!(!matches!(bad.conversation, Conversation::Named(_)));
    }
}
