//! What takes hours or a broken machine, with the real binary: the tests' clock, pretended file
//! systems, and writers that stop at a named point.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../patterns/crew.rs"]
#[allow(dead_code, reason = "most of it is for the patterns")]
mod crew;
#[path = "../cli/env.rs"]
#[allow(dead_code, reason = "most of it is for the commands")]
mod env;
mod gc;
mod handing;
mod idle;
#[path = "../hook/stage.rs"]
#[allow(dead_code, reason = "most of it is for the hooks")]
mod stage;
mod stopped;

use env::TestEnv;

/// What the magic number of a network file system makes of commands.
#[track_caller]
fn refuses(env: &TestEnv, commands: &[&str]) {
    for command in commands {
        let envelope = env.json(command);
        assert_eq!(envelope["error"]["code"], "FS_UNSUPPORTED", "{command}: {envelope}");
        let ran = env.cotenant(command);
        assert_eq!(ran.exit, 74, "{command}: {ran:?}");
        assert!(ran.stderr.contains("hint: name a store on a local disk"), "{ran:?}");
    }
}

#[test]
fn a_store_on_a_network_file_system_is_refused() {
    const NFS: &str = "26985";
    let env = TestEnv::new().with("COTENANT_FILE_SYSTEM", NFS);
    refuses(&env, &["sign-on a", "init --yes"]);
    assert!(!env.top().join(".git/cotenant").exists(), "nothing is made where it is refused");
    assert!(!env.top().join(".claude").exists());
    let env = TestEnv::new();
    env.sign_on(&["a"]);
    let env = env.with("COTENANT_FILE_SYSTEM", NFS);
    refuses(
        &env,
        &["status", "claim issue:1 --session a", "data get s k", "event verify", "sign-on b"],
    );
    let env = env.with("COTENANT_FILE_SYSTEM", "none");
    assert_eq!(env.prints("event verify"), "ok, 1 event\n");
}
