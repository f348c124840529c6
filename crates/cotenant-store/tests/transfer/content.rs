//! A store in which everything is that can be carried.

use std::process::Command;

use cotenant_core::{
    name::SessionRef,
    process::{Liveness, Processes as _},
    session::SignOn,
    store::{Actor, Store},
};
use cotenant_store::host::{self, LocalProcesses};
use serde_json::json;

use crate::stage::{ask, does, request, sign_off, sign_on, signed_on};

/// What is known of a store that was filled.
pub(crate) struct Filled {
    /// The session that filled it, live if that is wanted.
    pub(crate) actor: Actor,
    /// The highest fence that was given out.
    pub(crate) fence: i64,
    /// Where a reader stands, behind everything.
    pub(crate) cursor: String,
}

/// Fills a store; nobody is signed on afterwards.
pub(crate) fn fill(store: &dyn Store) -> Filled {
    let filled = fill_and_stay(store);
    sign_off(store, &filled.actor);
    let head: serde_json::Value = {
        let reply = ask(store, &filled.actor, "event.head", &json!({})).unwrap();
        serde_json::from_str(reply.data.get()).unwrap()
    };
    Filled { cursor: head["cursor"].as_str().unwrap().into(), ..filled }
}

/// Fills a store and leaves its session signed on.
pub(crate) fn fill_and_stay(store: &dyn Store) -> Filled {
    lose_holder(store);
    reap_lost(store);
    let first = sign_on(store, "ada", "human");
    sign_off(store, &first);
    // The next incarnation of a name comes from the one before.
    let actor = sign_on(store, "ada", "human");
    for number in 0..30 {
        let append = json!({"kind": "user.note", "scope": "log", "payload": {"n": number}});
        does(store, &actor, "event.append", &append);
    }
    does(store, &actor, "event.prune", &json!({"before": 12, "force": true}));
    does(store, &actor, "event.redact", &json!({"seq": 20, "reason": "a secret"}));
    for (scope, key, value) in [
        ("plain", "number", json!(-1.5e300)),
        ("plain", "quotes", json!("\" \\ \t \u{1f600} \u{2028} \u{0}")),
        ("issue:15", "nested", json!({"b": [null, true, {}], "a": "é"})),
        ("issue:15", "large", json!("x".repeat(300_000))),
    ] {
        let put = json!({"scope": scope, "key": key, "value": value});
        let number = request(&actor, "data.put", &put).id(format!("put-{key}"));
        store.one(number).unwrap();
    }
    // Bytes count: a value keeps its spaces and the order of its keys.
    let spaced = r#"{"scope": "plain", "key": "spaced", "value": {"z":  1 , "a":2.0}}"#;
    let raw = serde_json::value::RawValue::from_string(spaced.into()).unwrap();
    let op = cotenant_core::Op::decode("data.put", &raw).unwrap();
    store.one(cotenant_core::store::Request::new(op).by(actor.clone())).unwrap();
    let acquire = json!({"resource": "branch/main", "ttl_ms": 3_600_000, "note": "merge"});
    let granted = does(store, &actor, "lease.acquire", &acquire);
    let fence = granted["fence"].as_i64().unwrap();
    does(store, &actor, "lease.admit", &json!({"resource": "branch/main", "fence": fence}));
    let items =
        json!([{"kind": "issue", "name": "15"}, {"kind": "path", "name": "src/é", "tree": "c:."}]);
    let claimed = does(store, &actor, "claim", &json!({"items": items, "mode": "exclusive"}));
    let fences = claimed["items"].as_array().unwrap().iter().map(|item| item["fence"].as_i64());
    let fence = fences.flatten().max().unwrap();
    let tasks = json!([
        {"payload": "é \n", "dedupe_key": "nightly"},
        {"payload": {"title": "later"}, "needs_new": [0], "not_before": "2100-01-01T00:00:00Z"},
        {"payload": 1, "delay_ms": 86_400_000},
    ]);
    does(store, &actor, "task.add", &json!({"tasks": tasks}));
    let taken = does(store, &actor, "task.next", &json!({}));
    let fence = taken["task"]["fence"].as_i64().unwrap().max(fence);
    let head = does(store, &actor, "event.head", &json!({}));
    let cursor = head["cursor"].as_str().unwrap().to_owned();
    does(store, &actor, "event.commit", &json!({"consumer": "mirror", "cursor": cursor}));
    Filled { actor, fence, cursor }
}

/// A session whose process is dead; what it held cools down for a while.
pub(crate) fn lose_holder(store: &dyn Store) {
    let mut child = Command::new("sleep").arg("600").spawn().unwrap();
    let process = host::identity(child.id()).unwrap();
    let operation = SignOn {
        name: Some("gone".into()),
        process: Some(process.clone()),
        labels: vec!["nightly".into()],
        ..SignOn::new("agent", "ada", String::new())
    };
    let actor = signed_on(store, operation);
    let acquire = json!({"resource": "port/80", "ttl_ms": 60_000, "lock_delay_ms": 60_000});
    does(store, &actor, "lease.acquire", &acquire);
    let put = json!({"scope": "live", "key": "gone", "value": 1, "ephemeral": true});
    does(store, &actor, "data.put", &put);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_ne!(LocalProcesses.liveness(&process), Liveness::Alive);
}

/// Notes that the session is lost.
pub(crate) fn reap_lost(store: &dyn Store) {
    let reap = cotenant_core::session::Reap { session: SessionRef("gone".into()), force: false };
    store.call(&reap, |request| request).unwrap();
}
