//! A store on a `PostgreSQL` server: what people and agents see of it.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use cotenant_testbed::Server;

use crate::TestEnv;

/// The shared server, or nothing more to test.
macro_rules! server {
    () => {
        match Server::shared() {
            Some(server) => server,
            None => return,
        }
    };
}

/// A machine of its own, as far as one can tell: a home and a clone, and the address of the store.
fn machine(address: &str) -> TestEnv {
    TestEnv::new().with("COTENANT_STORE", address)
}

/// An address where nobody ever answers, and what keeps it so.
fn silence() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, format!("postgres://u@127.0.0.1:{port}/d?project=p"))
}

#[test]
fn machines_share_claims_and_data() {
    let server = server!();
    let address = server.project();
    let (one, other) = (machine(&address), machine(&address));
    assert!(one.prints("init --store-only").starts_with("made the store postgres://"));
    assert!(other.prints("init --store-only").starts_with("found the store postgres://"));
    one.sign_on(&["alice"]);
    other.sign_on(&["bob"]);
    one.prints("claim issue:15 --session alice");
    let refused = other.cotenant("claim issue:15 --session bob");
    assert_eq!(refused.exit, 73, "{refused:?}");
    assert!(refused.stderr.contains("alice"), "{}", refused.stderr);
    one.prints("data set build color '\"blue\"' --session alice");
    assert_eq!(other.prints("data get build color").trim(), "\"blue\"");
    // Whoever has not its token does not act for a session.
    let stranger = other.cotenant("claim issue:16 --session alice");
    assert!(stranger.stderr.contains("token of session `alice` is not here"), "{stranger:?}");
    let page = other.prints("doctor --deep");
    assert!(page.contains("good  server    PostgreSQL "), "{page}");
    assert!(page.ends_with("all is well\n"), "{page}");
}

#[test]
fn a_window_without_the_variable_uses_the_store_of_the_clone() {
    let server = server!();
    let address = server.project().replace("postgres@", "postgres:secret@");
    let env = TestEnv::new();
    env.prints(&format!("--store '{address}' init --store-only"));
    env.sign_on(&["alice"]);
    let shown = env.prints("config path");
    assert!(shown.contains("?project=case-") && !shown.contains("secret"), "{shown}");
    let note = env.top().join(".git/cotenant/address");
    assert!(!fs::read_to_string(&note).unwrap().contains("secret"));
    assert_eq!(fs::metadata(&note).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!env.top().join(".git/cotenant/store.db").exists());
    let elsewhere = env.shell(
        "git commit -q --allow-empty -m x && git worktree add -q ../other && cd ../other && \
         cotenant --session alice claim issue:7",
    );
    assert_eq!(elsewhere.exit, 0, "{elsewhere:?}");
    assert!(env.prints("who issue:7").contains("alice"));
}

#[test]
fn what_a_dead_peer_held_comes_back_to_who_waits() {
    let server = server!();
    let address = server.project();
    let (one, other) = (machine(&address), Arc::new(machine(&address)));
    // No process is known for it, as for one on another machine: its time decides.
    one.prints("sign-on alice --ttl 15s");
    one.prints("claim branch:release --session alice");
    other.sign_on(&["bob"]);
    let waiter = {
        let other = Arc::clone(&other);
        thread::spawn(move || other.cotenant("claim branch:release --session bob --wait 5m"))
    };
    let ran = waiter.join().unwrap();
    assert_eq!(ran.exit, 0, "{ran:?}");
    assert!(one.prints("who branch:release").contains("bob"));
    let refused = one.cotenant("claim issue:1 --session alice");
    assert!(refused.stderr.contains("`alice` was lost (expired)"), "{refused:?}");
}

#[test]
fn a_server_that_is_not_there_is_said_soon_and_named() {
    let (_listener, address) = silence();
    let env = machine(&address);
    for command in ["status", "sign-on alice", "init --store-only", "doctor"] {
        let began = Instant::now();
        let ran = env.cotenant(command);
        let took = began.elapsed();
        assert_ne!(ran.exit, 0, "{command}");
        let said = ran.stdout + &ran.stderr;
        assert!(said.contains("the PostgreSQL server at `127.0.0.1:"), "{command}: {said}");
        assert!(took < Duration::from_secs(10), "{command} took {took:?}");
    }
}

