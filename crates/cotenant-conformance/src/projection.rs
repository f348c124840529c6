//! Section 17: conventional keys that nobody stored show what operations did.

use cotenant_core::{
    Code,
    claim::{Claim, Mode},
    clock::{DAY, MINUTE},
    data::{Change, Entry, List, ListScopes},
    json::Json,
    lease::Acquire,
    progress::SetProgress,
};
use serde_json::{Value, json};

use crate::{
    Bench,
    ask::{Agent, head_seq, must, refuses},
    sample::{
        accept, acquire, claim, delete, delete_scope, get, list, offer, offer_items, progress, put,
        put_expecting, release, scopes, sign_off, unclaim, update, who,
    },
};

cases! {
    k6_a_live_session_shows_its_status_and_its_newest_issue,
    k6_a_claim_shows_in_its_issue,
    k6_a_lease_without_a_free_slot_shows_in_its_lock,
    k6_what_is_lost_or_ended_shows_nothing,
    k6_a_report_of_progress_shows_in_its_issue,
    k6_the_newest_open_offer_shows_in_its_issue,
    k6_who_left_an_offer_is_ready_for_a_handoff,
    k6_times_are_local_without_a_zone,
    k7_what_is_stored_wins,
    k7_a_projection_counts_as_absent_for_writes,
    k8_scopes_of_a_convention_are_listed_once_in_order,
    k8_other_patterns_find_what_is_stored,
    k9_deleting_a_projection_says_who_holds_and_ends_nothing,
}

fn entry(bench: &dyn Bench, scope: &str, key: &str) -> Entry {
    must(bench, &get(scope, key))
}

fn value(bench: &dyn Bench, scope: &str, key: &str) -> Value {
    entry(bench, scope, key).value.value().expect("valid JSON")
}

#[track_caller]
fn absent(bench: &dyn Bench, scope: &str, key: &str) {
    refuses(bench, &get(scope, key), Code::NotFound);
}

fn listed(bench: &dyn Bench, pattern: &str) -> Vec<String> {
    must(bench, &scopes(pattern)).scopes
}

fn k6_a_live_session_shows_its_status_and_its_newest_issue(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    assert_eq!(value(bench, "session:a", "status"), json!("active"));
    absent(bench, "session:a", "current_issue");
    a.must(&claim(&["issue:15"]));
    assert_eq!(value(bench, "session:a", "current_issue"), json!(15));
    a.must(&claim(&["issue:JIRA-7"]));
    assert_eq!(value(bench, "session:a", "current_issue"), json!("JIRA-7"));
    a.must(&Claim { mode: Mode::Advisory, ..claim(&["issue:16"]) });
    a.must(&unclaim(&["issue:JIRA-7"]));
    assert_eq!(value(bench, "session:a", "current_issue"), json!(15), "advice is no claim");
    a.must(&unclaim(&["issue:15"]));
    absent(bench, "session:a", "current_issue");
    for (scope, key) in [("session:a", "other"), ("session:b", "status"), ("s:a", "status")] {
        absent(bench, scope, key);
    }
}

fn k6_a_claim_shows_in_its_issue(bench: &dyn Bench) {
    let (a, person) = (Agent::new(bench, "a"), Agent::human(bench, "person"));
    person.must(&Claim { mode: Mode::Advisory, ..claim(&["issue:15"]) });
    absent(bench, "issue:15", "claimed_by");
    a.must(&claim(&["issue:15"]));
    let seen = entry(bench, "issue:15", "claimed_by");
    assert_eq!(seen.value.text(), "\"a\"");
    assert_eq!((&*seen.writer, &*seen.trust), ("a", "agent"));
    assert_eq!((seen.rev.0, seen.ver, seen.projected), (0, 0, true));
    assert_eq!(seen.at, must(bench, &who("issue:15")).holdings[0].since);
    assert_eq!(value(bench, "issue:15", "current_session"), json!("a"));
    absent(bench, "issue:1", "claimed_by");
    a.must(&unclaim(&["issue:15"]));
    for key in ["claimed_by", "claimed_at", "current_session"] {
        absent(bench, "issue:15", key);
    }
    person.must(&claim(&["issue:x/y"]));
    assert_eq!(entry(bench, "issue:x/y", "claimed_by").trust, "human");
}

