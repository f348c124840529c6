//! Moves that nobody interrupts.

use std::os::unix::fs::symlink;

use cotenant_core::{Code, store::Store};
use cotenant_store::{
    Location, admin,
    doctor::{Severity, doctor},
    transfer::{self, Step},
};
use cotenant_testbed::Server;
use serde_json::{Value, json};

use crate::{
    content::{fill, lose_holder},
    server,
    stage::{
        ask, code, does, exported, failure, file, import, made, opened, project, relocate, request,
        rows, sign_off, sign_on,
    },
};

/// Every way from one database to another, with the store that goes it.
fn ways(server: &Server, scratch: &tempfile::TempDir) -> Vec<(Location, Location)> {
    vec![
        (file(scratch, "a"), project(server)),
        (project(server), file(scratch, "b")),
        (file(scratch, "c"), file(scratch, "d")),
        (project(server), project(server)),
    ]
}

#[test]
fn b7_a_store_that_moved_goes_on_where_it_was() {
    let server = server!();
    let scratch = tempfile::tempdir().unwrap();
    for (from, to) in ways(&server, &scratch) {
        let filled = fill(&made(&from));
        let before = exported(&from);
        let moved = relocate(&from, &to).unwrap();
        assert!(!moved.resumed && moved.to == to.to_string(), "{moved:?}");
        // Every row is there, and one event more.
        let after = exported(&to);
        let (old, new) = (rows(&before), rows(&after));
        assert_eq!(old.len() + 1, new.len());
        assert!(old == new[..old.len()] && new[old.len()].contains("store.moved"));
        let store = opened(&to);
        let store: &dyn Store = &store;
        let verify = cotenant_core::event::Verify::default();
        assert!(store.call(&verify, |request| request).unwrap().answer.ok);
        // A reader goes on behind what it has read.
        let after = json!({"after": filled.cursor});
        let events = does(store, &filled.actor, "event.read", &after);
        let kinds: Vec<&Value> =
            events["events"].as_array().unwrap().iter().map(|event| &event["kind"]).collect();
        assert_eq!(kinds.last().unwrap(), &&json!("store.moved"), "{events}");
        // A repeated request is known: its session has signed off.
        let off = json!({"scope": "plain", "key": "number", "value": -1.5e300});
        let repeat = request(&filled.actor, "data.put", &off).id("put-number");
        assert!(store.one(repeat).unwrap().replayed);
        let actor = sign_on(store, "next", "agent");
        let acquire = json!({"resource": "branch/main", "ttl_ms": 60_000});
        let fence = does(store, &actor, "lease.acquire", &acquire)["fence"].as_i64().unwrap();
        assert!(fence > filled.fence, "{fence} after {}", filled.fence);
        let admit = json!({"resource": "branch/main", "fence": 1});
        assert_eq!(ask(store, &actor, "lease.admit", &admit).unwrap_err().code, Code::Fenced);
        // What cools down still does.
        let acquire = json!({"resource": "port/80", "ttl_ms": 60_000});
        let cooling = ask(store, &actor, "lease.acquire", &acquire).unwrap_err();
        assert_eq!(cooling.code, Code::Cooling);
    }
}

