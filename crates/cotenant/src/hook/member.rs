//! Finds the session that a hook acts for, signs it on, and remembers it.

use cotenant_core::{
    Code, Result,
    id::SessionId,
    name::SessionRef,
    session::{ChangeNative, IfBusy, Relation, SessionView, ShowSession, SignOn},
    store::Actor,
};

use super::{
    call::{Call, Once},
    decide::{Branch, Decision, Facts},
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
    /// The conversation for which the mark may be kept: the session's own, empty while it has
    /// none. None if the hook reports another.
    kept_for: Option<String>,
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
        Some((Member { actor, mark, kept_for: Some(self.native_id.to_owned()) }, age))
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
        if let Some(native_id) = &member.kept_for {
            self.marks.keep(self.place_of(native_id), &member.mark);
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
            Decision::SignOn { knows_conversation, fork_of } => self.sign_on(SignOn {
                name: env::text(env::SESSION).filter(|name| !cotenant_core::id::is_id(name)),
                native_id: knows_conversation.then(|| self.native_id.to_owned()),
                relation: fork_of.as_ref().map(|_| Relation::Fork),
                parent: fork_of.map(|parent| SessionRef(parent.0)),
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
            Decision::Change(_) | Decision::SignOn { .. } => return Ok(None),
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
        Ok(Facts {
            event: self.event,
            source: self.payload.source.as_deref(),
            branch: self.branch()?,
            kind: self.kind,
            native_id: self.native_id,
            process: self.process.as_ref(),
            by_native,
            by_process,
        })
    }

    /// What the client, or else the arguments of its process, say of a fork.
    fn branch(&self) -> Result<Branch> {
        let source = self.payload.source.as_deref();
        if self.event != Event::SessionStart || !matches!(source, Some("resume" | "fork")) {
            return Ok(Branch::Same);
        }
        let arguments = self.process.as_ref().map(|process| arguments(process.pid));
        let arguments = arguments.unwrap_or_default();
        if source == Some("resume") {
            let forks = arguments.iter().any(|argument| argument == "--fork-session");
            return Ok(if forks { Branch::OfReported } else { Branch::Same });
        }
        let parent = resumed(&arguments).map(|parent| native_reference(self.kind, parent));
        Ok(Branch::Reported(self.find(parent)?.map(|view| view.session)))
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
        let kept_for = keeps_mark.then(|| self.native_id.to_owned());
        let mark = self.mark_of(view, self.native_id);
        Ok(Member { actor, mark, kept_for })
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
        let before = view.native_id.as_deref().unwrap_or_default();
        let mark = self.mark_of(view, before);
        if changed {
            self.marks.forget(self.place_of(before));
        }
        Ok(Member { actor, mark, kept_for: changed.then(|| self.native_id.to_owned()) })
    }

    fn sign_on(&self, operation: SignOn) -> Result<Member> {
        let operation =
            SignOn { process: self.process.clone(), if_busy: IfBusy::Fork, ..operation };
        let kept_for = operation.native_id.clone().unwrap_or_default();
        let reply = self.context.ask_sign_on(operation, None)?;
        let signed = decode::<SignOn>(&reply)?;
        Ok(Member {
            actor: Actor {
                session: SessionRef(signed.session.0.clone()),
                token_digest: signed.token_digest.clone(),
            },
            mark: self.blank_mark(&signed.session, &signed.token_digest),
            kept_for: Some(kept_for),
        })
    }

    /// What is remembered of a session in a conversation, or a blank.
    fn mark_of(&self, view: &SessionView, native_id: &str) -> Mark {
        let found = self.marks.find(self.place_of(native_id)).map(|(mark, _)| mark);
        found
            .filter(|mark| mark.session == view.session)
            .unwrap_or_else(|| self.blank_mark(&view.session, &view.token_digest))
    }

    fn blank_mark(&self, session: &SessionId, token_digest: &str) -> Mark {
        Mark {
            session: session.clone(),
            token_digest: token_digest.to_owned(),
            started: self.started(),
            provisional: false,
            told: String::new(),
            instructions: None,
        }
    }
}

/// What an agent was started with. An agent may hide it; then only the first prompt shows a fork.
fn arguments(pid: u32) -> Vec<String> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    bytes.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// The conversation that an agent was started to resume.
fn resumed(arguments: &[String]) -> Option<&str> {
    arguments.iter().enumerate().find_map(|(index, argument)| match argument.as_str() {
        "--resume" | "-r" => arguments.get(index + 1).map(String::as_str),
        argument => argument.strip_prefix("--resume="),
    })
}
