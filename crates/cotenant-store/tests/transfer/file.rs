//! Exports, and what becomes of them.

use std::{fs, os::unix::fs::PermissionsExt as _};

use cotenant_core::{Code, event::sha256_hex, store::Store};
use cotenant_store::{Location, transfer};
use serde_json::{Value, json};

use crate::{
    content::{fill, fill_and_stay},
    server,
    stage::{code, exported, failure, file, import, made, opened, project, rows, sign_on},
};

/// An export of a store in which everything is.
fn sample(directory: &tempfile::TempDir) -> String {
    let from = file(directory, "sample");
    fill(&made(&from));
    exported(&from)
}

/// Whether nothing at all is at a place.
fn is_untouched(place: &Location) -> bool {
    match place.file() {
        Some(file) => {
            let home = file.parent().unwrap();
            let beside = fs::read_dir(home.parent().unwrap()).unwrap();
            let name = home.file_name().unwrap().to_str().unwrap();
            beside.flatten().all(|it| !it.file_name().to_str().unwrap().starts_with(name))
        }
        None => code(place) == Some(Code::NotFound),
    }
}

#[test]
fn b6_a_store_goes_through_files_and_both_databases_and_stays_the_same() {
    let server = server!();
    let scratch = tempfile::tempdir().unwrap();
    let (first, second, third) = (file(&scratch, "a"), project(&server), file(&scratch, "b"));
    fill(&made(&first));
    let export = exported(&first);
    assert_eq!(rows(&export).len() as u64, import(&export, &second).unwrap().rows);
    assert!(exported(&second) == export, "the server holds something else");
    let imported = import(&exported(&second), &third).unwrap();
    assert!(exported(&third) == export, "the file holds something else");
    assert_eq!(imported.sessions_lost, 0);
    for place in [&first, &second, &third] {
        let store = opened(place);
        let store: &dyn Store = &store;
        let verify = cotenant_core::event::Verify::default();
        let verified = store.call(&verify, |request| request).unwrap().answer;
        assert!(verified.ok && verified.checked == imported.events_checked, "{verified:?}");
        // Numbers of requests and fences go on.
        let actor = sign_on(store, "next", "agent");
        let acquire = json!({"resource": "r", "ttl_ms": 60_000});
        let request = crate::stage::request(&actor, "lease.acquire", &acquire).id("next");
        store.one(request.clone()).unwrap();
        assert!(store.one(request).unwrap().replayed);
    }
}

