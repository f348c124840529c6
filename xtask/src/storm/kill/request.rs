//! What is asked for in a kill storm: operations whose effect can be counted afterwards.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::storm::lab::Member;
use crate::storm::random::Random;
use crate::storm::worker::Request;

pub(super) const SCOPE: &str = "kill";
/// The lease that all sessions want.
pub(super) const SHARED_LEASE: &str = "kill/shared";
pub(super) const LOG: &str = "kill-log";
/// Items of one array; then the next is begun.
const ARRAY_ITEMS: u64 = 100;
const COUNTERS: [&str; 2] = ["counter-a", "counter-b"];
const LEASE_MS: u64 = 24 * 3_600_000;

/// What a request is for, which is what can be looked for afterwards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::storm) enum Aim {
    /// Adds to a counter.
    Add { key: String, number: i64 },
    /// Appends a unique number to an array.
    Append { key: String, item: u64 },
    /// Stores a key that nobody else stores.
    Put { key: String, item: u64 },
    /// Logs an event with a unique number.
    Log { item: u64 },
    /// Takes a lease.
    Acquire { resource: String },
    /// Gives a lease back.
    Release { resource: String },
    /// Claims a pair of items.
    Claim,
    /// Gives the pair back.
    Unclaim,
}

impl Aim {
    /// Whether the store must do it, whatever others did meanwhile.
    pub(super) fn is_sure(&self) -> bool {
        matches!(self, Self::Add { .. } | Self::Append { .. } | Self::Put { .. } | Self::Log { .. })
    }
}

/// The requests of one session.
pub(in crate::storm) struct Requests {
    member: Member,
    number: usize,
    made: u64,
    /// The lease that it holds, with its fence.
    held: Option<(String, i64)>,
    claimed: bool,
}

impl Requests {
    /// The requests of the session with this number.
    pub(in crate::storm) fn new(member: &Member, number: usize) -> Self {
        Self { member: member.clone(), number, made: 0, held: None, claimed: false }
    }

    /// The next one.
    pub(in crate::storm) fn next(&mut self, random: &mut Random) -> (Aim, Request) {
        self.made += 1;
        // Unique over all sessions.
        let item = self.made * 1000 + self.number as u64;
        let aim = match random.below(10) {
            0..3 => Aim::Add {
                key: (*random.pick(&COUNTERS)).to_owned(),
                number: 1 + i64::try_from(random.below(5)).unwrap_or(0),
            },
            3..5 => Aim::Append { key: format!("array-{}", self.made / ARRAY_ITEMS), item },
            5 => Aim::Put { key: format!("key-{item}"), item },
            6..8 => Aim::Log { item },
            8 => self.lease(random),
            _ if self.claimed => Aim::Unclaim,
            _ => Aim::Claim,
        };
        let (op, args) = self.operation(&aim);
        (aim, Request::new(op, args).by(&self.member).id(format!("kill-{item}")))
    }

    fn lease(&self, random: &mut Random) -> Aim {
        match &self.held {
            Some((resource, _)) => Aim::Release { resource: resource.clone() },
            None if random.percent(50) => Aim::Acquire { resource: SHARED_LEASE.to_owned() },
            None => Aim::Acquire { resource: format!("kill/{}", self.number) },
        }
    }

    fn operation(&self, aim: &Aim) -> (&'static str, Value) {
        match aim {
            Aim::Add { key, number } => {
                ("data.update", json!({"scope": SCOPE, "key": key, "change": {"add": number}}))
            }
            Aim::Append { key, item } => {
                ("data.update", json!({"scope": SCOPE, "key": key, "change": {"append": item}}))
            }
            // Only if it is not there: a second effect would be refused.
            Aim::Put { key, item } => {
                ("data.put", json!({"scope": SCOPE, "key": key, "value": item, "expect": 0}))
            }
            Aim::Log { item } => (
                "event.append",
                json!({"kind": "user.kill", "scope": LOG, "payload": {"item": item}}),
            ),
            Aim::Acquire { resource } => {
                ("lease.acquire", json!({"resource": resource, "ttl_ms": LEASE_MS}))
            }
            Aim::Release { resource } => {
                let fence = self.held.as_ref().map_or(0, |(_, fence)| *fence);
                ("lease.release", json!({"resource": resource, "fence": fence}))
            }
            Aim::Claim => ("claim", json!({"items": self.items()})),
            Aim::Unclaim => ("unclaim", json!({"items": self.items()})),
        }
    }

    /// Two issues that only this session claims.
    fn items(&self) -> Value {
        let item = |half: &str| json!({"kind": "issue", "name": format!("{}{half}", self.number)});
        json!([item("a"), item("b")])
    }

    /// Remembers what an answer means for the next request.
    pub(in crate::storm) fn learn(&mut self, aim: &Aim, data: &Value) {
        match aim {
            Aim::Acquire { resource } => {
                self.held = data["fence"].as_i64().map(|fence| (resource.clone(), fence));
            }
            Aim::Release { .. } => self.held = None,
            Aim::Claim => self.claimed = true,
            Aim::Unclaim => self.claimed = false,
            _ => {}
        }
    }
}
