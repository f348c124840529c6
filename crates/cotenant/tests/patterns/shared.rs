//! Pattern 2, shared state, and the lost instruction of two sessions that write one file
//! (section 13.3 of the architecture document): what several write is never lost.

use std::{collections::BTreeMap, thread};

use serde_json::{Value, json};

use crate::{
    TestEnv,
    crew::{at_once, crew, lines_at_once, place, the_log_is_whole},
};

const DOCUMENT: &str = "project:migrations pending";

fn migrations(size: usize) -> Value {
    let migration = |number: usize| json!({"id": format!("{number:03}"), "status": "pending"});
    (0..size).map(migration).collect()
}

/// Reads the document and the rev to expect.
fn read(env: &TestEnv) -> (Value, u64) {
    let mut envelope = env.json(&format!("data get {DOCUMENT}"));
    (envelope["data"]["value"].take(), envelope["data"]["rev"].as_u64().unwrap())
}

/// Writes the document with one migration begun, and answers the exit status.
fn write(env: &TestEnv, mut document: Value, rev: Option<u64>, number: usize) -> i32 {
    document[number]["status"] = json!("in_progress");
    document[number]["started_by"] = json!(format!("s{number}"));
    let expect = rev.map_or_else(String::new, |rev| format!("--expect {rev}"));
    env.cotenant(&format!("data set {DOCUMENT} '{document}' {expect} --session s{number}")).exit
}

#[test]
fn eight_processes_update_one_document_with_expect_and_lose_nothing() {
    let env = place();
    let _crew = crew(&env, 8);
    env.prints(&format!("data set {DOCUMENT} '{}' --session s0", migrations(8)));
    // All have read the same rev: one of the writes is done, seven are refused.
    let (document, rev) = read(&env);
    let exits = |exits: Vec<i32>| {
        exits.into_iter().fold(BTreeMap::new(), |mut exits, exit| {
            *exits.entry(exit).or_insert(0) += 1;
            exits
        })
    };
    let begin_all = |begin: &(dyn Fn(usize) -> i32 + Sync)| -> Vec<i32> {
        thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|number| scope.spawn(move || begin(number))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    };
    let first = begin_all(&|number| write(&env, document.clone(), Some(rev), number));
    assert_eq!(exits(first), BTreeMap::from([(0, 1), (65, 7)]));
    // Each refusal means that somebody else was done, so repeating comes to an end.
    let later = begin_all(&|number| {
        loop {
            let (document, rev) = read(&env);
            match write(&env, document, Some(rev), number) {
                65 => {}
                exit => return exit,
            }
        }
    });
    assert_eq!(exits(later), BTreeMap::from([(0, 8)]));
    let (document, _) = read(&env);
    for number in 0..8 {
        let expected = json!({
            "id": format!("{number:03}"), "status": "in_progress", "started_by": format!("s{number}")
        });
        assert_eq!(document[number], expected);
    }
}

#[test]
fn read_then_write_loses_an_update_unless_it_says_what_it_read() {
    let env = place();
    let _crew = crew(&env, 8);
    env.prints(&format!("data set {DOCUMENT} '{}' --session s0", migrations(8)));
    let begun = || -> Vec<usize> {
        let (document, _) = read(&env);
        (0..8).filter(|number| document[*number]["status"] == "in_progress").collect()
    };
    // Both read, both write: the first one's migration is begun twice.
    let (document, rev) = read(&env);
    assert_eq!(write(&env, document.clone(), None, 1), 0);
    assert_eq!(write(&env, document.clone(), None, 2), 0);
    assert_eq!(begun(), [2]);
    // The log still tells what was overwritten.
    let events = env.json("event list --kind data.put --last 2");
    let [first, second] = [0, 1].map(|number| events["data"]["events"][number].clone());
    assert_eq!(first["payload"]["overwrote"], rev);
    assert_eq!(second["payload"]["overwrote"], first["seq"]);
    // A write that says what it read is refused instead.
    assert_eq!(write(&env, document, Some(rev), 3), 65);
    assert_eq!(begun(), [2]);
    let (document, rev) = read(&env);
    assert_eq!(write(&env, document, Some(rev), 3), 0);
    assert_eq!(begun(), [2, 3]);
}

#[test]
fn eight_processes_merge_into_one_document_and_lose_nothing() {
    let env = place();
    let mut crew = crew(&env, 8);
    let patch = |number: usize, step: usize| json!({format!("s{number}-{step}"): {"status": "in_progress", "started_by": format!("s{number}")}});
    let lines: Vec<String> = (0..8)
        .map(|number| {
            let patch = patch(number, 0);
            format!("cotenant data update {DOCUMENT} --merge '{patch}' --session s{number}")
        })
        .collect();
    let ran = lines_at_once(&env, &lines);
    assert!(ran.iter().all(|ran| (ran.exit, ran.stderr.as_str()) == (0, "")), "{ran:?}");
    at_once(&mut crew, |number, member| {
        for step in 1..20 {
            let change = json!({"merge": patch(number, step)});
            let args = json!({"scope": "project:migrations", "key": "pending", "change": change});
            member.does("data.update", &args);
        }
    });
    let expected: Vec<Value> =
        (0..8).flat_map(|number| (0..20).map(move |step| patch(number, step))).collect();
    let (document, _) = read(&env);
    assert_eq!(document.as_object().unwrap().len(), expected.len());
    for patch in &expected {
        let (name, value) = patch.as_object().unwrap().iter().next().unwrap();
        assert_eq!(&document[name], value);
    }
}

#[test]
fn sixteen_processes_append_to_one_array_and_no_instruction_is_lost() {
    let env = place();
    let mut crew = crew(&env, 16);
    let instruction = |number: usize, step: usize| json!({"id": format!("inst_{number}_{step}")});
    let lines: Vec<String> = (0..16)
        .map(|number| {
            format!(
                "cotenant data update project instructions --append '{}' --session s{number}",
                instruction(number, 0)
            )
        })
        .collect();
    let ran = lines_at_once(&env, &lines);
    assert!(ran.iter().all(|ran| (ran.exit, ran.stderr.as_str()) == (0, "")), "{ran:?}");
    let revs = at_once(&mut crew, |number, member| {
        let append = |step| {
            let change = json!({"append": instruction(number, step)});
            let args = json!({"scope": "project", "key": "instructions", "change": change});
            member.does("data.update", &args)["rev"].as_u64().unwrap()
        };
        (1..=20).map(append).collect::<Vec<u64>>()
    });
    let text = env.prints("data get project instructions");
    let mut kept: Vec<Value> = serde_json::from_str(&text).unwrap();
    kept.sort_by_key(Value::to_string);
    let mut expected: Vec<Value> =
        (0..16).flat_map(|number| (0..=20).map(move |step| instruction(number, step))).collect();
    expected.sort_by_key(Value::to_string);
    assert_eq!(kept, expected);
    // Each has its author: the log tells which session made which change.
    let events = env.json("event list --after start --limit 1000 --scope project");
    let events = events["data"]["events"].as_array().unwrap();
    assert_eq!(events.len(), 16 * 21);
    for (number, revs) in revs.iter().enumerate() {
        for (step, rev) in revs.iter().enumerate() {
            let event = events.iter().find(|event| event["seq"] == *rev).unwrap();
            assert_eq!(event["name"], format!("s{number}"), "{event}");
            let payload = event["payload"].to_string();
            assert!(payload.contains(&instruction(number, step + 1).to_string()), "{event}");
        }
    }
    the_log_is_whole(&env);
}
