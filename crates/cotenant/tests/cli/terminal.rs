//! A person at a terminal.

use crate::{TestEnv, env::Ran};

/// Runs a line at a terminal of its own.
fn typed(env: &TestEnv, line: &str) -> Ran {
    // `script` reads the keyboard, which nobody touches.
    let ran = env.shell(&format!("script -qec '{line}' /dev/null < /dev/null"));
    Ran { stdout: ran.stdout.replace('\r', ""), ..ran }
}

#[test]
fn a_person_needs_no_sign_on() {
    let env = TestEnv::new().with("TERM", "dumb");
    let ran = typed(&env, "cotenant claim issue:1; cotenant claim issue:2; cotenant session show");
    assert_eq!(ran.exit, 0, "{ran:?}");
    assert!(
        ran.stdout.starts_with("note: signed on as human-1\nclaimed issue:1 (fence "),
        "{ran:?}"
    );
    assert_eq!(ran.stdout.matches("signed on").count(), 1);
    assert!(ran.stdout.contains("  kind       human\n"), "{ran:?}");
    assert_eq!(ran.stdout.matches("holds      issue:").count(), 2);
}

#[test]
fn another_terminal_is_another_session() {
    let env = TestEnv::new().with("TERM", "dumb");
    let ran = typed(
        &env,
        "cotenant claim issue:1; setsid -w script -qec \"cotenant claim issue:1\" /dev/null < /dev/null; \
         cotenant sign-off; cotenant status",
    );
    assert!(ran.stdout.contains("`issue:1` is held by `human-1`"), "{ran:?}");
}

#[test]
fn a_person_can_take_a_name() {
    let env = TestEnv::new().with("TERM", "dumb");
    let ran = typed(&env, "cotenant sign-on ann; cotenant claim issue:1; cotenant who issue:1");
    assert!(ran.stdout.contains("issue:1: held by ann (human, "), "{ran:?}");
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let env = TestEnv::new();
    env.sign_on(&["a"]);
    let ran =
        typed(&env, "TERM=xterm cotenant status; TERM=xterm NO_COLOR=1 cotenant session list");
    let (status, list) = ran.stdout.split_at(ran.stdout.rfind("SESSION").unwrap());
    assert!(status.contains("\u{1b}[1ma\u{1b}[0m"), "{ran:?}");
    assert!(!list.contains('\u{1b}'), "{ran:?}");
    assert!(!env.prints("status").contains('\u{1b}'));
}

#[test]
fn stored_words_do_not_act_on_a_terminal() {
    let env = TestEnv::new();
    env.sign_on(&["a"]);
    env.prints("data set s k '\"\\u001b[31mred\\u0007\"' --session a");
    let ran = typed(&env, "cotenant data get s k --raw");
    assert_eq!(ran.stdout, "[31mred\n");
    assert_eq!(env.prints("data get s k --raw"), "\u{1b}[31mred\u{7}\n");
}

#[test]
fn a_command_under_a_lease_has_the_terminal() {
    let env = TestEnv::new().with("TERM", "dumb");
    let ran = env.shell(
        "echo answer | script -qec 'cotenant lease run --lease x -- sh -c \"read word; echo got \\$word\"; \
         echo status $?; cotenant lease list' /dev/null",
    );
    assert!(ran.stdout.contains("got answer"), "{ran:?}");
    assert!(ran.stdout.contains("status 0"), "{ran:?}");
    assert!(ran.stdout.contains("nobody holds a lease"), "{ran:?}");
}
