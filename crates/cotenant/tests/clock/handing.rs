//! A hook that is killed while it hands messages out: none is lost, none is told twice.

use cotenant_core::{
    event::{Read, sha256_hex},
    message::{ListMessages, SendMessage},
    name::{Addressee, SessionRef},
    session::SignOn,
    store::Actor,
};
use serde_json::json;

use crate::stage::{Agent, Stage, Told};

/// The points that a hook passes from its note to the end.
const POINTS: [&str; 9] = [
    "handing.noted",
    "txn.begun",
    "txn.effect",
    "txn.events",
    "txn.before_commit",
    "txn.after_commit",
    "reply.before",
    "handing.handed",
    "handing.printed",
];

fn payload(stage: &Stage) -> Vec<u8> {
    json!({"session_id": "one", "cwd": stage.top, "hook_event_name": "PostToolUse",
        "transcript_path": "/home/dev/.claude/projects/-p/one.jsonl",
        "tool_name": "Bash", "tool_input": {}})
    .to_string()
    .into_bytes()
}

fn after_tool(stage: &Stage, agent: &mut Agent) -> Told {
    Told::of(&agent.raw("PostToolUse", &payload(stage)))
}

#[test]
fn a_hook_that_is_killed_loses_no_message_and_tells_none_twice() {
    let stage = Stage::new();
    let mut agent = stage.agent();
    agent.start("one", "startup");
    let me = stage.sessions().remove(0);
    let digest = sha256_hex("peer");
    let sign_on =
        SignOn { name: Some("peer".into()), ..SignOn::new("agent", "ann", digest.clone()) };
    let peer = stage.store().call(&sign_on, |request| request).unwrap().answer;
    let peer = Actor { session: SessionRef(peer.session.0), token_digest: digest };
    let send = |text: &str| {
        let to = Addressee::Session(SessionRef(me.name.clone()));
        let operation = SendMessage { to, text: text.to_owned(), ttl_ms: None };
        stage.store().call(&operation, |request| request.by(peer.clone())).unwrap();
    };
    for point in POINTS {
        let (first, second) = (format!("sent before {point}."), format!("sent after {point}."));
        send(&first);
        agent.variables.insert("COTENANT_FAILPOINT".into(), format!("{point}=kill"));
        let heard = agent.raw("PostToolUse", &payload(&stage));
        // An agent drops what such a hook has printed.
        assert_ne!(heard.status, Some(0), "{point} is not passed: {heard:?}");
        agent.variables.clear();
        send(&second);
        let mut told = String::new();
        while let Told::Context(text) = after_tool(&stage, &mut agent) {
            told.push_str(&text);
        }
        for text in [&first, &second] {
            assert_eq!(told.matches(text.as_str()).count(), 1, "killed at {point}: {told}");
        }
    }
    let all =
        ListMessages { session: SessionRef(me.session.0), all: true, after: None, limit: 1_000 };
    let messages = stage.store().call(&all, |request| request).unwrap().answer.messages;
    assert_eq!(messages.len(), 2 * POINTS.len());
    let read: Read =
        serde_json::from_value(json!({"after": "start", "kind": "message.read", "limit": 1000}))
            .unwrap();
    let events = stage.store().call(&read, |request| request).unwrap().answer.events;
    let handed: Vec<serde_json::Value> = events
        .into_iter()
        .filter_map(|event| event.payload.unwrap().value().unwrap()["messages"].as_array().cloned())
        .flatten()
        .collect();
    let numbers: Vec<_> = messages.iter().map(|message| json!(message.message)).collect();
    assert_eq!(handed, numbers, "each was handed out once");
}
