//! `cotenant sign-on`, `sign-off`, `heartbeat` and `session`.

use crate::TestEnv;

#[test]
fn a_script_says_who_it_is() {
    let env = TestEnv::new();
    env.shows(
        "claim issue:1",
        "
        error: no session to act for: neither a terminal nor a known agent
        hint: `cotenant sign-on NAME`, then `--session NAME` or COTENANT_SESSION=NAME
        [exit 64]
        ",
    );
    assert!(!env.top().join(".git/cotenant").exists());
    env.shows(
        "sign-on alice --purpose 'the parser'",
        "
        signed on as alice (ID)
          no process is known for it; act for it with `--session alice`
        ",
    );
    env.shows(
        "claim issue:1 --session allice",
        "
        error: no session `allice` is signed on
        hint: `cotenant sign-on allice` signs it on; `cotenant session list` shows who is
        [exit 66]
        ",
    );
    env.shows("heartbeat --session alice", "the next one is due within 60m");
}

#[test]
fn a_name_belongs_to_one_live_session() {
    let env = TestEnv::new();
    env.sign_on(&["alice"]);
    let envelope = env.json("sign-on alice");
    assert_eq!(envelope["error"]["code"], "AGENT_BUSY");
    assert_eq!(env.cotenant("sign-on alice").exit, 73);
    // Whoever names the session and has its token is that session.
    env.shows("sign-on --session alice", "already signed on as alice (ID)");
}

#[test]
fn signing_off_gives_all_back_and_is_over() {
    let env = TestEnv::new();
    env.sign_on(&["alice", "bob"]);
    env.prints("claim issue:1 issue:2 --session alice");
    env.prints("lease acquire deploy --session alice");
    env.prints("data set a k 1 --ephemeral --session alice");
    let tokens = || std::fs::read_dir(env.top().join(".git/cotenant/tokens")).unwrap().count();
    // Of each session its token, and a note of its name.
    assert_eq!(tokens(), 4);
    env.shows(
        "sign-off --outcome done --session alice",
        "signed off; gave back 2 claims, 1 lease, 1 key",
    );
    assert_eq!(tokens(), 2);
    env.shows("sign-off --session alice", "the session had ended before");
    env.prints("claim issue:1 --session bob");
    env.shows(
        "sign-off",
        "
        error: you are not signed on
        hint: `cotenant session list` shows who is; `--session NAME` names another
        [exit 66]
    ",
    );
    env.sign_on(&["alice"]);
    let tree = env.prints("session tree alice");
    assert!(tree.contains("└─ resume: alice (agent, active"), "{tree}");
}

#[test]
fn a_session_whose_process_died_gives_back_what_it_held() {
    let env = TestEnv::new();
    env.sign_on(&["bob"]);
    let lines = "sleep 1000 & cotenant sign-on alice --pid $! && cotenant claim issue:1 --session alice \
                 && kill -9 $!; wait";
    assert_eq!(env.shell(lines).exit, 0);
    let envelope = env.json("claim issue:1 --session bob");
    assert_eq!(envelope["error"]["code"], "COOLING");
    assert_eq!(env.json("session show alice")["data"]["session"]["state"], "lost");
    let again = env.cotenant("sign-on alice");
    assert!(again.stdout.contains("took over issue:1 (fence "), "{again:?}");
    env.prints("unclaim issue:1 --session alice");
    env.prints("claim issue:1 --session bob");
}

#[test]
fn a_session_is_shown_with_all_that_is_known() {
    let env = TestEnv::new();
    env.prints(
        "sign-on alice --purpose 'the parser' --label red --label blue --native-id n1 --kind ci",
    );
    env.prints("claim issue:1 --session alice");
    env.shows(
        "session show alice",
        "
        alice
          id  ID
          kind  ci
          state  active
          user  root
          purpose  the parser
          labels  red, blue
          native id  n1
          ns  s1
          since  AT (TIME ago)
          heard of  TIME ago
          expires in 59m
          holds  issue:1 (fence FENCE)
        ",
    );
    assert_eq!(env.json("session show --session alice")["data"]["session"]["name"], "alice");
    assert_eq!(env.cotenant("session show nobody").exit, 66);
}

#[test]
fn lists_show_the_live_and_with_all_the_past() {
    let env = TestEnv::new();
    env.sign_on(&["alice", "bob"]);
    env.prints("sign-on carol --parent alice --purpose 'a review'");
    env.prints("sign-off --outcome done --session bob");
    env.shows(
        "session list",
        "
        SESSION  KIND  STATE  SINCE  HEARD OF  PURPOSE
        carol  agent  active  TIME ago  TIME ago  a review
        alice  agent  active  TIME ago  TIME ago
        ",
    );
    let all = env.json("session list --all");
    assert_eq!(all["data"]["sessions"].as_array().unwrap().len(), 3);
    env.shows(
        "session tree carol",
        "
        alice (agent, active, heard of TIME ago)
        └─ spawn: carol (agent, active, heard of TIME ago, a review)
        ",
    );
}

#[test]
fn only_people_end_a_session_that_may_live() {
    let env = TestEnv::new();
    env.sign_on(&["alice", "bob"]);
    env.prints("sign-on ann --kind human");
    env.prints("claim issue:1 --session alice");
    assert_eq!(env.cotenant("session reap alice --session bob").exit, 65);
    assert_eq!(env.cotenant("session reap alice --force --session bob").exit, 77);
    env.shows("session reap alice --force --session ann", "alice is lost (forced)");
    assert_eq!(env.cotenant("claim issue:2 --session alice").exit, 76);
    env.shows("session reap --silent-for 1h --session ann", "no session was quiet for that long");
}

#[test]
fn a_project_bounds_how_many_sessions_are_live() {
    let env = TestEnv::new();
    std::fs::write(env.top().join("cotenant.toml"), "[sessions]\nmax = 2\n").unwrap();
    env.sign_on(&["a", "b"]);
    env.shows(
        "sign-on c",
        "
        error: 2 of at most 2 sessions are live: `b`, `a`
        hint: sign one off, or raise `max` under `[sessions]` in the configuration
        [exit 75]
        ",
    );
    let line = "{\"op\":\"session.sign_on\",\"args\":{\"kind\":\"agent\",\"name\":\"c\"}}";
    std::fs::write(env.top().join("request"), line).unwrap();
    let ran = env.shell("cotenant rpc < request");
    assert!(ran.stdout.contains("\"code\":\"QUOTA\""), "{ran:?}");
    env.prints("sign-on person --kind human");
    env.prints("sign-off --session a");
    env.prints("sign-on c");
    assert_eq!(env.with("COTENANT_SESSIONS_MAX", "3").cotenant("sign-on d").exit, 0);
}
