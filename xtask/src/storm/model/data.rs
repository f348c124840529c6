//! One key: get, put, compare-and-set, delete, add, append (contract, section 4).

use serde_json::Value;

use super::Drawn;
use crate::storm::history::{Entry, Said};
use crate::storm::search::Model;

/// A key that is absent at first.
pub(in crate::storm) struct Data;

/// What the key holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::storm) struct State {
    held: Option<Held>,
    /// The least number that the next event can have drawn.
    floor: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Held {
    /// The value as text.
    value: String,
    rev: Drawn,
    ver: i64,
}

impl State {
    fn rev_can_be(&self, rev: i64) -> bool {
        self.held.as_ref().map_or(rev == 0, |held| held.rev.can_be(rev))
    }

    fn rev_can_differ(&self, rev: i64) -> bool {
        self.held.as_ref().map_or(rev != 0, |held| held.rev.can_differ(rev))
    }

    /// The same, now that the revision is known; 0 means absent.
    fn knowing(mut self, rev: i64) -> Self {
        if let Some(held) = &mut self.held {
            held.rev = Drawn::Known(rev);
            self.floor = self.floor.max(rev);
        }
        self
    }

    /// After a write that drew a number.
    fn written(&self, value: String, rev: Drawn) -> Self {
        let ver = self.held.as_ref().map_or(0, |held| held.ver) + 1;
        Self { held: Some(Held { value, rev, ver }), floor: rev.least() }
    }

    /// After a write that told its revision and version.
    fn told(&self, value: String, answer: &Value) -> Option<Self> {
        let (rev, ver) = (answer["rev"].as_i64()?, answer["ver"].as_i64()?);
        let after = self.written(value, Drawn::Known(rev));
        let agrees = after.held.as_ref().is_some_and(|held| held.ver == ver);
        (rev > self.floor && agrees).then_some(after)
    }

    /// After a write that nobody heard of.
    fn untold(&self, value: String) -> Self {
        self.written(value, Drawn::Above(self.floor))
    }

    fn text(&self) -> Option<&str> {
        self.held.as_ref().map(|held| held.value.as_str())
    }

    /// The sum after an addition; none if the value is no number.
    fn sum(&self, number: i64) -> Option<i64> {
        Some(self.text().map_or(Ok(0), str::parse::<i64>).ok()? + number)
    }

    /// The array and its length after an append; none if the value is no array.
    fn appended(&self, item: &Value) -> Option<(String, u64)> {
        let mut items: Vec<Value> = serde_json::from_str(self.text().unwrap_or("[]")).ok()?;
        items.push(item.clone());
        Some((serde_json::to_string(&items).ok()?, items.len() as u64))
    }

    fn absent(&self) -> Self {
        Self { held: None, floor: self.floor + 1 }
    }
}

impl Model for Data {
    type Op = Entry;
    type State = State;

    fn start(&self) -> State {
        State { held: None, floor: 0 }
    }

    fn step(&self, state: &State, op: &Entry) -> Vec<State> {
        let after = match op.op.as_str() {
            "data.get" => got(state, op.said()),
            "data.put" => put(state, op),
            "data.delete" => deleted(state, op),
            "data.update" => updated(state, op),
            _ => None,
        };
        after.into_iter().collect()
    }
}

fn got(state: &State, said: Said<'_>) -> Option<State> {
    match (said, &state.held) {
        (Said::Nothing, _) | (Said::Refused("NOT_FOUND", _), None) => Some(state.clone()),
        (Said::Done(entry), Some(held)) => {
            let rev = entry["rev"].as_i64()?;
            let value = entry["value"].to_string();
            let same = held.value == value && entry["ver"] == held.ver;
            (same && held.rev.can_be(rev)).then(|| state.clone().knowing(rev))
        }
        _ => None,
    }
}

/// The state in which a compare-and-set succeeds, if it can be this one.
fn expected(state: &State, op: &Entry) -> Option<State> {
    match op.args["expect"].as_i64() {
        None => Some(state.clone()),
        Some(rev) => state.rev_can_be(rev).then(|| state.clone().knowing(rev)),
    }
}

/// The state in which a compare-and-set is refused with these details.
fn mismatched(state: &State, op: &Entry, details: &Value) -> Option<State> {
    let (wanted, found) = (op.args["expect"].as_i64()?, details["rev"].as_i64()?);
    let value = details["value"].as_null().is_none().then(|| details["value"].to_string());
    let agrees = state.rev_can_differ(wanted)
        && wanted != found
        && state.rev_can_be(found)
        && value.as_deref() == state.text();
    agrees.then(|| state.clone().knowing(found))
}

fn put(state: &State, op: &Entry) -> Option<State> {
    let value = op.args["value"].to_string();
    match op.said() {
        Said::Done(answer) => {
            let mut before = expected(state, op)?;
            let overwrote = answer["overwrote"].as_i64().unwrap_or(0);
            if !before.rev_can_be(overwrote) {
                return None;
            }
            before = before.knowing(overwrote);
            before.told(value, answer)
        }
        Said::Refused("REV_MISMATCH", details) => mismatched(state, op, details),
        Said::Refused(..) => None,
        Said::Nothing => Some(expected(state, op)?.untold(value)),
    }
}

fn deleted(state: &State, op: &Entry) -> Option<State> {
    match op.said() {
        Said::Done(answer) => {
            let before = expected(state, op)?;
            match (answer["existed"].as_bool()?, &before.held) {
                (true, Some(_)) => Some(before.absent()),
                (false, None) => Some(before),
                _ => None,
            }
        }
        Said::Refused("REV_MISMATCH", details) => mismatched(state, op, details),
        Said::Refused(..) => None,
        Said::Nothing => {
            let before = expected(state, op)?;
            Some(if before.held.is_some() { before.absent() } else { before })
        }
    }
}

fn updated(state: &State, op: &Entry) -> Option<State> {
    let change = &op.args["change"];
    let (value, shown) = match change["add"].as_i64() {
        Some(number) => match state.sum(number) {
            Some(sum) => (Some(sum.to_string()), ("value", Value::from(sum))),
            None => (None, ("value", Value::Null)),
        },
        None => match state.appended(&change["append"]) {
            Some((text, length)) => (Some(text), ("length", Value::from(length))),
            None => (None, ("length", Value::Null)),
        },
    };
    match (op.said(), value) {
        (Said::Done(answer), Some(value)) if answer[shown.0] == shown.1 => {
            state.told(value, answer)
        }
        (Said::Refused("TYPE_MISMATCH", _) | Said::Nothing, None) => Some(state.clone()),
        (Said::Nothing, Some(value)) => Some(state.untold(value)),
        _ => None,
    }
}