#[test]
fn an_export_can_be_read_with_ordinary_tools() {
    let scratch = tempfile::tempdir().unwrap();
    let export = sample(&scratch);
    let lines: Vec<Value> =
        export.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (header, trailer) = (&lines[0], &lines[lines.len() - 1]);
    assert_eq!((&header["cotenant"], &header["format"]), (&json!("store"), &json!(1)));
    assert_eq!((&header["rows"], &header["seq"]), (&trailer["rows"], &trailer["seq"]));
    let end = export.trim_end().rfind('\n').unwrap();
    let before = &export[..=end];
    assert_eq!(trailer["sha256"], sha256_hex(before));
    let count = |table: &str| lines.iter().filter(|line| line["table"] == table).count();
    for table in ["session", "alias", "edge", "data", "lease", "mark", "request", "timer", "event"]
    {
        assert_eq!(count(table) as u64, header["rows"][table].as_u64().unwrap(), "{table}");
        assert!(count(table) > 0, "no `{table}` in the sample");
    }
    let spaced = lines.iter().find(|line| line["key"] == "spaced").unwrap();
    assert_eq!(spaced["value"], r#"{"z":  1 , "a":2.0}"#);
    let erased = lines.iter().find(|line| line["table"] == "event" && line["seq"] == 20).unwrap();
    assert!(erased["payload"].is_null() && erased["salt"].is_null() && erased["hash"].is_string());
}

#[test]
fn an_export_is_a_new_file_of_its_own() {
    let scratch = tempfile::tempdir().unwrap();
    let from = file(&scratch, "a");
    fill(&made(&from));
    let target = scratch.path().join("a.jsonl");
    let written = transfer::export_to(&from, Some("acme"), &target, &mut |_| {}).unwrap();
    assert_eq!(written.path.as_deref(), Some(target.as_path()));
    assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&target).unwrap();
    assert!(text.lines().next().unwrap().contains(r#""project":"acme""#));
    let again = transfer::export_to(&from, None, &target, &mut |_| {}).unwrap_err();
    assert_eq!(again.code, Code::PathExists);
    assert_eq!(fs::read_to_string(&target).unwrap(), text);
    let left = fs::read_dir(scratch.path()).unwrap().flatten();
    assert_eq!(left.filter(|it| it.file_name().to_str().unwrap().contains(".new-")).count(), 0);
}

/// What can become of a file: its lines one by one, cut, changed, missing and doubled.
fn damages(export: &str) -> Vec<(String, Vec<u8>)> {
    let lines: Vec<&str> = export.split_inclusive('\n').collect();
    let mut damages = Vec::new();
    let mut at = 0;
    for (number, line) in lines.iter().enumerate() {
        let bytes = export.as_bytes();
        let middle = at + line.len() / 2;
        for bit in [1, 4] {
            let mut flipped = bytes.to_vec();
            flipped[middle] ^= bit;
            damages.push((format!("line {number}, bit {bit}"), flipped));
        }
        damages.push((format!("cut in line {number}"), bytes[..middle].to_vec()));
        damages.push((format!("cut before line {number}"), bytes[..at].to_vec()));
        let rest = &bytes[at + line.len()..];
        damages.push((format!("no line {number}"), [&bytes[..at], rest].concat()));
        let doubled = [&bytes[..at], line.as_bytes(), &bytes[at..]].concat();
        damages.push((format!("line {number} twice"), doubled));
        at += line.len();
    }
    damages.push(("no end of line".into(), export.trim_end().into()));
    damages
}

#[test]
fn b6_every_damage_of_a_file_is_found_and_leaves_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let export = sample(&scratch);
    let to = file(&scratch, "damaged");
    let damages = damages(&export);
    assert!(damages.len() > 300);
    for (what, bytes) in &damages {
        let error = transfer::import(&mut bytes.as_slice(), &to, true, &mut |_| {}).unwrap_err();
        let expected = [Code::StoreCorrupt, Code::Invalid, Code::SchemaNewer, Code::SchemaOlder];
        assert!(expected.contains(&error.code), "{what}: {error:?}");
        assert!(error.hint.is_some() && is_untouched(&to), "{what}: {error:?}");
    }
    import(&export, &to).unwrap();
}

#[test]
fn a_damaged_file_leaves_nothing_on_a_server() {
    let server = server!();
    let scratch = tempfile::tempdir().unwrap();
    let export = sample(&scratch);
    let to = project(&server);
    for (what, bytes) in damages(&export).iter().step_by(29) {
        let imported = transfer::import(&mut bytes.as_slice(), &to, true, &mut |_| {});
        assert!(imported.is_err() && is_untouched(&to), "{what}");
    }
    import(&export, &to).unwrap();
}

/// An export whose sum is right although somebody changed it.
fn forged(export: &str, from: &str, to: &str) -> String {
    assert!(export.contains(from), "{from}");
    let changed = export.replacen(from, to, 1);
    let end = changed[..changed.len() - 1].rfind('\n').unwrap() + 1;
    let mut trailer: Value = serde_json::from_str(&changed[end..]).unwrap();
    trailer["sha256"] = json!(sha256_hex(&changed[..end]));
    format!("{}{trailer}\n", &changed[..end])
}

#[test]
fn b6_a_log_whose_chain_does_not_hold_does_not_arrive() {
    let server = server!();
    let scratch = tempfile::tempdir().unwrap();
    let export = sample(&scratch);
    for to in [file(&scratch, "forged"), project(&server)] {
        for (from, changed) in [
            (r#""payload":"{\"n\":17}""#, r#""payload":"{\"n\":71}""#),
            (
                r#""name":"ada","user":"ada","trust":"human","payload":"{\"n\":18}""#,
                r#""name":"bob","user":"ada","trust":"human","payload":"{\"n\":18}""#,
            ),
        ] {
            let Err(error) = import(&forged(&export, from, changed), &to) else {
                panic!("a log whose chain does not hold arrived")
            };
            assert_eq!(error.code, Code::StoreCorrupt);
            assert!(error.message.contains("the log is damaged"), "{error:?}");
            assert!(is_untouched(&to));
        }
    }
}

#[test]
fn a_file_of_another_kind_or_time_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let export = sample(&scratch);
    let to = file(&scratch, "other");
    for (from, changed, code) in [
        (r#""format":1"#, r#""format":2"#, Code::SchemaNewer),
        (r#""schema":2"#, r#""schema":3"#, Code::SchemaNewer),
        (r#""schema":2"#, r#""schema":1"#, Code::SchemaOlder),
        (r#""cotenant":"store""#, r#""cotenant":"other""#, Code::Invalid),
        (r#"{"table":"alias""#, r#"{"table":"extra""#, Code::StoreCorrupt),
    ] {
        let error = import(&forged(&export, from, changed), &to).unwrap_err();
        assert_eq!(error.code, code, "{error:?}");
        assert!(is_untouched(&to));
    }
    for text in ["", "SQLite format 3\0", "{}\n", "[1]\n"] {
        assert_eq!(import(text, &to).unwrap_err().code, Code::Invalid);
    }
}

#[test]
fn b6_a_store_with_content_is_not_replaced() {
    let server = server!();
    let scratch = tempfile::tempdir().unwrap();
    let export = sample(&scratch);
    for to in [file(&scratch, "taken"), project(&server)] {
        let store = made(&to);
        // One without content makes room.
        import(&export, &to).unwrap();
        assert!(exported(&to) == export);
        let error = import(&export, &to).unwrap_err();
        assert_eq!(error.code, Code::PathExists);
        assert!(error.message.contains(&to.to_string()), "{error:?}");
        assert!(exported(&to) == export);
        sign_on(&store, "goes-on", "agent");
    }
}

#[test]
fn sessions_that_are_live_in_a_file_are_refused_or_lost() {
    let server = server!();
    let scratch = tempfile::tempdir().unwrap();
    let from = file(&scratch, "live");
    fill_and_stay(&made(&from));
    let export = exported(&from);
    for to in [file(&scratch, "copy"), project(&server)] {
        let error = import(&export, &to).unwrap_err();
        assert_eq!((error.code, &error.details["sessions"]), (Code::LiveSessions, &json!(["ada"])));
        assert!(is_untouched(&to));
        let lost = transfer::import(&mut export.as_bytes(), &to, true, &mut |_| {}).unwrap();
        assert_eq!(lost.sessions_lost, 1);
        let status = cotenant_core::status::ShowStatus::default();
        let store = opened(&to);
        let store: &dyn Store = &store;
        let status = store.call(&status, |request| request).unwrap().answer;
        assert_eq!(status.sessions_live, 0);
        // What the session held is free; what a dead one lost before still cools down.
        let left: Vec<&str> = status.holdings.iter().map(|it| it.resource.as_str()).collect();
        assert_eq!(left, ["port/80"]);
    }
    assert!(failure(&from).is_none());
}
