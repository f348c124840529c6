//! `cotenant export`, `import` and `move`.

use std::{fs, os::unix::fs::PermissionsExt as _};

use cotenant_testbed::Server;
use serde_json::json;

use crate::TestEnv;

/// A store with a key, and nobody signed on.
fn filled(env: &TestEnv) {
    env.sign_on(&["alice"]);
    env.prints("data set build color '\"blue\"' --session alice");
    env.prints("sign-off --session alice");
}

#[test]
fn a_store_goes_into_a_file_and_comes_out_of_it_elsewhere() {
    let env = TestEnv::new();
    filled(&env);
    let said = env.prints("export a.jsonl");
    assert!(said.starts_with("10 rows, up to event 3, are in a.jsonl"), "{said}");
    let file = env.top().join("a.jsonl");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let refused = env.cotenant("export a.jsonl");
    assert_eq!((refused.exit, refused.stderr.contains("`a.jsonl` exists")), (65, true));
    let said = env.prints("import a.jsonl --to copy/store.db");
    assert!(said.contains("are in the store ") && said.contains("/top/copy/store.db;"), "{said}");
    assert_eq!(env.prints("--store copy/store.db data get build color").trim(), "\"blue\"");
    let refused = env.cotenant("import a.jsonl --to copy/store.db");
    assert_eq!(refused.exit, 65, "{refused:?}");
    assert!(refused.stderr.contains("there is a store at `"), "{}", refused.stderr);
    // Through pipes the same lines come and go.
    let piped = env.shell("cotenant export - | cotenant import - --to piped/store.db");
    assert_eq!((piped.exit, piped.stderr.as_str()), (0, ""));
    assert_eq!(env.shell("cotenant --store piped/store.db export - | cmp - a.jsonl").exit, 0);
    assert_eq!(env.shell("cotenant export - | head -c 11").stdout, "{\"cotenant\"");
    assert_eq!(env.cotenant("--json export -").exit, 64);
    let answer = env.json("export b.jsonl");
    assert_eq!((&answer["data"]["rows"], &answer["seq"]), (&json!(10), &json!(3)));
}

#[test]
fn a_file_that_is_no_export_makes_no_store() {
    let env = TestEnv::new();
    filled(&env);
    env.prints("export a.jsonl");
    env.shell("sed 's/blue/grey/' a.jsonl > damaged.jsonl; echo x > other");
    for (name, exit, says) in [
        ("damaged.jsonl", 74, "the export is damaged"),
        ("other", 64, "the file is not an export of a store"),
        ("absent", 66, "there is no file `absent`"),
    ] {
        let refused = env.cotenant(&format!("import {name} --to new/store.db"));
        assert_eq!(refused.exit, exit, "{refused:?}");
        assert!(refused.stderr.contains(says), "{}", refused.stderr);
    }
    assert!(!env.top().join("new").exists());
    env.sign_on(&["bob"]);
    env.prints("export live.jsonl");
    let refused = env.cotenant("import live.jsonl --to new/store.db");
    assert_eq!(refused.exit, 65, "{refused:?}");
    assert!(refused.stderr.contains("1 session is live in the export: bob"), "{refused:?}");
    let said = env.prints("import live.jsonl --to new/store.db --yes");
    assert!(said.contains("1 session is lost that the file had as live"), "{said}");
}

#[test]
fn a_store_moves_to_a_file_elsewhere_and_says_so() {
    let env = TestEnv::new();
    env.sign_on(&["alice"]);
    let refused = env.cotenant("move --to elsewhere/store.db");
    assert_eq!(refused.exit, 65, "{refused:?}");
    assert!(refused.stderr.contains("1 session is live: alice"), "{}", refused.stderr);
    assert!(refused.stderr.contains("cotenant sign-off --session alice"), "{}", refused.stderr);
    env.prints("sign-off --session alice");
    let said = env.prints("move --to elsewhere/store.db");
    assert!(
        said.contains("/elsewhere/store.db now; 2 events arrived, and its log holds"),
        "{said}"
    );
    assert!(said.contains("set COTENANT_STORE to the new address"), "{said}");
    for command in ["status", "sign-on bob", "who issue:1"] {
        let refused = env.cotenant(command);
        assert_eq!(refused.exit, 74, "{refused:?}");
        let words = refused.stderr.contains("the store was moved to `");
        assert!(words && refused.stderr.contains("hint: set COTENANT_STORE"), "{refused:?}");
    }
    let answer = env.json("status");
    assert_eq!(answer["error"]["code"], "STORE_FOREIGN");
    let moved_to = answer["error"]["details"]["moved_to"].as_str().unwrap();
    assert!(moved_to.ends_with("/elsewhere/store.db"), "{answer}");
    let page = env.prints("doctor");
    assert!(page.contains("note  store     the store was moved to `"), "{page}");
    assert!(env.prints("--store elsewhere/store.db event list").contains("store.moved"));
    // Repeated, it is done; and a copy of the old one can still be had.
    let said = env.prints("move --to elsewhere/store.db");
    assert!(said.contains("an earlier try had brought it there"), "{said}");
    env.prints("export kept.jsonl");
    env.prints("backup kept.db");
    let answer = env.json("--store elsewhere/store.db move --to .git/cotenant/store.db");
    assert_eq!((&answer["data"]["resumed"], &answer["ok"]), (&json!(false), &json!(true)));
    env.sign_on(&["alice"]);
}

#[test]
fn a_clone_follows_its_store_to_a_server_and_back() {
    let Some(server) = Server::shared() else { return };
    let env = TestEnv::new();
    filled(&env);
    let address = server.project();
    let said = env.prints(&format!("move --to '{address}'"));
    assert!(said.contains("the store is at postgres://"), "{said}");
    assert!(said.contains("this clone uses the new store"), "{said}");
    // Nobody names it, and everybody finds it.
    assert!(env.prints("config path").contains("?project=case-"));
    assert_eq!(env.prints("data get build color").trim(), "\"blue\"");
    env.sign_on(&["bob"]);
    env.prints("data set build color '\"red\"' --session bob");
    env.prints("sign-off --session bob");
    assert!(env.prints("doctor --deep").ends_with("all is well\n"));
    let said = env.prints("move --to .git/cotenant/store.db");
    assert!(said.contains("this clone uses the new store"), "{said}");
    assert_eq!(env.prints("data get build color").trim(), "\"red\"");
    let refused = env.cotenant(&format!("--store '{address}' status"));
    assert!(refused.stderr.contains("the store was moved to `"), "{refused:?}");
    assert!(env.prints("doctor --deep").ends_with("all is well\n"));
    env.sign_on(&["bob"]);
}