#[test]
fn b7_a_store_that_was_moved_away_says_so_and_can_still_be_copied() {
    let server = server!();
    let scratch = tempfile::tempdir().unwrap();
    for (from, to) in ways(&server, &scratch) {
        let store = made(&from);
        fill(&store);
        let before = exported(&from);
        relocate(&from, &to).unwrap();
        let kept = exported(&from);
        assert!(rows(&kept) == rows(&before));
        let Some(error) = failure(&from) else { panic!("the old store can still be used") };
        assert_eq!(
            (error.code, &error.details["moved_to"]),
            (Code::StoreForeign, &json!(to.to_string()))
        );
        assert!(error.hint.unwrap().contains("COTENANT_STORE"));
        // Also for who has it open.
        let store: &dyn Store = &store;
        let on = cotenant_core::session::SignOn::new("agent", "ada", "0".repeat(64));
        let refused = store.call(&on, |request| request).unwrap_err();
        assert_eq!(refused.code, Code::StoreForeign);
        assert!(exported(&from) == kept);
        let findings = doctor(&from, true);
        assert!(findings.iter().all(|finding| finding.severity != Severity::Bad), "{findings:?}");
        let note = findings.iter().find(|finding| finding.severity == Severity::Note).unwrap();
        assert!(note.found.contains(&to.to_string()));
        if let Some(path) = from.file() {
            admin::backup(path, &scratch.path().join(format!("{}.db", code(&from).unwrap())))
                .unwrap();
            std::fs::remove_file(scratch.path().join("STORE_FOREIGN.db")).unwrap();
        }
        // Repeated, the command finds its work done.
        assert!(relocate(&from, &to).unwrap().resumed);
        let elsewhere = relocate(&from, &file(&scratch, "elsewhere")).unwrap_err();
        assert_eq!(elsewhere.code, Code::StoreForeign);
    }
}

#[test]
fn a_store_moves_there_and_back_again() {
    let server = server!();
    let scratch = tempfile::tempdir().unwrap();
    let (home, away) = (file(&scratch, "a"), project(&server));
    let stays_open = made(&home);
    fill(&stays_open);
    for round in 0..3 {
        relocate(&home, &away).unwrap();
        let store = opened(&away);
        let actor = sign_on(&store, &format!("away-{round}"), "agent");
        does(&store, &actor, "data.put", &json!({"scope": "s", "key": "k", "value": round}));
        sign_off(&store, &actor);
        let before = exported(&away);
        relocate(&away, &home).unwrap();
        let after = exported(&home);
        assert!(rows(&before) == rows(&after)[..rows(&before).len()]);
        // Who had the store open all the time goes on with it.
        let actor = sign_on(&stays_open, &format!("home-{round}"), "agent");
        let got = does(&stays_open, &actor, "data.get", &json!({"scope": "s", "key": "k"}));
        assert_eq!(got["value"], json!(round));
        sign_off(&stays_open, &actor);
    }
}

#[test]
fn a_store_that_was_moved_away_opens_again_by_way_of_a_file() {
    let server = server!();
    let scratch = tempfile::tempdir().unwrap();
    for (from, to) in ways(&server, &scratch) {
        fill(&made(&from));
        let before = exported(&from);
        relocate(&from, &to).unwrap();
        import(&before, &from).unwrap();
        assert!(exported(&from) == before && failure(&from).is_none());
        sign_on(&opened(&from), "next", "agent");
    }
}

#[test]
fn what_was_erased_is_in_neither_store() {
    const SECRET: &str = "correct horse battery staple";
    let scratch = tempfile::tempdir().unwrap();
    let (from, to) = (file(&scratch, "a"), file(&scratch, "b"));
    let store = made(&from);
    let actor = sign_on(&store, "ada", "human");
    let append = json!({"kind": "user.note", "scope": "s", "payload": {"secret": SECRET}});
    let seq = does(&store, &actor, "event.append", &append)["seq"].as_i64().unwrap();
    // A reader sees it until after the last write, so nobody can erase every trace.
    let reader = rusqlite::Connection::open(from.file().unwrap()).unwrap();
    reader.execute_batch("BEGIN; SELECT COUNT(*) FROM event").unwrap();
    let redact = json!({"seq": seq, "reason": "a secret"});
    assert_eq!(ask(&store, &actor, "event.redact", &redact).unwrap_err().code, Code::Busy);
    sign_off(&store, &actor);
    drop(reader);
    let has_secret = |place: &Location| {
        let home = place.file().unwrap().parent().unwrap();
        let files = std::fs::read_dir(home).unwrap().flatten();
        let texts = files.map(|it| std::fs::read(it.path()).unwrap_or_default());
        texts.into_iter().any(|bytes| bytes.windows(SECRET.len()).any(|it| it == SECRET.as_bytes()))
    };
    assert!(has_secret(&from));
    relocate(&from, &to).unwrap();
    assert!(!has_secret(&from) && !has_secret(&to));
    assert!(!exported(&to).contains(SECRET));
}

