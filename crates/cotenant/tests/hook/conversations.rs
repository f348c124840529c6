//! Which session a conversation in a process has, over everything that agents do with
//! conversations.

use cotenant_core::session::{Relation, SessionView, State};

use crate::stage::{Stage, Told, until};

fn live(stage: &Stage) -> Vec<SessionView> {
    stage.sessions().into_iter().filter(|session| session.state.is_live()).collect()
}

#[test]
fn clear_keeps_the_session_and_its_claims() {
    let stage = Stage::new();
    let (mut one, mut two) = (stage.agent(), stage.agent());
    one.start("one", "startup");
    one.prompt("one");
    assert_eq!(one.edit("one", "src/a.rs"), Told::Nothing);
    let before = stage.sessions()[0].clone();

    assert_eq!(one.end("one", "clear"), Told::Nothing);
    assert!(one.start("one-cleared", "clear").context().contains(&format!("`{}`", before.name)));
    // A tool of the old conversation may report late.
    let late = serde_json::json!({"tool_name": "Bash", "tool_use_id": "t", "tool_input": {}});
    assert_eq!(one.hook("PostToolUse", "one", &late), Told::Nothing);
    one.prompt("one-cleared");
    assert_eq!(one.edit("one-cleared", "src/a.rs"), Told::Nothing);

    let sessions = stage.sessions();
    assert_eq!(sessions.len(), 1);
    assert_eq!(sessions[0].session, before.session);
    assert_eq!(sessions[0].native_id.as_deref(), Some("one-cleared"));
    assert_eq!(stage.events("session.native"), 1);
    assert_eq!(stage.holders("src/a.rs")[0].session, before.session);
    two.start("two", "startup");
    assert!(two.edit("two", "src/a.rs").denied().contains(&before.name));
}

#[test]
fn a_session_ends_with_its_agent_and_gives_everything_back() {
    let stage = Stage::new();
    let (mut one, mut two) = (stage.agent(), stage.agent());
    one.start("one", "startup");
    two.start("two", "startup");
    assert_eq!(one.edit("one", "src/a.rs"), Told::Nothing);
    // The end of a conversation that is nobody's changes nothing.
    assert_eq!(one.end("unknown", "other"), Told::Nothing);
    assert_eq!(two.end("one", "other"), Told::Nothing);
    assert_eq!(live(&stage).len(), 2);

    let digest = stage.sessions()[0].token_digest.clone();
    let token = stage.store_directory().join("tokens").join(digest);
    assert!(token.exists());
    assert_eq!(one.end("one", "other"), Told::Nothing);
    let ended = stage.sessions()[0].clone();
    assert_eq!((ended.state, ended.outcome.as_deref()), (State::Ended, Some("ended")));
    assert!(!token.exists());
    assert_eq!(stage.marks().len(), 1);
    // Given back voluntarily, the file is free at once.
    assert_eq!(two.edit("two", "src/a.rs"), Told::Nothing);
}

#[test]
fn a_resumed_conversation_is_the_next_incarnation() {
    let stage = Stage::new();
    let mut one = stage.agent();
    one.start("one", "startup");
    one.prompt("one");
    one.end("one", "other");
    drop(one);
    let mut again = stage.agent();
    again.start("one", "resume");
    again.prompt("one");
    let sessions = stage.sessions();
    assert_eq!(sessions.len(), 2);
    assert_eq!(sessions[1].parent.as_ref(), Some(&sessions[0].session));
    assert_eq!(sessions[1].relation, Some(Relation::Resume));
    assert_eq!(sessions[1].native_id.as_deref(), Some("one"));
}

#[test]
fn what_a_killed_agent_held_passes_to_its_resumed_conversation() {
    let stage = Stage::new();
    let mut one = stage.agent();
    one.start("one", "startup");
    assert_eq!(one.edit("one", "src/a.rs"), Told::Nothing);
    one.kill();
    let mut again = stage.agent();
    again.start("one", "resume");
    let sessions = stage.sessions();
    assert_eq!(sessions[0].state, State::Lost);
    assert_eq!(sessions[1].relation, Some(Relation::Resume));
    assert_eq!(stage.holders("src/a.rs")[0].session, sessions[1].session);
    assert_eq!(again.edit("one", "src/a.rs"), Told::Nothing);
}

