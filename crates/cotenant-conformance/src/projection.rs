//! Section 17: the conventional keys of plain data show what the operations know.

use cotenant_core::Code;

use crate::{
    Bench,
    ask::{Agent, must, refuses},
    sample::{acquire, claim, delete, get, put, release, scopes, sign_off, unclaim},
};

cases! {
    s17_a_claim_is_readable_as_keys_of_its_issue,
    s17_a_lease_is_readable_as_keys_of_its_lock,
    s17_a_session_is_readable_as_keys,
    s17_what_is_stored_by_hand_is_shown_instead,
    s17_projected_scopes_are_listed,
    s17_a_claim_warns_of_another_that_is_kept_by_hand,
}

fn text(bench: &dyn Bench, scope: &str, key: &str) -> String {
    let value = must(bench, &get(scope, key)).value.value().expect("valid JSON");
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A local time without a zone, such as `2026-11-20T14:30:00`, perhaps with a fraction.
fn is_local_time(text: &str) -> bool {
    let shape = b"dddd-dd-ddTdd:dd:dd";
    let fits = text.bytes().zip(shape).all(|(byte, wanted)| match wanted {
        b'd' => byte.is_ascii_digit(),
        other => byte == *other,
    });
    let rest = text.get(shape.len()..).unwrap_or("Z");
    let fraction = rest.strip_prefix('.').is_some_and(|digits| {
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    });
    fits && (rest.is_empty() || fraction)
}

fn s17_a_claim_is_readable_as_keys_of_its_issue(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    refuses(bench, &get("issue:15", "claimed_by"), Code::NotFound);
    a.must(&claim(&["issue:15"]));
    assert_eq!(text(bench, "issue:15", "claimed_by"), "a");
    let at = text(bench, "issue:15", "claimed_at");
    assert!(is_local_time(&at), "{at}");
    assert_eq!(text(bench, "session:a", "current_issue"), "15");
    a.must(&unclaim(&["issue:15"]));
    refuses(bench, &get("issue:15", "claimed_by"), Code::NotFound);
}

fn s17_a_lease_is_readable_as_keys_of_its_lock(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let fence = a.must(&acquire("migration")).fence;
    assert_eq!(text(bench, "locks:migration", "locked_by"), "a");
    let at = text(bench, "locks:migration", "locked_at");
    assert!(is_local_time(&at), "{at}");
    a.must(&release("migration", fence));
    refuses(bench, &get("locks:migration", "locked_by"), Code::NotFound);
}

fn s17_a_session_is_readable_as_keys(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    assert_eq!(text(bench, "session:a", "status"), "active");
    let at = text(bench, "session:a", "last_heartbeat");
    assert!(is_local_time(&at), "{at}");
    refuses(bench, &get("session:nobody", "status"), Code::NotFound);
    a.must(&sign_off());
    let listed = must(bench, &scopes("session:*")).scopes;
    assert!(!listed.contains(&"session:a".to_owned()));
}

fn s17_what_is_stored_by_hand_is_shown_instead(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    a.must(&put("session:a", "status", "\"thinking\""));
    assert_eq!(text(bench, "session:a", "status"), "thinking");
    a.must(&delete("session:a", "status"));
    assert_eq!(text(bench, "session:a", "status"), "active");
}

fn s17_projected_scopes_are_listed(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    a.must(&claim(&["issue:15", "branch:x"]));
    a.must(&acquire("migration"));
    let b = Agent::new(bench, "b");
    b.must(&put("session:b", "note", "1"));
    assert_eq!(must(bench, &scopes("session:*")).scopes, ["session:a", "session:b"]);
    assert_eq!(must(bench, &scopes("issue:*")).scopes, ["issue:15"]);
    assert_eq!(must(bench, &scopes("locks:*")).scopes, ["locks:migration"]);
    assert!(must(bench, &scopes("branch:*")).scopes.is_empty());
}

fn s17_a_claim_warns_of_another_that_is_kept_by_hand(bench: &dyn Bench) {
    let (ada, bob) = (Agent::new(bench, "ada-1"), Agent::new(bench, "bob-1"));
    ada.must(&put("issue:15", "claimed_by", "\"ada-1\""));
    let warnings = bob.must(&claim(&["issue:15"])).warnings;
    assert!(warnings.len() == 1 && warnings[0].contains("ada-1"), "{warnings:?}");
    ada.must(&put("issue:16", "claimed_by", "\"bob-1\""));
    assert!(bob.must(&claim(&["issue:16"])).warnings.is_empty(), "its own is no warning");
    ada.must(&put("issue:17", "claimed_by", "\"nobody\""));
    assert!(bob.must(&claim(&["issue:17"])).warnings.is_empty(), "nobody is no session");
}
