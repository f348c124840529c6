//! A month passes.

use std::fs;

use serde_json::json;

use crate::TestEnv;
use crate::idle::{MINUTE, env};

const DAY: u64 = 24 * 60 * MINUTE;

/// The files of tokens and notes.
fn tokens(env: &TestEnv) -> usize {
    fs::read_dir(env.top().join(".git/cotenant/tokens")).unwrap().count()
}

#[test]
fn what_sessions_left_behind_goes_when_a_person_says_so() {
    let (env, ahead) = env();
    env.sign_on(&["a", "b", "c"]);
    env.prints("data set session:a notes 1 --session a");
    env.prints("data set project notes 1 --session a");
    env.prints("sign-off --session a");
    env.prints("sign-on b2 --parent b");
    fs::write(&ahead, (31 * DAY).to_string()).unwrap();
    env.prints("sign-on person --kind human");
    env.prints("sign-on c --kind agent");
    env.shows(
        "gc --dry-run --session person",
        "
        SESSION  KIND  STATE  HEARD OF  KEYS
        b2  agent  lost  31d ago  0
        b  agent  lost  31d ago  0
        a  agent  ended  31d ago  1
        to remove: 3 sessions and 1 key
        1 stay, because others came from them or they hold something
        ",
    );
    let listed = env.json("gc --dry-run --older-than 30d");
    assert_eq!(listed["data"]["sessions_all"], 3, "{listed}");
    env.shows("gc --older-than 32d --session person", "to remove: 0 sessions and 0 keys");
    let refused = env.cotenant("gc --session person");
    assert_eq!(refused.exit, 64);
    assert!(refused.stderr.contains("repeat with `--yes` to agree"), "{refused:?}");
    for arguments in ["gc", "gc --yes", "gc --yes --older-than 32d"] {
        env.shows(
            &format!("{arguments} --session c"),
            "
            error: only a person may remove what others left behind
            hint: `cotenant gc --dry-run` shows it to anybody; a person removes it at a terminal
            [exit 77]
            ",
        );
        assert_eq!(env.cotenant(arguments).exit, 64, "nobody is no person");
    }
    assert_eq!(env.json("gc --dry-run --session c")["data"]["sessions_all"], 3);
    assert_eq!(env.cotenant("gc --yes --older-than 1h --session person").exit, 64);
    assert_eq!(env.prints("session list --all").lines().count(), 7);
    let before = tokens(&env);
    let removed = env.json("gc --yes --session person");
    assert_eq!(removed["data"], json!({"sessions": 3, "keys": 1, "consumers": 0}));
    assert!(tokens(&env) < before, "tokens of what is gone are gone");
    assert_eq!(env.prints("session list --all").lines().count(), 4);
    assert_eq!(env.cotenant("data get session:a notes").exit, 66);
    assert_eq!(env.prints("data get project notes"), "1\n");
    assert_eq!(env.prints("doctor --deep").matches("bad").count(), 0);
    env.prints("sign-on a");
}
