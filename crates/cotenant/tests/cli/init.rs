//! Setting a project up for agents, and taking that back.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::{TestEnv, env::Ran};

const COTENANT: &str = env!("CARGO_BIN_EXE_cotenant");

/// Claude Code's settings as somebody wrote them on another system.
const SETTINGS: &str = "\u{feff}{\r\n  // keep me\r\n  \"model\": \"opus\",\r\n  \"hooks\": {\r\n    \
     \"Stop\": [\r\n      { \"hooks\": [ { \"type\": \"command\", \"command\": \"notify\" }, ] } /* bell */\r\n    \
     ],\r\n  },\r\n  \"unknownKey\": { \"deep\": [1, 2,3] },\r\n}";
const SERVERS: &str =
    "{\n\t\"mcpServers\": {\n\t\t\"other\": {\"command\": \"other\", \"args\": []}\n\t}\n}\n\n";
const CODEX: &str =
    "# mine\r\nmodel = \"o\"  # a remark\r\n\r\n[mcp_servers.other]\r\ncommand = 'o'\r\n";

/// A project with settings of all kinds.
fn lived_in() -> TestEnv {
    let env = TestEnv::new();
    write(&env, ".claude/settings.json", SETTINGS);
    write(&env, ".mcp.json", SERVERS);
    write(&env, ".codex/config.toml", CODEX);
    let mode = fs::Permissions::from_mode(0o640);
    fs::set_permissions(env.top().join(".mcp.json"), mode).unwrap();
    env
}

fn write(env: &TestEnv, path: &str, text: &str) {
    let path = env.top().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn read(env: &TestEnv, path: &str) -> String {
    fs::read_to_string(env.top().join(path)).unwrap()
}

fn value(env: &TestEnv, path: &str) -> Value {
    serde_json::from_str(&read(env, path)).unwrap()
}

/// Runs this binary where PATH leads to no `cotenant`.
fn off_path(env: &TestEnv, arguments: &str) -> Ran {
    env.shell(&format!("PATH=/usr/bin:/bin '{COTENANT}' {arguments}"))
}

/// Every file and directory, those of git and the store aside: its mode and content.
fn files(env: &TestEnv) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    walk(env.top().parent().unwrap(), &mut found);
    found
}

fn walk(directory: &Path, found: &mut BTreeMap<PathBuf, (u32, Vec<u8>)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let (path, meta) = entry.map(|entry| (entry.path(), entry.metadata().unwrap())).unwrap();
        if path.ends_with(".git") || path.ends_with(".cotenant") {
            continue;
        }
        let content = if meta.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        if meta.is_dir() {
            walk(&path, found);
        }
        found.insert(path, (meta.permissions().mode(), content));
    }
}

#[test]
fn twice_there_and_back_leaves_every_byte() {
    let env = lived_in();
    let before = files(&env);
    let first = env.prints("init --yes");
    assert!(first.contains("\"command\": \"cotenant hook Stop\""), "{first}");
    assert!(first.contains("\nchanged .claude/settings.json\nchanged .mcp.json\n"), "{first}");
    assert!(first.contains("\nrestart agents that run here already"), "{first}");
    let after = files(&env);
    assert_ne!(after, before);

    let second = env.prints("init --yes");
    assert!(second.contains("nothing to change in the settings of agents"), "{second}");
    assert!(!second.contains("restart agents"), "{second}");
    assert_eq!(files(&env), after);

    let back = env.prints("uninit --yes");
    assert!(back.contains("restored .claude/settings.json, byte for byte"), "{back}");
    assert!(back.contains("deleted .codex/hooks.json, which `init` had made"), "{back}");
    assert!(
        back.contains("kept: the store .git/cotenant/store.db, with its data, events and tokens"),
        "{back}"
    );
    assert_eq!(files(&env), before);
    assert!(env.prints("uninit").starts_with("no settings of agents hold anything of ours\n"));
}

