//! `cotenant doctor`.

use crate::TestEnv;

#[test]
fn what_killed_makers_left_is_named_and_removed() {
    let env = TestEnv::new();
    env.sign_on(&["alice"]);
    env.shell(
        "mkdir .git/cotenant.new-0123456789ab; touch -d '2 hours ago' .git/cotenant.new-0123456789ab",
    );
    let page = env.prints("doctor");
    assert!(page.contains("killed makers left behind `"), "{page}");
    assert!(page.contains("remove them with `cotenant doctor --fix`"), "{page}");
    assert_eq!(env.cotenant("doctor --fix --unblock").exit, 64);
    let page = env.prints("doctor --fix");
    assert!(page.contains("/.git/cotenant.new-0123456789ab` is removed"), "{page}");
    assert!(!env.prints("doctor").contains("cotenant.new-"));
}

#[test]
fn that_there_is_no_store_is_no_damage() {
    let env = TestEnv::new();
    for arguments in ["doctor", "doctor --deep", "doctor --unblock"] {
        env.shows(
            arguments,
            "
            error: there is no store at `TOP/.git/cotenant/store.db`
            hint: make one with `cotenant init`
            [exit 66]
            ",
        );
    }
    let error = &env.json("doctor")["error"];
    assert_eq!((&error["code"], &error["retryable"]), (&"NOT_FOUND".into(), &false.into()));
    assert_eq!(error["details"]["findings"][0]["check"], "store");
    // What killed makers left is there all the same.
    env.shell(
        "mkdir .git/cotenant.new-0123456789ab; touch -d '2 hours ago' .git/cotenant.new-0123456789ab",
    );
    let ran = env.cotenant("doctor");
    assert_eq!(ran.exit, 66);
    assert!(ran.stdout.contains("killed makers left behind `"), "{ran:?}");
    assert!(env.cotenant("doctor --fix").stdout.contains("` is removed"));
}