fn k6_a_lease_without_a_free_slot_shows_in_its_lock(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    absent(bench, "locks:r", "locked_by");
    let grant = a.must(&acquire("r"));
    assert_eq!(value(bench, "locks:r", "locked_by"), json!("a"));
    absent(bench, "locks:r", "status");
    a.must(&release("r", grant.fence));
    absent(bench, "locks:r", "locked_by");
    // A lease may be called like the scope.
    b.must(&acquire("locks:r"));
    assert_eq!(value(bench, "locks:r", "locked_by"), json!("b"));
    let two = Acquire { slots: Some(2), ..acquire("two") };
    a.must(&two);
    absent(bench, "locks:two", "locked_by");
    b.must(&two);
    assert_eq!(value(bench, "locks:two", "locked_by"), json!("a"));
    bench.advance(2 * MINUTE);
    absent(bench, "locks:two", "locked_by");
}

fn k6_what_is_lost_or_ended_shows_nothing(bench: &dyn Bench) {
    let (ended, lost) = (Agent::new(bench, "ended"), Agent::brief(bench, "lost", MINUTE));
    ended.must(&claim(&["issue:1"]));
    ended.must(&sign_off());
    lost.must(&claim(&["issue:2"]));
    lost.must(&Acquire { ttl_ms: 60 * MINUTE, ..acquire("r") });
    assert_eq!(value(bench, "session:lost", "status"), json!("active"));
    bench.advance(2 * MINUTE);
    // Nobody has settled it, and it holds nothing any more all the same.
    for (scope, key) in [
        ("session:ended", "status"),
        ("issue:1", "claimed_by"),
        ("session:lost", "status"),
        ("session:lost", "last_heartbeat"),
        ("session:lost", "current_issue"),
        ("issue:2", "claimed_by"),
        ("locks:r", "locked_by"),
    ] {
        absent(bench, scope, key);
    }
    for pattern in ["session:*", "issue:*", "locks:*"] {
        assert!(listed(bench, pattern).is_empty(), "{pattern}");
    }
}

fn k6_a_report_of_progress_shows_in_its_issue(bench: &dyn Bench) {
    let (a, person) = (Agent::new(bench, "a"), Agent::human(bench, "person"));
    a.must(&progress("issue:1", "analysis", 25));
    absent(bench, "issue:15", "progress");
    a.must(&progress("issue:15", "analysis", 25));
    let message = Some("Writing tests".to_owned());
    person.must(&SetProgress { message, ..progress("issue:15", "testing", 75) });
    let seen = entry(bench, "issue:15", "progress");
    assert_eq!((&*seen.writer, &*seen.trust, seen.projected), ("person", "human", true));
    let mut report = seen.value.value().expect("valid JSON");
    let local = report["updated_at"].take();
    let (local, utc) = (local.as_str().expect("a time"), seen.at.trim_end_matches('Z'));
    assert_eq!((local.len(), &local[17..]), (utc.len(), &utc[17..]), "local, without a zone");
    let told = json!({"phase": "testing", "percent": 75, "message": "Writing tests",
        "updated_at": null, "updated_by": "person"});
    assert_eq!(report, told);
    person.must(&sign_off());
    assert_eq!(value(bench, "issue:15", "progress")["phase"], json!("testing"), "it outlives");
    let deleted = a.must(&delete("issue:15", "progress"));
    assert_eq!((deleted.existed, deleted.held_by), (false, None));
    assert_eq!(value(bench, "issue:15", "progress")["percent"], json!(75));
}