#[test]
fn what_was_edited_in_between_stays() {
    let env = lived_in();
    env.prints("init --yes");
    let edited = read(&env, ".claude/settings.json").replace("\"opus\"", "\"haiku\"");
    write(&env, ".claude/settings.json", &edited);
    let servers = read(&env, ".mcp.json").replace("\"other\": {", "\"third\": {}, \"other\": {");
    write(&env, ".mcp.json", &servers);
    let codex = read(&env, ".codex/config.toml") + "\r\n[tui]\r\nx = 1\r\n";
    write(&env, ".codex/config.toml", &codex);
    let back = env.prints("uninit");
    assert!(
        back.contains("took our entries out of .mcp.json; the rest was edited and stays"),
        "{back}"
    );
    assert_eq!(read(&env, ".claude/settings.json"), SETTINGS.replace("opus", "haiku"));
    let third = SERVERS.replace("\"other\": {", "\"third\": {}, \"other\": {");
    assert_eq!(read(&env, ".mcp.json"), third);
    assert_eq!(read(&env, ".codex/config.toml"), CODEX.to_owned() + "\r\n[tui]\r\nx = 1\r\n");
    assert!(!env.top().join(".claude/settings.local.json").exists());
}

#[test]
fn a_file_that_cannot_be_read_stops_everything() {
    let env = lived_in();
    write(&env, ".mcp.json", "{\n  \"mcpServers\": {\n    \"a\": ,\n  }\n}\n");
    let before = files(&env);
    let ran = env.cotenant("init --yes");
    let named =
        format!("error: cannot parse `{}/.mcp.json` at line 3, column 10", env.top().display());
    assert!(ran.exit == 64 && ran.stderr.starts_with(&named), "{ran:?}");
    assert!(ran.stderr.contains("hint: correct line 3 of "), "{ran:?}");
    assert_eq!(files(&env), before);
    assert!(!env.top().join(".git/cotenant").exists());
    let details = &env.json("init --yes")["error"]["details"];
    assert_eq!((&details["line"], &details["column"]), (&json!(3), &json!(10)));

    write(&env, ".mcp.json", SERVERS);
    env.prints("init --yes");
    write(&env, ".claude/settings.json", "{");
    let before = files(&env);
    let ran = env.cotenant("uninit");
    assert!(ran.exit == 64 && ran.stderr.contains("settings.json` at line 1"), "{ran:?}");
    assert_eq!(files(&env), before);
}

#[test]
fn a_dry_run_writes_nothing() {
    let env = lived_in();
    let before = files(&env);
    let shown = env.prints("init --dry-run");
    assert!(shown.contains("\n+\t\t\t\"command\": \"cotenant\",\n"), "{shown}");
    assert!(shown.contains("\nwould make the store .git/cotenant/store.db\nnothing was written"));
    assert_eq!(env.json("init --dry-run")["data"]["written"], false);
    assert_eq!(files(&env), before);
    assert!(!env.top().join(".git/cotenant").exists());

    env.prints("init --yes");
    let before = files(&env);
    let shown = env.prints("uninit --dry-run");
    assert!(shown.contains("\n-\t\t\t\"command\": \"cotenant\",\n"), "{shown}");
    assert_eq!(files(&env), before);
}

#[test]
fn where_nobody_can_be_asked_consent_is_an_option() {
    let env = lived_in();
    let before = files(&env);
    let ran = env.cotenant("init");
    assert_eq!(ran.exit, 64, "{ran:?}");
    assert!(ran.stdout.starts_with("--- "), "{ran:?}");
    assert!(ran.stderr.contains("repeat with `--yes`"), "{ran:?}");
    let refused = env.json("init");
    assert_eq!(refused["error"]["code"], "INVALID");
    assert!(refused["error"]["details"]["diff"].as_str().unwrap().starts_with("--- "));
    assert_eq!(files(&env), before);
    assert!(!env.top().join(".git/cotenant").exists());

    env.prints("init --yes");
    assert!(env.prints("init").contains("nothing to change"), "no question without a change");
}

#[test]
fn a_person_is_asked() {
    let env = lived_in().with("TERM", "dumb");
    let before = files(&env);
    let answered = |answer: &str| {
        let ran = env.shell(&format!("echo {answer} | script -qec 'cotenant init' /dev/null"));
        assert_eq!(ran.exit, 0, "{ran:?}");
        ran.stdout.replace('\r', "")
    };
    let declined = answered("n");
    assert!(declined.contains("write these changes? [y/N] "), "{declined}");
    assert!(declined.contains("the settings of agents stay as they are"), "{declined}");
    assert_eq!(files(&env), before);
    assert!(env.top().join(".git/cotenant/store.db").is_file(), "shells can use it");
    let agreed = answered("y");
    assert!(agreed.contains("found the store .git/cotenant/store.db\nchanged "), "{agreed}");
    assert_ne!(files(&env), before);
}

