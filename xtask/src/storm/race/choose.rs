//! What a racing session does next. It remembers what it was told, so that its compare-and-sets,
//! renewals and guards are sometimes right.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::storm::history::{BRIEF, Entry};
use crate::storm::lab::Member;
use crate::storm::model::brief;
use crate::storm::random::Random;
use crate::storm::worker::Request;

const SCOPE: &str = "storm";
const KEYS: [&str; 2] = ["x", "y"];
const LEASE: &str = "deploy";
const LOG: &str = "storm-log";
const ISSUES: [&str; 3] = ["1", "15", "2"];
/// Trees and paths; equal paths of two trees do not exclude each other.
const PATHS: [(&str, &str); 4] =
    [("t1", "src"), ("t1", "src/a.rs"), ("t2", "src/a.rs"), ("t2", "src2")];
/// Longer than any history.
const LEASE_MS: u64 = 24 * 3_600_000;

/// A session's choices and memory.
pub(super) struct Chooser {
    member: Member,
    random: Random,
    /// The last revision seen of a key.
    revs: BTreeMap<String, i64>,
    /// The last fence seen of a resource.
    fences: BTreeMap<String, i64>,
    cursor: String,
    /// How long a grant lasts that shall expire.
    brief_ms: i64,
    /// Tells the events of a history apart.
    next_event: i64,
}

impl Chooser {
    /// A session that knows nothing yet; `number` tells its events from those of others.
    pub(super) fn new(member: Member, random: Random, number: usize, brief_ms: i64) -> Self {
        Self {
            member,
            random,
            revs: BTreeMap::new(),
            fences: BTreeMap::new(),
            cursor: "start".to_owned(),
            brief_ms,
            next_event: 1_000_000 * (number as i64 + 1),
        }
    }

    /// For choices that are not about operations.
    pub(super) fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// The next request.
    pub(super) fn next(&mut self) -> Request {
        match self.random.below(100) {
            0..40 => self.data(),
            40..64 => self.lease(),
            64..86 => self.claim(),
            _ => self.event(),
        }
    }

    fn mine(&self, op: &str, args: Value) -> Request {
        Request::new(op, args).by(&self.member)
    }

    fn data(&mut self) -> Request {
        let key = *self.random.pick(&KEYS);
        let seen = self.revs.get(key).copied().unwrap_or(0);
        let mut args = json!({"scope": SCOPE, "key": key});
        match self.random.below(10) {
            0..2 => Request::new("data.get", args),
            2 => {
                args["value"] = self.value();
                self.mine("data.put", args)
            }
            3..5 => {
                args["value"] = self.value();
                args["expect"] = json!(if self.random.percent(20) { 0 } else { seen });
                self.mine("data.put", args)
            }
            5 => {
                if self.random.percent(60) {
                    args["expect"] = json!(seen);
                }
                self.mine("data.delete", args)
            }
            6..8 => {
                args["change"] = json!({"append": self.random.below(1000)});
                self.mine("data.update", args)
            }
            _ => {
                args["change"] = json!({"add": self.random.below(9) + 1});
                self.mine("data.update", args)
            }
        }
    }

    /// A number, an array or a text, so that updates sometimes meet the wrong type.
    fn value(&mut self) -> Value {
        let number = self.random.below(1000);
        match self.random.below(5) {
            0..2 => json!(number),
            2..4 => json!([number]),
            _ => json!(format!("text {number}")),
        }
    }

    fn lease(&mut self) -> Request {
        let is_brief = self.random.percent(60);
        let resource = if is_brief { BRIEF } else { LEASE };
        let fence = self.fences.get(resource).copied().unwrap_or(1);
        let args = json!({"resource": resource, "fence": fence});
        match self.random.below(10) {
            0..4 if is_brief => {
                let (ttl, delay) = (self.brief_ms, brief::LOCK_DELAY_MS);
                let args = json!({"resource": resource, "ttl_ms": ttl, "lock_delay_ms": delay});
                self.mine("lease.acquire", args)
            }
            0..4 => self.mine("lease.acquire", json!({"resource": resource, "ttl_ms": LEASE_MS})),
            4..6 => self.mine("lease.release", args),
            6 => self.mine("lease.renew", args),
            7 if is_brief => self.mine("lease.renew", args),
            7 => Request::new("lease.check", args),
            _ => {
                let value = self.random.below(1000);
                let args = json!({"scope": "guarded", "key": resource, "value": value});
                self.mine("data.put", args).guard(resource, fence)
            }
        }
    }

    fn claim(&mut self) -> Request {
        let items: Vec<Value> = if self.random.percent(50) {
            ISSUES.iter().map(|name| json!({"kind": "issue", "name": name})).collect()
        } else {
            PATHS
                .iter()
                .map(|(tree, name)| json!({"kind": "path", "name": name, "tree": tree}))
                .collect()
        };
        let first = self.random.pick(&items).clone();
        let second = self.random.pick(&items).clone();
        let items = if first == second { json!([first]) } else { json!([first, second]) };
        match self.random.below(10) {
            0..5 => self.mine("claim", json!({"items": items})),
            5..9 => self.mine("unclaim", json!({"items": items})),
            _ => Request::new("who", json!({"item": first})),
        }
    }

    fn event(&mut self) -> Request {
        if self.random.percent(70) {
            self.next_event += 1;
            let payload = json!({"id": self.next_event});
            return self.mine(
                "event.append",
                json!({"kind": "user.storm", "scope": LOG, "payload": payload}),
            );
        }
        let after = if self.random.percent(50) { "start" } else { &self.cursor };
        Request::new("event.read", json!({"after": after, "scope": LOG, "limit": 1000}))
    }

    /// Remembers what an answer tells.
    pub(super) fn learn(&mut self, entry: &Entry) {
        let (data, details) = (&entry.answer["data"], &entry.answer["error"]["details"]);
        if let Some(key) = entry.args["key"].as_str()
            && let Some(rev) = data["rev"].as_i64().or(details["rev"].as_i64())
        {
            self.revs.insert(key.to_owned(), rev);
        }
        if let Some(resource) = entry.args["resource"].as_str() {
            // Another's fence is worth trying, too: it must never work.
            let held = &details["holders"][0]["fence"];
            if let Some(fence) = data["fence"].as_i64().or(held.as_i64()) {
                self.fences.insert(resource.to_owned(), fence);
            }
        }
        if let Some(cursor) = data["cursor"].as_str() {
            cursor.clone_into(&mut self.cursor);
        }
    }
}
