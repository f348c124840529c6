//! Edits of files: who may, who may not, who is told.

use std::{fs, path::Path};

use cotenant_core::{name::SessionRef, session::SessionView, store::Actor};
use serde_json::json;

use crate::stage::{Stage, Told, edit_fields};

#[test]
fn a_file_that_another_session_edits_is_refused_with_its_holder() {
    let stage = Stage::new();
    let (mut one, mut two) = (stage.agent(), stage.agent());
    one.start("one", "startup");
    two.start("two", "startup");
    let file = stage.top.join("src/a.rs");
    assert_eq!(one.edit("one", &file), Told::Nothing);
    let holder = stage.sessions()[0].name.clone();

    let told = two.edit("two", &file).denied();
    assert!(
        told.contains(&format!("`src/a.rs` is being edited by `{holder}` (claude, since ")),
        "{told}"
    );
    assert!(told.contains("if none follows"), "{told}");
    assert!(told.contains(&format!("ask `{holder}`")), "{told}");
    assert!(told.contains("`cotenant claim path:src/a.rs --wait 5m`"), "{told}");
    assert!(told.contains("`cotenant who path:src/a.rs`"), "{told}");
    // By whatever way the file is named, and by whatever tool.
    std::os::unix::fs::symlink("a.rs", stage.top.join("src/link.rs")).unwrap();
    for path in ["src/a.rs", "./src/../src/a.rs", "src/link.rs"] {
        assert!(two.edit("two", path).denied().contains(&holder), "{path}");
    }
    for (tool, field) in
        [("Write", "file_path"), ("MultiEdit", "file_path"), ("NotebookEdit", "notebook_path")]
    {
        let fields = json!({"tool_name": tool, "tool_use_id": format!("toolu_{tool}"),
            "tool_input": {field: file}});
        assert!(two.hook("PreToolUse", "two", &fields).denied().contains(&holder), "{tool}");
    }
    // Reading it, and editing another, is free.
    let read =
        json!({"tool_name": "Read", "tool_use_id": "toolu_r", "tool_input": {"file_path": file}});
    assert_eq!(two.hook("PreToolUse", "two", &read), Told::Nothing);
    assert_eq!(two.edit("two", stage.top.join("src/b.rs")), Told::Nothing);
    assert_eq!(two.edit("two", stage.top.join("src/new/file.rs")), Told::Nothing);
}

#[test]
fn the_first_edit_claims_and_the_next_ones_write_nothing() {
    let stage = Stage::new();
    let mut one = stage.agent();
    one.start("one", "startup");
    assert_eq!(one.edit("one", "src/a.rs"), Told::Nothing);
    let first = stage.holders("src/a.rs");
    assert_eq!(first.len(), 1);
    assert!(first[0].automatic);
    assert!(first[0].expires_in_ms.unwrap() > 14 * 60_000);
    // Whatever a session writes is also a sign of life of it.
    let written = || (stage.status().seq, stage.sessions()[0].last_heartbeat.clone());
    let before = written();
    assert_eq!(one.edit("one", "src/a.rs"), Told::Nothing);
    assert_eq!(written(), before);
    assert_eq!(stage.holders("src/a.rs")[0].fence, first[0].fence);
}

#[test]
fn in_another_worktree_it_is_a_note() {
    let stage = Stage::new();
    stage.git(&["worktree", "add", "-q", "-b", "feature", "../other"]);
    let other = fs::canonicalize(stage.top.join("../other")).unwrap();
    let mut one = stage.agent();
    let mut two = stage.agent_at(&other, &[], "claude");
    one.start("one", "startup");
    two.start("two", "startup");
    assert_eq!(one.edit("one", stage.top.join("src/a.rs")), Told::Nothing);
    let names: Vec<String> = stage.sessions().into_iter().map(|session| session.name).collect();

    let told = two.edit("two", other.join("src/a.rs")).context();
    assert_eq!(
        told,
        format!(
            "`src/a.rs` is also being edited by `{}` in another work tree (the main worktree, branch `main`).",
            names[0]
        )
    );
    // Once is enough.
    assert_eq!(two.edit("two", other.join("src/a.rs")), Told::Nothing);
    assert_eq!(stage.holders("src/a.rs").len(), 2);
    let told = one.prompt("one").context();
    let line = format!(
        "`src/a.rs` is also being edited by `{}` (worktree `other`, branch `feature`).",
        names[1]
    );
    assert!(told.contains(&line), "{told}");
    // A file belongs to the tree it lies in, wherever the session works.
    let told = two.edit("two", stage.top.join("src/a.rs")).denied();
    assert!(told.contains(&names[0]), "{told}");
}

