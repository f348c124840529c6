//! One lease that expires during the history: acquire, renew, release, and writes guarded by it,
//! while the store's clock runs ahead (contract, sections 2 and 5).
//!
//! The answer to a success tells the tick at which it happened, so an expiry is decided exactly.
//! A refusal and a killed operation tell none: they may have come at any tick from the last one on.
//! Reads are left out: they compute a tick of their own, which no write has to respect.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Drawn;
use crate::storm::history::{Entry, Said};
use crate::storm::search::Model;

/// A lease that is free at first, and how long a grant lasts without a renewal.
pub(in crate::storm) struct Brief {
    pub(in crate::storm) ttl_ms: i64,
}

/// How long nobody else gets it after an expiry.
pub(in crate::storm) const LOCK_DELAY_MS: i64 = 1_500;

/// Who holds it, as far as known at a tick.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::storm) struct State {
    ttl_ms: i64,
    /// The tick is this or later.
    now: i64,
    phase: Phase,
    /// The fences that sessions gave back.
    released: BTreeSet<(String, i64)>,
    floor: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Free,
    Held(Grant),
    Cooling(Grant),
}

/// A grant, and when its phase is over.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Grant {
    actor: String,
    fence: Drawn,
    until: When,
}

/// A tick in the future.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum When {
    At(i64),
    /// Not before this: whoever set it died with its answer.
    From(i64),
}

impl When {
    /// The first tick that it can be.
    fn first(self) -> i64 {
        match self {
            Self::At(tick) | Self::From(tick) => tick,
        }
    }

    /// The same, given that it is later than a tick; none if it is not.
    fn after(self, tick: i64) -> Option<Self> {
        match self {
            Self::At(at) => (at > tick).then_some(self),
            Self::From(first) => Some(Self::From(first.max(tick + 1))),
        }
    }

    fn plus(self, ms: i64) -> Self {
        match self {
            Self::At(tick) => Self::At(tick + ms),
            Self::From(tick) => Self::From(tick + ms),
        }
    }
}

impl Phase {
    /// The phase, if it lasts beyond a tick.
    fn beyond(&self, tick: i64) -> Option<Self> {
        let lasting =
            |grant: &Grant| Some(Grant { until: grant.until.after(tick)?, ..grant.clone() });
        match self {
            Self::Free => Some(Self::Free),
            Self::Held(grant) => lasting(grant).map(Self::Held),
            Self::Cooling(grant) => lasting(grant).map(Self::Cooling),
        }
    }

    /// What follows when it is over, and from when on.
    fn next(&self) -> Option<(i64, Self)> {
        match self {
            Self::Free => None,
            Self::Held(grant) => {
                let until = grant.until.plus(LOCK_DELAY_MS);
                let cooling = Self::Cooling(Grant { until, ..grant.clone() });
                Some((grant.until.first(), cooling))
            }
            Self::Cooling(grant) => Some((grant.until.first(), Self::Free)),
        }
    }
}

impl State {
    /// The states in which an operation can meet the lease, given its tick if that is known.
    fn at(&self, tick: Option<i64>) -> Vec<Self> {
        let mut met = Vec::new();
        let (mut from, mut phase) = (self.now, self.phase.clone());
        loop {
            let now = tick.unwrap_or(from);
            if now >= from
                && let Some(phase) = phase.beyond(now)
            {
                met.push(Self { now, phase, ..self.clone() });
            }
            let Some((first, next)) = phase.next() else { return met };
            (from, phase) = (from.max(first), next);
        }
    }

    /// The actor's current grant, if it can have this fence.
    fn current(&self, actor: &str, fence: i64) -> Option<&Grant> {
        match &self.phase {
            Phase::Held(grant) if grant.actor == actor && grant.fence.can_be(fence) => Some(grant),
            _ => None,
        }
    }

    /// Whether the actor's current grant, if it has one, can have another fence.
    fn can_be_fenced(&self, actor: &str, fence: i64) -> bool {
        match &self.phase {
            Phase::Held(grant) if grant.actor == actor => grant.fence.can_differ(fence),
            _ => true,
        }
    }

    /// After a grant or a renewal.
    fn held(&self, actor: &str, fence: Drawn, until: When) -> Self {
        let mut after = self.clone();
        after.floor = after.floor.max(fence.least());
        after.phase = Phase::Held(Grant { actor: actor.to_owned(), fence, until });
        after
    }

