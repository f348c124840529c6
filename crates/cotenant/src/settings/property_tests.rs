//! Properties of applying and removing, over generated settings.

use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::document::{Document, offset};
use super::property_source::{Source, source};
use super::{
    Agent, Entry, FileState, Format, Inputs, Outcome, Plan, PlannedFile, Program, Record, Scope,
    Snapshot, apply, remove,
};

const PATH: &str = "/p/settings.json";

/// All kinds of entries in one file.
fn plan() -> Plan {
    let inputs = Inputs {
        program: Program::OnPath,
        project_dir: "/p".into(),
        home: "/h".into(),
        claude_config_dir: None,
        codex_home: None,
        scope: Scope::Project,
        agents: vec![Agent::Claude],
    };
    let mut entries = Plan::new(&inputs).unwrap().files.swap_remove(0).entries;
    entries.push(Entry::server(&["mcpServers"], "cotenant".to_owned()));
    let file = PlannedFile { path: PATH.into(), format: Format::Json, private: false, entries };
    Plan { files: vec![file], plugin_settings: Vec::new() }
}

fn snapshot(bytes: &[u8]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let state = FileState { bytes: Some(bytes.to_vec()), missing_dirs: Vec::new() };
    snapshot.insert(PATH.into(), state);
    snapshot
}

/// The bytes after applying the plan.
fn applied(bytes: &[u8]) -> Vec<u8> {
    let change = apply(&plan(), &snapshot(bytes)).unwrap().pop();
    change.map_or_else(|| bytes.to_vec(), |change| change.after.unwrap())
}

fn value(bytes: &[u8]) -> Value {
    Document::parse(Path::new(PATH), Some(bytes)).unwrap().value().unwrap()
}

/// Is a hook ours? Told from the few commands that occur here, not by the code under test.
fn is_ours(hook: &Value) -> bool {
    let command = hook["command"].as_str().unwrap_or_default();
    command.starts_with("cotenant hook ") || command.starts_with("'/old dir/cotenant' hook ")
}

/// Takes our hooks and our server out of a value, with what is empty for it.
fn stripped(mut settings: Value) -> Value {
    let root = settings.as_object_mut().unwrap();
    if let Some(events) = root.get_mut("hooks").and_then(Value::as_object_mut) {
        let had_events = !events.is_empty();
        events.retain(|_, groups| {
            let groups = groups.as_array_mut().unwrap();
            let had_groups = !groups.is_empty();
            groups.retain_mut(|group| {
                let Some(hooks) = group.get_mut("hooks").and_then(Value::as_array_mut) else {
                    return true;
                };
                let had_hooks = !hooks.is_empty();
                hooks.retain(|hook| !is_ours(hook));
                !(had_hooks && hooks.is_empty())
            });
            !(had_groups && groups.is_empty())
        });
        if had_events && events.is_empty() {
            root.remove("hooks");
        }
    }
    if let Some(servers) = root.get_mut("mcpServers").and_then(Value::as_object_mut)
        && servers.remove("cotenant").is_some()
        && servers.is_empty()
    {
        root.remove("mcpServers");
    }
    settings
}

/// Leaves out empty lists and objects where ours may have been: one with a comment in it stays.
fn without_empty(mut settings: Value) -> Value {
    let empty = |value: &Value| *value == json!([]) || *value == json!({});
    let root = settings.as_object_mut().unwrap();
    for key in ["hooks", "permissions", "mcpServers"] {
        if let Some(inner) = root.get_mut(key).and_then(Value::as_object_mut) {
            inner.retain(|_, value| !empty(value));
        }
    }
    root.retain(|_, value| !empty(value));
    settings
}

fn without_permission(mut settings: Value) -> Value {
    if let Some(allow) = settings.pointer_mut("/permissions/allow").and_then(Value::as_array_mut) {
        allow.retain(|rule| rule != "mcp__cotenant");
    }
    settings
}

