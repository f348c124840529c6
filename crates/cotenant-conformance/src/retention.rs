//! Section 13: what sessions leave behind that ended long ago.

use std::collections::BTreeSet;

use cotenant_core::{
    Code,
    clock::{DAY, HOUR},
    data::Put,
    event::Commit,
    lease::Acquire,
    name::SessionRef,
    retention::{Leftovers, RemoveLeftovers},
    session::{Relation, SignOn},
};

use crate::{
    Bench,
    ask::{Agent, head, head_seq, must, refuses},
    sample::{
        acquire, claim, every_session, get, leftovers, note, put, remove_leftovers, show, sign_off,
        sign_on,
    },
};

cases! {
    r1_only_sessions_that_ended_long_ago_go,
    r1_those_that_others_came_from_stay,
    r1_a_name_that_lives_on_keeps_its_keys,
    r1_what_was_written_since_stays,
    r1_readers_that_are_still_there_stay,
    r2_what_is_listed_is_what_goes,
    r2_removal_goes_on_page_by_page,
    r3_the_log_tells_what_went,
    only_a_person_removes,
}

fn names(bench: &dyn Bench) -> BTreeSet<String> {
    let sessions = must(bench, &every_session()).sessions;
    sessions.into_iter().map(|session| session.name).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Removes page by page and answers the names of those that went.
fn remove(person: &Agent<'_>, days: u64, limit: u32) -> Vec<String> {
    let mut gone = Vec::new();
    let mut after = None;
    loop {
        let page = person.must(&RemoveLeftovers { after, limit, ..remove_leftovers(days) });
        assert!(page.sessions.len() <= limit as usize);
        gone.extend(page.sessions.into_iter().map(|session| session.name));
        after = page.next;
        if after.is_none() {
            return gone;
        }
    }
}

fn listed(found: &Leftovers) -> Vec<String> {
    found.sessions.iter().map(|session| session.name.clone()).collect()
}

fn child_of<'a>(bench: &'a dyn Bench, name: &str, parent: &str) -> Agent<'a> {
    Agent::on(
        bench,
        &SignOn {
            parent: Some(SessionRef(parent.into())),
            relation: Some(Relation::Spawn),
            ttl_ms: Some(DAY),
            ..sign_on(name)
        },
    )
}

fn r1_only_sessions_that_ended_long_ago_go(bench: &dyn Bench) {
    let (ended, _lost) = (Agent::new(bench, "ended"), Agent::new(bench, "lost"));
    ended.must(&claim(&["issue:1"]));
    ended.must(&sign_off());
    bench.advance(20 * DAY);
    let recent = Agent::new(bench, "recent");
    recent.must(&acquire("r"));
    recent.must(&sign_off());
    bench.advance(15 * DAY);
    let person = Agent::human(bench, "person");
    let gone = remove(&person, 30, 256);
    assert_eq!(gone, ["lost", "ended"], "the newest first");
    assert_eq!(names(bench), set(&["recent", "person"]));
    refuses(bench, &show("ended"), Code::NotFound);
    // The name is free, and begins anew.
    let again = must(bench, &sign_on("ended"));
    assert_eq!((again.existing, again.parent), (false, None));
    assert!(remove(&person, 30, 256).is_empty(), "there is nothing left to remove");
}

fn r1_those_that_others_came_from_stay(bench: &dyn Bench) {
    for name in ["root", "dead-root"] {
        Agent::new(bench, name);
    }
    child_of(bench, "middle", "root");
    child_of(bench, "dead-leaf", "dead-root");
    child_of(bench, "side", "root");
    let leaf = child_of(bench, "leaf", "middle");
    for _ in 0..40 {
        bench.advance(DAY - HOUR);
        leaf.must(&note("here"));
    }
    let person = Agent::human(bench, "person");
    assert_eq!(must(bench, &leftovers(30)).kept, 2);
    assert_eq!(remove(&person, 30, 256), ["side", "dead-leaf", "dead-root"]);
    assert_eq!(names(bench), set(&["root", "middle", "leaf", "person"]));
    assert_eq!(
        must(bench, &show("leaf")).session.parent,
        Some(must(bench, &show("middle")).session.session)
    );
}

