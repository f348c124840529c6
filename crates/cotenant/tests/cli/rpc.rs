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
            json!({"op": "session.sign_on", "args": {"kind": "agent", "name": "a"}}),
            json!({"op": "data.put", "actor": {"session": "a"},
               "args": {"scope": "s", "key": "k", "value": {"b": 1.50}}}),
            json!({"op": "data.get", "args": {"scope": "s", "key": "k"}}),
            json!({"op": "claim", "actor": {"session": "a"}, "args": {"items": [{"kind": "issue", "name": "1"}]}}),
            json!({"op": "data.get", "args": {"scope": "s", "key": "x"}, "id": null}),
        ],
    );
    assert_eq!(answers.len(), 5);
    assert_eq!((answers[0].get("id"), &answers[0]["data"]["name"]), (None, &json!("a")));
    assert_eq!((answers[1].get("id"), &answers[1]["data"]["rev"]), (None, &json!(2)));
    assert_eq!(answers[2]["data"]["value"], json!({"b": 1.50}));
    assert_eq!(answers[3]["data"]["items"][0]["item"], "issue:1");
    assert_eq!(answers[4]["error"]["code"], "NOT_FOUND");
}

#[test]
fn a_session_lives_with_the_process_that_its_sign_on_names() {
    let env = TestEnv::new();
    let pid = std::process::id();
    let answers = ask(
        &env,
        &[
            json!({"op": "session.sign_on", "args": {"name": "a", "library": pid}}),
            json!({"op": "session.sign_on", "args": {"name": "b", "kind": "ci", "pid": pid}}),
            json!({"op": "session.sign_on", "args": {"name": "c", "pid": 0}}),
            json!({"op": "session.sign_on", "args": {"name": "d", "library": "me"}}),
            json!({"op": "session.list"}),
        ],
    );
    for wrong in &answers[2..4] {
        assert_eq!(wrong["error"]["code"], "INVALID", "{wrong}");
    }
    let sessions = answers[4]["data"]["sessions"].as_array().unwrap();
    let kinds: Vec<&Value> = sessions.iter().map(|session| &session["kind"]).collect();
    assert_eq!(kinds, [&json!("ci"), &json!("agent")]);
    assert!(sessions.iter().all(|session| session["process"]["pid"] == pid), "{sessions:?}");
}

#[test]
fn items_may_be_words_as_on_the_command_line() {
    let env = TestEnv::new();
    env.sign_on(&["a"]);
    let a = json!({"session": "a"});
    let answers = ask(
        &env,
        &[
            json!({"op": "claim", "actor": a, "args": {"items": ["issue:15", "path:src/"]}}),
            json!({"op": "who", "args": {"item": "path:src"}}),
            json!({"op": "unclaim", "actor": a, "args": {"items": ["issue:15", {"kind": "issue", "name": "1"}]}}),
            json!({"op": "claim", "actor": a, "args": {"items": ["15"]}}),
            json!({"op": "claim", "actor": a, "args": {"items": ["issue:1"], "mod": "advisory"}}),
        ],
    );
    let items = &answers[0]["data"]["items"];
    assert_eq!([&items[0]["item"], &items[1]["item"]], ["issue:15", "path:src"], "{}", answers[0]);
    assert_eq!(answers[1]["data"]["holdings"][0]["name"], "a", "{}", answers[1]);
    assert_eq!(answers[2]["data"], json!({"released": ["issue:15"], "not_held": ["issue:1"]}));
    for wrong in &answers[3..] {
        assert_eq!(wrong["error"]["code"], "INVALID", "{wrong}");
    }
}

