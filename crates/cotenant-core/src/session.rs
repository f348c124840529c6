//! Sessions: sign-on to sign-off, and the lineage between them.
//!
//! # Invariants
//! - `lost` and `ended` are final.
//! - A live name and a live (kind, native id) belong to one session.
//! - An id is never used again.
//! - Without `handoff`, lineage has no cycle.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Error, Operation, Result,
    claim::Holding,
    clock::{DAY, HOUR, MINUTE, SECOND, check_duration},
    id::{Seq, SessionId},
    name::{SessionRef, check_name, check_text, clean_optional_text},
    operation::{ActorRule, Effect},
    process::ProcessIdentity,
};

/// The TTL of a session whose process can be verified.
pub const TTL_VERIFIABLE_MS: u64 = 2 * MINUTE;
/// The TTL of a session that lives by TTL alone.
pub const TTL_UNVERIFIABLE_MS: u64 = HOUR;
/// How long a live process may be silent before its session is lost.
pub const SILENT_MAX_MS: u64 = 8 * HOUR;
/// The heartbeat age after which a session is marked as possibly abandoned.
pub const STALE_AFTER_MS: u64 = HOUR;
/// What a reference begins with that is neither an id nor a name: a conversation, a process.
pub const ALIASES: [&str; 2] = ["native:", "process:"];
/// The most labels of a session.
pub const LABELS_MAX: usize = 16;

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It was heard of within its TTL.
    Active,
    /// Its TTL has passed, its process lives.
    Silent,
    /// Its process died or its TTL passed; final.
    Lost,
    /// It signed off; final.
    Ended,
}

impl State {
    /// The word in the database and on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Silent => "silent",
            Self::Lost => "lost",
            Self::Ended => "ended",
        }
    }

    /// The state of a word.
    pub fn of(word: &str) -> Option<Self> {
        [Self::Active, Self::Silent, Self::Lost, Self::Ended].into_iter().find(|s| s.word() == word)
    }

    /// Whether the session takes part.
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Active | Self::Silent)
    }
}

/// How one session came from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// Started by it.
    Spawn,
    /// Goes on where it stopped.
    Resume,
    /// Branched off it.
    Fork,
    /// Took its results in.
    Merge,
    /// Goes on with a shortened context.
    Compact,
    /// Took over its work.
    Handoff,
}

impl Relation {
    /// The word in the database and on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Spawn => "spawn",
            Self::Resume => "resume",
            Self::Fork => "fork",
            Self::Merge => "merge",
            Self::Compact => "compact",
            Self::Handoff => "handoff",
        }
    }

    /// The relation of a word.
    pub fn of(word: &str) -> Option<Self> {
        [Self::Spawn, Self::Resume, Self::Fork, Self::Merge, Self::Compact, Self::Handoff]
            .into_iter()
            .find(|relation| relation.word() == word)
    }

    /// Whether an edge of this relation makes its source the parent.
    pub const fn is_parent(self) -> bool {
        matches!(self, Self::Spawn | Self::Resume | Self::Fork)
    }
}

/// What to do when another live process has the name or the conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IfBusy {
    /// Fail with `AGENT_BUSY`.
    #[default]
    Refuse,
    /// Sign on as a session of its own, a fork of the other; for hooks, which cannot fail.
    Fork,
}

/// Signs a session on, or finds the one that the same process signed on before.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignOn {
    /// What takes part: `claude`, `codex`, `opencode`, `human`, `ci`, `agent`.
    pub kind: String,
    /// A name, unique among live sessions; drawn by the store when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The agent's own conversation id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native_id: Option<String>,
    /// The process that the session lives with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessIdentity>,
    /// How long the session lives without a sign of life, 15 s to 24 h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
    /// The session it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<SessionRef>,
    /// How it comes from it; `spawn` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relation: Option<Relation>,
    /// What the session is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// The account of the person it works for.
    pub user: String,
    /// SHA-256 of the token that the caller drew, in hex.
    pub token_digest: String,
    /// What to do when another live process is there.
    #[serde(default)]
    pub if_busy: IfBusy,
    /// Only if fewer sessions than this are live, people apart; what is there already stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_max: Option<u32>,
}

/// The answer of [`SignOn`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SignedOn {
    /// The session.
    pub session: SessionId,
    /// Its name.
    pub name: String,
    /// A short name unique in the store, for test databases, ports and branches.
    pub ns: String,
    /// Whether the session was there before.
    pub existing: bool,
    /// The digest by which the session's token is found.
    pub token_digest: String,
    /// The session it comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<SessionId>,
    /// How.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relation: Option<Relation>,
    /// The live session that already had the conversation, if this one was forked off it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forked_from: Option<String>,
    /// What passed to it from its earlier incarnation, with new fences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inherited: Vec<Holding>,
    /// When it must have been heard of again.
    pub expires_in_ms: u64,
}