fn k6_the_newest_open_offer_shows_in_its_issue(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    a.must(&claim(&["issue:15", "issue:16"]));
    let text =
        r#"{"phase":"testing","next_steps":["Run tests"],"handoff_at":"yesterday","issue":7}"#;
    let held = offer_items(vec!["issue:15"], Some(Json::stored(text.into())));
    let first = a.must(&held).offer;
    let seen = entry(bench, "issue:15", "handoff");
    assert_eq!((&*seen.writer, &*seen.trust, seen.projected), ("a", "agent", true));
    let told = json!({"from_session": "a", "phase": "testing", "next_steps": ["Run tests"],
        "handoff_at": "yesterday", "issue": 7});
    assert_eq!(seen.value.value().expect("valid JSON"), told);
    // What the payload is about needs not be held.
    assert_eq!(value(bench, "issue:7", "handoff"), told);
    for scope in ["issue:16", "issue:1", "session:a"] {
        absent(bench, scope, "handoff");
    }
    for named in [r#"{"issue":"15","n":2}"#, r#"{"issue":"issue:15","n":3}"#] {
        a.must(&offer_items(vec![], Some(Json::stored(named.into()))));
    }
    assert_eq!(value(bench, "issue:15", "handoff")["n"], json!(3), "the newest");
    let deleted = b.must(&delete("issue:15", "handoff"));
    assert_eq!((deleted.existed, deleted.held_by), (false, None));
    a.must(&sign_off());
    assert_eq!(value(bench, "issue:15", "handoff")["n"], json!(3), "it outlives");
    b.must(&accept(first));
    absent(bench, "issue:7", "handoff");
    bench.advance(DAY);
    absent(bench, "issue:15", "handoff");
}

