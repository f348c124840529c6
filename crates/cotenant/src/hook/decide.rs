//! Which session belongs to a conversation in a process.
//!
//! An agent's conversation id is neither stable in a process nor unique to one (measured with
//! Claude Code): `/clear` changes it, a concurrent resume shares it, and in 2.1.197 the first hook
//! of a fork still reports the parent's; 2.1.328 reports the fork's own, with the source `fork`.
//! So a session belongs to a conversation in a process, and the prompt is what settles which.
//!
//! | what happened | found | done |
//! |---|---|---|
//! | start | nothing | sign on |
//! | resume after the end, or after `kill -9` | the conversation's last session, over | sign on: its next incarnation |
//! | compact, any later hook | the conversation's session, of this process | take it |
//! | `/clear` | this process's session, of another conversation | change its conversation |
//! | fork, told at the start | nothing, or the parent's session | sign on as a fork of it |
//! | fork, seen at the prompt | this process's session, of the parent's conversation | change its conversation |
//! | concurrent resume | the conversation's session, of another live process | sign on beside it, as a fork |

use cotenant_core::{id::SessionId, process::ProcessIdentity, session::SessionView};

use super::payload::Event;

/// What to do to act for a session.
#[derive(Debug)]
pub(crate) enum Decision {
    /// Act for this one.
    Take(SessionView),
    /// Act for this one, which has another conversation now.
    Change(SessionView),
    /// Sign on, as the next incarnation of what went before, beside a live one, or as a fork.
    SignOn {
        /// Whether the conversation is known; that of a fork may come with its first prompt.
        knows_conversation: bool,
        /// The session whose conversation was forked.
        fork_of: Option<SessionId>,
    },
}

/// What an agent says at its start of the conversation that it goes on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Branch {
    /// That it is the reported one, or nothing.
    Same,
    /// That it is a fork of the reported one.
    OfReported,
    /// That the reported one is a fork, of this session's if that is known.
    Reported(Option<SessionId>),
}

/// What is known when deciding.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) event: Event,
    /// How a conversation starts.
    pub(crate) source: Option<&'a str>,
    pub(crate) branch: Branch,
    pub(crate) kind: &'a str,
    pub(crate) native_id: &'a str,
    pub(crate) process: Option<&'a ProcessIdentity>,
    /// The newest session of the conversation.
    pub(crate) by_native: Option<SessionView>,
    /// The newest session of the process.
    pub(crate) by_process: Option<SessionView>,
}

impl Facts<'_> {
    /// Decides which session the hook acts for.
    pub(crate) fn decide(self) -> Decision {
        let live = |view: &SessionView| view.state.is_live() && view.process_alive != Some(false);
        let ours = |view: &SessionView| match (&view.process, self.process) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        };
        let reported = self.by_native.as_ref().map(|view| view.session.clone());
        if let Some(view) = self.by_native.filter(|view| live(view) && ours(view)) {
            return Decision::Take(view);
        }
        let here = self.by_process.filter(|view| live(view) && view.kind == self.kind);
        let Some(view) = here else {
            let (knows_conversation, fork_of) = match self.branch {
                Branch::Same => (true, None),
                Branch::OfReported => (false, reported),
                Branch::Reported(parent) => (true, parent),
            };
            return Decision::SignOn { knows_conversation, fork_of };
        };
        if view.native_id.as_deref() == Some(self.native_id) {
            return Decision::Take(view);
        }
        let cleared = self.event == Event::SessionStart && self.source == Some("clear");
        let replaced = cleared || matches!(self.branch, Branch::Reported(_));
        // A process of Codex may hold many conversations at once, each a session of its own.
        if self.kind != "claude" && !replaced && view.native_id.is_some() {
            return Decision::SignOn { knows_conversation: true, fork_of: None };
        }
        // At its start a resumed conversation may yet be forked, and what a tool of an earlier
        // conversation reports late says nothing about the present one.
        if replaced || self.event == Event::UserPromptSubmit {
            Decision::Change(view)
        } else {
            Decision::Take(view)
        }
    }
}