#[test]
fn off_path_only_files_of_this_machine_are_written() {
    let env = lived_in();
    let before = files(&env);
    let ran = off_path(&env, "init --yes");
    assert_eq!(ran.exit, 0, "{ran:?}");
    assert!(ran.stdout.contains("note: PATH does not lead to this `cotenant`"), "{ran:?}");
    assert!(ran.stdout.contains("note: Codex is left out"), "{ran:?}");
    assert!(ran.stdout.contains("\ncreated ~/.claude.json\n"), "{ran:?}");
    assert_eq!(read(&env, ".claude/settings.json"), SETTINGS);
    assert_eq!(read(&env, ".mcp.json"), SERVERS);
    assert!(read(&env, ".claude/settings.local.json").contains(&format!("{COTENANT} hook Stop")));
    let refused = off_path(&env, "init --yes --agent codex");
    assert!(
        refused.exit == 64 && refused.stderr.contains("to PATH, or use `--global`"),
        "{refused:?}"
    );

    // Once it is on PATH, the first way gives room to the second.
    let moved = env.prints("init --yes");
    assert!(moved.contains("\nremoved ~/.claude.json\n"), "{moved}");
    assert!(!read(&env, ".claude/settings.local.json").contains("hook"));
    assert!(read(&env, ".claude/settings.json").contains("cotenant hook Stop"));
    env.prints("uninit");
    assert_eq!(files(&env), before);

    assert_eq!(off_path(&env, "init --yes").exit, 0);
    assert_eq!(off_path(&env, "init --yes").exit, 0);
    assert_eq!(off_path(&env, "uninit").exit, 0);
    assert_eq!(files(&env), before);
}