fn k6_who_left_an_offer_is_ready_for_a_handoff(bench: &dyn Bench) {
    let [a, b, c] = ["a", "b", "c"].map(|name| Agent::new(bench, name));
    a.must(&claim(&["issue:15"]));
    let offered = a.must(&offer(&["issue:15"])).offer;
    assert_eq!(value(bench, "session:a", "status"), json!("active"), "it is still there");
    a.must(&sign_off());
    c.must(&sign_off());
    assert_eq!(value(bench, "session:a", "status"), json!("handoff_ready"));
    for (scope, key) in
        [("session:a", "last_heartbeat"), ("session:a", "current_issue"), ("session:c", "status")]
    {
        absent(bench, scope, key);
    }
    assert_eq!(listed(bench, "session:*"), ["session:a", "session:b"]);
    assert_eq!(b.must(&delete_scope("session:a")).held_by, None);
    b.must(&accept(offered));
    absent(bench, "session:a", "status");
    assert_eq!(listed(bench, "session:*"), ["session:b"]);
    // A name that is used again is the new session's.
    let a = Agent::new(bench, "a");
    a.must(&offer_items(vec![], Some(Json::stored(r#"{"phase":"x"}"#.into()))));
    a.must(&sign_off());
    assert_eq!(value(bench, "session:a", "status"), json!("handoff_ready"));
    let _again = Agent::new(bench, "a");
    assert_eq!(value(bench, "session:a", "status"), json!("active"));
    assert_eq!(listed(bench, "session:*"), ["session:a", "session:b"]);
}

fn k6_times_are_local_without_a_zone(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    a.must(&claim(&["issue:15"]));
    a.must(&acquire("r"));
    for (scope, key) in
        [("session:a", "last_heartbeat"), ("issue:15", "claimed_at"), ("locks:r", "locked_at")]
    {
        let seen = entry(bench, scope, key);
        let Ok(Value::String(local)) = seen.value.value() else { panic!("{seen:?}") };
        let form: String =
            local.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(form, "0000-00-00T00:00:00.000", "{local}");
        // No zone changes the seconds; which hour it is here, the zone of this machine says.
        let utc = seen.at.strip_suffix('Z').expect("UTC");
        assert_eq!(local[17..], utc[17..], "{local} {utc}");
    }
}

fn k7_what_is_stored_wins(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    a.must(&claim(&["issue:15"]));
    b.must(&put("issue:15", "claimed_by", "\"b\""));
    let seen = entry(bench, "issue:15", "claimed_by");
    assert_eq!((seen.value.text(), &*seen.writer, seen.projected), ("\"b\"", "b", false));
    assert_eq!(value(bench, "issue:15", "current_session"), json!("a"), "that is not stored");
    b.must(&put("session:a", "status", "\"handoff_ready\""));
    assert_eq!(value(bench, "session:a", "status"), json!("handoff_ready"));
    b.must(&delete("issue:15", "claimed_by"));
    assert_eq!(value(bench, "issue:15", "claimed_by"), json!("a"));
    let only = List { exact: true, ..list("session:a") };
    let keys: Vec<String> = must(bench, &only).entries.into_iter().map(|entry| entry.key).collect();
    assert_eq!(keys, ["status"], "a list of keys is of what is stored");
}

fn k7_a_projection_counts_as_absent_for_writes(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    a.must(&claim(&["issue:15"]));
    let rev = entry(bench, "issue:15", "claimed_by").rev.0;
    let written = a.must(&put_expecting("issue:15", "claimed_by", "\"me\"", rev));
    assert_eq!((written.ver, written.overwrote), (1, None));
    a.must(&update("issue:15", "claimed_at", Change::Add(1)));
    assert_eq!(value(bench, "issue:15", "claimed_at"), json!(1));
}

fn k8_scopes_of_a_convention_are_listed_once_in_order(bench: &dyn Bench) {
    let agents: Vec<_> = ["d", "b", "f"].map(|name| Agent::new(bench, name)).into();
    for scope in ["session:a", "session:b", "session:b/x", "session:e", "issue:15", "locks:q"] {
        agents[0].must(&put(scope, "k", "1"));
    }
    let all = ["a", "b", "b/x", "d", "e", "f"].map(|name| format!("session:{name}"));
    assert_eq!(listed(bench, "session:*"), all);
    for limit in 1..=7 {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = must(bench, &ListScopes { after, limit, ..scopes("session:*") });
            assert!(page.scopes.len() <= limit as usize);
            seen.extend(page.scopes);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, all, "{limit} to a page");
    }
    assert_eq!(listed(bench, "session:b*"), all[1..=2]);
    assert_eq!(listed(bench, "session:*f"), all[5..]);
    agents[1].must(&claim(&["issue:1", "issue:15", "branch:x"]));
    agents[1].must(&Claim { mode: Mode::Advisory, ..claim(&["issue:2"]) });
    assert_eq!(listed(bench, "issue:*"), ["issue:1", "issue:15"]);
    agents[1].must(&progress("issue:1", "testing", 75));
    agents[0].must(&progress("issue:3", "complete", 100));
    agents[0].must(&progress("issues", "testing", 75));
    agents[1].must(&offer_items(vec!["issue:1"], Some(Json::stored(r#"{"issue":"4"}"#.into()))));
    agents[1].must(&offer_items(vec![], Some(Json::stored(r#"{"issue":"\n"}"#.into()))));
    assert_eq!(listed(bench, "issue:*"), ["issue:1", "issue:15", "issue:3", "issue:4"]);
    agents[2].must(&acquire("r"));
    agents[2].must(&acquire("locks:s"));
    agents[2].must(&Acquire { slots: Some(2), ..acquire("free") });
    assert_eq!(listed(bench, "locks:*"), ["locks:q", "locks:r", "locks:s"]);
    agents[0].must(&sign_off());
    assert_eq!(listed(bench, "session:d*"), Vec::<String>::new());
}

fn k8_other_patterns_find_what_is_stored(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    a.must(&claim(&["issue:15"]));
    a.must(&put("issue:1", "k", "1"));
    for pattern in ["*", "issue*", "*:1*"] {
        assert_eq!(listed(bench, pattern), ["issue:1"], "{pattern}");
    }
    assert_eq!(listed(bench, "issue:15"), ["issue:15"]);
}

fn k9_deleting_a_projection_says_who_holds_and_ends_nothing(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    a.must(&claim(&["issue:15"]));
    a.must(&acquire("r"));
    b.must(&put("session:a", "last_heartbeat", "\"2025-10-31T14:00:00\""));
    let before = head_seq(bench);
    let deleted = b.must(&delete("issue:15", "claimed_by"));
    assert_eq!((deleted.existed, deleted.held_by.as_deref()), (false, Some("a")));
    assert_eq!(b.must(&delete("issue:15", "notes")).held_by, None);
    let deleted = b.must(&delete_scope("locks:r"));
    assert_eq!((deleted.deleted, deleted.held_by.as_deref()), (0, Some("a")));
    assert_eq!(head_seq(bench), before, "nothing was done");
    let deleted = b.must(&delete_scope("session:a"));
    assert_eq!((deleted.deleted, deleted.held_by.as_deref()), (1, Some("a")));
    assert_eq!(value(bench, "issue:15", "claimed_by"), json!("a"));
    assert_eq!(value(bench, "locks:r", "locked_by"), json!("a"));
    b.refused(&claim(&["issue:15"]), Code::Claimed);
    assert_eq!(b.must(&delete("build", "color")).held_by, None);
}
