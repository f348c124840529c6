//! `cotenant lease`.

use crate::{TestEnv, env::steady};

fn env() -> TestEnv {
    let env = TestEnv::new();
    env.sign_on(&["alice", "bob"]);
    env.prints("sign-on ann --kind human");
    env
}

#[test]
fn a_held_lease_is_refused() {
    let env = env();
    env.shows("lease acquire branch/main --note push --session alice", "FENCE");
    env.shows(
        "lease acquire branch/main --session bob",
        "
        error: `branch/main` is held by `alice`, for TIME now, and for another TIME without a renewal
          branch/main: held by alice (agent, root) for TIME, expires in TIME unless renewed; last heard of TIME ago: \"push\"
        hint: wait with `--wait 5m`, or do something else first
        [exit 73]
        ",
    );
    env.shows(
        "lease list",
        "
        LEASE  STATE  SESSION  FENCE  SINCE  ENDS  HEARD OF  NOTE
        branch/main  held  alice  FENCE  TIME ago  in TIME  TIME ago  push
        ",
    );
}

#[test]
fn a_lease_lives_by_its_fence() {
    let env = env();
    let fence = env.prints("lease acquire x --ttl 30s --session alice").trim().to_owned();
    env.shows(&format!("lease check x {fence}"), "current for TIME");
    env.shows(&format!("lease renew x {fence} --ttl 5m --session alice"), "held for another 5m");
    env.shows(&format!("lease admit x {fence} --session alice"), "admitted");
    assert_eq!(env.cotenant(&format!("lease release x {fence} --session bob")).exit, 76);
    env.shows(&format!("lease release x {fence} --session alice"), "gave it back");
    env.shows(&format!("lease release x {fence} --session alice"), "was given back before");
    env.shows(&format!("lease check x {fence}"), "not current\n[exit 76]");
    let later = env.prints("lease acquire x --session bob");
    env.prints(&format!("lease admit x {} --session bob", later.trim()));
    assert_eq!(env.cotenant(&format!("lease admit x {fence} --session alice")).exit, 76);
}

#[test]
fn waiting_ends_with_the_lease_or_in_vain() {
    let env = env();
    let fence = env.prints("lease acquire x --session alice").trim().to_owned();
    assert_eq!(env.cotenant("lease acquire x --wait 30ms --session bob").exit, 75);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| env.cotenant("lease acquire x --wait 60s --session bob"));
        env.prints(&format!("lease release x {fence} --session alice"));
        assert_eq!(waiting.join().unwrap().exit, 0);
    });
}

#[test]
fn only_people_break_a_lease() {
    let env = env();
    env.prints("lease acquire x --session alice");
    assert_eq!(env.cotenant("lease break x --reason no --session bob").exit, 77);
    env.shows(
        "lease break x --reason gone --session ann",
        "ended the grant of alice; free in TIME",
    );
    env.shows("lease break y --reason gone --session ann", "error: nobody holds `y`\n[exit 66]");
}

#[test]
fn a_command_runs_under_the_lease_and_its_writes_are_guarded() {
    let env = env();
    let ran = env.cotenant(
        "lease run --lease deploy --session alice -- sh -c \
         'cotenant data set d fence $COTENANT_FENCE >/dev/null; echo $COTENANT_SESSION; cotenant lease list | tail -1; exit 3'",
    );
    assert_eq!((ran.exit, ran.stderr.as_str()), (3, ""));
    let alice = env.json("session show alice")["data"]["session"]["session"].clone();
    assert!(steady(&ran.stdout).starts_with("ID\ndeploy  held  alice"), "{ran:?}");
    assert!(ran.stdout.starts_with(alice.as_str().unwrap()), "{ran:?}");
    env.shows("lease list", "nobody holds a lease");
    let events = env.json("event list --kind 'lease.*'");
    let fence = env.prints("data get d fence");
    assert_eq!(events["data"]["events"][0]["payload"]["fence"].to_string(), fence.trim());
}

#[test]
fn the_status_of_the_command_is_that_of_the_run() {
    let env = env();
    let run = |command: &str| {
        env.cotenant(&format!("lease run --lease x --session alice -- {command}")).exit
    };
    assert_eq!(run("true"), 0);
    assert_eq!(run("sh -c 'kill -KILL $$'"), 137);
    assert_eq!(run("sh -c 'kill -TERM $PPID; exec sleep 1000'"), 143);
    assert_eq!(run("/nonexistent/program"), 69);
    env.prints("lease acquire x --session bob");
    assert_eq!(run("true"), 73);
}

#[test]
fn with_json_the_command_speaks_on_stderr() {
    let env = env();
    let ran = env.cotenant("lease run --lease x --session alice --json -- echo hello");
    assert_eq!((ran.exit, ran.stderr.as_str()), (0, "hello\n"));
    let envelope: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(envelope["data"]["exit"], 0);
}

#[test]
fn of_nested_runs_the_outermost_gives_the_lease_back() {
    let env = env();
    let ran = env.cotenant(
        "lease run --lease x --session alice -- sh -c \
         'cotenant lease run --lease x -- true && cotenant lease list | tail -1'",
    );
    assert_eq!(ran.exit, 0);
    assert!(steady(&ran.stdout).starts_with("x  held  alice"), "{ran:?}");
    env.shows("lease list", "nobody holds a lease");
}

#[test]
fn a_command_whose_lease_is_lost_is_ended() {
    let env = env();
    let ran = env.cotenant(
        "lease run --lease x --ttl 10s --session alice -- sh -c \
         'trap \"echo asked; exit 0\" TERM; \
          env -u COTENANT_GUARDS cotenant lease break x --reason test --session ann; \
          while :; do sleep 0.1; done'",
    );
    assert_eq!(ran.exit, 76, "{ran:?}");
    assert!(ran.stdout.ends_with("asked\n"), "{ran:?}");
}
