//! `--json` on every command: one envelope on stdout and nothing else.

use crate::TestEnv;

#[test]
fn every_command_prints_one_envelope() {
    let env = TestEnv::new().with("COTENANT_SESSION", "a");
    for (arguments, member) in [
        ("sign-on a --kind human", "session"),
        ("status", "sessions"),
        ("heartbeat", "expires_in_ms"),
        ("session list", "sessions"),
        ("session show", "session"),
        ("session tree", "edges"),
        ("session reap --silent-for 1h", "reaped"),
        ("data set s k 1", "rev"),
        ("data get s k", "value"),
        ("data list", "entries"),
        ("data update s n --add 1", "value"),
        ("data delete s k", "existed"),
        ("scope list", "scopes"),
        ("scope delete s", "deleted"),
        ("lease acquire l", "fence"),
        ("lease list", "holdings"),
        ("lease check l 1", "valid"),
        ("lease admit l 1", "highest"),
        ("lease break l --reason r", "holders"),
        ("lease run --lease m -- true", "exit"),
        ("claim issue:1", "items"),
        ("who", "holdings"),
        ("unclaim issue:1", "released"),
        ("event append user.x s 1", "seq"),
        ("event list", "events"),
        ("event watch --after start --count 1", "events"),
        ("event head", "cursor"),
        ("event verify", "ok"),
        ("event redact 1 --reason r", "already"),
        ("event prune --before 1", "removed"),
        ("task add x y", "tasks"),
        ("task next", "task"),
        ("task list", "tasks"),
        ("task graph", "nodes"),
        ("config show", "settings"),
        ("config path", "store"),
        ("sign-off", "claims"),
    ] {
        let envelope = env.json(arguments);
        assert_eq!(envelope["ok"], true, "{arguments}: {envelope}");
        assert!(envelope["data"].get(member).is_some(), "{arguments}: {envelope}");
        assert!(envelope["seq"].is_u64() && envelope["tick"].is_u64(), "{arguments}: {envelope}");
    }
}

#[test]
fn a_request_id_makes_a_repeat_harmless() {
    let env = TestEnv::new().with("COTENANT_SESSION", "a");
    env.prints("sign-on a");
    let first = env.json("data update s n --add 1 --request-id r1");
    let again = env.json("data update s n --add 1 --request-id r1");
    assert_eq!((&first["replayed"], &again["replayed"]), (&false.into(), &true.into()));
    assert_eq!(first["data"], again["data"]);
    assert_eq!(env.prints("data get s n"), "1\n");
    assert_eq!(env.cotenant("data update s n --add 2 --request-id r1").exit, 65);
}
