//! `cotenant event`.

use crate::TestEnv;

fn env() -> TestEnv {
    let env = TestEnv::new();
    env.sign_on(&["alice"]);
    env.prints("sign-on ann --kind human");
    env.with("COTENANT_SESSION", "alice")
}

#[test]
fn the_log_tells_what_happened() {
    let env = env();
    assert_eq!(env.prints("event append user.note issue:15 --message 'half done'"), "3\n");
    assert_eq!(env.prints("event append user.test build '[1]'"), "4\n");
    env.shows(
        "event list --kind 'user.*'",
        "
        3 AT user.note  alice issue:15 {\"message\":\"half done\"}
        4 AT user.test  alice build [1]
        ",
    );
    env.shows("event list --last 1", "4 AT user.test  alice build [1]");
    let newest = env.json("event list --last 1");
    assert_eq!(newest["data"]["cursor"], env.prints("event head").trim());
    assert_eq!(env.cotenant("event list --last 0").exit, 64);
    assert_eq!(env.cotenant("event list --last 1001").exit, 64);
    env.shows("event list --scope build --by alice", "4 AT user.test  alice build [1]");
    let ran = env.cotenant("event list --after start --limit 1");
    assert!(ran.stderr.starts_with("note: there are more: --after "), "{ran:?}");
    assert_eq!(env.cotenant("event append claim.granted x 1").exit, 77);
    assert_eq!(env.cotenant("event list --after nonsense").exit, 64);
}

#[test]
fn the_chain_is_verified_against_a_kept_head() {
    let env = env();
    env.shows("event verify", "ok, 2 events");
    let head = env.prints("event head");
    env.prints("event append user.note x --message more");
    env.shows(&format!("event verify --head {}", head.trim()), "ok, 3 events");
    let ahead = head.trim().replacen(".2.", ".9.", 1);
    assert_ne!(env.cotenant(&format!("event verify --head {ahead}")).exit, 0);
}

#[test]
fn a_payload_can_be_erased_and_the_chain_still_verifies() {
    let env = env();
    env.prints("event append user.note x --message 'hunter2'");
    env.shows("event redact 3 --reason 'a password'", "erased");
    env.shows("event redact 3 --reason 'a password'", "was erased before");
    assert!(!env.prints("event list").contains("hunter2"));
    env.shows("event verify", "ok, 4 events");
}

#[test]
fn pruning_is_for_people() {
    let env = env();
    for _ in 0..5 {
        env.prints("event append user.note x 1");
    }
    assert_eq!(env.cotenant("event prune --before 4").exit, 77);
    env.shows("event prune --before 4 --session ann", "removed 3 events; the oldest is 4");
    env.shows("event verify", "ok, 5 events");
    assert_eq!(env.json("event list --after start --limit 1")["data"]["events"][0]["seq"], 4);
}

#[test]
fn a_watcher_sees_each_event_as_it_happens() {
    let env = env();
    std::thread::scope(|scope| {
        let watching = scope
            .spawn(|| env.json("event watch --after start --kind 'user.*' --count 1 --for 60s"));
        env.prints("event append user.go x 7");
        let seen = watching.join().unwrap();
        assert_eq!(seen["data"]["events"][0]["payload"], 7);
    });
    env.shows("event watch --kind nothing --for 10ms", "");
}

#[test]
fn a_consumer_goes_on_where_it_stopped() {
    let env = env();
    env.prints("event append user.one x 1");
    env.shows("event watch --consumer c --kind 'user.*' --count 1", "3 AT user.one  alice x 1");
    env.prints("event append user.two x 2");
    env.shows("event watch --consumer c --kind 'user.*' --count 1", "4 AT user.two  alice x 2");
    env.shows("event watch --consumer c --kind 'user.*' --for 1ms", "");
}