fn r1_a_name_that_lives_on_keeps_its_keys(bench: &dyn Bench) {
    let first = Agent::new(bench, "a");
    first.must(&put("session:a", "notes", "1"));
    first.must(&put("project", "notes", "1"));
    Agent::new(bench, "b").must(&put("session:b", "notes", "1"));
    first.must(&sign_off());
    bench.advance(40 * DAY);
    Agent::new(bench, "a");
    let person = Agent::human(bench, "person");
    assert_eq!(remove(&person, 30, 256), ["b"], "the new `a` came from the old one");
    must(bench, &get("session:a", "notes"));
    must(bench, &get("project", "notes"));
    refuses(bench, &get("session:b", "notes"), Code::NotFound);
}

fn r1_what_was_written_since_stays(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    for key in ["old", "new"] {
        a.must(&put("session:a", key, "1"));
    }
    a.must(&put("session:a/below", "k", "1"));
    bench.advance(40 * DAY);
    let person = Agent::human(bench, "person");
    person.must(&put("session:a", "new", "2"));
    person.must(&Put { ttl_ms: Some(DAY), ..put("session:a", "brief", "3") });
    let removed = person.must(&remove_leftovers(30));
    assert_eq!((removed.sessions[0].keys, removed.next), (1, None));
    refuses(bench, &get("session:a", "old"), Code::NotFound);
    for (scope, key) in [("session:a", "new"), ("session:a", "brief"), ("session:a/below", "k")] {
        must(bench, &get(scope, key));
    }
}

fn r1_readers_that_are_still_there_stay(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let cursor = head(bench).cursor;
    let commit =
        |consumer: &str| Commit { consumer: consumer.into(), cursor: Some(cursor.clone()) };
    let stands = |consumer: &str| Commit { cursor: None, ..commit(consumer) };
    a.must(&commit("gone"));
    a.must(&acquire("r"));
    bench.advance(40 * DAY);
    let person = Agent::human(bench, "person");
    person.must(&commit("there"));
    assert_eq!(must(bench, &leftovers(30)).consumers, 1);
    assert_eq!(person.must(&remove_leftovers(30)).consumers, 1);
    person.must(&stands("there"));
    assert_eq!(must(bench, &leftovers(30)).consumers, 0);
}

fn r2_what_is_listed_is_what_goes(bench: &dyn Bench) {
    let old: Vec<_> = (0..5).map(|n| Agent::new(bench, &format!("s{n}"))).collect();
    for (number, agent) in old.iter().enumerate() {
        for key in 0..number {
            agent.must(&put(&format!("session:s{number}"), &format!("k{key}"), "1"));
        }
    }
    let holder = Agent::brief(bench, "holder", DAY);
    holder.must(&Acquire { ttl_ms: DAY, ..acquire("r") });
    child_of(bench, "child", "s1");
    bench.advance(40 * DAY);
    let person = Agent::human(bench, "person");
    let before = head_seq(bench);
    let found = must(bench, &leftovers(30));
    assert_eq!(head_seq(bench), before, "a list changes nothing");
    assert_eq!((found.sessions_all, found.keys, found.kept), (7, 10, 0));
    let short = must(bench, &cotenant_core::retention::ListLeftovers { limit: 2, ..leftovers(30) });
    assert_eq!((short.sessions.len(), short.sessions_all), (2, 7));
    assert!(found.sessions.iter().all(|session| session.heartbeat_age_ms >= 30 * DAY));
    assert_eq!(remove(&person, 30, 256), listed(&found));
    assert_eq!(must(bench, &leftovers(30)).sessions_all, 0);
}

fn r2_removal_goes_on_page_by_page(bench: &dyn Bench) {
    for number in 0..10 {
        Agent::new(bench, &format!("s{number}"));
    }
    bench.advance(40 * DAY);
    let person = Agent::human(bench, "person");
    let expected: Vec<_> = (0..10).rev().map(|number| format!("s{number}")).collect();
    assert_eq!(remove(&person, 30, 3), expected);
    assert_eq!(names(bench), set(&["person"]));
}

fn r3_the_log_tells_what_went(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    a.must(&put("session:a", "k", "1"));
    bench.advance(40 * DAY);
    let person = Agent::human(bench, "person");
    let before = head(bench).cursor;
    person.must(&remove_leftovers(30));
    let events = must(bench, &crate::sample::read(&before)).events;
    let told: Vec<_> =
        events.iter().map(|event| (&*event.kind, &*event.scope, &*event.name)).collect();
    assert_eq!(
        told,
        [("data.deleted", "session:a", "person"), ("session.forgotten", "session:a", "person")]
    );
    let all = must(bench, &crate::sample::read("start")).events;
    assert_eq!(all[0].name, "a", "no event went");
}

fn only_a_person_removes(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    a.refused(&remove_leftovers(30), Code::Forbidden);
    must(bench, &leftovers(30));
}