#[test]
fn a_place_is_the_same_by_every_way_but_a_link() {
    let scratch = tempfile::tempdir().unwrap();
    let (from, to) = (file(&scratch, "a"), file(&scratch, "b"));
    fill(&made(&from));
    let real = scratch.path().canonicalize().unwrap();
    symlink(&real, real.join("above")).unwrap();
    symlink(real.join("a"), real.join("link")).unwrap();
    for same in ["a/../a/store.db", "./a//store.db", "above/a/store.db"] {
        let error = relocate(&from, &Location::File(real.join(same))).unwrap_err();
        assert_eq!(error.code, Code::Invalid, "{same}: {error:?}");
    }
    let linked = Location::File(real.join("link/store.db"));
    assert_eq!(relocate(&from, &linked).unwrap_err().code, Code::StoreForeign);
    let moved = relocate(&from, &Location::File(real.join("above/b/store.db"))).unwrap();
    assert_eq!(moved.to, to.to_string());
}

#[test]
fn another_store_is_never_replaced_by_a_move() {
    let server = server!();
    let scratch = tempfile::tempdir().unwrap();
    for (from, to) in ways(&server, &scratch) {
        fill(&made(&from));
        let other = made(&to);
        let actor = sign_on(&other, "other", "agent");
        sign_off(&other, &actor);
        let before = exported(&to);
        assert_eq!(relocate(&from, &to).unwrap_err().code, Code::PathExists);
        assert!(exported(&to) == before && failure(&from).is_none() && failure(&to).is_none());
        // Nor one that was moved away from there, for it went another way.
        let third = file(&scratch, "third");
        relocate(&to, &third).unwrap();
        assert_eq!(relocate(&from, &to).unwrap_err().code, Code::PathExists);
        assert_eq!(code(&to), Some(Code::StoreForeign));
        relocate(&third, &to).unwrap();
        std::fs::remove_dir_all(third.file().unwrap().parent().unwrap()).unwrap();
        assert_eq!(relocate(&from, &from).unwrap_err().code, Code::Invalid);
    }
}

