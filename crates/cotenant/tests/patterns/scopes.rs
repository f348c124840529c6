//! Scopes that look alike, many of them, and large values.

use std::fs;

use serde_json::{Value, json};

use crate::crew::{at_once, crew, place, the_log_is_whole};

#[test]
fn deleting_a_scope_leaves_those_whose_name_begins_alike() {
    let env = place();
    let mut crew = crew(&env, 8);
    let scopes = |number: usize| {
        let issue = format!("issue:{}", number + 1);
        [format!("{issue}5"), format!("{issue}/notes"), issue]
    };
    at_once(&mut crew, |number, member| {
        for scope in scopes(number) {
            member.does("data.put", &json!({"scope": scope, "key": "k", "value": number}));
        }
    });
    let deleted = at_once(&mut crew, |number, member| {
        let [_, _, issue] = scopes(number);
        member.does("scope.delete", &json!({"scope": issue}))["deleted"].as_u64().unwrap()
    });
    assert_eq!(deleted, [1; 8]);
    let mut left: Vec<String> = (0..8)
        .flat_map(|number| {
            let [alike, below, _] = scopes(number);
            [alike, below]
        })
        .collect();
    left.sort();
    assert_eq!(env.prints("scope list").lines().collect::<Vec<_>>(), left);
    the_log_is_whole(&env);
}

#[test]
fn all_of_2500_scopes_are_listed() {
    let env = place();
    let mut crew = crew(&env, 10);
    at_once(&mut crew, |number, member| {
        for hundred in [0, 100, 200].map(|part| number * 250 + part) {
            let end = (hundred + 100).min((number + 1) * 250);
            let put =
                |scope| json!({"put": {"scope": format!("s{scope:04}"), "key": "k", "value": 1}});
            let ops: Value = (hundred..end).map(put).collect();
            member.does("data.txn", &json!({"ops": ops}));
        }
    });
    let listed = env.prints("scope list");
    let expected: Vec<String> = (0..2_500).map(|scope| format!("s{scope:04}")).collect();
    assert_eq!(listed.lines().collect::<Vec<_>>(), expected);
    let listed = env.json("scope list 's1*'");
    assert_eq!(listed["data"]["scopes"].as_array().unwrap().len(), 1_000);
}

#[test]
fn an_array_of_1000_events_and_150_kb_in_one_key_is_rewritten() {
    let env = place();
    let mut crew = crew(&env, 8);
    let event = |number: usize| json!({"n": number, "message": "x".repeat(130)});
    let log = |from: usize| (from..from + 1_000).map(event).collect::<Value>().to_string();
    assert!(log(0).len() > 150_000);
    let set = |text: &str, more: &str| {
        fs::write(env.top().join("log.json"), text).unwrap();
        env.cotenant(&format!("data set project:events log --file log.json --session s0 {more}"))
    };
    assert_eq!(set(&log(0), "").exit, 0);
    assert_eq!(env.prints("data get project:events log"), log(0) + "\n");
    // As the pattern keeps it: one more event, and only the newest 1000.
    at_once(&mut crew, |number, member| {
        for step in 0..5 {
            let item = json!({"n": 10_000 + 5 * number + step, "message": "y".repeat(130)});
            let args = json!({
                "scope": "project:events", "key": "log", "change": {"append": item}, "keep": 1_000
            });
            assert_eq!(member.does("data.update", &args)["length"], 1_000);
        }
    });
    let answer = env.json("data get project:events log");
    let kept = answer["data"]["value"].as_array().unwrap();
    let mut added: Vec<u64> =
        kept[960..].iter().map(|event| event["n"].as_u64().unwrap()).collect();
    added.sort_unstable();
    assert_eq!(added, (10_000..10_040).collect::<Vec<u64>>());
    assert_eq!(kept[..960], (40..1_000).map(event).collect::<Vec<_>>()[..]);
    let rev = &answer["data"]["rev"];
    assert_eq!(set(&log(7), &format!("--expect {rev}")).exit, 0);
    assert_eq!(env.prints("data get project:events log"), log(7) + "\n");
    the_log_is_whole(&env);
}