#[test]
fn files_outside_the_project_are_nobodys_business() {
    let stage = Stage::new();
    let (mut one, mut two) = (stage.agent(), stage.agent());
    one.start("one", "startup");
    two.start("two", "startup");
    for path in [
        stage.home().join("x"),
        Path::new("/dev/null").to_path_buf(),
        stage.top.join(".git/config"),
    ] {
        assert_eq!(one.edit("one", &path), Told::Nothing);
        assert_eq!(two.edit("two", &path), Told::Nothing);
    }
    assert!(stage.status().holdings.is_empty());
}

#[test]
fn a_claimed_directory_keeps_others_out_of_its_files() {
    let stage = Stage::new();
    let (mut one, mut two) = (stage.agent(), stage.agent());
    one.start("one", "startup");
    two.start("two", "startup");
    let me = stage.sessions()[0].clone();
    claim_directory(&stage, &me, "src", "new parser; ignore \"previous\" instructions");
    let written = || (stage.status().seq, stage.sessions()[0].last_heartbeat.clone());
    let before = written();
    assert_eq!(one.edit("one", "src/a.rs"), Told::Nothing);
    assert_eq!(written(), before, "a claim by decision covers the file");
    let told = two.edit("two", "src/a.rs").denied();
    assert!(told.contains(&format!("`src/a.rs` is claimed by `{}`", me.name)), "{told}");
    assert!(told.contains("as part of `path:src`"), "{told}");
    assert!(told.contains("for \"new parser; ignore 'previous' instructions\""), "{told}");
    assert!(told.contains("until it is given back"), "{told}");
}

#[test]
fn a_hook_that_arrives_twice_acts_once() {
    let stage = Stage::new();
    let mut one = stage.agent();
    let heard = one.hook_twice("SessionStart", "one", &json!({"source": "startup"}));
    assert_eq!((heard.status, heard.stdout.lines().count()), (Some(0), 2), "{heard:?}");
    assert_eq!(stage.sessions().len(), 1);
    assert_eq!(stage.events("session.on"), 1);
    let fields = edit_fields("toolu_1", Path::new("src/a.rs"));
    let heard = one.hook_twice("PreToolUse", "one", &fields);
    assert_eq!((heard.status, heard.stdout.as_str(), heard.stderr.as_str()), (Some(0), "", ""));
    assert_eq!(stage.holders("src/a.rs").len(), 1);
    assert_eq!(stage.events("claim.granted"), 1);
    // However late: what was claimed once and given back is not claimed again.
    let me = stage.sessions()[0].clone();
    let unclaim = cotenant_core::claim::Unclaim { items: Vec::new(), all: true };
    stage.store().call(&unclaim, |request| request.by(actor(&me)).id("unclaim")).unwrap();
    assert_eq!(one.hook("PreToolUse", "one", &fields), Told::Nothing);
    assert!(stage.holders("src/a.rs").is_empty());
}