    /// The same, now that the fence is known.
    fn knowing(&self, fence: i64) -> Self {
        let mut after = self.clone();
        if let Phase::Held(grant) | Phase::Cooling(grant) = &mut after.phase {
            grant.fence = Drawn::Known(fence);
            after.floor = after.floor.max(fence);
        }
        after
    }
}

impl Model for Brief {
    type Op = Entry;
    type State = State;

    fn start(&self) -> State {
        State {
            ttl_ms: self.ttl_ms,
            now: 0,
            phase: Phase::Free,
            released: BTreeSet::new(),
            floor: 0,
        }
    }

    fn step(&self, state: &State, op: &Entry) -> Vec<State> {
        let fence = op.guard.as_ref().map_or(op.args["fence"].as_i64(), |(_, fence)| Some(*fence));
        let met = state.at(op.answer["tick"].as_i64());
        let after = met.iter().filter_map(|state| match (op.op.as_str(), fence) {
            ("lease.acquire", _) => acquired(state, op),
            ("lease.renew", Some(fence)) => renewed(state, &op.actor, fence, op.said()),
            ("lease.release", Some(fence)) => released(state, &op.actor, fence, op.said()),
            (_, Some(fence)) => guarded(state, &op.actor, fence, op.said()),
            (_, None) => None,
        });
        after.collect()
    }
}

fn acquired(state: &State, op: &Entry) -> Option<State> {
    let actor = op.actor.as_str();
    match (op.said(), &state.phase) {
        (Said::Done(grant), phase) => {
            let (fence, already) = (grant["fence"].as_i64()?, grant["already_held"].as_bool()?);
            let possible = match phase {
                Phase::Held(held) => already && held.actor == actor && held.fence.can_be(fence),
                // What the session itself held cools down for others only.
                Phase::Cooling(cooling) if cooling.actor != actor => false,
                Phase::Cooling(_) | Phase::Free => !already && fence > state.floor,
            };
            let until = When::At(state.now + state.ttl_ms);
            possible.then(|| state.held(actor, Drawn::Known(fence), until))
        }
        (Said::Refused("HELD", details), Phase::Held(grant))
        | (Said::Refused("COOLING", details), Phase::Cooling(grant)) => {
            let named = &details["holders"][0];
            let fence = named["fence"].as_i64()?;
            let agrees = grant.actor != actor && named["name"] == *grant.actor;
            (agrees && grant.fence.can_be(fence)).then(|| state.knowing(fence))
        }
        (Said::Refused(..), _) => None,
        (Said::Nothing, Phase::Held(grant) | Phase::Cooling(grant)) if grant.actor != actor => {
            Some(state.clone())
        }
        (Said::Nothing, phase) => {
            let fence = match phase {
                Phase::Held(grant) => grant.fence,
                _ => Drawn::Above(state.floor),
            };
            Some(state.held(actor, fence, When::From(state.now + state.ttl_ms)))
        }
    }
}

fn renewed(state: &State, actor: &str, fence: i64, said: Said<'_>) -> Option<State> {
    let until = match said {
        Said::Done(_) => When::At(state.now + state.ttl_ms),
        Said::Nothing => When::From(state.now + state.ttl_ms),
        Said::Refused(..) => return guarded(state, actor, fence, said),
    };
    let held = state.current(actor, fence)?;
    // A renewal that was killed reveals no fence.
    let drawn = if matches!(said, Said::Done(_)) { Drawn::Known(fence) } else { held.fence };
    Some(state.held(actor, drawn, until))
}

fn released(state: &State, actor: &str, fence: i64, said: Said<'_>) -> Option<State> {
    let before = state.released.contains(&(actor.to_owned(), fence));
    match said {
        Said::Done(answer) if answer["already"] == Value::Bool(true) => {
            before.then(|| state.clone())
        }
        Said::Done(_) | Said::Nothing => {
            let mut after = state.current(actor, fence).map(|_| state.knowing(fence))?;
            after.phase = Phase::Free;
            after.released.insert((actor.to_owned(), fence));
            Some(after)
        }
        Said::Refused(..) if before => None,
        Said::Refused(..) => guarded(state, actor, fence, said),
    }
}

/// What needs the actor's current grant and leaves it as it is.
fn guarded(state: &State, actor: &str, fence: i64, said: Said<'_>) -> Option<State> {
    match said {
        Said::Done(_) => state.current(actor, fence).map(|_| state.knowing(fence)),
        Said::Refused("FENCED", _) => state.can_be_fenced(actor, fence).then(|| state.clone()),
        Said::Refused(..) => None,
        Said::Nothing => Some(state.clone()),
    }
}