#[test]
fn outside_git_the_store_is_in_the_directory() {
    let env = TestEnv::bare();
    fs::create_dir(env.top().join("below")).unwrap();
    let ran = env.shell("cd below && cotenant init --yes");
    assert!(ran.exit == 0 && ran.stdout.contains("note: this is no git repository"), "{ran:?}");
    assert!(env.top().join("below/.cotenant/store.db").is_file());
    assert!(env.top().join("below/.claude/settings.json").is_file());
    assert_eq!(env.shell("cd below && cotenant uninit").exit, 0);
    let left: Vec<_> = fs::read_dir(env.top().join("below")).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn with_the_plugin_there_is_nothing_to_install() {
    let env = TestEnv::new();
    write(&env, ".claude/settings.json", r#"{"enabledPlugins": {"cotenant@cotenant": true}}"#);
    let before = files(&env);
    let ran = env.cotenant("init --yes");
    assert!(ran.exit == 64 && ran.stderr.contains("the plugin `cotenant@cotenant`"), "{ran:?}");
    assert!(ran.stderr.contains("`cotenant init --store-only`"), "{ran:?}");
    assert!(!env.top().join(".git/cotenant").exists());
    assert!(env.prints("init --store-only").starts_with("made the store .git/cotenant/store.db\n"));
    assert_eq!(files(&env), before);
}

#[test]
fn for_all_projects_the_users_own_files_are_changed() {
    let env = TestEnv::new();
    let before = files(&env);
    let done = env.prints("init --global --yes");
    assert!(done.contains("\ncreated ~/.claude/settings.json\ncreated ~/.claude.json\n"), "{done}");
    let home = env.top().with_file_name("home");
    let mode = |path: &str| fs::metadata(home.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(".local/state/cotenant/init.json"), 0o600);
    assert_eq!(mode(".claude.json"), 0o600);
    let here = env.prints("init --yes");
    assert!(here.contains("Claude Code is set up for all your projects"), "{here}");
    assert!(!env.top().join(".claude").exists());
    env.prints("uninit --global");
    fs::remove_dir_all(home.join(".local")).unwrap();
    assert_eq!(files(&env), before);

    let ran = env.shell("cd ../home && XDG_STATE_HOME=$PWD/state cotenant init --global --yes");
    assert!(ran.exit == 0 && home.join("state/cotenant/init.json").is_file(), "{ran:?}");
    assert!(!home.join(".cotenant").exists(), "a home is no project");
}

#[test]
fn work_trees_are_set_up_one_by_one() {
    let env = TestEnv::new();
    env.shell("git add . && git commit -qm first && git worktree add -q ../other");
    let other = env.top().with_file_name("other");
    env.prints("init --yes");
    let in_other = |command: &str| env.shell(&format!("cd ../other && cotenant {command}"));
    assert_eq!(in_other("init --yes").exit, 0);
    env.prints("uninit");
    assert!(!env.top().join(".claude").exists());
    assert!(other.join(".claude/settings.json").is_file());
    let back = in_other("uninit");
    assert!(
        back.stdout.contains("deleted .claude/settings.json, which `init` had made"),
        "{back:?}"
    );
    assert!(!other.join(".claude").exists());
}

#[test]
fn entries_without_a_record_are_known_by_their_form() {
    let env = lived_in();
    env.prints("init --yes");
    fs::remove_file(env.top().join(".git/cotenant/init.json")).unwrap();
    // This one says nothing of us and is none of our business.
    fs::write(env.top().with_file_name("home").join(".claude.json"), "{").unwrap();
    let ran = env.cotenant("uninit");
    assert!(
        ran.exit == 0 && ran.stderr.contains("~/.claude.json: left alone: cannot parse"),
        "{ran:?}"
    );
    assert_eq!(read(&env, ".claude/settings.json"), SETTINGS);
    assert_eq!(read(&env, ".mcp.json"), SERVERS);
    assert!(!read(&env, ".codex/config.toml").contains("cotenant"));
}

#[test]
fn a_damaged_record_is_named() {
    let env = TestEnv::new();
    env.prints("init --yes");
    let record = env.top().join(".git/cotenant/init.json");
    assert_eq!(fs::metadata(&record).unwrap().permissions().mode() & 0o777, 0o600);
    fs::write(&record, "{").unwrap();
    let ran = env.cotenant("uninit");
    assert!(ran.exit == 64 && ran.stderr.contains(record.to_str().unwrap()), "{ran:?}");
    fs::write(&record, r#"{"version": 99}"#).unwrap();
    let ran = env.cotenant("init --yes");
    assert!(ran.exit == 69 && ran.stderr.contains("hint: use the newer `cotenant`"), "{ran:?}");
}

#[test]
fn a_bare_repository_has_no_agents() {
    let env = TestEnv::bare();
    let ran = env.shell("git init -q --bare && cotenant init --yes");
    assert!(ran.exit == 64 && ran.stderr.contains("is a bare repository"), "{ran:?}");
    assert!(env.prints("init --store-only").starts_with("made the store cotenant/store.db\n"));
}

#[test]
fn the_store_goes_only_when_nobody_is_in_it() {
    let env = TestEnv::new();
    env.prints("init --yes");
    env.sign_on(&["a"]);
    let before = files(&env);
    let ran = env.cotenant("uninit --purge --yes");
    assert!(ran.exit == 65 && ran.stderr.contains("sessions are live: a"), "{ran:?}");
    env.prints("sign-off --session a");
    let ran = env.cotenant("uninit --purge");
    assert!(ran.exit == 64 && ran.stderr.contains("repeat with `--yes`"), "{ran:?}");
    assert_eq!(files(&env), before);
    let purged = env.prints("uninit --purge --yes");
    assert!(purged.contains("deleted the store .git/cotenant/store.db\n"), "{purged}");
    assert!(!env.top().join(".git/cotenant").exists());
    assert!(!env.top().join(".claude").exists());
}

#[test]
fn programs_get_one_envelope() {
    let env = TestEnv::new();
    let done = env.json("init --yes");
    let path = |below: &str| env.top().join(below).display().to_string();
    assert_eq!(
        done["data"]["store"],
        json!({"path": path(".git/cotenant/store.db"), "created": true})
    );
    assert_eq!(
        done["data"]["files"],
        json!([
            {"path": path(".claude/settings.json"), "change": "created"},
            {"path": path(".mcp.json"), "change": "created"},
            {"path": path(".claude/settings.local.json"), "change": "created"},
        ])
    );
    assert_eq!(done["data"]["restart_agents"], true);
    let back = env.json("uninit");
    assert_eq!(
        back["data"]["files"][0],
        json!({"path": path(".claude/settings.json"), "outcome": "deleted"})
    );
    assert_eq!(back["data"]["store"]["kept"], true);
}

#[test]
fn the_servers_entry_starts_us() {
    let env = TestEnv::new();
    env.prints("init --yes");
    let server = &value(&env, ".mcp.json")["mcpServers"]["cotenant"];
    assert_eq!(server, &json!({"type": "stdio", "command": "cotenant", "args": ["mcp"]}));
    let own = value(&env, ".claude/settings.local.json");
    assert_eq!(own, json!({"enabledMcpjsonServers": ["cotenant"]}));
    let shared = value(&env, ".claude/settings.json");
    assert_eq!(shared["permissions"], json!({"allow": ["mcp__cotenant"]}));
}
