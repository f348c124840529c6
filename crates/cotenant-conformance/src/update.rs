//! Section 4.5: changing a value without losing an update.

use std::thread;

use cotenant_core::{
    Code,
    data::{Change, Put, Update},
    id::MAX_INTEGER,
    json::{Json, VALUE_BYTES_MAX},
};
use serde_json::{Value, json};

use crate::{
    Bench,
    ask::{Agent, event, granted, head_seq, log, must},
    sample::{get, json, put, update},
};

cases! {
    k4_no_addition_is_lost,
    k4_no_appended_item_is_lost,
    an_update_adds_appends_and_merges,
    an_update_of_another_type_is_refused,
    an_update_leaves_what_it_does_not_change,
    a_sum_beyond_what_json_carries_is_refused,
    an_update_keeps_the_newest_items,
    an_update_beyond_the_limit_is_refused,
    the_event_of_an_update_carries_the_change,
    an_array_of_150_kilobytes_can_be_rewritten,
}

fn value(bench: &dyn Bench, key: &str) -> Value {
    must(bench, &get("s", key)).value.value().expect("valid JSON")
}

/// Has eight sessions update a key at once, each twelve times.
fn all_update(bench: &dyn Bench, change: impl Fn(usize, usize) -> Change + Sync) {
    let agents: Vec<_> = (0..8).map(|n| Agent::new(bench, &format!("w{n}"))).collect();
    thread::scope(|scope| {
        for (index, agent) in agents.iter().enumerate() {
            let change = &change;
            scope.spawn(move || {
                let store = bench.second();
                for round in 0..12 {
                    let update = update("s", "k", change(index, round));
                    granted::<Update, _>((*store).call(&update, |r| r.by(agent.actor())));
                }
            });
        }
    });
}

fn k4_no_addition_is_lost(bench: &dyn Bench) {
    all_update(bench, |index, _| Change::Add(index as i64 + 1));
    assert_eq!(value(bench, "k"), json!(12 * (1..=8).sum::<i64>()));
}

fn k4_no_appended_item_is_lost(bench: &dyn Bench) {
    all_update(bench, |index, round| Change::Append(Json::of(&(index, round))));
    let Value::Array(items) = value(bench, "k") else { panic!("not an array") };
    let mut seen: Vec<(u64, u64)> = items
        .iter()
        .filter_map(|item| Some((item.get(0)?.as_u64()?, item.get(1)?.as_u64()?)))
        .collect();
    for index in 0..8 {
        let own = seen.iter().filter(|item| item.0 == index).map(|item| item.1);
        assert!(own.eq(0..12), "each writer's items come in its order");
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!((seen.len(), items.len()), (96, 96));
}

fn an_update_adds_appends_and_merges(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let change = |key: &str, change| a.must(&update("s", key, change));
    assert_eq!(change("n", Change::Add(5)).value, Some(5));
    let added = change("n", Change::Add(-7));
    assert_eq!((added.value, added.ver, added.length), (Some(-2), 2, None));
    assert_eq!(change("list", Change::Append(json("{\"a\":1}"))).length, Some(1));
    assert_eq!(change("list", Change::Append(json("[2]"))).length, Some(2));
    change("map", Change::Merge(json("{\"a\":{\"b\":1,\"c\":2},\"d\":3}")));
    change("map", Change::Merge(json("{\"a\":{\"b\":null,\"e\":[1]},\"f\":null}")));
    assert_eq!(value(bench, "n"), json!(-2));
    assert_eq!(value(bench, "list"), json!([{"a": 1}, [2]]));
    assert_eq!(value(bench, "map"), json!({"a": {"c": 2, "e": [1]}, "d": 3}));
}

fn an_update_of_another_type_is_refused(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    for (stored, change) in [
        ("\"1\"", Change::Add(1)),
        ("1.5", Change::Add(1)),
        ("null", Change::Add(1)),
        ("{}", Change::Append(json("1"))),
        ("1", Change::Append(json("1"))),
        ("[1]", Change::Merge(json("{\"a\":1}"))),
        ("null", Change::Merge(json("{}"))),
    ] {
        a.must(&put("s", "k", stored));
        let before = head_seq(bench);
        a.refused(&update("s", "k", change), Code::TypeMismatch);
        assert_eq!((must(bench, &get("s", "k")).value.text(), head_seq(bench)), (stored, before));
    }
}

fn an_update_leaves_what_it_does_not_change(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    a.must(&put("s", "map", "{\"big\":18446744073709551616,\"float\":1.0,\"text\":\"\\u00e9\"}"));
    a.must(&update("s", "map", Change::Merge(json("{\"new\":1.50}"))));
    let map = must(bench, &get("s", "map")).value;
    for kept in ["18446744073709551616", "\"float\":1.0", "1.50"] {
        assert!(map.text().contains(kept), "{kept} is missing in {map:?}");
    }
    a.must(&put("s", "list", "[18446744073709551616,1.0]"));
    a.must(&update("s", "list", Change::Append(json("{\"b\":2e3,\"a\":1}"))));
    let list = must(bench, &get("s", "list")).value;
    assert_eq!(list.text(), "[18446744073709551616,1.0,{\"b\":2e3,\"a\":1}]");
}

fn a_sum_beyond_what_json_carries_is_refused(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let add = |number| update("s", "k", Change::Add(number));
    a.must(&add(MAX_INTEGER));
    let before = head_seq(bench);
    a.refused(&add(1), Code::Invalid);
    assert_eq!((value(bench, "k"), head_seq(bench)), (json!(MAX_INTEGER), before));
    assert_eq!(a.must(&add(-1)).value, Some(MAX_INTEGER - 1));
}

fn an_update_keeps_the_newest_items(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    for number in 0..10 {
        let append = update("s", "k", Change::Append(Json::of(&number)));
        let length = a.must(&Update { keep: Some(3), ..append }).length;
        assert_eq!(length, Some(3.min(number + 1)));
    }
    assert_eq!(value(bench, "k"), json!([7, 8, 9]));
}

fn an_update_beyond_the_limit_is_refused(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let half = Json::of(&"x".repeat(VALUE_BYTES_MAX / 2));
    let append = update("s", "k", Change::Append(half));
    a.must(&append);
    let before = head_seq(bench);
    a.refused(&append, Code::TooLarge);
    assert_eq!(head_seq(bench), before);
    assert_eq!(must(bench, &get("s", "k")).ver, 1);
}

fn the_event_of_an_update_carries_the_change(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let items: Vec<u32> = (0..10_000).collect();
    a.must(&Put { value: Json::of(&items), ..put("s", "k", "1") });
    let done = a.answered(&update("s", "k", Change::Append(json("\"needle\""))));
    let payload = event(bench, done.seq).payload.expect("a payload");
    assert!(payload.text().contains("needle") && payload.text().len() < 1_000, "{payload:?}");
}

fn an_array_of_150_kilobytes_can_be_rewritten(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let array = |round: u32| {
        let entry = |n: u32| json!({"event": n, "round": round, "message": "x".repeat(120)});
        Json::of(&(0..1_000).map(entry).collect::<Vec<_>>())
    };
    for round in 0..5 {
        let value = array(round);
        assert!(value.text().len() > 150_000);
        a.must(&Put { value, ..put("s", "log", "1") });
    }
    assert!(must(bench, &get("s", "log")).value == array(4), "the last one is stored");
    assert!(log(bench).len() >= 5);
}
