//! The events of one scope: append, read (contract, section 9).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Drawn;
use crate::storm::history::{Entry, Said};
use crate::storm::search::Model;

/// A scope without events at first.
pub(in crate::storm) struct Log;

/// The events: what tells them apart, and their numbers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::storm) struct State(Vec<(i64, Drawn)>);

impl Model for Log {
    type Op = Entry;
    type State = State;

    fn start(&self) -> State {
        State(Vec::new())
    }

    fn step(&self, state: &State, op: &Entry) -> Vec<State> {
        let after = match (op.op.as_str(), op.said()) {
            ("event.append", said) => appended(state, op, said),
            ("event.read", Said::Done(answer)) => seen(state, &op.args["after"], answer),
            ("event.read", Said::Nothing) => Some(state.clone()),
            _ => None,
        };
        after.into_iter().collect()
    }
}

fn appended(state: &State, op: &Entry, said: Said<'_>) -> Option<State> {
    let floor = state.0.last().map_or(0, |(_, seq)| seq.least());
    let told = op.answer["data"]["seq"].as_i64();
    let seq = match (said, told) {
        (Said::Refused(..), _) | (Said::Done(_), None) => return None,
        (_, Some(seq)) => (seq > floor).then_some(Drawn::Known(seq))?,
        (Said::Nothing, None) => Drawn::Above(floor),
    };
    let mut after = state.clone();
    after.0.push((op.args["payload"]["id"].as_i64()?, seq));
    Some(after)
}

/// What the reads of a whole history tell about the appends whose answer was lost: one that some
/// read shows had that number, one that no read shows may as well not have happened. Without this
/// the search tries every place in the log for each of them.
pub(in crate::storm) fn with_hindsight(history: &[&Entry]) -> Vec<Entry> {
    let mut seen: BTreeMap<i64, Value> = BTreeMap::new();
    for read in history.iter().filter(|entry| entry.op == "event.read") {
        for event in read.answer["data"]["events"].as_array().into_iter().flatten() {
            let id = event["payload"]["id"].as_i64().unwrap_or_default();
            seen.insert(id, event["seq"].clone());
        }
    }
    let told = |entry: &&Entry| {
        let mut entry = (*entry).clone();
        if matches!(entry.said(), Said::Nothing) {
            let id = entry.args["payload"]["id"].as_i64()?;
            entry.answer = json!({"data": {"seq": seen.get(&id)?}});
        }
        Some(entry)
    };
    history.iter().filter_map(told).collect()
}

/// Exactly the events behind the cursor: the last ones, numbered upwards, none left out.
fn seen(state: &State, after: &Value, answer: &Value) -> Option<State> {
    let cursor = after.as_str()?;
    let behind: i64 = match cursor {
        "start" => 0,
        cursor => cursor.split('.').nth(1)?.parse().ok()?,
    };
    let events = answer["events"].as_array()?;
    let first = state.0.len().checked_sub(events.len())?;
    let mut learned = state.clone();
    for ((id, seq), event) in learned.0[first..].iter_mut().zip(events) {
        let number = event["seq"].as_i64()?;
        let payload: Value = event["payload"].clone();
        if payload["id"].as_i64()? != *id || !seq.can_be(number) || number <= behind {
            return None;
        }
        *seq = Drawn::Known(number);
    }
    let earlier_is_old = state.0[..first].iter().all(|(_, seq)| seq.least() <= behind);
    earlier_is_old.then_some(learned)
}
