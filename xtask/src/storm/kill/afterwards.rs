//! Looks whether the store has exactly what was acknowledged.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::ledger::{Acknowledged, Ledger};
use super::request::{Aim, SCOPE};
use crate::storm::ask::Ask;
use crate::storm::lab::Member;
use crate::storm::worker::Request;

/// Compares the store with the ledger, which notes what differs.
pub(in crate::storm) fn look(
    store: &mut dyn Ask,
    members: &[Member],
    ledger: &mut Ledger,
) -> Result<()> {
    let events = events(store)?;
    let acknowledged = &ledger.acknowledged;
    let (granted, mut faults) = fences(&events);
    faults.extend(data(store, acknowledged)?);
    faults.extend(log(&events, acknowledged));
    let lost: Vec<&Acknowledged> =
        acknowledged.iter().filter(|one| !is_logged(&events, &granted, one)).collect();
    faults.extend(lost.iter().take(5).map(|one| format!("acknowledged and lost: {one:?}")));
    faults.extend(holdings(store, members, acknowledged)?);
    (ledger.events, ledger.lost) = (events.len(), lost.len());
    ledger.faults.extend(faults);
    Ok(())
}

/// Asks for something that must be answered; an absent key is null.
fn ask(store: &mut dyn Ask, op: &str, args: Value) -> Result<Value> {
    let answer = store.ask(&Request::new(op, args))?;
    if answer["error"]["code"] == "NOT_FOUND" {
        return Ok(Value::Null);
    }
    ensure!(answer["ok"] == true, "{op} afterwards: {answer}");
    Ok(answer["data"].clone())
}

/// The whole log, by number.
fn events(store: &mut dyn Ask) -> Result<BTreeMap<i64, Value>> {
    let mut events = BTreeMap::new();
    let mut cursor = json!("start");
    loop {
        let page = ask(store, "event.read", json!({"after": cursor, "limit": 1000}))?;
        for event in page["events"].as_array().into_iter().flatten() {
            events.insert(event["seq"].as_i64().unwrap_or_default(), event.clone());
        }
        if page["more"] != true {
            return Ok(events);
        }
        cursor = page["cursor"].clone();
    }
}

/// Counters are the sums, arrays hold each item once, keys have their value.
fn data(store: &mut dyn Ask, acknowledged: &[Acknowledged]) -> Result<Vec<String>> {
    let mut counters: BTreeMap<&str, i64> = BTreeMap::new();
    let mut arrays: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    let mut keys: BTreeMap<&str, u64> = BTreeMap::new();
    for one in acknowledged {
        match &one.aim {
            Aim::Add { key, number } => *counters.entry(key).or_default() += number,
            Aim::Append { key, item } => arrays.entry(key).or_default().push(*item),
            Aim::Put { key, item } => {
                keys.insert(key, *item);
            }
            _ => {}
        }
    }
    let mut faults = Vec::new();
    let mut value = |key: &str| -> Result<Value> {
        Ok(ask(store, "data.get", json!({"scope": SCOPE, "key": key}))?["value"].clone())
    };
    for (key, sum) in counters {
        let found = value(key)?;
        if found != sum {
            faults.push(format!("{key} is {found}, the acknowledged additions make {sum}"));
        }
    }
    for (key, mut items) in arrays {
        let found = value(key)?;
        let numbers = found.as_array().into_iter().flatten().map(Value::as_u64);
        let mut found: Vec<u64> = numbers.map(Option::unwrap_or_default).collect();
        items.sort_unstable();
        found.sort_unstable();
        if found != items {
            let (found, items) = (found.len(), items.len());
            faults.push(format!("{key} has {found} items, not the {items} that were acknowledged"));
        }
    }
    for (key, item) in keys {
        let found = value(key)?;
        if found != item {
            faults.push(format!("{key} is {found}, not {item}"));
        }
    }
    Ok(faults)
}

