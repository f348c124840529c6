//! All that a store holds, as its readers see it.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::storm::lab::Lab;
use crate::storm::random::Random;
use crate::storm::worker::{Request, Worker};

const SCOPE: &str = "corrupt";
/// Keys, written one after the other; some are longer than what an event holds.
const KEYS: usize = 90;
const LONG_EVERY: usize = 15;
const LONG_BYTES: usize = 6_000;

/// The content of a store.
#[derive(Debug, PartialEq)]
pub(super) struct Content {
    /// Keys with value and revision.
    pub(super) data: BTreeMap<String, Value>,
    events: Vec<Value>,
    /// Who holds what, and who is there.
    others: Vec<Value>,
}

impl Content {
    /// Whether it is what another one was at some earlier time.
    pub(super) fn is_earlier_than(&self, other: &Self) -> bool {
        let is_older = |(key, value): (&String, &Value)| {
            other.data.get(key).is_some_and(|later| later == value || key == "n")
        };
        self.events.len() < other.events.len()
            && self.events[..] == other.events[..self.events.len()]
            && self.data.iter().all(is_older)
    }

    /// The first difference.
    pub(super) fn differs_from(&self, other: &Self) -> String {
        for (key, value) in &other.data {
            if self.data.get(key) != Some(value) {
                return format!("{key} is another: {:.80}", format!("{:?}", self.data.get(key)));
            }
        }
        let pairs =
            self.events.iter().zip(&other.events).chain(self.others.iter().zip(&other.others));
        for (mine, others) in pairs {
            if mine != others {
                return format!("{:.200}, not {:.200}", mine.to_string(), others.to_string());
            }
        }
        format!("{} keys and {} events", self.data.len(), self.events.len())
    }
}

/// Fills a store: keys, a counter, events.
pub(super) fn fill(lab: &Lab, seed: u64) -> Result<()> {
    let mut random = Random::new(seed, 2);
    let member = &lab.sign_on(1, &mut random)?[0];
    let mut worker = Worker::start(lab, "writer", None)?;
    for number in 0..KEYS {
        let long = if number % LONG_EVERY == 0 { LONG_BYTES } else { 40 + random.index(200) };
        let letter = char::from(b'a' + u8::try_from(random.below(26))?);
        let value = format!("{number}{}", letter.to_string().repeat(long));
        let key = format!("key-{number}");
        for (op, args) in [
            ("data.put", json!({"scope": SCOPE, "key": key, "value": value})),
            ("data.update", json!({"scope": SCOPE, "key": "n", "change": {"add": 1}})),
            ("event.append", json!({"kind": "user.corrupt", "scope": SCOPE, "payload": number})),
        ] {
            let answer = worker.ask(&Request::new(op, args).by(member))?;
            ensure!(answer["ok"] == true, "{op} on a sound store: {answer}");
        }
    }
    Ok(())
}

/// Reads everything, or fails with the first refusal.
pub(super) fn read(worker: &mut Worker) -> Result<Content> {
    let mut ask = |op: &str, args: Value| -> Result<Value> {
        let answer = worker.ask(&Request::new(op, args))?;
        ensure!(answer["ok"] == true || answer["error"]["code"] == "NOT_FOUND", "{op}: {answer}");
        Ok(answer["data"].clone())
    };
    let mut data = BTreeMap::new();
    for key in (0..KEYS).map(|number| format!("key-{number}")).chain(["n".to_owned()]) {
        let found = ask("data.get", json!({"scope": SCOPE, "key": key}))?;
        if !found.is_null() {
            data.insert(key, json!([found["value"], found["rev"], found["ver"]]));
        }
    }
    let read = ask("event.read", json!({"after": "start", "limit": 1000}))?;
    let events = read["events"].as_array().cloned().unwrap_or_default();
    let mut others = Vec::new();
    for (op, field) in
        [("session.list", "sessions"), ("lease.list", "holdings"), ("who", "holdings")]
    {
        let rows = ask(op, json!({}))?[field].as_array().cloned().unwrap_or_default();
        others.extend(rows.iter().map(|row| json!([row["name"], row["resource"], row["fence"]])));
    }
    Ok(Content { data, events, others })
}