impl Operation for SignOn {
    const NAME: &'static str = "session.sign_on";
    const EFFECT: Effect = Effect::Write;
    const ACTOR: ActorRule = ActorRule::Optional;
    const SUMMARY: &'static str =
        "Sign a session on, or find the one this process signed on before";
    type Answer = SignedOn;

    fn check(&mut self) -> Result<()> {
        check_name("kind", &self.kind)?;
        if let Some(name) = &self.name {
            check_name("session name", name)?;
            if crate::id::is_id(name) {
                return Err(Error::invalid(format!("session name `{name}` has the form of an id")));
            }
            if let Some(kind) = ALIASES.iter().find(|kind| name.starts_with(**kind)) {
                return Err(Error::invalid(format!("a session name cannot begin with `{kind}`")));
            }
        }
        if let Some(native) = &self.native_id {
            check_name("native id", native)?;
        }
        if let Some(process) = &self.process {
            process.check()?;
        }
        if let Some(ttl) = self.ttl_ms {
            check_duration("the session's ttl", ttl, 15 * SECOND, DAY)?;
        }
        if self.relation.is_some() && self.parent.is_none() {
            return Err(Error::invalid("a relation needs a parent").hint("add `--parent SESSION`"));
        }
        if let Some(parent) = &self.parent {
            parent.check()?;
        }
        clean_optional_text("purpose", self.purpose.as_mut())?;
        check_text("user", &self.user)?;
        if self.labels.len() > LABELS_MAX {
            return Err(Error::invalid(format!("more than {LABELS_MAX} labels")));
        }
        self.labels.iter().try_for_each(|label| check_name("label", label))?;
        check_digest(&self.token_digest)
    }
}

/// Checks the form of a SHA-256 digest in hex.
pub fn check_digest(digest: &str) -> Result<()> {
    if digest.len() == 64
        && digest.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    {
        return Ok(());
    }
    Err(Error::invalid("the token digest is not 64 hexadecimal digits"))
}

impl SignOn {
    /// A sign-on that says only what takes part, for whom, and with which token.
    pub fn new(kind: &str, user: impl Into<String>, token_digest: impl Into<String>) -> Self {
        Self {
            kind: kind.to_owned(),
            name: None,
            native_id: None,
            process: None,
            ttl_ms: None,
            parent: None,
            relation: None,
            purpose: None,
            labels: Vec::new(),
            user: user.into(),
            token_digest: token_digest.into(),
            if_busy: IfBusy::Refuse,
            live_max: None,
        }
    }
}

/// Says that the actor is still there. Not an event.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {}

/// The answer of [`Heartbeat`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Beat {
    /// When the next one is due at the latest.
    pub expires_in_ms: u64,
}

impl Operation for Heartbeat {
    const NAME: &'static str = "session.heartbeat";
    const EFFECT: Effect = Effect::Soft;
    const ACTOR: ActorRule = ActorRule::Required;
    const SUMMARY: &'static str = "Say that the session is still there";
    type Answer = Beat;

    fn check(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Gives the actor another conversation id, as `/clear` in an agent does.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeNative {
    /// The new conversation id.
    pub native_id: String,
}

/// The answer of [`ChangeNative`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct NativeChanged {
    /// The conversation id before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Whether anything changed.
    pub changed: bool,
}

impl Operation for ChangeNative {
    const NAME: &'static str = "session.native";
    const EFFECT: Effect = Effect::Write;
    const ACTOR: ActorRule = ActorRule::Required;
    const SUMMARY: &'static str = "Record that the agent's conversation id changed";
    type Answer = NativeChanged;

    fn check(&mut self) -> Result<()> {
        check_name("native id", &self.native_id)
    }
}

/// Ends the actor's session and gives back all that it holds.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignOff {
    /// How it went, e.g. `done`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// A last word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What a session gave back.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct SignedOff {
    /// Leases released.
    pub leases: u64,
    /// Claims released.
    pub claims: u64,
    /// Ephemeral keys deleted.
    pub keys: u64,
    /// Waiting tickets dropped.
    pub tickets: u64,
    /// Tasks given back.
    #[serde(default)]
    pub tasks: u64,
    /// Its offers that stand: whoever accepts gets what they hold, as far as it is still free.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub offers: Vec<Seq>,
    /// Whether it had ended before.
    pub already: bool,
}

impl Operation for SignOff {
    const NAME: &'static str = "session.sign_off";
    const EFFECT: Effect = Effect::Write;
    const ACTOR: ActorRule = ActorRule::Required;
    const SUMMARY: &'static str = "End the session and give back all it holds";
    type Answer = SignedOff;

    fn check(&mut self) -> Result<()> {
        if let Some(outcome) = &self.outcome {
            check_name("outcome", outcome)?;
        }
        clean_optional_text("note", self.note.as_mut())
    }
}