#[test]
fn a_fork_of_a_live_conversation_is_a_session_of_its_own() {
    let stage = Stage::new();
    let (mut one, mut fork) = (stage.agent(), stage.agent());
    one.start("one", "startup");
    one.prompt("one");
    // Its first hook still names its parent's conversation.
    fork.start("one", "resume");
    // So long nobody knows whether it is a fork, and nobody is alarmed.
    let told = one.prompt("one").context();
    assert!(!told.contains("also open"), "{told}");
    let told = fork.prompt("forked");
    assert!(!format!("{told:?}").contains("also open"), "{told:?}");

    let sessions = stage.sessions();
    assert_eq!(sessions.len(), 2);
    assert_eq!(sessions[0].native_id.as_deref(), Some("one"));
    assert_eq!(sessions[1].native_id.as_deref(), Some("forked"));
    assert_eq!(sessions[1].parent.as_ref(), Some(&sessions[0].session));
    assert_eq!(sessions[1].relation, Some(Relation::Fork));
    // From here on they are two.
    assert_eq!(fork.edit("forked", "src/a.rs"), Told::Nothing);
    assert!(one.edit("one", "src/a.rs").denied().contains(&sessions[1].name));
    assert_eq!(fork.end("forked", "other"), Told::Nothing);
    assert_eq!(live(&stage).len(), 1);
    assert_eq!(live(&stage)[0].native_id.as_deref(), Some("one"));
}

#[test]
fn a_fork_of_an_ended_conversation_is_no_resume_if_its_arguments_tell() {
    let stage = Stage::new();
    let mut one = stage.agent();
    one.start("one", "startup");
    one.end("one", "other");
    drop(one);
    let mut fork = stage.agent_at(&stage.top, &["--resume", "one", "--fork-session"], "claude");
    fork.start("one", "resume");
    // It was told all at its start.
    assert_eq!(fork.prompt("forked"), Told::Nothing);
    assert_eq!(fork.edit("forked", "src/a.rs"), Told::Nothing);
    let sessions = stage.sessions();
    assert_eq!(sessions.len(), 2);
    assert_eq!(sessions[1].native_id.as_deref(), Some("forked"));
    assert_eq!(sessions[1].parent.as_ref(), Some(&sessions[0].session));
    assert_eq!(sessions[1].relation, Some(Relation::Fork));
    assert_eq!(stage.holders("src/a.rs")[0].session, sessions[1].session);
    // The conversation that was forked can be resumed beside it.
    let mut again = stage.agent();
    again.start("one", "resume");
    again.prompt("one");
    assert_eq!(stage.sessions()[2].relation, Some(Relation::Resume));
    assert_eq!(live(&stage).len(), 2);
}

#[test]
fn a_fork_that_is_reported_as_such_has_the_parent_that_its_arguments_name() {
    let stage = Stage::new();
    let mut one = stage.agent();
    one.start("one", "startup");
    one.prompt("one");
    let started: [(&str, &[&str]); 3] = [
        ("two", &["--resume", "one", "--fork-session"]),
        ("three", &["--fork-session", "--resume=one"]),
        // Without the name of its parent it is a session like any other.
        ("four", &["--continue", "--fork-session"]),
    ];
    for (native_id, arguments) in started {
        let mut fork = stage.agent_at(&stage.top, arguments, "claude");
        fork.start(native_id, "fork");
        fork.prompt(native_id);
        assert_eq!(fork.edit(native_id, "src/a.rs"), Told::Nothing);
        let sessions = stage.sessions();
        let last = &sessions[sessions.len() - 1];
        assert_eq!(last.native_id.as_deref(), Some(native_id));
        let parent = (native_id != "four").then_some(&sessions[0].session);
        assert_eq!(last.parent.as_ref(), parent);
        assert_eq!(last.relation, parent.map(|_| Relation::Fork));
        assert_eq!(stage.holders("src/a.rs")[0].session, last.session);
        fork.end(native_id, "other");
    }
}

#[test]
fn a_conversation_that_is_forked_within_its_window_keeps_the_session() {
    let stage = Stage::new();
    let mut one = stage.agent();
    one.start("one", "startup");
    one.prompt("one");
    assert_eq!(one.edit("one", "src/a.rs"), Told::Nothing);
    one.start("branched", "fork");
    assert_eq!(one.prompt("branched"), Told::Nothing);
    let sessions = stage.sessions();
    assert_eq!(sessions.len(), 1);
    assert_eq!(sessions[0].native_id.as_deref(), Some("branched"));
    assert_eq!(stage.holders("src/a.rs")[0].session, sessions[0].session);
}

#[test]
fn a_fork_that_shows_only_at_its_prompt_keeps_its_session() {
    let stage = Stage::new();
    let mut one = stage.agent();
    one.start("one", "startup");
    one.end("one", "other");
    drop(one);
    let mut fork = stage.agent();
    fork.start("one", "resume");
    fork.prompt("forked");
    let sessions = stage.sessions();
    assert_eq!(sessions.len(), 2);
    assert_eq!(sessions[1].native_id.as_deref(), Some("forked"));
    assert_eq!(sessions[1].parent.as_ref(), Some(&sessions[0].session));
}

#[test]
fn a_fork_that_is_closed_before_its_first_prompt_signs_off() {
    let stage = Stage::new();
    let (mut one, mut fork) = (stage.agent(), stage.agent());
    one.start("one", "startup");
    one.prompt("one");
    fork.start("one", "resume");
    assert_eq!(live(&stage).len(), 2);
    assert_eq!(fork.end("forked", "other"), Told::Nothing);
    let sessions = live(&stage);
    assert_eq!(sessions.len(), 1);
    assert_eq!(sessions[0].process.as_ref().unwrap().pid, one.pid());
}

