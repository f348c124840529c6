//! An hour passes.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use crate::{
    TestEnv,
    crew::{crew, place},
};

/// A place whose clock is as many milliseconds ahead as the file says.
pub(crate) fn env() -> (TestEnv, PathBuf) {
    let env = place();
    let ahead = env.top().parent().unwrap().join("ahead");
    fs::write(&ahead, "0").unwrap();
    let env = env.with("COTENANT_CLOCK_AHEAD", ahead.to_str().unwrap());
    (env, ahead)
}

pub(crate) const MINUTE: u64 = 60_000;

/// The state of the sessions, in the order of their names.
fn states(env: &TestEnv) -> Vec<String> {
    let answer = env.json("session list --all");
    let mut sessions: Vec<&Value> = answer["data"]["sessions"].as_array().unwrap().iter().collect();
    sessions.sort_by_key(|session| session["name"].to_string());
    sessions.iter().map(|session| session["state"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_idle_session_keeps_its_claims_as_long_as_its_process_lives() {
    let (env, ahead) = env();
    let mut crew = crew(&env, 8);
    for (number, member) in crew.iter_mut().enumerate() {
        assert_eq!(member.claims(&number.to_string())["ok"], true);
        let args = json!({"scope": "ports", "key": member.name, "value": 1, "ephemeral": true});
        member.does("data.put", &args);
    }
    fs::write(&ahead, (61 * MINUTE).to_string()).unwrap();
    for dead in &mut crew[4..] {
        dead.kill();
    }
    // All were quiet for as long; the page shows those whose process lives.
    let page = env.json("status");
    let shown = page["data"]["sessions"].as_array().unwrap();
    let mut names: Vec<&str> =
        shown.iter().map(|session| session["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["s0", "s1", "s2", "s3"]);
    assert!(shown.iter().all(|session| session["possibly_abandoned"] == true), "{page}");
    let silent = env.json("session list --silent-for 1h");
    assert_eq!(silent["data"]["sessions"].as_array().unwrap().len(), 4);
    // Whoever asks next finds the living in possession, and gets what the dead had.
    env.sign_on(&["next"]);
    for number in 0..4 {
        let refused = env.json(&format!("claim issue:{number} --session next"));
        assert_eq!(refused["error"]["code"], "CLAIMED");
        assert_eq!(refused["error"]["details"]["holder"], format!("s{number}"));
    }
    for number in 4..8 {
        let cooling = env.json(&format!("claim issue:{number} --session next"));
        assert_eq!(cooling["error"]["code"], "COOLING", "{cooling}");
    }
    fs::write(&ahead, (62 * MINUTE).to_string()).unwrap();
    for number in 4..8 {
        env.prints(&format!("claim issue:{number} --session next"));
    }
    assert_eq!(
        states(&env)[1..],
        ["silent", "silent", "silent", "silent", "lost", "lost", "lost", "lost"]
    );
    let listed = env.json("data list ports");
    assert_eq!(listed["data"]["entries"].as_array().unwrap().len(), 4);
    // The living go on as if nothing had been.
    for (number, member) in crew[..4].iter_mut().enumerate() {
        let again = member.claims(&number.to_string());
        assert_eq!(again["data"]["items"][0]["already_held"], true, "{again}");
    }
}

#[test]
fn one_that_nobody_can_look_after_is_lost_when_its_time_has_passed() {
    let (env, ahead) = env();
    env.sign_on(&["alice", "bob"]);
    env.prints("claim issue:1 --session alice");
    fs::write(&ahead, (59 * MINUTE).to_string()).unwrap();
    assert_eq!(env.cotenant("claim issue:1 --session bob").exit, 73);
    env.prints("heartbeat --session bob");
    fs::write(&ahead, (61 * MINUTE).to_string()).unwrap();
    assert_eq!(env.json("claim issue:1 --session bob")["error"]["code"], "COOLING");
    assert_eq!(env.cotenant("claim issue:2 --session alice").exit, 76);
    fs::write(&ahead, (62 * MINUTE).to_string()).unwrap();
    env.prints("claim issue:1 --session bob");
}
