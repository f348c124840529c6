//! Shared data through the server.

use cotenant_core::{
    data::{Put, Txn, Write},
    json::Json,
};
use serde_json::{Value, json};

use crate::world::{World, blank, exists, this_process};

#[test]
fn an_absent_key_is_null() {
    let world = World::new();
    let mut server = world.serve(&[]);
    let place = json!({"scope": "a", "key": "b"});
    assert_eq!(server.text("retrieve_data", &place), "null");
    let place = json!({"scope": "a", "key": "b", "with_rev": true});
    assert_eq!(server.call("retrieve_data", &place), json!({"value": null, "rev": 0}));
    assert_eq!(
        server.call("delete_data", &json!({"scope": "a", "key": "b"})),
        json!({"existed": false})
    );
    server.close();
}

#[test]
fn values_come_back_as_they_were_written() {
    let world = World::new();
    let mut server = world.serve(&[]);
    for value in [
        "null",
        "1.0",
        "[]",
        "\"\"",
        "false",
        "123456789012345678901234567890",
        r#"{"z":1.0,"a":{"n":9007199254740993,"e":1e3},"text":"é \u00e9 \n"}"#,
    ] {
        let call = format!(r#"{{"scope":"s","key":"k","value":{value}}}"#);
        assert_eq!(server.call_raw("store_data", &call)["isError"], false);
        let place = json!({"scope": "s", "key": "k"});
        assert_eq!(server.text("retrieve_data", &place), value);
    }
    let double = r#"{"scope":"s","key":"k","value":{"a":1,"a":2}}"#;
    let refused = server.call_raw("store_data", double);
    assert_eq!(refused["isError"], true, "{refused}");
    server.close();
}

#[test]
fn a_large_array_can_be_rewritten() {
    let world = World::new();
    let mut server = world.serve(&[]);
    let event = |number: usize, state: &str| {
        json!({
            "timestamp": "2026-11-20T09:49:43.946",
            "session": "claude_1",
            "type": "file_modified",
            "message": format!("event {number}"),
            "metadata": {"file": format!("src/adapters/local_{number}.py"), "state": state},
        })
    };
    let before: Value = (0..1_000).map(|number| event(number, "begun")).collect();
    assert!(before.to_string().len() >= 150_000, "{}", before.to_string().len());
    let place = |value: &Value| json!({"scope": "project:events", "key": "log", "value": value});
    server.call("store_data", &place(&before));
    let asked = json!({"scope": "project:events", "key": "log"});
    assert_eq!(server.call("retrieve_data", &asked), before);
    let after: Value = (0..1_000).map(|number| event(number, "finished")).collect();
    let written = server.call("store_data", &place(&after));
    assert_eq!(written["ver"], 2);
    assert_eq!(server.call("retrieve_data", &asked), after);
    server.close();
}

#[test]
fn all_scopes_are_listed() {
    let world = World::new();
    let (_, actor) = world.sign_on("filler", blank("agent", Some(this_process())));
    let names: Vec<String> = (0..2_500).map(|number| format!("issue:{number:04}")).collect();
    for names in names.chunks(100) {
        let put = |scope: &String| Put {
            scope: scope.clone(),
            key: "k".into(),
            value: Json::of(&1),
            expect: None,
            ephemeral: false,
            ttl_ms: None,
        };
        let ops = names.iter().map(|name| Write::Put(put(name))).collect();
        world.write(&actor, &Txn { compares: Vec::new(), ops });
    }
    let mut server = world.serve(&[]);
    let listed = server.call("list_scopes", &json!({"pattern": "issue:*"}));
    assert_eq!(listed, json!({"scopes": names}));
    let listed = server.call("list_scopes", &json!({"pattern": "issue:*7"}));
    assert_eq!(listed["scopes"].as_array().unwrap().len(), 250);
    server.close();
}

#[test]
fn deleting_a_scope_leaves_those_that_begin_like_it() {
    let world = World::new();
    let mut server = world.serve(&[]);
    for scope in ["issue:1", "issue:15", "issue:1/notes"] {
        server.call("store_data", &json!({"scope": scope, "key": "k", "value": 1}));
    }
    assert_eq!(server.call("delete_scope", &json!({"scope": "issue:1"})), json!({"deleted": 1}));
    let left = server.call("list_scopes", &json!({"pattern": "issue:1*"}));
    assert_eq!(left, json!({"scopes": ["issue:1/notes", "issue:15"]}));
    let recursive = json!({"scope": "issue:1", "recursive": true});
    assert_eq!(server.call("delete_scope", &recursive), json!({"deleted": 1}));
    assert_eq!(server.call("delete_scope", &recursive), json!({"deleted": 0}));
    server.close();
}

#[test]
fn updates_lose_nothing() {
    let world = World::new();
    let mut server = world.serve(&[]);
    let mut update = |op: &str, value: Value, more: Value| {
        let mut arguments = json!({"scope": "s", "key": op, "op": op, "value": value});
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.call_with("update_data", &arguments, &json!({}))
    };
    update("add", json!(2), json!({}));
    assert_eq!(update("add", json!(-5), json!({}))["structuredContent"]["value"], -3);
    update("append", json!({"a": 1}), json!({}));
    assert_eq!(update("append", json!([]), json!({}))["structuredContent"]["length"], 2);
    update("merge", json!({"a": 1, "b": {"c": 2}}), json!({}));
    update("merge", json!({"a": null, "b": {"d": 3}}), json!({}));
    let first = update("cas", json!("mine"), json!({"expect": 0}));
    let rev = first["structuredContent"]["rev"].as_i64().unwrap();
    let refused = update("cas", json!("theirs"), json!({"expect": 0}));
    let text = refused["content"][0]["text"].as_str().unwrap();
    assert!(text.starts_with("REV_MISMATCH: "), "{text}");
    assert!(text.contains(&format!("\"rev\":{rev}")) && text.contains("mine"), "{text}");
    let second = update("cas", json!("ours"), json!({"expect": rev}));
    assert_eq!(second["structuredContent"]["ver"], 2);
    let mut get = |key: &str| server.text("retrieve_data", &json!({"scope": "s", "key": key}));
    assert_eq!(get("add"), "-3");
    assert_eq!(get("append"), r#"[{"a":1},[]]"#);
    assert_eq!(get("merge"), r#"{"b":{"c":2,"d":3}}"#);
    assert_eq!(get("cas"), r#""ours""#);
    let read = server.call("retrieve_data", &json!({"scope": "s", "key": "cas", "with_rev": true}));
    assert_eq!(read["value"], "ours");
    assert!(read["rev"].as_i64().unwrap() > rev);
    server.close();
}

#[test]
fn what_is_logged_can_be_read() {
    let world = World::new();
    let mut server = world.serve(&[]);
    server.call("sign_on", &json!({"session_id": "claude_1"}));
    let arguments = json!({
        "event_type": "issue started",
        "message": "Started work on issue #15",
        "metadata": {"issue": 15},
    });
    let seq = server.call("log_event", &arguments)["seq"].as_i64().unwrap();
    let event = world.event(seq);
    assert_eq!(event.kind, "user.issue_started");
    assert_eq!(event.scope, "events");
    assert_eq!(event.name, "claude_1");
    assert_eq!(
        event.payload.unwrap().text(),
        r#"{"type":"issue started","message":"Started work on issue #15","metadata":{"issue":15}}"#
    );
    server.close();
}

#[test]
fn a_store_is_never_made() {
    let world = World::without_store();
    let mut server = world.serve(&[]);
    for (tool, arguments) in [
        ("status", json!({})),
        ("retrieve_data", json!({"scope": "a", "key": "b"})),
        ("store_data", json!({"scope": "a", "key": "b", "value": 1})),
        ("sign_on", json!({"session_id": "a"})),
        ("claim", json!({"items": ["issue:1", "path:src"]})),
    ] {
        let text = server.refusal(tool, &arguments);
        assert!(text.starts_with("NOT_FOUND: ") && text.contains("`cotenant init`"), "{text}");
    }
    assert!(!exists(world.store_file().parent().unwrap()));
    // Made meanwhile by somebody else, it is found.
    drop(cotenant_store::LocalStore::open(&world.store_file(), cotenant_store::IfMissing::Create));
    assert_eq!(server.text("retrieve_data", &json!({"scope": "a", "key": "b"})), "null");
    server.close();
}

#[test]
fn a_store_that_was_replaced_is_noticed() {
    let world = World::new();
    let mut server = world.serve(&[]);
    let place = json!({"scope": "s", "key": "k"});
    server.call("store_data", &json!({"scope": "s", "key": "k", "value": 1}));
    let directory = world.store_file().parent().unwrap().to_path_buf();
    std::fs::rename(&directory, directory.with_extension("old")).unwrap();
    assert!(server.refusal("retrieve_data", &place).starts_with("NOT_FOUND: "));
    drop(cotenant_store::LocalStore::open(&world.store_file(), cotenant_store::IfMissing::Create));
    assert_eq!(server.text("retrieve_data", &place), "null");
    server.close();
}
