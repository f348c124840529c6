//! The log: one total order of everything that changed, as a hash chain.
//!
//! The chain follows Schneier and Kelsey, "Secure Audit Logs to Support Computer Forensics"
//! (1999). A payload enters it as a salted digest, so that it can be erased later without breaking
//! the chain.
//!
//! # Invariants
//! - `seq` is gapless from 1 in commit order.
//! - `hash(n) = SHA-256(hash(n−1) ‖ header(n) ‖ payload_digest(n))`, fields length-prefixed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    Code, Error, Operation, Result,
    clock::{MINUTE, check_duration},
    data::PAGE_MAX,
    id::{Seq, SessionId, Tick, check_count},
    json::Json,
    name::{check_name, clean_text, shown},
    operation::{ActorRule, Effect},
};

/// A SHA-256 digest.
pub type Hash = [u8; 32];

/// An event as readers see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Its number.
    pub seq: Seq,
    /// Wall time, for display.
    pub at: String,
    /// The store's clock.
    pub tick: Tick,
    /// What happened, e.g. `claim.granted` or `user.note`.
    pub kind: String,
    /// What it is about.
    pub scope: String,
    /// The id of the session that did it; empty for the store itself.
    pub session: String,
    /// That session's name.
    pub name: String,
    /// The account of the person it worked for.
    pub user: String,
    /// How far the writer is trusted.
    pub trust: String,
    /// The facts; absent when erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Json>,
    /// The digest of salt and payload, in hex.
    pub payload_digest: String,
    /// The hash of the chain up to here, in hex.
    pub hash: String,
    /// The version of the program that wrote it.
    pub writer_version: String,
}

/// The parts of an event that its hash covers, besides the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its number.
    pub seq: i64,
    /// Wall time.
    pub at: &'a str,
    /// The store's clock.
    pub tick: i64,
    /// What happened.
    pub kind: &'a str,
    /// What it is about.
    pub scope: &'a str,
    /// Who did it.
    pub session: &'a str,
    /// The name then.
    pub name: &'a str,
    /// For whom.
    pub user: &'a str,
    /// How far trusted.
    pub trust: &'a str,
    /// Written by which version.
    pub writer_version: &'a str,
}

/// The digest of a payload with its salt.
pub fn payload_digest(salt: &[u8], payload: &str) -> Hash {
    Sha256::new().chain_update(salt).chain_update(payload.as_bytes()).finalize().into()
}

/// The hash of an event, from that of the one before.
pub fn chain_hash(before: &Hash, header: &Header<'_>, payload_digest: &Hash) -> Hash {
    let mut hasher = Sha256::new().chain_update(before);
    let numbers = [header.seq.to_be_bytes(), header.tick.to_be_bytes()];
    let texts = [
        header.at,
        header.kind,
        header.scope,
        header.session,
        header.name,
        header.user,
        header.trust,
        header.writer_version,
    ];
    let fields = numbers.iter().map(<[u8; 8]>::as_slice).chain(texts.iter().map(|t| t.as_bytes()));
    for field in fields {
        hasher.update((field.len() as u64).to_be_bytes());
        hasher.update(field);
    }
    hasher.update(payload_digest);
    hasher.finalize().into()
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// SHA-256 of a text, in hex.
pub fn sha256_hex(text: &str) -> String {
    hex(&<Hash>::from(Sha256::digest(text.as_bytes())))
}

/// How far a reader has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// Before the first event that is kept.
    Start,
    /// Behind the newest event.
    Head,
    /// Behind a certain event of a certain history.
    At {
        /// The history of the store.
        history: String,
        /// The number of the event.
        seq: Seq,
        /// The first eight hexadecimal digits of its hash.
        hash8: String,
    },
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Start => formatter.write_str("start"),
            Self::Head => formatter.write_str("head"),
            Self::At { history, seq, hash8 } => write!(formatter, "{history}.{seq}.{hash8}"),
        }
    }
}

