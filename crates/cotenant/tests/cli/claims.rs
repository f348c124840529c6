//! `cotenant claim`, `unclaim` and `who`.

use crate::{TestEnv, env::steady};

fn env() -> TestEnv {
    let env = TestEnv::new();
    env.sign_on(&["alice", "bob"]);
    env
}

#[test]
fn a_claimed_item_is_refused_with_the_holders_words() {
    let env = env();
    env.shows(
        "claim issue:15 path:src/ --intent 'rewrite the lexer' --session alice",
        "
        claimed issue:15 (fence FENCE)
        claimed path:src (fence FENCE)
        ",
    );
    let ran = env.cotenant("claim issue:16 path:src/a.rs issue:15 --session bob");
    assert_eq!((ran.exit, ran.stdout.as_str()), (73, ""));
    let seen = steady(&ran.stderr);
    let lines: Vec<&str> = seen.lines().collect();
    let rest = "held by alice (agent, root) for TIME, as long as its session lives; \
                last heard of TIME ago: \"rewrite the lexer\"";
    assert!(lines[0].starts_with("error: ") && lines[0].contains("held by `alice`"), "{seen}");
    assert_eq!(lines[1..3], [format!("  path:src: {rest}"), format!("  issue:15: {rest}")]);
    assert!(lines[3].starts_with("hint: "), "{seen}");
    env.shows("who issue:16", "nobody holds issue:16");
}

#[test]
fn claiming_again_keeps_the_fence_and_giving_back_frees() {
    let env = env();
    let first = env.json("claim issue:1 --session alice");
    let again = env.json("claim issue:1 --session alice");
    assert_eq!(first["data"]["items"][0]["fence"], again["data"]["items"][0]["fence"]);
    assert_eq!(again["data"]["items"][0]["already_held"], true);
    env.shows(
        "unclaim issue:1 issue:2 --session alice",
        "gave back issue:1\nyou did not hold issue:2",
    );
    env.shows("claim issue:1 --session bob", "claimed issue:1 (fence FENCE)");
    env.shows("unclaim --all --session bob", "gave back issue:1");
    env.shows("unclaim --all --session bob", "you held no claims");
}

#[test]
fn advice_tells_and_keeps_nobody_out() {
    let env = env();
    env.prints("claim path:src --advisory --intent reading --session alice");
    env.shows(
        "claim path:src/a.rs --session bob",
        "
        claimed path:src/a.rs (fence FENCE)
        also: path:src: alice works on it (advisory) (agent, root) for TIME, as long as its session lives; last heard of TIME ago: \"reading\"
        ",
    );
}

#[test]
fn paths_are_those_of_the_working_directory_and_its_tree() {
    let env = env();
    env.shell("git add . && git commit -qm x && git worktree add -q ../other");
    let claimed = env.shell("cd src && cotenant claim path:a.rs --session alice");
    assert!(claimed.stdout.starts_with("claimed path:src/a.rs "), "{claimed:?}");
    let other = env.shell("cd ../other && cotenant claim path:src/a.rs --session bob");
    assert_eq!(other.exit, 0);
    assert!(other.stdout.contains("also: path:src/a.rs: held by alice"), "{other:?}");
    env.shows(
        "who path:src/a.rs",
        "
        path:src/a.rs: held by alice (agent, root) for TIME, as long as its session lives; last heard of TIME ago
        path:src/a.rs (worktree other): held by bob (agent, root) for TIME, as long as its session lives; last heard of TIME ago
        ",
    );
    env.shows(
        "claim path:/etc/passwd --session bob",
        "
        error: path `/etc/passwd` belongs to no work tree of this project
        hint: paths outside the project, in its git directory or in a nested repository are not claimed
        [exit 64]
        ",
    );
}

#[test]
fn who_answers_for_items_patterns_and_sessions() {
    let env = env();
    env.prints("claim issue:1 issue:2 branch:x --session alice");
    env.prints("claim issue:3 --session bob");
    let names = |arguments: &str| {
        let found = env.json(arguments);
        let holdings = found["data"]["holdings"].as_array().unwrap().clone();
        let mut names: Vec<String> =
            holdings.iter().map(|h| h["resource"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names.join(" ")
    };
    assert_eq!(names("who"), "branch:x issue:1 issue:2 issue:3");
    assert_eq!(names("who 'issue:*'"), "issue:1 issue:2 issue:3");
    assert_eq!(names("who --by bob"), "issue:3");
    assert_eq!(names("who issue:2"), "issue:2");
}

#[test]
fn waiting_ends_when_the_holder_gives_back() {
    let env = env();
    env.prints("claim issue:1 --session alice");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| env.cotenant("claim issue:1 --wait 60s --session bob"));
        env.prints("unclaim issue:1 --session alice");
        let ran = waiting.join().unwrap();
        assert_eq!((ran.exit, ran.stderr.as_str()), (0, ""));
    });
}

#[test]
fn a_wait_in_vain_tells_who_has_it() {
    let env = env();
    env.prints("claim issue:1 --session alice");
    let envelope = env.json("claim issue:1 --wait 20ms --session bob");
    assert_eq!(envelope["error"]["code"], "TIMEOUT");
    assert_eq!(envelope["error"]["details"]["holders"][0]["name"], "alice");
    assert_eq!(env.cotenant("claim issue:1 --wait 20ms --session bob").exit, 75);
}

#[test]
fn a_guard_stops_what_is_no_longer_covered() {
    let env = env();
    let fence = env.json("claim issue:1 --session alice")["data"]["items"][0]["fence"].clone();
    env.prints(&format!("data set a k 1 --guard issue:1={fence} --session alice"));
    env.prints("unclaim issue:1 --session alice");
    let ran = env.cotenant(&format!("data set a k 2 --guard issue:1={fence} --session alice"));
    assert_eq!(ran.exit, 76);
    assert_eq!(env.prints("data get a k"), "1\n");
    assert_eq!(env.cotenant("data set a k 2 --guard issue:1 --session alice").exit, 64);
}

#[test]
fn a_guard_may_be_a_path() {
    let env = env();
    let fence = env.json("claim path:src --session alice")["data"]["items"][0]["fence"].clone();
    env.prints(&format!("data set a k 1 --guard path:src={fence} --session alice"));
    env.shows(&format!("lease check path:src {fence}"), "current as long as its session lives");
    let wrong = env.cotenant("data set a k 2 --guard path:src=1 --session alice");
    assert_eq!(wrong.exit, 76);
}