#[test]
fn hooks_go_on_without_the_server_and_say_so_once() {
    let (_listener, address) = silence();
    let env = machine(&address);
    env.shell("mkdir .git/cotenant && chmod 700 .git/cotenant");
    let payload = format!(
        r#"{{"session_id":"c1","hook_event_name":"PreToolUse","tool_name":"Edit","cwd":"{top}","tool_input":{{"file_path":"{top}/src/a.rs"}}}}"#,
        top = env.top().display()
    );
    fs::write(env.top().join("../payload"), payload).unwrap();
    let hook = || {
        let began = Instant::now();
        let ran = env.shell("cotenant hook PreToolUse < ../payload");
        assert_eq!((ran.exit, ran.stdout.as_str()), (0, ""));
        (ran.stderr, began.elapsed())
    };
    let (said, took) = hook();
    assert!(said.contains("does not answer (STORE_IO); edits are not checked"), "{said}");
    // Two seconds are the promise; the rest is for a busy machine.
    assert!(took < Duration::from_secs(6), "{took:?}");
    assert_eq!(hook().0, "");
}

#[test]
fn a_ci_job_takes_part_and_leaves() {
    let server = server!();
    let address = server.project();
    let person = machine(&address);
    person.prints("init --store-only");
    person.sign_on(&["alice"]);
    person.prints("claim branch:release --session alice");
    // What docs/postgresql.md recommends, in a home that is thrown away.
    let script = "export COTENANT_SESSION=ci-$CI_JOB_ID
        cotenant sign-on --kind ci --ttl 15m --purpose 'deploy main'
        trap 'cotenant sign-off --outcome \"exit $?\"' EXIT
        cotenant claim branch:release; echo \"claim: $?\"
        cotenant lease run --lease deploy -- sh -c 'cotenant who --json >&2; exit 3'";
    let job = machine(&address).with("CI_JOB_ID", "4711");
    let ran = job.shell(script);
    assert_eq!(ran.exit, 3, "{ran:?}");
    assert!(ran.stdout.contains("signed on as ci-4711") && ran.stdout.contains("claim: 73"));
    let listed = person.json("session list --all");
    let sessions = listed["data"]["sessions"].as_array().unwrap();
    let ci = sessions.iter().find(|session| session["name"] == "ci-4711").unwrap();
    assert_eq!((&ci["kind"], &ci["native_id"]), (&"ci".into(), &"4711".into()));
    assert_eq!((&ci["state"], &ci["outcome"]), (&"ended".into(), &"exit 3".into()));
    assert!(!person.prints("lease list").contains("deploy"));
    // Started again, it is the same job's next attempt.
    let again = machine(&address).with("CI_JOB_ID", "4711").shell(script);
    assert!(again.stdout.contains("resume of "), "{again:?}");
}

#[test]
fn a_project_on_a_server_has_a_name() {
    let server = server!();
    let address = server.project();
    let (address, name) = address.split_once("&project=").unwrap();
    let env = machine(address);
    let ran = env.cotenant("status");
    assert_eq!(ran.exit, 64);
    assert!(
        ran.stderr.contains("the line `project = \"NAME\"` to cotenant.toml"),
        "{}",
        ran.stderr
    );
    fs::write(env.top().join("cotenant.toml"), format!("project = \"{name}\"\n")).unwrap();
    env.prints("init --store-only");
    assert_eq!(
        env.prints("config show").lines().filter(|line| line.contains("project")).count(),
        0
    );
    let purge = env.cotenant("uninit --purge --yes");
    assert!(purge.stderr.contains("DROP SCHEMA \"cotenant_case-"), "{purge:?}");
    let backup = env.cotenant("backup x.db");
    assert!(backup.stderr.contains("the store is on a server"), "{backup:?}");
}

#[test]
fn projects_share_what_is_in_org() {
    let server = server!();
    let (one, other) = (machine(&server.project()), machine(&server.project()));
    for env in [&one, &other] {
        env.prints("init --store-only");
        env.sign_on(&["alice"]);
    }
    let key = format!("k{}", std::process::id());
    one.prints(&format!("data set org/rust {key} 2024 --session alice"));
    let found = other.json(&format!("data get org/rust {key}"));
    assert_eq!(found["data"]["value"], 2024);
    assert!(found["data"]["writer"].as_str().unwrap().ends_with("/alice"), "{found}");
}

#[test]
fn lines_side_by_side_take_effect_once_each() {
    let server = server!();
    let env = machine(&server.project());
    env.prints("init --store-only");
    env.sign_on(&["alice"]);
    let add = |id: u32| {
        serde_json::json!({"id": id, "op": "data.update", "actor": {"session": "alice"},
            "args": {"scope": "s", "key": "n", "change": {"add": 1}}})
        .to_string()
    };
    let lines: Vec<String> = (0..200).map(add).collect();
    fs::write(env.top().join("requests"), lines.join("\n") + "\n").unwrap();
    assert_eq!(env.shell("cotenant rpc < requests | grep -c '\"ok\":true'").stdout, "200\n");
    assert_eq!(env.prints("data get s n"), "200\n");
}
