//! One lease with one slot: acquire, renew, release, check, and writes guarded by it (contract,
//! section 5). It lasts longer than the history, so nothing expires.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Drawn;
use crate::storm::history::{Entry, Said};
use crate::storm::search::Model;

/// A lease that is free at first.
pub(in crate::storm) struct Lease;

/// Who holds it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::storm) struct State {
    holder: Option<(String, Drawn)>,
    /// The fences that sessions gave back; a repeat succeeds.
    released: BTreeSet<(String, i64)>,
    /// Every new fence is greater.
    floor: i64,
}

impl State {
    fn is_held_by(&self, actor: &str) -> Option<Drawn> {
        self.holder.as_ref().filter(|(holder, _)| holder == actor).map(|(_, fence)| *fence)
    }

    fn granted(&self, actor: &str, fence: Drawn) -> Self {
        let mut after = self.clone();
        after.holder = Some((actor.to_owned(), fence));
        after.floor = fence.least();
        after
    }

    /// The same, now that the holder's fence is known.
    fn knowing(&self, fence: i64) -> Self {
        let mut after = self.clone();
        if let Some((_, drawn)) = &mut after.holder {
            *drawn = Drawn::Known(fence);
            after.floor = after.floor.max(fence);
        }
        after
    }

    /// The state in which the actor's grant with this fence is current.
    fn current(&self, actor: &str, fence: i64) -> Option<Self> {
        self.is_held_by(actor).filter(|held| held.can_be(fence)).map(|_| self.knowing(fence))
    }

    /// The state in which it is not.
    fn fenced(&self, actor: &str, fence: i64) -> Option<Self> {
        self.is_held_by(actor).is_none_or(|held| held.can_differ(fence)).then(|| self.clone())
    }

    fn free(&self, actor: &str, fence: i64) -> Self {
        let mut after = self.clone();
        after.holder = None;
        after.released.insert((actor.to_owned(), fence));
        after
    }
}

impl Model for Lease {
    type Op = Entry;
    type State = State;

    fn start(&self) -> State {
        State { holder: None, released: BTreeSet::new(), floor: 0 }
    }

    fn step(&self, state: &State, op: &Entry) -> Vec<State> {
        let actor = op.actor.as_str();
        let fence = op.guard.as_ref().map_or(op.args["fence"].as_i64(), |(_, fence)| Some(*fence));
        let after = match (op.op.as_str(), fence) {
            ("lease.acquire", _) => acquired(state, actor, op.said()),
            ("lease.release", Some(fence)) => return released(state, actor, fence, op.said()),
            ("lease.check", Some(fence)) => checked(state, fence, op.said()),
            // A renewal and a guarded write need the same: the actor's current grant.
            (_, Some(fence)) => match op.said() {
                Said::Done(_) => state.current(actor, fence),
                Said::Refused("FENCED", _) => state.fenced(actor, fence),
                Said::Refused(..) => None,
                Said::Nothing => Some(state.clone()),
            },
            (_, None) => None,
        };
        after.into_iter().collect()
    }
}

fn acquired(state: &State, actor: &str, said: Said<'_>) -> Option<State> {
    match (said, &state.holder) {
        (Said::Done(grant), holder) => {
            let (fence, already) = (grant["fence"].as_i64()?, grant["already_held"].as_bool()?);
            match holder {
                Some((holder, held)) => {
                    (already && holder == actor && held.can_be(fence)).then(|| state.knowing(fence))
                }
                None => (!already && fence > state.floor)
                    .then(|| state.granted(actor, Drawn::Known(fence))),
            }
        }
        (Said::Refused("HELD", details), Some((holder, held))) => {
            let named = &details["holders"][0];
            let fence = named["fence"].as_i64()?;
            let agrees = holder != actor && named["name"] == *holder && held.can_be(fence);
            agrees.then(|| state.knowing(fence))
        }
        (Said::Refused(..), _) => None,
        (Said::Nothing, Some(_)) => Some(state.clone()),
        (Said::Nothing, None) => Some(state.granted(actor, Drawn::Above(state.floor))),
    }
}

fn released(state: &State, actor: &str, fence: i64, said: Said<'_>) -> Vec<State> {
    let before = state.released.contains(&(actor.to_owned(), fence));
    let now = state.current(actor, fence).map(|held| held.free(actor, fence));
    match said {
        Said::Done(answer) if answer["already"] == Value::Bool(true) => {
            before.then(|| state.clone()).into_iter().collect()
        }
        Said::Done(_) | Said::Nothing => now.into_iter().collect(),
        Said::Refused("FENCED", _) => {
            state.fenced(actor, fence).filter(|_| !before).into_iter().collect()
        }
        Said::Refused(..) => Vec::new(),
    }
}

fn checked(state: &State, fence: i64, said: Said<'_>) -> Option<State> {
    let Said::Done(answer) = said else {
        return matches!(said, Said::Nothing).then(|| state.clone());
    };
    match (answer["valid"].as_bool()?, &state.holder) {
        (true, Some((_, held))) if held.can_be(fence) => Some(state.knowing(fence)),
        (false, holder) if holder.as_ref().is_none_or(|(_, held)| held.can_differ(fence)) => {
            Some(state.clone())
        }
        _ => None,
    }
}
