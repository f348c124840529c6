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
