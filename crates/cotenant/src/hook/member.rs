//! Which session a hook acts for.
//!
//! An agent's conversation id is neither stable in a process nor unique to one (measured with
//! Claude Code 2.1.197): `/clear` changes it, a concurrent resume shares it, and the first hook of
//! a fork still reports the parent's. So a session belongs to a conversation in a process, and the
//! prompt is what settles which.
//!
//! | what happened | found | done |
//! |---|---|---|
//! | start | nothing | sign on |
//! | resume after the end, or after `kill -9` | the conversation's last session, over | sign on: its next incarnation |
//! | compact, any later hook | the conversation's session, of this process | take it |
//! | `/clear` | this process's session, of another conversation | change its conversation id |
//! | fork | at the start the parent's id; at the prompt this process's session, of another conversation | change its conversation id |
//! | fork, reported as such (2.1.328) | nothing under its own id; the parent by this process's arguments | sign on as a fork |
//! | concurrent resume | the conversation's session, of another live process | sign on beside it, as a fork |

use cotenant_core::{
    Code, Result,
    id::SessionId,
    name::SessionRef,
    process::ProcessIdentity,
    session::{ChangeNative, IfBusy, Relation, SessionView, ShowSession, SignOn},
    store::Actor,
};

use super::{
    call::{Call, Once},
    marks::Mark,
    payload::Event,
};
use crate::{
    context::{blank_sign_on, decode, native_reference, process_reference},
    env,
};

/// The session that a hook acts for.
#[derive(Debug)]
pub(crate) struct Member {
    /// It, with the digest of its token.
    pub(crate) actor: Actor,
    /// What is remembered of it.
    pub(crate) mark: Mark,
    /// Whether the session's conversation is the one that this hook reports, so that the mark may
    /// be kept for the next hook.
    pub(crate) keeps_mark: bool,
}

/// What to do to act for a session.
#[derive(Debug)]
enum Decision {
    /// Act for this one.
    Take(SessionView),
    /// Act for this one, which has another conversation now.
    Change(SessionView),
    /// Sign on, as the next incarnation of what went before, or beside a live one.
    SignOn,
    /// Sign on as a fork of this session. Unless the client says that it is a fork, the
    /// conversation id comes with the first prompt.
    SignOnFork(Option<SessionId>),
}

/// What is known when deciding.
struct Facts<'a> {
    event: Event,
    source: Option<&'a str>,
    kind: &'a str,
    native_id: &'a str,
    process: Option<&'a ProcessIdentity>,
    /// The newest session of the conversation.
    by_native: Option<SessionView>,
    /// The newest session of the process.
    by_process: Option<SessionView>,
    /// Whether the agent was told to fork the conversation that it resumes.
    forks: bool,
    /// The newest session of the conversation that was forked, if the id is the fork's own.
    forked: Option<SessionView>,
}

impl Facts<'_> {
    fn decide(self) -> Decision {
        let live = |view: &SessionView| view.state.is_live() && view.process_alive != Some(false);
        let ours = |view: &SessionView| match (&view.process, self.process) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        };
        let parent = self.forked.as_ref().or(self.by_native.as_ref());
        let parent = parent.map(|view| view.session.clone());
        if let Some(view) = self.by_native.filter(|view| live(view) && ours(view)) {
            return Decision::Take(view);
        }
        let starts = self.event == Event::SessionStart;
        let here = self.by_process.filter(|view| live(view) && view.kind == self.kind);
        let Some(view) = here else {
            return if starts && self.forks {
                Decision::SignOnFork(parent)
            } else {
                Decision::SignOn
            };
        };
        if view.native_id.as_deref() == Some(self.native_id) {
            return Decision::Take(view);
        }
        let cleared = starts && self.source == Some("clear");
        // A process of Codex may hold many conversations at once, each a session of its own.
        if self.kind != "claude" && !cleared && view.native_id.is_some() {
            return Decision::SignOn;
        }
        // At its start a fork still names its parent, and what a tool of an earlier conversation
        // reports late says nothing about the present one.
        if cleared || self.event == Event::UserPromptSubmit {
            Decision::Change(view)
        } else {
            Decision::Take(view)
        }
    }
}

