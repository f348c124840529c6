//! What sessions leave behind that ended long ago, and its removal.
//!
//! # Invariants
//! - Nothing that a live session refers to is removed, and no event.
//! - What is listed is what a removal of the same age takes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Operation, Result,
    clock::{DAY, check_duration},
    data::{check_limit, default_limit},
    id::SessionId,
    operation::{ActorRule, Effect},
    session::State,
};

/// The most sessions that one transaction removes.
pub const REMOVED_MAX: u32 = 256;
/// How long ago a session was last heard of before it may be removed, unless configured otherwise.
pub const OLDER_THAN_MS: u64 = 30 * DAY;

fn check_age(ms: u64) -> Result<()> {
    // What ended less than a day ago may still be gone on with.
    check_duration("the age", ms, DAY, 100 * 365 * DAY)
}

/// Lists what long-ended sessions left behind.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListLeftovers {
    /// Not heard of for so long, at least a day.
    pub older_than_ms: u64,
    /// Show at most so many sessions, 1 to 1,000; all are counted.
    #[serde(default = "default_limit")]
    pub limit: u32,
}

/// A session that can be removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Leftover {
    /// Its id.
    pub session: SessionId,
    /// Its name.
    pub name: String,
    /// What it was.
    pub kind: String,
    /// How it ended.
    pub state: State,
    /// How long ago it was last heard of.
    pub heartbeat_age_ms: u64,
    /// How many keys go with it: its own, and those of the scope of its name.
    pub keys: u64,
    /// The digest by which its token is found.
    pub token_digest: String,
}

/// The answer of [`ListLeftovers`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Leftovers {
    /// The newest of the sessions.
    pub sessions: Vec<Leftover>,
    /// How many there are.
    pub sessions_all: u64,
    /// How many keys go with them.
    pub keys: u64,
    /// How many marks of readers go that were not heard of for so long.
    pub consumers: u64,
    /// How many sessions ended as long ago and stay, because others refer to them.
    pub kept: u64,
}

impl Operation for ListLeftovers {
    const NAME: &'static str = "gc.list";
    const EFFECT: Effect = Effect::Read;
    const ACTOR: ActorRule = ActorRule::Optional;
    const SUMMARY: &'static str = "List what sessions that ended long ago left behind";
    type Answer = Leftovers;

    fn check(&mut self) -> Result<()> {
        check_age(self.older_than_ms)?;
        check_limit(self.limit)
    }
}

/// Removes what long-ended sessions left behind, so many sessions at a time, the newest first.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveLeftovers {
    /// Not heard of for so long, at least a day.
    pub older_than_ms: u64,
    /// Go on behind this session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<SessionId>,
    /// Look at so many ended sessions, 1 to 256.
    #[serde(default = "default_limit")]
    pub limit: u32,
}

/// The answer of [`RemoveLeftovers`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RemovedLeftovers {
    /// The sessions that were removed.
    pub sessions: Vec<Leftover>,
    /// How many marks of readers were removed, with the last page.
    pub consumers: u64,
    /// Where to go on, if there are more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<SessionId>,
}

impl Operation for RemoveLeftovers {
    const NAME: &'static str = "gc.remove";
    const EFFECT: Effect = Effect::Write;
    const ACTOR: ActorRule = ActorRule::Required;
    const SUMMARY: &'static str = "Remove what sessions that ended long ago left behind";
    type Answer = RemovedLeftovers;

    fn check(&mut self) -> Result<()> {
        check_age(self.older_than_ms)?;
        check_limit(self.limit)?;
        if self.limit > REMOVED_MAX {
            return Err(crate::Error::invalid(format!(
                "limit is {}; one removal looks at up to {REMOVED_MAX} sessions",
                self.limit
            )));
        }
        self.after.as_ref().map_or(Ok(()), |after| crate::name::check_name("session", &after.0))
    }
}