fn assert_keeps_comments(source: &Source, bytes: &[u8]) -> Result<(), TestCaseError> {
    let text = str::from_utf8(bytes).unwrap();
    for comment in &source.comments {
        prop_assert!(text.contains(comment.as_str()), "lost {comment:?} in\n{text}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn applying_installs_each_hook_once_and_changes_nothing_else(source in source()) {
        let before = source.text.as_bytes();
        let after = applied(before);
        assert_keeps_comments(&source, &after)?;
        let settings = value(&after);
        for (event, groups) in settings["hooks"].as_object().unwrap() {
            let hooks = groups.as_array().unwrap().iter().filter_map(|group| group["hooks"].as_array());
            let ours: Vec<&Value> = hooks.flatten().filter(|hook| is_ours(hook)).collect();
            let wanted = json!({"type": "command", "command": format!("cotenant hook {event}"), "timeout": 5});
            let stale = ["Notification", "Ü"].contains(&event.as_str());
            prop_assert_eq!(ours, if stale { vec![] } else { vec![&wanted] }, "{}", event);
        }
        prop_assert_eq!(settings["hooks"].as_object().unwrap().keys().filter(|event| {
            plan().files[0].entries.iter().any(|entry| matches!(entry, Entry::Hook { event: e, .. } if e == *event))
        }).count(), 9);
        let editing = settings["hooks"]["PreToolUse"].as_array().unwrap().iter().find(|group| {
            group["hooks"].as_array().is_some_and(|hooks| hooks.iter().any(is_ours))
        });
        prop_assert!(editing.unwrap()["matcher"].as_str().unwrap().starts_with("Edit|Write|MultiEdit"));
        let allow = settings["permissions"]["allow"].as_array().unwrap();
        prop_assert!(allow.contains(&json!("mcp__cotenant")));
        prop_assert_eq!(&settings["mcpServers"]["cotenant"]["command"], "cotenant");
        let rest = |value| without_empty(without_permission(stripped(value)));
        prop_assert_eq!(rest(settings), rest(value(before)));
    }

    #[test]
    fn applying_twice_is_applying_once(source in source()) {
        let once = applied(source.text.as_bytes());
        prop_assert_eq!(apply(&plan(), &snapshot(&once)).unwrap(), vec![]);
    }

    #[test]
    fn line_endings_and_the_byte_order_mark_are_kept(source in source()) {
        let after = String::from_utf8(applied(source.text.as_bytes())).unwrap();
        prop_assert_eq!(after.starts_with('\u{feff}'), source.text.starts_with('\u{feff}'));
        prop_assert_eq!(after.ends_with('\n'), source.text.ends_with('\n'));
        let lone = |text: &str| text.replace("\r\n", "").contains('\n');
        prop_assert!(!source.text.contains("\r\n") || !lone(&after));
        prop_assert!(source.text.contains("\r\n") || !after.contains('\r'));
    }

    #[test]
    fn removing_restores_the_bytes(source in source()) {
        let before = source.text.as_bytes();
        let now = snapshot(before);
        let changes = apply(&plan(), &now).unwrap();
        let stored = Record::update(None, &plan(), &now, &changes).to_bytes();
        let record = Record::from_bytes(&stored).unwrap();
        let removal = remove(&record, &snapshot(&applied(before))).unwrap();
        prop_assert_eq!(removal.outcomes.len(), changes.len());
        for change in &removal.changes {
            prop_assert_eq!(change.after.as_deref(), Some(before));
        }
        prop_assert!(removal.outcomes.iter().all(|(_, outcome)| *outcome == Outcome::Restored));
    }

    #[test]
    fn removing_after_an_edit_takes_our_entries_only(source in source()) {
        let before = source.text.as_bytes();
        let now = snapshot(before);
        let changes = apply(&plan(), &now).unwrap();
        prop_assume!(!changes.is_empty());
        let record = Record::update(None, &plan(), &now, &changes);

        let mut edited = String::from_utf8(applied(before)).unwrap();
        let document = Document::parse(Path::new(PATH), Some(edited.as_bytes())).unwrap();
        let bom = if edited.starts_with('\u{feff}') { 3 } else { 0 };
        let inside = bom + offset(&document.find(&[]).unwrap()) + 1;
        edited.insert_str(inside, "\"edit\": [1], /* edited */");

        let removal = remove(&record, &snapshot(edited.as_bytes())).unwrap();
        prop_assert_eq!(&removal.outcomes, &[(PATH.into(), Outcome::Stripped)]);
        let after = removal.changes[0].after.as_deref().unwrap();
        assert_keeps_comments(&source, after)?;
        prop_assert!(str::from_utf8(after).unwrap().contains("/* edited */"));

        let mut expected = stripped(value(before));
        expected.as_object_mut().unwrap().insert("edit".to_owned(), json!([1]));
        let mut found = value(after);
        if !source.text.contains("/*") && !source.text.contains("// {") {
            prop_assert_eq!(&found, &expected);
        }
        (found, expected) = (without_empty(found), without_empty(expected));
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), text in "[{}\\[\\]\":,/*\\\\ \r\na1]{0,40}") {
        for bytes in [bytes.as_slice(), text.as_bytes()] {
            let _ = apply(&plan(), &snapshot(bytes));
            let _ = remove(&Record::assumed(&plan()), &snapshot(bytes));
            let _ = Record::from_bytes(bytes);
        }
    }
}

#[test]
fn the_generator_knows_what_it_generates() {
    // Guards the tests above against comparing nothing with nothing.
    let settings =
        json!({"hooks": {"Stop": [{"hooks": [{"command": "cotenant hook Stop"}]}], "X": []}});
    assert_eq!(stripped(settings), json!({"hooks": {"X": []}}));
    assert_eq!(without_empty(json!({"hooks": {"X": []}, "a": 1})), json!({"a": 1}));
}
