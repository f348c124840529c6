//! The page a person wants first.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Operation, Result,
    barrier::BarrierView,
    claim::Holding,
    id::{Seq, Tick},
    json::Json,
    name::SessionRef,
    offer::{OfferLine, OfferView},
    operation::{ActorRule, Effect},
    progress::Progress,
    session::SessionView,
    task::TaskCounts,
};

/// Shows who is here, on what, since when, holding what.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShowStatus {
    /// At most so many sessions, the newest first, with what these hold; 200 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Also what waits for this session: offers, messages, its draft.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionRef>,
    /// Also what waits for anybody: open offers, barriers that wait for parties.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub open: bool,
}

/// The answer of [`ShowStatus`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// The live sessions, the newest first.
    pub sessions: Vec<SessionView>,
    /// How many live sessions there are in all.
    pub sessions_live: u64,
    /// What those sessions hold and wait for, and what is cooling.
    pub holdings: Vec<Holding>,
    /// How many sessions were ever signed on.
    pub sessions_ever: u64,
    /// How many keys are stored.
    pub keys: u64,
    /// How the tasks stand.
    #[serde(default)]
    pub tasks: TaskCounts,
    /// The newest event.
    pub seq: Seq,
    /// The store's clock.
    pub tick: Tick,
    /// The history of the store.
    pub history: String,
    /// How far the work is that is not done, the newest report first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub progress: Vec<Progress>,
    /// The open offers, the newest first, if they were asked for; at most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub offers: Vec<OfferLine>,
    /// The barriers that wait for parties, if they were asked for; at most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub barriers: Vec<BarrierView>,
    /// What waits for the session that was asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
}

/// What waits for a session.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Waiting {
    /// The open offers that it may accept, the newest first.
    pub offers: Vec<OfferView>,
    /// How many messages it has not read.
    pub unread: u64,
    /// Its note to itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draft: Option<Json>,
}

impl Operation for ShowStatus {
    const NAME: &'static str = "status";
    const EFFECT: Effect = Effect::Read;
    const ACTOR: ActorRule = ActorRule::Optional;
    const SUMMARY: &'static str = "Show who is here, on what, since when, holding what";
    type Answer = Status;

    fn check(&mut self) -> Result<()> {
        self.session.as_ref().map_or(Ok(()), SessionRef::check)?;
        self.limit.map_or(Ok(()), crate::data::check_limit)
    }
}