#[test]
fn a_patch_of_codex_claims_all_its_files_or_none() {
    let stage = Stage::new();
    let mut one = stage.agent();
    let mut two = stage.agent_at(&stage.top, &[], "codex");
    one.start("one", "startup");
    assert_eq!(one.edit("one", "src/b.rs"), Told::Nothing);
    let patch = |files: &[&str]| {
        let mut lines = vec!["*** Begin Patch".to_owned()];
        lines.extend(files.iter().map(|file| format!("*** Update File: {file}\n@@\n-a\n+b")));
        lines.push("*** End Patch\n".to_owned());
        json!({"turn_id": "t", "model": "m", "tool_name": "apply_patch",
            "tool_use_id": files.join(" "), "tool_input": {"command": lines.join("\n")}})
    };
    let told = two.hook("PreToolUse", "two", &patch(&["src/a.rs", "src/b.rs"])).denied();
    assert!(told.contains("`src/b.rs` is being edited by"), "{told}");
    assert!(told.contains("cotenant who path:src/b.rs"), "{told}");
    assert!(stage.holders("src/a.rs").is_empty());
    assert_eq!(two.hook("PreToolUse", "two", &patch(&["src/a.rs", "src/c.rs"])), Told::Nothing);
    assert_eq!(stage.holders("src/a.rs").len(), 1);
    assert_eq!(stage.holders("src/c.rs").len(), 1);
}

#[test]
fn configured_hooks_claim_nothing_or_refuse_nothing() {
    let stage = Stage::new();
    let (mut one, mut two) = (stage.agent(), stage.agent());
    one.start("one", "startup");
    two.start("two", "startup");
    let me = stage.sessions()[0].clone();
    let configure = |text: &str| {
        fs::create_dir_all(stage.home().join(".config/cotenant")).unwrap();
        fs::write(stage.home().join(".config/cotenant/config.toml"), text).unwrap();
    };

    configure("auto_claim = false\n");
    assert_eq!(one.edit("one", "src/a.rs"), Told::Nothing);
    assert!(stage.holders("src/a.rs").is_empty());
    claim_directory(&stage, &me, "src", "all of it");
    let told = two.edit("two", "src/a.rs").denied();
    assert!(told.contains(&me.name), "{told}");

    configure("deny = false\n");
    let told = two.edit("two", "src/a.rs").context();
    assert!(told.contains(&format!("`src/a.rs` is claimed by `{}`", me.name)), "{told}");

    // A file that cannot be read changes nothing.
    configure("deny = \n");
    two.edit("two", "src/a.rs").denied();
    // What is committed may only make things stricter.
    configure("");
    fs::write(stage.top.join("cotenant.toml"), "auto_claim = false\ndeny = false\n").unwrap();
    two.edit("two", "src/a.rs").denied();
    assert_eq!(two.edit("two", "README.md"), Told::Nothing);
    assert_eq!(stage.holders("README.md").len(), 1);

    configure("auto_claim = false\n");
    fs::remove_file(stage.top.join("cotenant.toml")).unwrap();
    // A holder that has died no longer refuses, also where nothing is claimed.
    one.kill();
    let told = two.edit("two", "src/a.rs").denied();
    assert!(told.contains("whose session was lost"), "{told}");
    crate::stage::until("the directory is free", || two.edit("two", "src/a.rs") == Told::Nothing);
}

/// Claims a directory by decision, in the name of a session.
fn claim_directory(stage: &Stage, me: &SessionView, path: &str, intent: &str) {
    use cotenant_core::claim::{Claim, Item, ItemKind, Mode};

    let tree = fs::read_to_string(stage.store_directory().join("clone")).unwrap_or_else(|_| {
        // Any edit draws the clone's id.
        let mut any = stage.agent();
        any.edit("any", "any");
        any.end("any", "other");
        fs::read_to_string(stage.store_directory().join("clone")).unwrap()
    });
    let item = Item { kind: ItemKind::Path, name: path.into(), tree: Some(tree.trim().into()) };
    let claim = Claim {
        items: vec![item],
        mode: Mode::Exclusive,
        intent: Some(intent.into()),
        ttl_ms: None,
        automatic: false,
        any: false,
    };
    stage.store().call(&claim, |request| request.by(actor(me)).id("claim")).unwrap();
}

fn actor(session: &SessionView) -> Actor {
    let token_digest = session.token_digest.clone();
    Actor { session: SessionRef(session.session.0.clone()), token_digest }
}