impl Call<'_> {
    /// The session that earlier hooks found, without a look at the store. Whether it still lives
    /// shows when it is used.
    pub(crate) fn remembered(&self) -> Option<(Member, std::time::Duration)> {
        let (mark, age) = self.marks.find(self.place())?;
        if mark.started != self.started() {
            return None;
        }
        let actor = Actor {
            session: SessionRef(mark.session.0.clone()),
            token_digest: mark.token_digest.clone(),
        };
        Some((Member { actor, mark, keeps_mark: true }, age))
    }

    /// The session that earlier hooks found, else as [`Self::member`]. The store must be open.
    pub(crate) fn acting(&self) -> Result<Member> {
        if let Some((member, _)) = self.remembered() {
            return Ok(member);
        }
        let member = self.member()?;
        self.remember(&member);
        Ok(member)
    }

    /// Keeps what is known of a session for the next hook, and that it gave a sign of life.
    pub(crate) fn remember(&self, member: &Member) {
        if member.keeps_mark {
            self.marks.keep(self.place(), &member.mark);
        }
    }

    /// A session, if it is live.
    pub(crate) fn show(&self, session: &SessionId) -> Result<Option<SessionView>> {
        let found = self.find(Some(SessionRef(session.0.clone())))?;
        Ok(found.filter(|view| view.state.is_live()))
    }

    /// Finds the session, signing on or changing its conversation as need be.
    pub(crate) fn member(&self) -> Result<Member> {
        if let Some(view) = self.named()? {
            return self.take(&view, true);
        }
        match self.facts()?.decide() {
            Decision::Take(view) => {
                let same = view.native_id.as_deref() == Some(self.native_id);
                self.take(&view, same)
            }
            Decision::Change(view) => self.change(&view),
            Decision::SignOn => self.sign_on(SignOn {
                name: env::text(env::SESSION).filter(|name| !cotenant_core::id::is_id(name)),
                native_id: Some(self.native_id.to_owned()),
                ..blank_sign_on(self.kind)
            }),
            Decision::SignOnFork(parent) => self.sign_on(SignOn {
                native_id: self.is_told_fork().then(|| self.native_id.to_owned()),
                relation: parent.as_ref().map(|_| Relation::Fork),
                parent: parent.map(|parent| SessionRef(parent.0)),
                ..blank_sign_on(self.kind)
            }),
        }
    }

    /// The session that ends with this process, if it is known. Nobody is signed on.
    pub(crate) fn ending(&self) -> Result<Option<Member>> {
        let facts = self.facts()?;
        let process = facts.process.cloned();
        let ended = match facts.decide() {
            Decision::Take(view) => view,
            Decision::Change(_) | Decision::SignOn | Decision::SignOnFork(_) => return Ok(None),
        };
        let native_id = ended.native_id.as_deref();
        let same = native_id == Some(self.native_id);
        // A fork that never had a prompt still goes by its parent's conversation, or by none.
        let provisional = native_id.is_none_or(|native_id| {
            self.marks.find(self.place_of(native_id)).is_some_and(|(mark, _)| mark.provisional)
        });
        let ours = ended.process.is_some() && ended.process == process;
        if same || (ours && provisional) {
            return self.take(&ended, false).map(Some);
        }
        Ok(None)
    }

    /// The session that the environment names, if it is live; every command of this agent acts for
    /// it, so the hooks do too.
    fn named(&self) -> Result<Option<SessionView>> {
        match env::text(env::SESSION) {
            Some(name) => {
                Ok(self.find(Some(SessionRef(name)))?.filter(|view| view.state.is_live()))
            }
            None => Ok(None),
        }
    }

    fn facts(&self) -> Result<Facts<'_>> {
        let by_native = self.find(Some(native_reference(self.kind, self.native_id)))?;
        let settled = by_native.as_ref().is_some_and(|view| {
            view.state.is_live() && view.process.is_some() && view.process == self.process
        });
        let by_process = match &self.process {
            Some(process) if !settled => self.find(process_reference(process))?,
            _ => None,
        };
        let resumes = self.payload.source.as_deref() == Some("resume");
        let arguments = match &self.process {
            Some(process) if resumes || self.is_told_fork() => arguments(process.pid),
            _ => Vec::new(),
        };
        let forked = match resumed(&arguments).filter(|_| self.is_told_fork()) {
            Some(native_id) => self.find(Some(native_reference(self.kind, native_id)))?,
            None => None,
        };
        Ok(Facts {
            event: self.event,
            source: self.payload.source.as_deref(),
            kind: self.kind,
            native_id: self.native_id,
            process: self.process.as_ref(),
            by_native,
            by_process,
            forks: self.is_told_fork() || arguments.iter().any(|it| it == "--fork-session"),
            forked,
        })
    }

    /// Whether the client reports a fork as such, and under its own id.
    fn is_told_fork(&self) -> bool {
        self.event == Event::SessionStart && self.payload.source.as_deref() == Some("fork")
    }

    fn find(&self, reference: Option<SessionRef>) -> Result<Option<SessionView>> {
        let Some(session) = reference else {
            return Ok(None);
        };
        match self.ask(&ShowSession { session }, None, Once::PerCall) {
            Ok(shown) => Ok(Some(shown.session)),
            Err(error) if matches!(error.code, Code::NotFound | Code::Invalid) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn take(&self, view: &SessionView, keeps_mark: bool) -> Result<Member> {
        let actor = self.context.actor_for(view)?;
        let before = keeps_mark.then(|| self.marks.find(self.place())).flatten();
        let before = before.map(|(mark, _)| mark).filter(|mark| mark.session == view.session);
        let mark = before.unwrap_or_else(|| self.blank_mark(&view.session, &view.token_digest));
        Ok(Member { actor, mark, keeps_mark })
    }

    fn change(&self, view: &SessionView) -> Result<Member> {
        let actor = self.context.actor_for(view)?;
        let operation = ChangeNative { native_id: self.native_id.to_owned() };
        let changed = match self.ask(&operation, Some(&actor), Once::PerCall) {
            Ok(_) => true,
            // Another live process has that conversation: this session stays what it was.
            Err(error) if error.code == Code::AgentBusy => false,
            Err(error) => return Err(error),
        };
        if let Some(native_id) = view.native_id.as_deref().filter(|_| changed) {
            self.marks.forget(self.place_of(native_id));
        }
        let mark = self.blank_mark(&view.session, &view.token_digest);
        Ok(Member { actor, mark, keeps_mark: changed })
    }

    fn sign_on(&self, operation: SignOn) -> Result<Member> {
        let operation =
            SignOn { process: self.process.clone(), if_busy: IfBusy::Fork, ..operation };
        let keeps_mark = operation.native_id.is_some();
        let reply = self.context.ask_sign_on(operation, None)?;
        let signed = decode::<SignOn>(&reply)?;
        Ok(Member {
            actor: Actor {
                session: SessionRef(signed.session.0.clone()),
                token_digest: signed.token_digest.clone(),
            },
            mark: self.blank_mark(&signed.session, &signed.token_digest),
            keeps_mark,
        })
    }

    fn blank_mark(&self, session: &SessionId, token_digest: &str) -> Mark {
        Mark {
            session: session.clone(),
            token_digest: token_digest.to_owned(),
            started: self.started(),
            provisional: false,
            told: String::new(),
        }
    }
}

/// What an agent was started with; nothing if that cannot be read.
fn arguments(pid: u32) -> Vec<String> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = line.split(|byte| *byte == 0);
    words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// The conversation that an agent was started to resume.
fn resumed(arguments: &[String]) -> Option<&str> {
    let mut words = arguments.iter().map(String::as_str);
    let found = words.find_map(|word| match word {
        "--resume" | "-r" => Some(None),
        word => word.strip_prefix("--resume=").map(Some),
    })?;
    found.or_else(|| words.next())
}
