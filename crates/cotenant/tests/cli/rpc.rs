//! `cotenant rpc`.

use serde_json::{Value, json};

use crate::TestEnv;

fn ask(env: &TestEnv, lines: &[Value]) -> Vec<Value> {
    let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    std::fs::write(env.top().join("requests"), lines.join("\n") + "\n").unwrap();
    let ran = env.shell("cotenant rpc < requests");
    assert_eq!((ran.exit, ran.stderr.as_str()), (0, ""));
    ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn each_line_has_its_envelope() {
    let env = TestEnv::new();
    let answers = ask(
        &env,
        &[
            json!({"op": "session.sign_on", "args": {"kind": "agent", "name": "a"}, "id": 1}),
            json!({"op": "data.put", "actor": {"session": "a"}, "id": "two",
               "args": {"scope": "s", "key": "k", "value": {"b": 1.50}}}),
            json!({"op": "data.get", "args": {"scope": "s", "key": "k"}}),
            json!({"op": "claim", "actor": {"session": "a"}, "args": {"items": [{"kind": "issue", "name": "1"}]}}),
            json!({"op": "data.get", "args": {"scope": "s", "key": "x"}, "id": null}),
        ],
    );
    assert_eq!(answers.len(), 5);
    assert_eq!((&answers[0]["id"], &answers[0]["data"]["name"]), (&json!(1), &json!("a")));
    assert_eq!((&answers[1]["id"], &answers[1]["data"]["rev"]), (&json!("two"), &json!(2)));
    assert_eq!(answers[2]["data"]["value"], json!({"b": 1.50}));
    assert_eq!(answers[3]["data"]["items"][0]["item"], "issue:1");
    assert_eq!(answers[4]["error"]["code"], "NOT_FOUND");
}

#[test]
fn wrong_lines_are_answered_and_the_rest_goes_on() {
    let env = TestEnv::new();
    env.sign_on(&["a"]);
    let answers = ask(
        &env,
        &[
            json!({"op": "data.gte", "id": 1}),
            json!({"op": "data.get", "args": {"scope": "s", "kye": "k"}, "id": 2}),
            json!({"op": "data.get", "arguments": {}, "id": 3}),
            json!(["data.get"]),
            json!({"op": "data.put", "actor": {"session": "nobody"}, "args": {"scope": "s", "key": "k", "value": 1}}),
            json!({"op": "data.put", "args": {"scope": "s", "key": "k", "value": 1}}),
            json!({"op": "data.put", "actor": {"session": "a", "token": "wrong"},
               "args": {"scope": "s", "key": "k", "value": 1}}),
            json!({"op": "event.head"}),
        ],
    );
    let codes: Vec<&Value> = answers.iter().map(|answer| &answer["error"]["code"]).collect();
    let expected =
        ["INVALID", "INVALID", "INVALID", "INVALID", "NOT_FOUND", "INVALID", "UNAUTHENTICATED"];
    assert_eq!(codes[..7], expected.map(|code| json!(code)).iter().collect::<Vec<_>>()[..]);
    assert_eq!(answers[2]["id"], 3);
    assert_eq!(answers[7]["ok"], true);
}

#[test]
fn a_repeat_returns_the_first_result() {
    let env = TestEnv::new();
    env.sign_on(&["a"]);
    let add = json!({"op": "data.update", "actor": {"session": "a"}, "request_id": "r1",
                     "args": {"scope": "s", "key": "n", "change": {"add": 1}}});
    let other = json!({"op": "data.update", "actor": {"session": "a"}, "request_id": "r1",
                       "args": {"scope": "s", "key": "n", "change": {"add": 2}}});
    let answers = ask(&env, &[add.clone(), add, other]);
    assert_eq!((&answers[0]["data"]["value"], &answers[0]["replayed"]), (&json!(1), &json!(false)));
    assert_eq!((&answers[1]["data"]["value"], &answers[1]["replayed"]), (&json!(1), &json!(true)));
    assert_eq!(answers[2]["error"]["code"], "IDEMPOTENCY_MISMATCH");
}

#[test]
fn a_name_that_passed_to_another_session_is_looked_up_again() {
    let env = TestEnv::new();
    let put = |value: u32| {
        json!({"op": "data.put", "actor": {"session": "a"},
               "args": {"scope": "s", "key": "k", "value": value}})
    };
    let answers = ask(
        &env,
        &[
            json!({"op": "session.sign_on", "args": {"kind": "agent", "name": "a"}}),
            put(1),
            json!({"op": "session.sign_off", "actor": {"session": "a"}, "args": {}}),
            json!({"op": "session.sign_on", "args": {"kind": "agent", "name": "a"}}),
            put(2),
        ],
    );
    assert!(answers.iter().all(|answer| answer["ok"] == true), "{answers:#?}");
}

#[test]
fn the_schemas_of_all_operations_are_told() {
    let env = TestEnv::new();
    let schema: Value = serde_json::from_str(&env.prints("rpc --schema")).unwrap();
    let operations = schema["operations"].as_array().unwrap();
    let put = operations.iter().find(|operation| operation["name"] == "data.put").unwrap();
    assert_eq!((&put["effect"], &put["actor"]), (&json!("write"), &json!("required")));
    assert_eq!(put["arguments"]["required"], json!(["scope", "key", "value"]));
    assert!(operations.iter().all(|operation| operation["answer"].is_object()));
}