impl std::str::FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "start" => return Ok(Self::Start),
            "head" => return Ok(Self::Head),
            _ => {}
        }
        let wrong = || {
            Error::invalid(format!("`{}` is not a cursor", shown(text)))
                .hint("a cursor is `start`, `head` or what an earlier read returned")
        };
        let parts: Vec<&str> = text.split('.').collect();
        let [history, seq, hash8] = parts[..] else { return Err(wrong()) };
        let plain =
            |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric());
        if !plain(history) || !plain(hash8) || hash8.len() != 8 || history.len() > 64 {
            return Err(wrong());
        }
        let seq = seq.parse().map_err(|_| wrong())?;
        Ok(Self::At { history: history.to_owned(), seq, hash8: hash8.to_owned() })
    }
}

/// Writes an event of one's own to the log.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Append {
    /// `user.` and a name of one's own.
    pub kind: String,
    /// What it is about, e.g. `issue:15`.
    pub scope: String,
    /// The facts.
    pub payload: Json,
}

/// The answer of [`Append`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Appended {
    /// The number of the event.
    pub seq: Seq,
}

impl Operation for Append {
    const NAME: &'static str = "event.append";
    const EFFECT: Effect = Effect::Write;
    const ACTOR: ActorRule = ActorRule::Required;
    const SUMMARY: &'static str = "Write an event of your own to the log";
    type Answer = Appended;

    fn check(&mut self) -> Result<()> {
        check_name("kind", &self.kind)?;
        check_name("scope", &self.scope)?;
        self.payload.check()?;
        if self.kind.strip_prefix("user.").is_none_or(str::is_empty) {
            return Err(Error::new(
                Code::Forbidden,
                format!("events of kind `{}` are written by operations only", shown(&self.kind)),
            )
            .hint("kinds of your own begin with `user.`"));
        }
        self.payload = crate::redact::in_json(&self.payload);
        Ok(())
    }
}

/// Reads events behind a cursor or the newest ones, or waits for them.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Read {
    /// `start`, `head`, or a cursor that an earlier read returned; with `last`, none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// So many of the newest that match, 1 to 1,000, instead of those behind a cursor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<u32>,
    /// Only kinds that match; `*` matches any run of characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Only scopes that match; `*` matches any run of characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Only events of this session id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// With `after`, at most so many, 1 to 1,000.
    #[serde(default = "crate::data::default_limit")]
    pub limit: u32,
    /// Wait so long for the first one, up to 60 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
}

/// The answer of [`Read`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Events {
    /// The events, ascending.
    pub events: Vec<Event>,
    /// Where to go on; it also moves over events that did not match.
    pub cursor: String,
    /// Whether the log has more behind the cursor.
    pub more: bool,
}

impl Operation for Read {
    const NAME: &'static str = "event.read";
    const EFFECT: Effect = Effect::Read;
    const ACTOR: ActorRule = ActorRule::Optional;
    const SUMMARY: &'static str =
        "Read events behind a cursor or the newest ones, or wait for them";
    type Answer = Events;

    fn check(&mut self) -> Result<()> {
        match (&self.after, self.last) {
            (Some(after), None) => drop(after.parse::<Cursor>()?),
            (None, Some(1..=PAGE_MAX)) => {}
            (None, Some(last)) => {
                return Err(Error::invalid(format!(
                    "last is {last}; it must be between 1 and {PAGE_MAX}"
                )));
            }
            (Some(_), Some(_)) => {
                return Err(Error::invalid("`after` and `last` exclude each other"));
            }
            (None, None) => {
                return Err(Error::invalid("neither `after` nor `last` says which events")
                    .hint("read `after` the cursor `start`, or the `last` 10"));
            }
        }
        crate::data::check_limit(self.limit)?;
        self.wait_ms.map_or(Ok(()), |wait| check_duration("wait", wait, 0, MINUTE))
    }

    fn wait_ms(&self) -> Option<u64> {
        self.wait_ms
    }
}

/// Stores how far a consumer has come; only forward.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Commit {
    /// The consumer's name.
    pub consumer: String,
    /// The cursor behind the last event it has dealt with; absent asks where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// The answer of [`Commit`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Committed {
    /// Where the consumer stands; `start` if it was never heard of.
    pub cursor: String,
}

impl Operation for Commit {
    const NAME: &'static str = "event.commit";
    const EFFECT: Effect = Effect::Write;
    const ACTOR: ActorRule = ActorRule::Required;
    const SUMMARY: &'static str = "Store how far a consumer of events has come";
    type Answer = Committed;

