//! Commands that an agent runs: they act for its session without being told.

use std::fs;

use crate::{TestEnv, env::Ran};

/// Runs a line as the child of a program that has an agent's name.
fn agent(env: &TestEnv, name: &str, line: &str) -> Ran {
    let program = env.top().parent().unwrap().join(name);
    if !program.exists() {
        fs::copy("/bin/sh", &program).unwrap();
    }
    // Two commands, so that the shell stays instead of becoming the last one.
    env.shell(&format!("'{}' -c '{line}; exit $?'", program.display()))
}

#[test]
fn an_agents_first_mutation_signs_it_on() {
    let env = TestEnv::new().with("CLAUDE_CODE_SESSION_ID", "conversation-1");
    let first = agent(&env, "claude", "cotenant claim issue:1 && cotenant session show");
    assert_eq!(first.exit, 0, "{first:?}");
    assert_eq!(first.stderr, "note: signed on as claude-1\n");
    assert!(first.stdout.contains("native id  conversation-1"), "{first:?}");
    assert!(first.stdout.contains("(alive)"), "{first:?}");
    // The agent has ended, so its session is lost, and the next process goes on as its successor.
    let second = agent(&env, "claude", "cotenant who issue:1 && cotenant claim issue:2");
    assert_eq!(second.exit, 0, "{second:?}");
    assert_eq!(
        second.stderr,
        "note: the process of session claude-1 is gone; signed on as claude-2\n"
    );
    let ran = env.cotenant("who issue:1");
    assert!(ran.stdout.contains("held by claude-2"), "{ran:?}");
}

#[test]
fn reading_signs_nobody_on() {
    let env = TestEnv::new().with("CLAUDE_CODE_SESSION_ID", "conversation-1");
    env.prints("sign-on other --kind agent --native-id n");
    let ran = agent(&env, "claude", "cotenant status && cotenant who && cotenant data list");
    assert_eq!((ran.exit, ran.stderr.as_str()), (0, ""));
    assert_eq!(env.json("status")["data"]["sessions_ever"], 1);
}

#[test]
fn a_name_is_given_to_the_session_that_is_there() {
    let env = TestEnv::new().with("CLAUDE_CODE_SESSION_ID", "conversation-1");
    let ran = agent(
        &env,
        "claude",
        "cotenant claim issue:1 >/dev/null; cotenant sign-on claude_1 --purpose parser; \
         cotenant status --json",
    );
    assert!(ran.stdout.starts_with("already signed on as claude_1 "), "{ran:?}");
    assert_eq!(env.json("status")["data"]["sessions_ever"], 1);
}

#[test]
fn of_nested_agents_the_nearest_acts() {
    let env =
        TestEnv::new().with("CLAUDE_CODE_SESSION_ID", "outer").with("CODEX_THREAD_ID", "inner");
    let ran = agent(&env, "codex", "cotenant claim issue:1 >/dev/null && cotenant session show");
    assert!(ran.stdout.contains("kind       codex"), "{ran:?}");
    assert!(ran.stdout.contains("native id  inner"), "{ran:?}");
}

#[test]
fn an_agent_that_tells_no_conversation_is_known_by_its_process() {
    let env = TestEnv::new();
    let ran = agent(
        &env,
        "opencode",
        "cotenant claim issue:1 && cotenant claim issue:2 && cotenant session show",
    );
    assert_eq!(ran.exit, 0, "{ran:?}");
    assert_eq!(ran.stderr, "note: signed on as opencode-1\n");
    assert_eq!(ran.stdout.matches("holds      issue:").count(), 2);
}

#[test]
fn an_agent_signs_no_person_on() {
    let told = TestEnv::new().with("CLAUDE_CODE_SESSION_ID", "conversation-1");
    told.shows(
        "sign-on ann --kind human",
        "
        error: this runs inside an agent (`claude`), which signs no person on
        hint: use a terminal of your own; a person who types here says COTENANT_HUMAN=1
        [exit 77]
        ",
    );
    let env = TestEnv::new();
    for line in [
        "cotenant sign-on ann --kind human",
        "cotenant --session ann sign-on --kind human",
        "echo \"{\\\"op\\\":\\\"session.sign_on\\\",\\\"args\\\":{\\\"kind\\\":\\\"human\\\"}}\" | cotenant rpc | grep -v FORBIDDEN",
    ] {
        let ran = agent(&env, "codex", line);
        assert!(ran.exit != 0 && ran.stdout.is_empty(), "{line}: {ran:?}");
    }
    // A person may type inside of one, and says so.
    let ran = agent(&env, "codex", "COTENANT_HUMAN=1 cotenant sign-on ann --kind human");
    assert!(ran.stdout.starts_with("signed on as ann "), "{ran:?}");
}
