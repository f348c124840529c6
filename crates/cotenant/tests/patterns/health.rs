//! Pattern 7, health of sessions, and "Abandoned Sessions": what a dead session held comes back,
//! what a quiet one holds stays.

use std::collections::BTreeSet;

use serde_json::json;

use crate::{
    TestEnv,
    crew::{Member, at_once, crew, lines_at_once, place, the_log_is_whole},
};

/// Eight sessions, each with an issue and an ephemeral key.
fn working(env: &TestEnv) -> Vec<Member> {
    let mut crew = crew(env, 8);
    at_once(&mut crew, |number, member| {
        assert_eq!(member.claims(&number.to_string())["ok"], true);
        let args = json!({
            "scope": format!("session:{}", member.name), "key": "port", "value": 8000 + number,
            "ephemeral": true
        });
        member.does("data.put", &args);
    });
    crew
}

/// The names of the sessions of an answer that are as asked.
fn names(answer: &serde_json::Value, is: impl Fn(&serde_json::Value) -> bool) -> BTreeSet<String> {
    let sessions = answer["data"]["sessions"].as_array().unwrap();
    let chosen = sessions.iter().filter(|session| is(session));
    chosen.map(|session| session["name"].as_str().unwrap().to_owned()).collect()
}

fn numbered(numbers: std::ops::Range<usize>) -> BTreeSet<String> {
    numbers.map(|number| format!("s{number}")).collect()
}

#[test]
fn heartbeats_of_eight_sessions_are_seen_by_all() {
    let env = place();
    let mut crew = working(&env);
    let pages = at_once(&mut crew, |_, member| {
        member.does("session.heartbeat", &json!({}));
        member.asks("status", &json!({}))
    });
    for page in pages {
        assert_eq!(names(&page, |session| session["state"] == "active"), numbered(0..8));
        assert!(names(&page, |session| session["possibly_abandoned"] == true).is_empty());
        let aged = |session: &serde_json::Value| session["heartbeat_age_ms"].is_u64();
        assert_eq!(names(&page, aged).len(), 8);
    }
    assert!(names(&env.json("session list --silent-for 1h"), |_| true).is_empty());
    assert_eq!(names(&env.json("session list --silent-for 0s"), |_| true), numbered(0..8));
    // A heartbeat is no event: it leaves the log as it is.
    let head = env.prints("event head");
    env.prints("heartbeat --session s0");
    assert_eq!(env.prints("event head"), head);
}

#[test]
fn what_killed_sessions_held_comes_back_when_the_next_asks() {
    let env = place();
    let mut crew = working(&env);
    for dead in &mut crew[4..] {
        dead.kill();
    }
    // Everybody sees it before anybody has acted on it.
    let page = env.prints("status");
    assert_eq!(page.matches("its process is gone").count(), 4, "{page}");
    // A live one is nobody's to end, a dead one anybody's.
    let refused = env.json("session reap s1 --session s0");
    assert_eq!(refused["error"]["code"], "NOT_DEAD");
    assert_eq!(env.cotenant("session reap s1 --session s0").exit, 65);
    assert_eq!(env.prints("session reap s4 --session s0"), "s4 is lost (dead)\n");
    // Each of the living asks for what one of the dead had; the lock delay passes first.
    let lines: Vec<String> = (0..4)
        .map(|number| format!("cotenant claim issue:{} --wait 2m --session s{number}", number + 4))
        .collect();
    let ran = lines_at_once(&env, &lines);
    assert!(ran.iter().all(|ran| (ran.exit, ran.stderr.as_str()) == (0, "")), "{ran:?}");
    let all = env.json("session list --all");
    assert_eq!(names(&all, |session| session["state"] == "lost"), numbered(4..8));
    assert_eq!(names(&env.json("session list"), |_| true), numbered(0..4));
    // Claims, keys and state went together, and those of the living stayed.
    let held = env.json("who");
    let held: BTreeSet<(&str, &str)> = held["data"]["holdings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|holding| (holding["resource"].as_str().unwrap(), holding["name"].as_str().unwrap()))
        .collect();
    let expected = [
        ("issue:0", "s0"),
        ("issue:1", "s1"),
        ("issue:2", "s2"),
        ("issue:3", "s3"),
        ("issue:4", "s0"),
        ("issue:5", "s1"),
        ("issue:6", "s2"),
        ("issue:7", "s3"),
    ];
    assert_eq!(held, BTreeSet::from(expected));
    let entries = env.json("data list session: --prefix");
    let keys = entries["data"]["entries"].as_array().unwrap();
    let scopes: Vec<&str> = keys.iter().map(|key| key["scope"].as_str().unwrap()).collect();
    assert_eq!(scopes, ["session:s0", "session:s1", "session:s2", "session:s3"]);
    the_log_is_whole(&env);
}

#[test]
fn names_of_the_dead_are_free_at_once_with_what_they_held() {
    let env = place();
    let mut crew = working(&env);
    for dead in &mut crew {
        dead.kill();
    }
    let again = crate::crew::crew(&env, 8);
    let held = env.json("who");
    let holdings = held["data"]["holdings"].as_array().unwrap();
    let pids: BTreeSet<u32> = again.iter().map(Member::pid).collect();
    assert_eq!((holdings.len(), pids.len()), (8, 8));
    for holding in holdings {
        assert_eq!(holding["state"], "held");
        assert_eq!(
            holding["resource"].as_str().unwrap().strip_prefix("issue:"),
            holding["name"].as_str().unwrap().strip_prefix('s')
        );
    }
    // Its key died with the earlier session: whoever listens on that port now is somebody else.
    assert_eq!(env.cotenant("data get session:s0 port").exit, 66);
    assert_eq!(names(&env.json("session list"), |_| true), numbered(0..8));
}