    fn check(&mut self) -> Result<()> {
        check_name("consumer", &self.consumer)?;
        self.cursor.as_ref().map_or(Ok(()), |cursor| match cursor.parse::<Cursor>()? {
            Cursor::At { .. } => Ok(()),
            _ => Err(Error::invalid("commit a cursor that a read returned")),
        })
    }
}

/// Erases the payload of an event; its author or a person.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Redact {
    /// The event.
    pub seq: Seq,
    /// Why.
    pub reason: String,
}

/// The answer of [`Redact`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Redacted {
    /// Whether the payload had been erased before.
    pub already: bool,
}

impl Operation for Redact {
    const NAME: &'static str = "event.redact";
    const EFFECT: Effect = Effect::Write;
    const ACTOR: ActorRule = ActorRule::Required;
    const SUMMARY: &'static str = "Erase the payload of an event";
    type Answer = Redacted;

    fn check(&mut self) -> Result<()> {
        check_count("seq", self.seq.0)?;
        clean_text("reason", &mut self.reason)
    }
}

/// Removes the oldest events; people only.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Prune {
    /// The first event to keep.
    pub before: Seq,
    /// Even if a consumer seen within 7 days has not read them.
    #[serde(default)]
    pub force: bool,
}

/// The answer of [`Prune`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Pruned {
    /// How many events were removed.
    pub removed: u64,
    /// The oldest event that is kept.
    pub oldest: Seq,
}

impl Operation for Prune {
    const NAME: &'static str = "event.prune";
    const EFFECT: Effect = Effect::Write;
    const ACTOR: ActorRule = ActorRule::Required;
    const SUMMARY: &'static str = "Remove the oldest events (people only)";
    type Answer = Pruned;

    fn check(&mut self) -> Result<()> {
        check_count("before", self.before.0)
    }
}

/// Checks the hash chain.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Verify {
    /// A cursor kept elsewhere that the log must still contain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
}

/// The answer of [`Verify`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Verified {
    /// Whether every event is as it was written.
    pub ok: bool,
    /// How many events were checked.
    pub checked: u64,
    /// The first bad one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_bad: Option<Seq>,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Operation for Verify {
    const NAME: &'static str = "event.verify";
    const EFFECT: Effect = Effect::Read;
    const ACTOR: ActorRule = ActorRule::Optional;
    const SUMMARY: &'static str = "Check the hash chain of the log";
    type Answer = Verified;

    fn check(&mut self) -> Result<()> {
        self.head.as_ref().map_or(Ok(()), |head| head.parse::<Cursor>().map(|_| ()))
    }
}

/// Tells the newest event, to be kept elsewhere.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Head {}

/// The answer of [`Head`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct HeadView {
    /// The history of the store; a restore begins a new one.
    pub history: String,
    /// The number of the newest event.
    pub seq: Seq,
    /// The hash of the chain up to it, in hex.
    pub hash: String,
    /// The cursor behind it.
    pub cursor: String,
}

impl Operation for Head {
    const NAME: &'static str = "event.head";
    const EFFECT: Effect = Effect::Read;
    const ACTOR: ActorRule = ActorRule::Optional;
    const SUMMARY: &'static str = "Tell the newest event, to be kept elsewhere";
    type Answer = HeadView;

    fn check(&mut self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header<'a>(kind: &'a str, scope: &'a str) -> Header<'a> {
        Header {
            seq: 1,
            at: "t",
            tick: 2,
            kind,
            scope,
            session: "s",
            name: "n",
            user: "u",
            trust: "agent",
            writer_version: "0",
        }
    }

    #[test]
    fn moving_a_letter_between_fields_changes_the_hash() {
        let digest = payload_digest(b"salt", "{}");
        let one = chain_hash(&[0; 32], &header("ab", "c"), &digest);
        let other = chain_hash(&[0; 32], &header("a", "bc"), &digest);
        assert_ne!(one, other);
    }

    proptest! {
        #[test]
        fn a_cursor_reads_back(history in "[a-z0-9]{1,20}", seq in 0i64..1_000_000, hash8 in "[0-9a-f]{8}") {
            let cursor = Cursor::At { history, seq: Seq(seq), hash8 };
            prop_assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
        }

        #[test]
        fn reading_a_cursor_never_panics(text in "\\PC{0,40}") {
            let _ = text.parse::<Cursor>();
        }
    }
}
