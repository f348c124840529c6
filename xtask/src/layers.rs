//! Which way dependencies point, as tests over what cargo knows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::work::Work;

/// All that the words and rules may use.
const CORE: [&str; 7] =
    ["schemars", "serde", "serde_json", "sha2", "thiserror", "unicode-normalization", "uuid"];

/// What only some of our packages may use. This one is no part of the program, so it is free.
const RESERVED: [(&str, &[&str]); 9] = [
    ("anyhow", &["cotenant"]),
    ("axum", &["cotenant-server"]),
    ("clap", &["cotenant"]),
    ("postgres", &["cotenant-store", "cotenant-testbed"]),
    ("ratatui", &["cotenant-tui"]),
    ("rmcp", &["cotenant-server"]),
    ("rusqlite", &["cotenant-store"]),
    ("tokio", &["cotenant-agent", "cotenant-server", "cotenant-store"]),
    ("tokio-postgres", &["cotenant-store"]),
];

/// The one sibling that knows another.
const KNOWS: (&str, &str) = ("cotenant-agent", "cotenant-worktree");

/// What each of our packages uses, tests apart.
fn uses() -> BTreeMap<String, BTreeSet<String>> {
    let name = |value: &Value| value["name"].as_str().unwrap().to_owned();
    let normal = |package: &Value| {
        let all = package["dependencies"].as_array().unwrap().iter();
        all.filter(|dependency| dependency["kind"].is_null()).map(name).collect()
    };
    let packages = Work::find().unwrap().packages;
    packages.iter().map(|package| (name(package), normal(package))).collect()
}

#[test]
fn the_core_uses_small_pure_crates_only() {
    let uses = &uses()["cotenant-core"];
    let other: Vec<&String> = uses.iter().filter(|name| !CORE.contains(&name.as_str())).collect();
    assert!(other.is_empty(), "{other:?}");
}

#[test]
fn databases_servers_and_screens_stay_where_they_belong() {
    for (package, uses) in uses() {
        for (reserved, allowed) in RESERVED {
            let may = package == "xtask" || allowed.contains(&package.as_str());
            assert!(may || !uses.contains(reserved), "`{package}` uses `{reserved}`");
        }
    }
}

/// The store is synchronous: the one file that waits for a server's socket hides how.
#[test]
fn the_store_has_tokio_in_one_file() {
    let source = Work::find().unwrap().root.join("crates/cotenant-store/src");
    let mut folders = vec![source.clone()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            if ["tokio::", ".await;", ".await)"].iter().any(|word| text.contains(word)) {
                found.push(path.strip_prefix(&source).unwrap().to_path_buf());
            }
        }
    }
    assert_eq!(found, [Path::new("postgres/client.rs")]);
}

#[test]
fn siblings_do_not_know_each_other() {
    let uses = uses();
    // The second reads hostile bytes wherever the program reads them.
    let wiring = ["cotenant", "cotenant-fuzz", "xtask"];
    for (package, used) in uses.iter().filter(|(name, _)| !wiring.contains(&name.as_str())) {
        let siblings = used.iter().filter(|name| uses.contains_key(*name));
        let others: Vec<&String> = siblings
            .filter(|name| *name != "cotenant-core" && (package.as_str(), name.as_str()) != KNOWS)
            .collect();
        assert!(others.is_empty(), "`{package}` knows {others:?}");
    }
}
