//! Whose call it is: on start, resume, fork and `/clear`, in subagents, after a respawn.

use std::time::{Duration, Instant};

use cotenant_core::session::Relation;
use serde_json::json;

use crate::world::{World, blank, this_process};

#[test]
fn two_agents_are_two_sessions() {
    let world = World::new();
    let (mut one, mut two) = (world.agent("c1"), world.agent("c2"));
    let (a, b) = (one.writer(&world), two.writer(&world));
    assert_ne!(a.session, b.session);
    assert_eq!((a.kind.as_str(), a.native_id.as_deref()), ("claude", Some("c1")));
    assert_eq!(b.native_id.as_deref(), Some("c2"));
    assert_eq!(a.process, Some(one.process()));
    assert_eq!(one.writer(&world).session, a.session);
    one.close();
    two.close();
}

#[test]
fn a_cleared_conversation_stays_the_same_session() {
    let world = World::new();
    let mut agent = world.agent("c1");
    agent.call("sign_on", &json!({"session_id": "claude_1"}));
    agent.call("claim", &json!({"items": ["issue:15"]}));
    let before = agent.writer(&world);
    // The environment of the server still names the first conversation.
    world.register(agent.pid(), "c2");
    let after = agent.writer(&world);
    assert_eq!(after.session, before.session);
    assert_eq!(after.name, "claude_1");
    assert_eq!(after.native_id.as_deref(), Some("c2"));
    assert_eq!(agent.call("who", &json!({}))["holdings"][0]["by"], "claude_1");
    // Another window takes the first conversation up again: that is another session.
    let mut other = world.agent("c1");
    assert_ne!(other.writer(&world).session, after.session);
    assert_eq!(agent.writer(&world).session, after.session);
    agent.close();
    other.close();
}

#[test]
fn a_stale_entry_of_the_register_counts_for_nothing() {
    let world = World::new();
    let mut agent = world.agent("c1");
    let file = world.home().join(format!(".claude/sessions/{}.json", agent.pid()));
    let entry = json!({"pid": agent.pid(), "sessionId": "c9", "procStart": "1"});
    std::fs::write(file, entry.to_string()).unwrap();
    assert_eq!(agent.writer(&world).native_id.as_deref(), Some("c1"));
    agent.close();
}

#[test]
fn a_resumed_conversation_takes_over_from_its_dead_process() {
    let world = World::new();
    let mut first = world.agent("c1");
    first.call("sign_on", &json!({"session_id": "claude_1"}));
    first.call("claim", &json!({"items": ["issue:15"]}));
    let before = first.writer(&world);
    first.kill();
    let mut second = world.agent("c1");
    let after = second.writer(&world);
    assert_ne!(after.session, before.session);
    assert_eq!(after.parent, Some(before.session));
    assert_eq!(after.relation, Some(Relation::Resume));
    let claimed = second.call("claim", &json!({"items": ["issue:15"]}));
    assert_eq!(claimed["items"][0]["already_held"], true);
    second.close();
}

#[test]
fn a_conversation_that_is_open_twice_is_two_sessions() {
    let world = World::new();
    let (mut one, mut two) = (world.agent("c1"), world.agent("c1"));
    one.call("sign_on", &json!({"session_id": "claude_1"}));
    let (a, b) = (one.writer(&world), two.writer(&world));
    assert_ne!(a.session, b.session);
    assert_eq!((b.relation, b.parent), (Some(Relation::Fork), Some(a.session.clone())));
    assert_eq!(two.writer(&world).session, b.session);
    assert_eq!(one.writer(&world).session, a.session);
    assert_eq!(two.call("sign_on", &json!({"session_id": "claude_2"}))["existing"], true);
    assert_eq!(two.writer(&world).session, b.session);
    one.close();
    two.close();
}

#[test]
fn a_name_belongs_to_one_live_process() {
    let world = World::new();
    let (mut one, mut two) = (world.agent("c1"), world.agent("c2"));
    one.call("sign_on", &json!({"session_id": "claude_1"}));
    let text = two.refusal("sign_on", &json!({"session_id": "claude_1"}));
    assert!(text.starts_with("AGENT_BUSY: ") && text.contains(&one.pid().to_string()), "{text}");
    one.kill();
    let signed = two.call("sign_on", &json!({"session_id": "claude_1"}));
    assert_eq!(signed["name"], "claude_1");
    two.close();
}

#[test]
fn a_name_is_given_to_the_session_that_is_there() {
    let world = World::new();
    let mut agent = world.agent("c1");
    let drawn = agent.writer(&world);
    let signed = agent.call("sign_on", &json!({"session_id": "claude_1", "purpose": "x"}));
    assert_eq!(signed["session"], json!(drawn.session));
    assert_eq!(signed["existing"], true);
    let view = agent.writer(&world);
    assert_eq!((view.name.as_str(), view.purpose.as_deref()), ("claude_1", Some("x")));
    agent.close();
}

#[test]
fn one_process_may_sign_several_on_and_acts_as_the_last() {
    let world = World::new();
    let mut agent = world.agent("c1");
    for name in ["claude_1", "claude_2", "claude_1"] {
        agent.call("sign_on", &json!({"session_id": name}));
        assert_eq!(agent.writer(&world).name, name);
    }
    assert_eq!(world.status().sessions_live, 2);
    agent.close();
}

