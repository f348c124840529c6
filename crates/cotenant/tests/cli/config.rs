//! `cotenant config`.

use std::fs;

use crate::TestEnv;

#[test]
fn each_setting_tells_where_it_comes_from() {
    let env = TestEnv::new().with("COTENANT_DENY", "false");
    let home = env.top().parent().unwrap().join("home/.config/cotenant");
    fs::create_dir_all(&home).unwrap();
    fs::write(home.join("config.toml"), "busy_timeout = \"2s\"\nstale_aftr = \"5m\"\n").unwrap();
    fs::write(
        env.top().join("cotenant.toml"),
        "busy_timeout = \"9s\"\nstale_after = \"30m\"\n[sessions]\nmax = 2\nkeep = \"60d\"\n",
    )
    .unwrap();
    let user = home.join("config.toml").display().to_string();
    env.shows(
        "config show",
        &format!(
            "
            SETTING  VALUE  ORIGIN
            busy_timeout  TIME  {user}
            auto_claim  true  built in
            deny  false  environment, COTENANT_DENY
            stale_after  30m  TOP/cotenant.toml
            sessions.max  2  TOP/cotenant.toml
            sessions.keep  60d  TOP/cotenant.toml
            note: `stale_aftr` in `{user}` is no setting; did you mean `stale_after`?
            note: `busy_timeout` in `TOP/cotenant.toml` has no effect: a project may only make things stricter
            "
        )
        .replace(env.top().to_str().unwrap(), "TOP"),
    );
    env.shows(
        "config path",
        &format!("user  {user}\nproject  TOP/cotenant.toml\nstore  TOP/.git/cotenant/store.db"),
    );
}

#[test]
fn a_broken_file_is_named() {
    let env = TestEnv::new();
    fs::write(env.top().join("cotenant.toml"), "deny = \"yes\"\n").unwrap();
    env.shows("config show", "error: `deny` in TOP/cotenant.toml must be true or false\n[exit 64]");
    assert!(env.prints("config show --defaults").contains("busy_timeout = \"5s\""));
}