#[test]
fn wrong_lines_are_answered_and_the_rest_goes_on() {
    let env = TestEnv::new();
    env.sign_on(&["a"]);
    let answers = ask(
        &env,
        &[
            json!({"op": "data.gte"}),
            json!({"op": "data.get", "args": {"scope": "s", "kye": "k"}}),
            json!({"op": "data.get", "arguments": {}}),
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
    assert_eq!(answers[7]["ok"], true);
    let wrong = json!({"op": "data.get", "arguments": {}, "id": "x"});
    assert_eq!(ask(&env, &[wrong])[0]["id"], "x");
}

#[test]
fn an_answer_has_the_id_of_its_line() {
    let env = TestEnv::new();
    env.sign_on(&["a"]);
    let ids = [json!(1), json!("two"), json!([3]), json!({"four": 4}), json!(5.5)];
    let lines: Vec<Value> = ids
        .iter()
        .map(|id| json!({"id": id, "op": "data.get", "args": {"scope": "s", "key": "k"}}))
        .collect();
    let answers = ask(&env, &lines);
    assert_eq!(answers.len(), ids.len());
    for id in &ids {
        assert!(answers.iter().any(|answer| answer["id"] == *id), "{id} in {answers:?}");
    }
}

#[test]
fn lines_without_an_id_happen_in_order() {
    let env = TestEnv::new();
    env.sign_on(&["a"]);
    let add = |id: Option<u32>| {
        let mut line = json!({"op": "data.update", "actor": {"session": "a"},
            "args": {"scope": "s", "key": "n", "change": {"add": 1}}});
        if let Some(id) = id {
            line["id"] = json!(id);
        }
        line
    };
    let get = json!({"op": "data.get", "args": {"scope": "s", "key": "n"}});
    let mut lines: Vec<Value> = (1..=20).map(|id| add(Some(id))).collect();
    lines.extend([get.clone(), add(None), get.clone(), add(Some(21)), get]);
    let answers = ask(&env, &lines);
    let values = |answers: &[Value]| -> Vec<Value> {
        answers.iter().map(|answer| answer["data"]["value"].clone()).collect()
    };
    let told = [json!(20), json!(21), json!(21), json!(22), json!(22)];
    assert_eq!(values(&answers[20..]), told, "{answers:#?}");
}

#[test]
fn a_batch_is_one_line_and_one_transaction() {
    let env = TestEnv::new();
    env.sign_on(&["a", "b"]);
    let put = |session: &str, key: &str| {
        json!({"op": "data.put", "actor": {"session": session},
               "args": {"scope": "s", "key": key, "value": 1}})
    };
    let wrong = json!({"op": "data.put", "actor": {"session": "nobody"},
                       "args": {"scope": "s", "key": "k", "value": 1}});
    let sign_on = json!({"op": "session.sign_on", "args": {"kind": "agent"}});
    let batch = json!({"id": 7, "batch": [put("a", "x"), wrong, 5, sign_on, put("b", "y")]});
    let many: Vec<Value> = (0..129).map(|_| put("a", "z")).collect();
    let answers = ask(&env, &[batch, json!({"batch": many}), json!({"batch": []})]);
    assert_eq!(answers[0]["id"], 7);
    let outcomes = answers[0]["batch"].as_array().unwrap();
    let codes: Vec<&Value> = outcomes.iter().map(|outcome| &outcome["error"]["code"]).collect();
    let (none, invalid, unknown) = (json!(null), json!("INVALID"), json!("NOT_FOUND"));
    assert_eq!(codes, [&none, &unknown, &invalid, &invalid, &none]);
    let (first, last) = (&outcomes[0], &outcomes[4]);
    assert_eq!(first["tick"], last["tick"], "one transaction has one tick");
    assert_eq!(last["data"]["rev"], first["data"]["rev"].as_u64().unwrap() + 1);
    let many = answers[1]["batch"].as_array().unwrap();
    assert_eq!(many.len(), 129);
    assert!(many.iter().all(|outcome| outcome["error"]["code"] == "TOO_LARGE"));
    assert_eq!(answers[2]["batch"], json!([]));
}

#[test]
fn nobody_is_not_the_session_of_the_command() {
    let env = TestEnv::new();
    env.sign_on(&["a"]);
    let put = json!({"op": "data.put", "args": {"scope": "s", "key": "k", "value": 1}});
    let mut nobody = put.clone();
    nobody["actor"] = json!(null);
    std::fs::write(env.top().join("requests"), format!("{put}\n{nobody}\n")).unwrap();
    let ran = env.shell("cotenant rpc --session a < requests");
    let answers: Vec<Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (&answers[0]["ok"], &answers[1]["error"]["code"]),
        (&json!(true), &json!("INVALID"))
    );
}

#[test]
fn a_value_with_line_breaks_stays_on_its_line_and_as_it_is() {
    let env = TestEnv::new();
    env.sign_on(&["a"]);
    let exact = "[1,\n 2]";
    let args = format!("{{\"scope\":\"s\",\"key\":\"k\",\"value\":{exact}}}");
    let put = json!({"op": "data.put", "actor": {"session": "a"}, "args": args});
    let get = json!({"op": "data.get", "args": {"scope": "s", "key": "k"}});
    let answers = ask(&env, &[put, get]);
    assert_eq!(answers.len(), 2);
    assert_eq!(answers[1]["data"]["value"], json!([1, 2]));
    assert!(answers[1]["exact"].as_str().unwrap().contains(exact), "{answers:?}");
    assert_eq!(env.prints("data get s k"), format!("{exact}\n"));
    let ran = env.cotenant("--json data get s k");
    assert_eq!(ran.stdout.lines().count(), 1, "{}", ran.stdout);
}

#[test]
fn a_sign_on_carries_what_its_line_says() {
    let env = TestEnv::new();
    env.sign_on(&["a"]);
    let sign_on = |actor: Value| {
        json!({"op": "session.sign_on", "actor": actor, "args": {"kind": "agent", "name": "b"},
               "guards": [{"resource": "deploy", "fence": 1}]})
    };
    let answers = ask(&env, &[sign_on(json!({"session": "a"})), sign_on(json!(null))]);
    let codes: Vec<&Value> = answers.iter().map(|answer| &answer["error"]["code"]).collect();
    assert_eq!(codes, ["FENCED", "INVALID"], "a guard holds, and needs a session");
}

/// A process that is asked while it runs.
struct Conversation {
    process: std::process::Child,
    requests: Option<std::process::ChildStdin>,
    answers: std::io::BufReader<std::process::ChildStdout>,
}

impl Conversation {
    fn start(env: &TestEnv) -> Self {
        let mut command = env.command("cotenant");
        command.arg("rpc").stdin(std::process::Stdio::piped());
        let mut process = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let requests = process.stdin.take();
        let answers = std::io::BufReader::new(process.stdout.take().unwrap());
        Self { process, requests, answers }
    }

    fn says(&mut self, line: &Value) {
        use std::io::Write as _;
        writeln!(self.requests.as_mut().unwrap(), "{line}").unwrap();
    }

    fn hears(&mut self) -> Value {
        use std::io::BufRead as _;
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }
}

fn acquire(id: u32, session: &str, wait_ms: u64) -> Value {
    json!({"id": id, "op": "lease.acquire", "actor": {"session": session},
           "args": {"resource": "r", "ttl_ms": 3_600_000, "wait_ms": wait_ms}})
}

#[test]
fn a_request_that_waits_holds_up_no_other() {
    let env = TestEnv::new();
    env.sign_on(&["a", "b"]);
    let mut talk = Conversation::start(&env);
    talk.says(&acquire(1, "a", 0));
    let held = talk.hears();
    talk.says(&acquire(2, "b", 600_000));
    let watch = json!({"id": 3, "op": "event.read", "args": {"after": "head", "wait_ms": 60_000}});
    talk.says(&watch);
    for id in 10..30 {
        talk.says(&json!({"id": id, "op": "session.list", "args": {}}));
        assert_eq!(talk.hears()["id"], id, "those that wait hold nobody up");
    }
    let fence = &held["data"]["fence"];
    talk.says(&json!({"id": 4, "op": "lease.release", "actor": {"session": "a"},
                      "args": {"resource": "r", "fence": fence}}));
    let mut ids: Vec<u64> = (0..3).map(|_| talk.hears()["id"].as_u64().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, [2, 3, 4], "each is answered when it can be");
    drop(talk.requests.take());
    assert!(talk.process.wait().unwrap().success());
}

#[test]
fn what_is_under_way_is_answered_at_the_end_of_the_input() {
    let env = TestEnv::new();
    env.sign_on(&["a"]);
    let lines: Vec<Value> = (0..300)
        .map(|id| {
            json!({"id": id, "op": "data.update", "actor": {"session": "a"},
                   "args": {"scope": "s", "key": "n", "change": {"add": 1}}})
        })
        .collect();
    let answers = ask(&env, &lines);
    let mut ids: Vec<u64> = answers.iter().map(|answer| answer["id"].as_u64().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..300).collect::<Vec<_>>());
    assert!(answers.iter().all(|answer| answer["ok"] == true));
    assert_eq!(env.prints("data get s n"), "300\n");
}

#[test]
fn nothing_is_waited_for_that_nobody_will_hear() {
    let env = TestEnv::new();
    env.sign_on(&["a", "b"]);
    let mut talk = Conversation::start(&env);
    talk.says(&acquire(1, "a", 0));
    talk.hears();
    talk.says(&acquire(2, "b", 3_600_000));
    let Conversation { mut process, requests, answers } = talk;
    drop((requests, answers));
    assert!(process.wait().unwrap().success());
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