#[test]
fn codex_tells_its_conversation_with_every_call() {
    let world = World::new();
    let mut server = world.serve(&[]);
    server.client = "codex-mcp-client";
    let thread = |id: &str| json!({"callId": "c", "sessionId": id, "threadId": id});
    let one = server.writer_with(&world, &thread("t1"));
    let two = server.writer_with(&world, &thread("t2"));
    assert_eq!((one.kind.as_str(), one.native_id.as_deref()), ("codex", Some("t1")));
    assert_eq!(two.native_id.as_deref(), Some("t2"));
    assert_eq!(server.writer_with(&world, &thread("t1")).session, one.session);
    server.close();
}

#[test]
fn what_a_hook_noted_of_a_call_is_believed() {
    let world = World::new();
    let mut server = world.serve(&[]);
    let (noted, _) = world.sign_on("noted", blank("claude", Some(this_process())));
    let own = server.writer(&world);
    assert_eq!(own.session, noted.session);
    let mut other = blank("claude", Some(this_process()));
    other.native_id = Some("of a subagent".into());
    let (second, _) = world.sign_on("second", other);
    world.note_call("toolu_1", &noted.session.0);
    world.note_call("toolu_2", &second.session.0);
    for (id, session) in [("toolu_1", &noted.session), ("toolu_2", &second.session)] {
        let writer = server.writer_with(&world, &json!({"claudecode/toolUseId": id}));
        assert_eq!(writer.session, *session);
    }
    server.close();
}

#[test]
fn a_respawned_server_acts_as_the_same_session() {
    let world = World::new();
    let mut first = world.serve(&[]);
    first.client = "something";
    first.call("sign_on", &json!({"session_id": "claude_1"}));
    first.call("claim", &json!({"items": ["issue:15"]}));
    let before = first.writer(&world);
    first.kill();
    let mut second = world.serve(&[]);
    second.client = "something";
    assert_eq!(second.writer(&world).session, before.session);
    assert_eq!(second.call("status", &json!({}))["you"], "claude_1");
    assert_eq!(second.call("sign_on", &json!({}))["name"], "claude_1");
    second.close();
}

#[test]
fn a_server_can_be_told_its_session() {
    let world = World::new();
    let (told, _) = world.sign_on("told", blank("ci", Some(this_process())));
    let environment = [("COTENANT_SESSION", "told"), ("CLAUDE_CODE_SESSION_ID", "c1")];
    let mut server = world.serve(&environment);
    assert_eq!(server.writer(&world).session, told.session);
    let text = server.refusal("sign_on", &json!({"session_id": "other"}));
    assert!(text.starts_with("INVALID: this server acts for session `told`"), "{text}");
    assert_eq!(server.call("sign_on", &json!({}))["existing"], true);
    server.close();
}

#[test]
fn reading_signs_nobody_on() {
    let world = World::new();
    let mut agent = world.agent("c1");
    agent.call("status", &json!({}));
    agent.call("retrieve_data", &json!({"scope": "a", "key": "b"}));
    agent.call("who", &json!({}));
    agent.refusal("store_data", &json!({"scope": "", "key": "b", "value": 1}));
    assert_eq!(world.status().sessions_ever, 0);
    agent.close();
}

#[test]
fn an_idle_window_is_kept_by_its_server() {
    let world = World::new();
    let mut sign_on = blank("claude", Some(this_process()));
    sign_on.ttl_ms = Some(15_000);
    let (signed, _) = world.sign_on("idle", sign_on);
    let before = world.session(&signed.session.0).last_heartbeat;
    let mut server = world.serve(&[]);
    // From now on the agent says nothing.
    server.open();
    let deadline = Instant::now() + Duration::from_secs(10);
    while world.session(&signed.session.0).last_heartbeat == before {
        assert!(Instant::now() < deadline, "no heartbeat came");
        std::thread::yield_now();
    }
    server.close();
}

#[test]
fn hooks_and_server_act_as_one_session() {
    let world = World::new();
    let mut server = world.serve(&[("CLAUDE_CODE_SESSION_ID", "c1")]);
    world
        .hook(&json!({"session_id": "c1", "hook_event_name": "SessionStart", "source": "startup"}));
    world.hook(&json!({"session_id": "c1", "hook_event_name": "UserPromptSubmit", "prompt": "x"}));
    for name in ["claude_1", "claude_2", "claude_1"] {
        server.call("sign_on", &json!({"session_id": name}));
        server.call("claim", &json!({"items": ["path:src/a.rs"]}));
        let file = world.top().join("src/a.rs");
        let edit = world.hook(&json!({
            "session_id": "c1",
            "hook_event_name": "PreToolUse",
            "tool_name": "Edit",
            "tool_use_id": format!("toolu_{name}"),
            "tool_input": {"file_path": file},
        }));
        assert_eq!(edit, "", "{name}");
        let tool = json!({"session_id": "c1", "hook_event_name": "PreToolUse",
            "tool_name": "mcp__cotenant__log_event", "tool_use_id": "toolu_log", "tool_input": {}});
        assert_eq!(world.hook(&tool), "");
        let writer = server.writer_with(&world, &json!({"claudecode/toolUseId": "toolu_log"}));
        assert_eq!(writer.name, name);
        server.call("unclaim", &json!({"items": ["path:src/a.rs"]}));
    }
    server.close();
}