/// Every event of our own is there once, and nothing that nobody asked for.
fn log(events: &BTreeMap<i64, Value>, acknowledged: &[Acknowledged]) -> Vec<String> {
    let mut wanted: BTreeMap<u64, usize> = BTreeMap::new();
    for one in acknowledged {
        if let Aim::Log { item } = one.aim {
            *wanted.entry(item).or_default() += 1;
        }
    }
    let mut found: BTreeMap<u64, usize> = BTreeMap::new();
    for event in events.values().filter(|event| event["kind"] == "user.kill") {
        *found.entry(event["payload"]["item"].as_u64().unwrap_or_default()).or_default() += 1;
    }
    let differ = |item: &&u64| wanted.get(item) != found.get(item);
    let all: BTreeSet<&u64> = wanted.keys().chain(found.keys()).collect();
    all.into_iter()
        .filter(differ)
        .take(5)
        .map(|item| {
            let times = |of: &BTreeMap<u64, usize>| of.get(item).copied().unwrap_or(0);
            format!("event {item} is there {} times, not {}", times(&found), times(&wanted))
        })
        .collect()
}

/// Whether the log has the event of an acknowledgement at the place that was acknowledged.
fn is_logged(events: &BTreeMap<i64, Value>, granted: &BTreeSet<i64>, one: &Acknowledged) -> bool {
    let at = |seq: &Value| events.get(&seq.as_i64().unwrap_or_default());
    let of_data = |kind: &str, key: &str| {
        at(&one.data["rev"])
            .is_some_and(|event| event["kind"] == kind && event["payload"]["key"] == *key)
    };
    let granted = |grant: &Value| grant["fence"].as_i64().is_some_and(|f| granted.contains(&f));
    match &one.aim {
        Aim::Add { key, .. } | Aim::Append { key, .. } => of_data("data.updated", key),
        Aim::Put { key, .. } => of_data("data.put", key),
        Aim::Log { item } => {
            at(&one.data["seq"]).is_some_and(|event| event["payload"]["item"] == *item)
        }
        Aim::Acquire { .. } => granted(&one.data),
        Aim::Claim => one.data["items"].as_array().into_iter().flatten().all(granted),
        Aim::Release { .. } | Aim::Unclaim => true,
    }
}

/// The fences of all grants; each must be greater than all before it.
fn fences(events: &BTreeMap<i64, Value>) -> (BTreeSet<i64>, Vec<String>) {
    let (mut fences, mut faults) = (BTreeSet::new(), Vec::new());
    let mut last = -1;
    for (seq, event) in events {
        let granted = matches!(event["kind"].as_str(), Some("lease.granted" | "claim.granted"));
        let Some(fence) = event["payload"]["fence"].as_i64().filter(|_| granted) else { continue };
        if fence <= last {
            faults.push(format!("event {seq} granted fence {fence} after {last}"));
        }
        last = fence;
        fences.insert(fence);
    }
    (fences, faults)
}

/// Who holds what now is what the last acknowledgement of each session says.
fn holdings(
    store: &mut dyn Ask,
    members: &[Member],
    acknowledged: &[Acknowledged],
) -> Result<Vec<String>> {
    let mut wanted: BTreeSet<(String, i64)> = BTreeSet::new();
    for member in members {
        let mine = || acknowledged.iter().rev().filter(|one| one.session == member.name);
        let lease = mine().find(|one| matches!(one.aim, Aim::Acquire { .. } | Aim::Release { .. }));
        if let Some(Acknowledged { aim: Aim::Acquire { resource }, data, .. }) = lease {
            wanted.insert((resource.clone(), data["fence"].as_i64().unwrap_or_default()));
        }
        let claim = mine().find(|one| matches!(one.aim, Aim::Claim | Aim::Unclaim));
        if let Some(Acknowledged { aim: Aim::Claim, data, .. }) = claim {
            for item in data["items"].as_array().into_iter().flatten() {
                let name = item["item"].as_str().unwrap_or_default().to_owned();
                wanted.insert((name, item["fence"].as_i64().unwrap_or_default()));
            }
        }
    }
    let mut found: BTreeSet<(String, i64)> = BTreeSet::new();
    for op in ["lease.list", "who"] {
        let answer = ask(store, op, json!({}))?;
        for holding in answer["holdings"].as_array().into_iter().flatten() {
            let name = holding["resource"].as_str().unwrap_or_default().to_owned();
            found.insert((name, holding["fence"].as_i64().unwrap_or_default()));
        }
    }
    let differ = wanted.symmetric_difference(&found).take(5);
    Ok(differ.map(|holding| format!("{holding:?} is held or not, unlike acknowledged")).collect())
}
