//! Barriers: points that sessions pass together or not at all.
//!
//! # Invariants
//! - A generation opens when all its parties are there, and not before.
//! - Each party learns once how its generation ended.
//! - A party that goes breaks its generation for all others.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Error, Operation, Result,
    clock::{DAY, HOUR, SECOND, check_duration},
    lease::WAIT_MAX_MS,
    name::check_name,
    operation::{ActorRule, Effect},
};

/// How long a generation may take unless said otherwise.
pub const BARRIER_TIMEOUT_MS: u64 = HOUR;
/// The most parties.
pub const PARTIES_MAX: u32 = 1_000;

/// Arrives at a barrier, and waits for the others if asked to.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Arrive {
    /// The barrier, e.g. `release/tests-done`.
    pub name: String,
    /// How many sessions must arrive, 1 to 1,000.
    pub parties: u32,
    /// How long this generation may take from the first arrival on, 5 s to 24 h; 1 h when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// How long to wait for the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
}

/// The answer of [`Arrive`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Arrived {
    /// The barrier.
    pub name: String,
    /// How often it was begun, this time included.
    pub generation: i64,
    /// Whether all were there.
    pub open: bool,
    /// How many must arrive.
    pub parties: u32,
    /// The names of those who have arrived.
    pub arrived: Vec<String>,
}

/// A barrier that waits for parties.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BarrierView {
    /// The barrier.
    pub name: String,
    /// How often it was begun, this time included.
    pub generation: i64,
    /// How many must arrive.
    pub parties: u32,
    /// The names of those who have arrived.
    pub arrived: Vec<String>,
    /// When it breaks without the others.
    pub expires_in_ms: u64,
}

impl Operation for Arrive {
    const NAME: &'static str = "barrier.arrive";
    const EFFECT: Effect = Effect::Write;
    const ACTOR: ActorRule = ActorRule::Required;
    const SUMMARY: &'static str = "Arrive at a point that sessions pass together";
    type Answer = Arrived;

    fn check(&mut self) -> Result<()> {
        check_name("barrier", &self.name)?;
        if !(1..=PARTIES_MAX).contains(&self.parties) {
            return Err(Error::invalid(format!(
                "parties is {}; it must be between 1 and {PARTIES_MAX}",
                self.parties
            )));
        }
        self.timeout_ms
            .map_or(Ok(()), |timeout| check_duration("timeout", timeout, 5 * SECOND, DAY))?;
        self.wait_ms.map_or(Ok(()), |wait| check_duration("wait", wait, 0, WAIT_MAX_MS))
    }

    fn wait_ms(&self) -> Option<u64> {
        self.wait_ms
    }
}
