//! Messages from session to session.
//!
//! # Invariants
//! - Of any number of calls of [`Inbox`] one gets a message.
//! - A sender learns whom a message did not reach.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Error, Operation, Result,
    clock::{DAY, MINUTE, check_duration},
    data::check_limit,
    id::{Seq, SessionId, check_count},
    lease::WAIT_MAX_MS,
    name::{Addressee, SessionRef, clean_text},
    offer::TTL_MAX_MS,
    operation::{ActorRule, Effect},
};

/// How long a message is kept unless said otherwise.
pub const MESSAGE_TTL_MS: u64 = 7 * DAY;
/// The most unread messages of a session.
pub const UNREAD_MAX: i64 = 1_000;
/// How many messages one call hands out unless asked otherwise.
const INBOX_LIMIT: u32 = 32;
/// How many messages one call hands out or acknowledges at most.
const HANDED_MAX: u32 = 128;

const fn inbox_limit() -> u32 {
    INBOX_LIMIT
}

/// Sends a text to other sessions.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SendMessage {
    /// To whom.
    pub to: Addressee,
    /// What to say.
    pub text: String,
    /// How long it is kept, 1 min to 30 d; 7 d when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
}

/// The answer of [`SendMessage`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Sent {
    /// The number of the message.
    pub message: Seq,
    /// The names of the sessions in whose inbox it is.
    pub delivered: Vec<String>,
    /// Whom it did not reach, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undelivered: Vec<Undelivered>,
}

/// A session that a message did not reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Undelivered {
    /// The session.
    pub session: SessionId,
    /// Its name.
    pub name: String,
    /// Why: `lost`, `ended`, `full`.
    pub reason: String,
}

impl Operation for SendMessage {
    const NAME: &'static str = "message.send";
    const EFFECT: Effect = Effect::Write;
    const ACTOR: ActorRule = ActorRule::Required;
    const SUMMARY: &'static str = "Send a text to a session, to a label, or to everybody";
    type Answer = Sent;

    fn check(&mut self) -> Result<()> {
        self.to.check()?;
        if self.text.trim().is_empty() {
            return Err(Error::invalid("the text is empty"));
        }
        clean_text("the text", &mut self.text)?;
        self.ttl_ms.map_or(Ok(()), |ttl| check_duration("ttl", ttl, MINUTE, TTL_MAX_MS))
    }
}

/// How far a message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MessageState {
    /// Nobody has read it.
    Unread,
    /// It was handed out.
    Read,
    /// Its addressee has acted on it.
    Acknowledged,
}

impl MessageState {
    /// The word in the database and on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unread => "unread",
            Self::Read => "read",
            Self::Acknowledged => "acknowledged",
        }
    }

    /// The state of a word.
    pub fn of(word: &str) -> Option<Self> {
        [Self::Unread, Self::Read, Self::Acknowledged].into_iter().find(|it| it.word() == word)
    }
}

/// A message in an inbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    /// Its number.
    pub message: Seq,
    /// The session that sent it.
    pub from: SessionId,
    /// That session's name.
    pub from_name: String,
    /// How far the sender is trusted.
    pub trust: String,
    /// To whom it was sent.
    pub to: Addressee,
    /// What it says.
    pub text: String,
    /// How far it has come.
    pub state: MessageState,
    /// Wall time of sending.
    pub at: String,
    /// How long ago that was.
    pub age_ms: u64,
}

/// Hands out the actor's unread messages and marks them as read.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Inbox {
    /// At most so many, 1 to 128; 32 when absent.
    #[serde(default = "inbox_limit")]
    pub limit: u32,
    /// At most so many bytes of text, though one message in any case: for a reader with little room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u32>,
    /// How long to wait for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
}

impl Default for Inbox {
    fn default() -> Self {
        Self { limit: INBOX_LIMIT, bytes: None, wait_ms: None }
    }
}

/// The answer of [`Inbox`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct HandedOut {
    /// The messages, oldest first.
    pub messages: Vec<Message>,
    /// Whether there are more.
    pub more: bool,
}

impl Operation for Inbox {
    const NAME: &'static str = "message.inbox";
    const EFFECT: Effect = Effect::Write;
    const ACTOR: ActorRule = ActorRule::Required;
    const SUMMARY: &'static str = "Read the messages to you, each once";
    type Answer = HandedOut;

    fn check(&mut self) -> Result<()> {
        if !(1..=HANDED_MAX).contains(&self.limit) {
            return Err(Error::invalid(format!(
                "limit is {}; it must be between 1 and {HANDED_MAX}",
                self.limit
            )));
        }
        if self.bytes == Some(0) {
            return Err(Error::invalid("bytes is 0; it must be at least 1"));
        }
        self.wait_ms.map_or(Ok(()), |wait| check_duration("wait", wait, 0, WAIT_MAX_MS))
    }

    fn wait_ms(&self) -> Option<u64> {
        self.wait_ms
    }
}

/// Looks at the messages to a session without reading them for it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListMessages {
    /// Whose.
    pub session: SessionRef,
    /// Also those that were read.
    #[serde(default)]
    pub all: bool,
    /// Go on behind this number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Seq>,
    /// At most so many, 1 to 1,000.
    #[serde(default = "crate::data::default_limit")]
    pub limit: u32,
}

/// The answer of [`ListMessages`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Messages {
    /// The messages, oldest first.
    pub messages: Vec<Message>,
    /// Where to go on, if there are more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Seq>,
}

impl Operation for ListMessages {
    const NAME: &'static str = "message.list";
    const EFFECT: Effect = Effect::Read;
    const ACTOR: ActorRule = ActorRule::Optional;
    const SUMMARY: &'static str = "Look at the messages to a session";
    type Answer = Messages;

    fn check(&mut self) -> Result<()> {
        self.session.check()?;
        self.after.map_or(Ok(()), |after| check_count("after", after.0))?;
        check_limit(self.limit)
    }
}

/// Says that the actor has acted on messages to it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Acknowledge {
    /// Their numbers, 1 to 128.
    pub messages: Vec<Seq>,
}

/// The answer of [`Acknowledge`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Acknowledged {
    /// What is acknowledged now.
    pub acknowledged: Vec<Seq>,
    /// What was before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub already: Vec<Seq>,
    /// What is not in the actor's inbox.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<Seq>,
}

impl Operation for Acknowledge {
    const NAME: &'static str = "message.ack";
    const EFFECT: Effect = Effect::Write;
    const ACTOR: ActorRule = ActorRule::Required;
    const SUMMARY: &'static str = "Tell the senders of messages that you acted on them";
    type Answer = Acknowledged;

    fn check(&mut self) -> Result<()> {
        if self.messages.is_empty() || self.messages.len() > HANDED_MAX as usize {
            return Err(Error::invalid(format!(
                "{} messages; it takes 1 to {HANDED_MAX}",
                self.messages.len()
            )));
        }
        self.messages.iter().try_for_each(|message| check_count("message", message.0))?;
        self.messages.sort_unstable();
        self.messages.dedup();
        Ok(())
    }
}