#[test]
fn two_windows_on_one_conversation_are_two_sessions_and_both_are_told() {
    let stage = Stage::new();
    let (mut one, mut two) = (stage.agent(), stage.agent());
    one.start("one", "startup");
    one.prompt("one");
    two.start("one", "resume");
    let told = two.prompt("one").context();
    let sessions = stage.sessions();
    assert_eq!(sessions.len(), 2);
    assert_eq!(sessions[1].relation, Some(Relation::Fork));
    let open_in = |session: &SessionView, pid: u32| {
        format!(
            "also open in `{}` (process {pid}). Both write to one history, and only one",
            session.name
        )
    };
    assert!(told.contains(&open_in(&sessions[0], one.pid())), "{told}");
    let told = one.prompt("one").context();
    assert!(told.contains(&open_in(&sessions[1], two.pid())), "{told}");
    assert_eq!((one.prompt("one"), two.prompt("one")), (Told::Nothing, Told::Nothing));

    // Each keeps its own session in everything it does.
    assert_eq!(one.edit("one", "src/a.rs"), Told::Nothing);
    assert!(two.edit("one", "src/a.rs").denied().contains(&sessions[0].name));
    assert_eq!(two.edit("one", "src/b.rs"), Told::Nothing);
    assert_eq!(stage.holders("src/b.rs")[0].session, sessions[1].session);
    // Also when the first one has left.
    one.end("one", "other");
    assert_eq!(two.edit("one", "src/a.rs"), Told::Nothing);
    two.prompt("one");
    assert_eq!(live(&stage).len(), 1);
    assert_eq!(stage.holders("src/a.rs")[0].session, sessions[1].session);
}

#[test]
fn another_conversation_resumed_in_one_window_follows_it() {
    let stage = Stage::new();
    let mut one = stage.agent();
    one.start("one", "startup");
    one.prompt("one");
    one.end("one", "resume");
    one.start("other", "resume");
    one.prompt("other");
    let sessions = live(&stage);
    assert_eq!(sessions.len(), 1);
    assert_eq!(sessions[0].native_id.as_deref(), Some("other"));
}

#[test]
fn one_process_of_codex_may_hold_several_conversations() {
    let stage = Stage::new();
    let mut agent = stage.agent_at(&stage.top, &[], "codex");
    let fields =
        serde_json::json!({"turn_id": "t", "model": "m", "transcript_path": null, "prompt": "x"});
    for conversation in ["one", "two", "one"] {
        agent.hook("UserPromptSubmit", conversation, &fields);
    }
    let sessions = live(&stage);
    assert_eq!(sessions.len(), 2);
    assert_eq!(sessions[0].native_id.as_deref(), Some("one"));
    assert_eq!(sessions[1].native_id.as_deref(), Some("two"));
}

#[test]
fn a_subagent_acts_as_its_parent() {
    let stage = Stage::new();
    let mut one = stage.agent();
    one.start("one", "startup");
    assert_eq!(one.edit("one", "src/a.rs"), Told::Nothing);
    let mut fields = crate::stage::edit_fields("toolu_sub", std::path::Path::new("src/a.rs"));
    fields["agent_id"] = serde_json::json!("a1");
    assert_eq!(one.hook("PreToolUse", "one", &fields), Told::Nothing);
    assert_eq!(stage.sessions().len(), 1);
}

#[test]
fn a_session_named_for_the_agent_is_the_one_its_hooks_use() {
    let stage = Stage::new();
    let mut one = stage.agent();
    one.variables.insert("COTENANT_SESSION".into(), "claude_1".into());
    one.start("one", "startup");
    assert_eq!(one.edit("one", "src/a.rs"), Told::Nothing);
    one.prompt("one");
    let sessions = stage.sessions();
    assert_eq!(sessions.len(), 1);
    assert_eq!(sessions[0].name, "claude_1");
    assert_eq!(stage.holders("src/a.rs")[0].name, "claude_1");
    one.end("one", "other");
    assert_eq!(live(&stage).len(), 0);
}

#[test]
fn a_killed_agent_loses_its_file_after_the_lock_delay() {
    let stage = Stage::new();
    let (mut one, mut two) = (stage.agent(), stage.agent());
    one.start("one", "startup");
    two.start("two", "startup");
    assert_eq!(one.edit("one", "src/a.rs"), Told::Nothing);
    let name = stage.sessions()[0].name.clone();
    one.kill();
    let told = two.edit("two", "src/a.rs").denied();
    assert!(
        told.contains(&format!("was held by `{name}`, whose session was lost; it is free in ")),
        "{told}"
    );
    assert_eq!(stage.sessions()[0].state, State::Lost);
    until("the file is free", || two.edit("two", "src/a.rs") == Told::Nothing);
    assert_eq!(stage.holders("src/a.rs")[0].name, stage.sessions()[1].name);
}