#[test]
fn live_sessions_end_a_move_and_dead_ones_do_not() {
    let server = server!();
    let scratch = tempfile::tempdir().unwrap();
    for (from, to) in ways(&server, &scratch) {
        let store = made(&from);
        let store: &dyn Store = &store;
        let actor = sign_on(store, "here", "agent");
        lose_holder(store);
        let error = relocate(&from, &to).unwrap_err();
        assert_eq!(
            (error.code, &error.details["sessions"]),
            (Code::LiveSessions, &json!(["here"]))
        );
        assert!(error.hint.unwrap().contains("cotenant sign-off --session here"));
        assert_eq!((code(&to), failure(&from).is_none()), (Some(Code::NotFound), true));
        sign_off(store, &actor);
        relocate(&from, &to).unwrap();
        assert!(exported(&to).contains(r#"\"reason\":\"dead\""#));
    }
}

#[test]
fn b7_a_session_that_signs_on_meanwhile_is_noticed() {
    let server = server!();
    let scratch = tempfile::tempdir().unwrap();
    for (from, to) in ways(&server, &scratch) {
        let store = made(&from);
        fill(&store);
        let mut late = None;
        let moved = transfer::relocate(&from, &to, &mut |progress| {
            if progress.step == Step::Arrived {
                late = Some(sign_on(&store, "late", "agent"));
            }
        });
        let Err(error) = moved else { panic!("the store was moved away from a live session") };
        assert_eq!(
            (error.code, &error.details["sessions"]),
            (Code::LiveSessions, &json!(["late"]))
        );
        // The old store goes on; what arrived is closed.
        let late = late.unwrap();
        does(&store, &late, "data.put", &json!({"scope": "s", "key": "k", "value": 1}));
        assert_eq!(code(&to), Some(Code::StoreMissing));
        assert_eq!(failure(&to).unwrap().details["arriving_from"], json!(from.to_string()));
        sign_off(&store, &late);
        relocate(&from, &to).unwrap();
        let got = does(&opened(&to), &late, "data.get", &json!({"scope": "s", "key": "k"}));
        assert_eq!(got["value"], json!(1));
    }
}

#[test]
fn b7_what_is_written_meanwhile_is_carried_too() {
    let server = server!();
    let scratch = tempfile::tempdir().unwrap();
    for (from, to) in ways(&server, &scratch) {
        let store = made(&from);
        fill(&store);
        let mut copies = 0;
        transfer::relocate(&from, &to, &mut |progress| {
            if progress.step == Step::Arrived {
                copies += 1;
                if copies == 1 {
                    let actor = sign_on(&store, "brief", "agent");
                    let put = json!({"scope": "s", "key": "brief", "value": 7});
                    does(&store, &actor, "data.put", &put);
                    sign_off(&store, &actor);
                }
            }
        })
        .unwrap();
        let store = opened(&to);
        let actor = sign_on(&store, "next", "agent");
        let got = does(&store, &actor, "data.get", &json!({"scope": "s", "key": "brief"}));
        assert_eq!((got["value"].clone(), copies), (json!(7), 2));
    }
}

#[test]
fn a_store_that_is_written_to_all_the_time_stays() {
    let scratch = tempfile::tempdir().unwrap();
    let (from, to) = (file(&scratch, "a"), file(&scratch, "b"));
    let store = made(&from);
    fill(&store);
    let moved = transfer::relocate(&from, &to, &mut |progress| {
        if progress.step == Step::Arrived {
            let actor = sign_on(&store, "busy", "agent");
            sign_off(&store, &actor);
        }
    });
    assert_eq!(moved.unwrap_err().code, Code::Busy);
    assert!(failure(&from).is_none() && code(&to) == Some(Code::StoreMissing));
}

#[test]
fn a_large_store_moves_in_pages() {
    const BATCH: u64 = 125;
    let server = server!();
    let events: u64 = std::env::var("COTENANT_TEST_EVENTS")
        .map_or(20_000, |text| text.parse().expect("a number of events"));
    let scratch = tempfile::tempdir().unwrap();
    let (home, away, last) = (file(&scratch, "a"), project(&server), file(&scratch, "b"));
    let store = made(&home);
    let actor = sign_on(&store, "writer", "agent");
    for batch in 0..events.div_ceil(BATCH) {
        let requests = (0..BATCH).map(|number| {
            let payload = json!({"message": format!("event {number} of batch {batch}"), "more": "x".repeat(80)});
            let append = json!({"kind": "user.note", "scope": "log", "payload": payload});
            request(&actor, "event.append", &append)
        });
        let outcomes = (&store as &dyn Store).submit(requests.collect());
        assert!(outcomes.iter().all(Result::is_ok));
    }
    sign_off(&store, &actor);
    for (from, to) in [(&home, &away), (&away, &last)] {
        let began = std::time::Instant::now();
        let mut steps = 0;
        let moved = transfer::relocate(from, to, &mut |_| steps += 1).unwrap();
        println!("{} events from {from} in {:.1?}", moved.events_checked, began.elapsed());
        assert!(moved.events_checked > events && steps > events / 1_000);
        assert_eq!(code(from), Some(Code::StoreForeign));
    }
    let verify = cotenant_core::event::Verify::default();
    let store = opened(&last);
    let verified = (&store as &dyn Store).call(&verify, |request| request).unwrap().answer;
    assert!(verified.ok && verified.checked > events, "{verified:?}");
}
