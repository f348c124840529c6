//! Who is told what about whom.

use serde_json::json;

use crate::stage::{Stage, Told};

#[test]
fn a_session_signs_on_and_is_told_who_it_is() {
    let stage = Stage::new();
    let mut agent = stage.agent();
    let told = agent.start("one", "startup").context();
    let sessions = stage.sessions();
    assert_eq!(sessions.len(), 1);
    let me = &sessions[0];
    assert_eq!((me.kind.as_str(), me.native_id.as_deref()), ("claude", Some("one")));
    assert_eq!(me.process.as_ref().unwrap().pid, agent.pid());
    assert_eq!(me.process_alive, Some(true));
    assert!(told.contains(&format!("this session is `{}`", me.name)), "{told}");
    assert!(told.contains(&format!("`{}`", me.ns)), "{told}");
    assert!(told.contains("No other session"), "{told}");
    assert!(told.contains("`cotenant status`"), "{told}");
    assert!(told.len() < 2_048);
}

#[test]
fn others_are_told_once_and_again_when_something_changes() {
    let stage = Stage::new();
    let (mut one, mut two) = (stage.agent(), stage.agent());
    one.start("one", "startup");
    let name = stage.sessions()[0].name.clone();
    let told = two.start("two", "startup").context();
    assert!(told.contains(&format!("- `{name}` (claude, since ")), "{told}");
    assert_eq!(two.prompt("two"), Told::Nothing);

    let other = stage.sessions()[1].name.clone();
    let told = one.prompt("one").context();
    assert!(told.contains(&format!("- `{other}` (claude, since ")), "{told}");
    assert!(!told.contains("`cotenant status`"), "{told}");
    assert_eq!(one.prompt("one"), Told::Nothing);

    assert_eq!(one.edit("one", stage.top.join("src/a.rs")), Told::Nothing);
    let told = two.prompt("two").context();
    assert!(told.contains("holds `path:src/a.rs` (the main worktree, branch `main`)"), "{told}");
    assert_eq!(two.prompt("two"), Told::Nothing);
    // What one edits oneself is no news.
    assert_eq!(one.prompt("one"), Told::Nothing);

    assert_eq!(one.end("one", "other"), Told::Nothing);
    let told = two.prompt("two").context();
    assert!(told.contains("No other session"), "{told}");
}

#[test]
fn after_compacting_everything_is_told_again() {
    let stage = Stage::new();
    let mut agent = stage.agent();
    let told = agent.start("one", "startup").context();
    assert_eq!(agent.prompt("one"), Told::Nothing);
    assert_eq!(agent.hook("PreCompact", "one", &json!({"trigger": "manual"})), Told::Nothing);
    assert!(agent.start("one", "compact").context().starts_with(&told));
    assert_eq!(stage.sessions().len(), 1);
}

#[test]
fn codex_signs_on_as_codex() {
    let stage = Stage::new();
    let mut agent = stage.agent_at(&stage.top, &[], "codex");
    let recorded = include_str!("../fixtures/hooks/codex.jsonl");
    for line in recorded.lines() {
        let mut payload: serde_json::Value = serde_json::from_str(line).unwrap();
        payload["cwd"] = json!(stage.top);
        let event = payload["hook_event_name"].as_str().unwrap().to_owned();
        let told = Told::of(&agent.raw(&event, payload.to_string().as_bytes()));
        match event.as_str() {
            "SessionStart" => assert!(told.context().contains("`codex-")),
            _ => assert_eq!(told, Told::Nothing, "{event}"),
        }
    }
    let sessions = stage.sessions();
    assert_eq!(sessions.len(), 1);
    assert_eq!(sessions[0].kind, "codex");
}

#[test]
fn heartbeats_are_rare_and_keep_the_session() {
    let stage = Stage::new();
    let mut agent = stage.agent();
    agent.start("one", "startup");
    let before = stage.sessions()[0].last_heartbeat.clone();
    let after = |stage: &Stage| stage.sessions()[0].last_heartbeat.clone();
    let tool = json!({"tool_name": "Bash", "tool_use_id": "toolu_1", "tool_input": {}});
    for event in ["PostToolUse", "PostToolUseFailure", "Stop", "SubagentStop"] {
        assert_eq!(agent.hook(event, "one", &tool), Told::Nothing);
    }
    assert_eq!(after(&stage), before);
    let seq = stage.status().seq;
    for mark in stage.marks() {
        let past = std::time::SystemTime::now() - std::time::Duration::from_secs(6);
        std::fs::File::options().write(true).open(mark).unwrap().set_modified(past).unwrap();
    }
    assert_eq!(agent.hook("PostToolUse", "one", &tool), Told::Nothing);
    let beaten = after(&stage);
    assert_ne!(beaten, before);
    assert_eq!(agent.hook("PostToolUse", "one", &tool), Told::Nothing);
    assert_eq!(after(&stage), beaten);
    // A sign of life is no event.
    assert_eq!(stage.status().seq, seq);
}

#[test]
fn a_hook_installed_in_a_running_session_signs_it_on() {
    let stage = Stage::new();
    let mut agent = stage.agent();
    let tool = json!({"tool_name": "Bash", "tool_use_id": "toolu_1", "tool_input": {}});
    assert_eq!(agent.hook("PostToolUse", "one", &tool), Told::Nothing);
    assert_eq!(stage.sessions().len(), 1);
    assert!(agent.prompt("one").context().contains("this session is"));
    assert_eq!(agent.prompt("one"), Told::Nothing);
    assert_eq!(stage.sessions().len(), 1);
}

#[test]
fn a_call_of_our_own_tools_is_noted_for_the_server() {
    let stage = Stage::new();
    let mut agent = stage.agent();
    agent.start("one", "startup");
    let session = stage.sessions()[0].session.clone();
    for (tool, call, subagent) in [
        ("mcp__cotenant__claim", "toolu_1", None),
        ("mcp__plugin_cotenant_cotenant__who", "toolu_2", Some("a1")),
    ] {
        let mut fields = json!({"tool_name": tool, "tool_use_id": call, "tool_input": {}});
        if let Some(subagent) = subagent {
            fields["agent_id"] = json!(subagent);
        }
        assert_eq!(agent.hook("PreToolUse", "one", &fields), Told::Nothing);
        let name = cotenant_core::event::sha256_hex(call);
        let note =
            std::fs::read_to_string(stage.store_directory().join("calls").join(name)).unwrap();
        assert_eq!(note, format!("{session}\n{}\n", subagent.unwrap_or_default()));
    }
}

#[test]
fn a_store_elsewhere_can_be_named_and_help_asked_for() {
    let stage = Stage::without_store();
    let elsewhere = stage.home().join("shared/store.db");
    cotenant_store::LocalStore::open(&elsewhere, cotenant_store::IfMissing::Create).unwrap();
    let mut agent = stage.agent();
    let start = json!({"session_id": "one", "cwd": stage.top, "source": "startup"}).to_string();
    for (line, told_once) in [
        (format!("hook SessionStart --store '{}'", elsewhere.display()), true),
        (format!("hook --store='{}' SessionStart", elsewhere.display()), true),
        (format!("--store '{}' hook SessionStart", elsewhere.display()), true),
        ("hook SessionStart".to_owned(), false),
    ] {
        let told = Told::of(&agent.cotenant(&line, start.as_bytes()));
        assert_eq!(told != Told::Nothing, told_once, "{line}");
    }
    let heard = agent.cotenant("hook --help", b"");
    assert_eq!(heard.status, Some(0));
    assert!(heard.stdout.contains("Usage: cotenant hook"), "{heard:?}");
}
