//! All items of a kind: claim, unclaim, who (contract, section 6). Paths overlap within a tree.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Drawn;
use crate::storm::history::{Entry, Said};
use crate::storm::search::Model;

/// Items that nobody holds at first.
pub(in crate::storm) struct Claims;

/// An item: its tree, which only a path has, and its name.
type Item = (String, String);

/// Who holds what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::storm) struct State {
    held: BTreeMap<Item, (String, Drawn)>,
    /// Every new fence is greater.
    floor: i64,
}

fn item(json: &Value) -> Item {
    let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
    (text("tree"), text("name"))
}

/// An item as a holding names it: `kind:name`, and its tree apart.
fn held_item(holding: &Value) -> Item {
    let resource = holding["resource"].as_str().unwrap_or_default();
    let name = resource.split_once(':').map_or(resource, |(_, name)| name);
    (holding["tree"].as_str().unwrap_or_default().to_owned(), name.to_owned())
}

/// Whether two items exclude each other: equal, or in one tree and one above the other.
fn overlap(one: &Item, other: &Item) -> bool {
    let above = |outer: &str, inner: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if one.0.is_empty() {
        return one == other;
    }
    one.0 == other.0 && (above(&one.1, &other.1) || above(&other.1, &one.1))
}

impl State {
    /// What others hold that excludes some of these items, with the holders' names.
    fn in_the_way(&self, items: &[Item], actor: &str) -> Vec<(Item, String)> {
        let rows = self.held.iter().filter(|(held, (holder, _))| {
            holder != actor && items.iter().any(|item| overlap(held, item))
        });
        rows.map(|(held, (holder, _))| (held.clone(), holder.clone())).collect()
    }

    /// After a claim whose answer was lost.
    fn untold(&self, items: &[Item], actor: &str) -> Self {
        let mut after = self.clone();
        for item in items {
            if !after.held.contains_key(item) {
                let fence = Drawn::Above(after.floor);
                after.floor = fence.least();
                after.held.insert(item.clone(), (actor.to_owned(), fence));
            }
        }
        after
    }

    /// After a claim that told its fences.
    fn told(&self, items: &[Item], actor: &str, answer: &Value) -> Option<Self> {
        let mut after = self.clone();
        let granted = answer["items"].as_array()?;
        if granted.len() != items.len() {
            return None;
        }
        for (item, granted) in items.iter().zip(granted) {
            let (fence, already) = (granted["fence"].as_i64()?, granted["already_held"].as_bool()?);
            let possible = match self.held.get(item) {
                Some((holder, held)) => already && holder == actor && held.can_be(fence),
                None => !already && fence > after.floor,
            };
            if !possible {
                return None;
            }
            after.floor = after.floor.max(fence);
            after.held.insert(item.clone(), (actor.to_owned(), Drawn::Known(fence)));
        }
        Some(after)
    }
}

impl Model for Claims {
    type Op = Entry;
    type State = State;

    fn start(&self) -> State {
        State { held: BTreeMap::new(), floor: 0 }
    }

    fn step(&self, state: &State, op: &Entry) -> Vec<State> {
        let items: Vec<Item> =
            op.args["items"].as_array().into_iter().flatten().map(item).collect();
        let after = match op.op.as_str() {
            "claim" => claimed(state, &items, &op.actor, op.said()),
            "unclaim" => unclaimed(state, &items, &op.actor, op.said()),
            "who" => seen(state, &item(&op.args["item"]), op.said()),
            _ => None,
        };
        after.into_iter().collect()
    }
}

fn claimed(state: &State, items: &[Item], actor: &str, said: Said<'_>) -> Option<State> {
    let in_the_way = state.in_the_way(items, actor);
    match said {
        Said::Done(answer) if in_the_way.is_empty() => state.told(items, actor, answer),
        Said::Nothing if in_the_way.is_empty() => Some(state.untold(items, actor)),
        Said::Nothing => Some(state.clone()),
        Said::Refused("CLAIMED", details) if !in_the_way.is_empty() => {
            (holders(&details["holders"])? == in_the_way).then(|| state.clone())
        }
        _ => None,
    }
}

fn unclaimed(state: &State, items: &[Item], actor: &str, said: Said<'_>) -> Option<State> {
    let mut after = state.clone();
    let mut released = 0;
    for item in items {
        if state.held.get(item).is_some_and(|(holder, _)| holder == actor) {
            after.held.remove(item);
            released += 1;
        }
    }
    match said {
        Said::Done(answer) => {
            let count = |name: &str| answer[name].as_array().map(Vec::len);
            let agrees =
                count("released")? == released && count("not_held")? == items.len() - released;
            agrees.then_some(after)
        }
        Said::Refused(..) => None,
        Said::Nothing => Some(after),
    }
}

fn seen(state: &State, item: &Item, said: Said<'_>) -> Option<State> {
    let Said::Done(answer) = said else {
        return matches!(said, Said::Nothing).then(|| state.clone());
    };
    let held = state.in_the_way(std::slice::from_ref(item), "");
    (holders(&answer["holdings"])? == held).then(|| state.clone())
}

/// Items with their holders, ordered as the state has them.
fn holders(holdings: &Value) -> Option<Vec<(Item, String)>> {
    let mut rows = Vec::new();
    for holding in holdings.as_array()? {
        rows.push((held_item(holding), holding["name"].as_str()?.to_owned()));
    }
    rows.sort();
    Some(rows)
}