/// Declares a session lost whose process is gone.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reap {
    /// The session.
    pub session: SessionRef,
    /// Even if its process lives; people only.
    #[serde(default)]
    pub force: bool,
}

/// The answer of [`Reap`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Reaped {
    /// The session.
    pub session: SessionId,
    /// Its name.
    pub name: String,
    /// Why it counts as lost.
    pub reason: String,
    /// Whether it was over before.
    pub already: bool,
}

impl Operation for Reap {
    const NAME: &'static str = "session.reap";
    const EFFECT: Effect = Effect::Write;
    const ACTOR: ActorRule = ActorRule::Optional;
    const SUMMARY: &'static str = "Declare a session lost whose process is gone";
    type Answer = Reaped;

    fn check(&mut self) -> Result<()> {
        self.session.check()
    }
}

/// A session as others see it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SessionView {
    /// Its id.
    pub session: SessionId,
    /// Its name.
    pub name: String,
    /// What takes part.
    pub kind: String,
    /// Where it stands, computed for this moment.
    pub state: State,
    /// The account of the person it works for.
    pub user: String,
    /// The agent's own conversation id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub native_id: Option<String>,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// A short unique name for test databases, ports and branches.
    pub ns: String,
    /// The process it lives with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessIdentity>,
    /// Whether that process runs; absent when it cannot be judged from here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process_alive: Option<bool>,
    /// Wall time of the sign-on.
    pub since: String,
    /// Wall time of the last sign of life.
    pub last_heartbeat: String,
    /// How long ago that was.
    pub heartbeat_age_ms: u64,
    /// When it expires without a sign of life; 0 if that has passed.
    pub expires_in_ms: u64,
    /// Whether it has been quiet for more than an hour.
    pub possibly_abandoned: bool,
    /// The session it comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<SessionId>,
    /// How.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relation: Option<Relation>,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Why it was lost, or its last word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The digest by which the same user's commands find its token.
    pub token_digest: String,
}

/// Shows one session.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShowSession {
    /// The session by id, live name, `native:KIND:ID` or `process:…`.
    pub session: SessionRef,
}

/// The answer of [`ShowSession`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ShownSession {
    /// The session.
    pub session: SessionView,
    /// What it holds.
    pub holds: Vec<Holding>,
}

impl Operation for ShowSession {
    const NAME: &'static str = "session.show";
    const EFFECT: Effect = Effect::Read;
    const ACTOR: ActorRule = ActorRule::Optional;
    const SUMMARY: &'static str = "Show one session and what it holds";
    type Answer = ShownSession;

    fn check(&mut self) -> Result<()> {
        self.session.check()
    }
}

/// Lists sessions, the newest first.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListSessions {
    /// Also those that were lost or have ended.
    #[serde(default)]
    pub all: bool,
    /// Only this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Only with this label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Only those quiet for at least this long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent_for_ms: Option<u64>,
    /// Only those that signed off with an offer that is still open.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub handoff_ready: bool,
    /// Go on below this id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<SessionId>,
    /// At most so many, 1 to 1,000.
    #[serde(default = "crate::data::default_limit")]
    pub limit: u32,
}

/// The answer of [`ListSessions`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Sessions {
    /// The sessions.
    pub sessions: Vec<SessionView>,
    /// Where to go on, if there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<SessionId>,
}

impl Operation for ListSessions {
    const NAME: &'static str = "session.list";
    const EFFECT: Effect = Effect::Read;
    const ACTOR: ActorRule = ActorRule::Optional;
    const SUMMARY: &'static str = "List sessions";
    type Answer = Sessions;

    fn check(&mut self) -> Result<()> {
        crate::data::check_limit(self.limit)
    }
}

/// Which part of the lineage to show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Where it comes from.
    Ancestors,
    /// What came from it.
    Descendants,
    /// The whole tree it is part of.
    #[default]
    Tree,
}

/// Shows where a session comes from and what came from it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lineage {
    /// The session.
    pub session: SessionRef,
    /// Which part.
    #[serde(default)]
    pub direction: Direction,
}

/// One edge of the lineage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Edge {
    /// The earlier session.
    pub from: SessionId,
    /// The later session.
    pub to: SessionId,
    /// How it came from it.
    pub relation: Relation,
    /// The event that recorded it.
    pub seq: Seq,
    /// What for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
}

/// The answer of [`Lineage`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LineageView {
    /// The sessions, earliest first.
    pub sessions: Vec<SessionView>,
    /// The edges between them.
    pub edges: Vec<Edge>,
}

impl Operation for Lineage {
    const NAME: &'static str = "session.lineage";
    const EFFECT: Effect = Effect::Read;
    const ACTOR: ActorRule = ActorRule::Optional;
    const SUMMARY: &'static str = "Show where a session comes from and what came from it";
    type Answer = LineageView;

    fn check(&mut self) -> Result<()> {
        self.session.check()
    }
}
