//! Whatever goes wrong, the agent goes on.

use std::{
    fs,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::stage::{Stage, Told, edit_fields};

const EVENTS: [&str; 9] = [
    "SessionStart",
    "UserPromptSubmit",
    "PreToolUse",
    "PostToolUse",
    "PostToolUseFailure",
    "PreCompact",
    "Stop",
    "SubagentStop",
    "SessionEnd",
];

#[test]
fn without_a_store_nothing_happens() {
    let stage = Stage::without_store();
    let mut agent = stage.agent();
    let fields = edit_fields("toolu_1", std::path::Path::new("src/a.rs"));
    for event in EVENTS {
        assert_eq!(agent.hook(event, "one", &fields), Told::Nothing, "{event}");
    }
    assert!(!stage.store_directory().exists());
}

#[test]
fn a_payload_that_says_nothing_is_passed_over() {
    let stage = Stage::new();
    let mut agent = stage.agent();
    let huge = format!("{{\"session_id\":\"one\",\"x\":\"{}\"}}", "x".repeat(11 << 20));
    let deep = "[".repeat(100_000);
    let payloads = [
        "",
        "{",
        "null",
        "[]",
        "\u{0}",
        "{\"session_id\":7}",
        "{\"session_id\":\"../../x\"}",
        "{\"session_id\":\"one\",\"hook_event_name\":\"Unheard\"}",
        "{\"session_id\":\"one\",\"cwd\":7}",
        "{\"session_id\":\"one\",\"cwd\":\"/nonexistent\"}",
        "{\"session_id\":\"\u{202e}\"}",
        &deep,
        &huge,
    ];
    for payload in payloads {
        for event in ["PreToolUse", "PostToolUse", "Nonsense", ""] {
            let told = Told::of(&agent.raw(event, payload.as_bytes()));
            assert_eq!(told, Told::Nothing, "{event} {}", &payload[..payload.len().min(60)]);
        }
    }
    assert_eq!(Told::of(&agent.raw("PreToolUse", b"\xff\xfe\x00{")), Told::Nothing);
}

#[test]
fn a_broken_store_is_reported_once_a_session_and_counted() {
    let stage = Stage::new();
    let mut agent = stage.agent();
    agent.start("one", "startup");
    for entry in fs::read_dir(stage.store_directory()).unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().contains("store.db-") {
            fs::remove_file(path).unwrap();
        }
    }
    fs::write(stage.store_file(), "this is no database, ".repeat(500)).unwrap();
    let payload = |conversation: &str| {
        let mut fields = edit_fields("toolu_1", &stage.top.join("src/a.rs"));
        fields["session_id"] = json!(conversation);
        fields["cwd"] = json!(stage.top);
        fields.to_string()
    };
    let heard = agent.raw("PreToolUse", payload("one").as_bytes());
    assert_eq!((heard.status, heard.stdout.as_str()), (Some(0), ""), "{heard:?}");
    assert!(heard.stderr.starts_with("cotenant: "), "{heard:?}");
    assert!(heard.stderr.contains("edits are not checked"), "{heard:?}");
    assert_eq!(heard.stderr.lines().count(), 1, "{heard:?}");
    assert_eq!(Told::of(&agent.raw("PreToolUse", payload("one").as_bytes())), Told::Nothing);
    let heard = agent.raw("PreToolUse", payload("two").as_bytes());
    assert_eq!(heard.stderr.lines().count(), 1, "{heard:?}");
    let counted = fs::read_to_string(stage.store_directory().join("hook-failures")).unwrap();
    assert_eq!(counted.lines().count(), 3, "{counted}");
    assert!(counted.lines().all(|line| line.contains("PreToolUse STORE_")), "{counted}");
}

#[test]
fn a_writer_that_does_not_let_go_holds_a_hook_only_so_long() {
    let stage = Stage::new();
    let mut agent = stage.agent();
    agent.start("one", "startup");
    let gate = fs::File::options()
        .read(true)
        .write(true)
        .open(stage.store_directory().join("gate"))
        .unwrap();
    gate.lock().unwrap();
    let begun = Instant::now();
    let heard = agent.raw(
        "PreToolUse",
        {
            let mut fields = edit_fields("toolu_1", &stage.top.join("src/a.rs"));
            fields["session_id"] = json!("one");
            fields["cwd"] = json!(stage.top);
            fields
        }
        .to_string()
        .as_bytes(),
    );
    let took = begun.elapsed();
    assert_eq!((heard.status, heard.stdout.as_str()), (Some(0), ""), "{heard:?}");
    assert!(heard.stderr.contains("BUSY"), "{heard:?}");
    // 1.5 s by the contract; agents give up at 5 s.
    assert!(took < Duration::from_secs(4), "{took:?}");
    // What needs no write is done all the same; what needs one is left.
    let ask = |agent: &mut crate::stage::Agent, event: &str, conversation: &str| {
        let payload = json!({"session_id": conversation, "cwd": stage.top}).to_string();
        agent.raw(event, payload.as_bytes())
    };
    assert_eq!(Told::of(&ask(&mut agent, "UserPromptSubmit", "one")), Told::Nothing);
    let heard = ask(&mut stage.agent(), "SessionStart", "two");
    assert_eq!((heard.status, heard.stdout.as_str()), (Some(0), ""), "{heard:?}");
    assert!(heard.stderr.contains("BUSY"), "{heard:?}");
    gate.unlock().unwrap();
    assert_eq!(agent.edit("one", "src/a.rs"), Told::Nothing);
    assert_eq!(stage.holders("src/a.rs").len(), 1);
}

#[test]
fn marks_that_are_wrong_cost_only_another_look() {
    let stage = Stage::new();
    let mut agent = stage.agent();
    agent.start("one", "startup");
    assert_eq!(agent.edit("one", "src/a.rs"), Told::Nothing);
    for text in ["", "nonsense", "\n\n\n\n\n\n"] {
        for mark in stage.marks() {
            fs::write(mark, text).unwrap();
        }
        assert_eq!(agent.edit("one", "src/b.rs"), Told::Nothing);
    }
    // A mark of a session that is over is noticed when it is used.
    let me = stage.sessions()[0].clone();
    let actor = cotenant_core::store::Actor {
        session: cotenant_core::name::SessionRef(me.session.0),
        token_digest: me.token_digest,
    };
    let off = cotenant_core::session::SignOff::default();
    stage.store().call(&off, |request| request.by(actor).id("off")).unwrap();
    assert_eq!(agent.edit("one", "src/c.rs"), Told::Nothing);
    let sessions = stage.sessions();
    assert_eq!(sessions.len(), 2);
    assert_eq!(stage.holders("src/c.rs")[0].session, sessions[1].session);
}
