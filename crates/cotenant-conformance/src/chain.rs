//! Sections 9.2 and 9.5 to 9.7: the hash chain, erasing and pruning.

use cotenant_core::{
    Code,
    clock::DAY,
    event::{
        Append, Commit, Cursor, Event, Hash, Header, Prune, Read, Redact, Verify, chain_hash, hex,
    },
    id::{Rev, Seq},
    json::Json,
};
use serde_json::json;

use crate::{
    Bench,
    ask::{Agent, count, event, head, head_seq, log, log_after, must, refuses, succeeds},
    sample::{acquire, claim, delete, note, put, put_expecting, read, sign_off},
};

cases! {
    e4_every_hash_follows_from_the_one_before,
    e4_the_same_payload_has_another_digest_each_time,
    e4_a_chain_verifies_and_counts,
    e4_verify_finds_that_the_log_was_cut,
    e5_redaction_erases_every_byte,
    e5_a_redacted_event_keeps_its_place_in_the_chain,
    e5_the_author_or_a_person_redacts,
    e6_pruning_removes_the_oldest_and_keeps_the_chain,
    e6_a_cursor_of_pruned_events_is_refused,
    e6_pruning_stops_at_a_consumer_unless_forced,
    e6_a_consumer_that_was_not_seen_for_7_days_does_not_count,
    e6_only_people_prune,
}

fn bytes(hex: &str) -> Hash {
    let mut bytes = [0; 32];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).expect("two digits");
    }
    bytes
}

/// The hash that an event must have behind another one.
fn follows(before: &Event, event: &Event) -> String {
    let header = Header {
        seq: event.seq.0,
        at: &event.at,
        tick: event.tick.0,
        kind: &event.kind,
        scope: &event.scope,
        session: &event.session,
        name: &event.name,
        user: &event.user,
        trust: &event.trust,
        writer_version: &event.writer_version,
    };
    hex(&chain_hash(&bytes(&before.hash), &header, &bytes(&event.payload_digest)))
}

fn check_chain(events: &[Event]) {
    for pair in events.windows(2) {
        assert_eq!(pair[1].hash, follows(&pair[0], &pair[1]), "at {}", pair[1].seq);
    }
}

fn redact(seq: Seq) -> Redact {
    Redact { seq, reason: "a secret".into() }
}

fn prune(before: i64) -> Prune {
    Prune { before: Seq(before), force: false }
}

fn commit(cursor: &str) -> Commit {
    Commit { consumer: "mail".into(), cursor: Some(cursor.into()) }
}

fn e4_every_hash_follows_from_the_one_before(bench: &dyn Bench) {
    let (a, person) = (Agent::new(bench, "a"), Agent::human(bench, "person"));
    a.must(&put("s", "k", "1"));
    a.must(&acquire("r"));
    bench.advance(DAY / 2);
    a.must(&claim(&["issue:1", "issue:2"]));
    person.must(&note("é"));
    a.must(&delete("s", "k"));
    a.must(&sign_off());
    let events = log(bench);
    assert!(events.len() > 8);
    check_chain(&events);
    assert_eq!(events.last().map(|event| &event.hash), Some(&head(bench).hash));
}

fn e4_the_same_payload_has_another_digest_each_time(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let (one, other) = (a.must(&note("x")).seq, a.must(&note("x")).seq);
    let (one, other) = (event(bench, one), event(bench, other));
    assert_eq!(one.payload, other.payload);
    assert_ne!(one.payload_digest, other.payload_digest, "a digest without a salt can be guessed");
}

fn e4_a_chain_verifies_and_counts(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    for number in 0..10 {
        a.must(&note(&number.to_string()));
    }
    let verified = must(bench, &Verify::default());
    assert!(verified.ok, "{verified:?}");
    assert_eq!(verified.checked, log(bench).len() as u64);
    assert_eq!((verified.first_bad, verified.why), (None, None));
}

fn e4_verify_finds_that_the_log_was_cut(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    a.must(&note("x"));
    let kept = head(bench).cursor;
    a.must(&note("y"));
    let verify = |head: String| must(bench, &Verify { head: Some(head) });
    assert!(verify(kept.clone()).ok);
    assert!(verify(head(bench).cursor).ok);
    let Ok(Cursor::At { history, seq, hash8 }) = kept.parse() else { panic!("{kept}") };
    let ahead = Cursor::At { history: history.clone(), seq: Seq(seq.0 + 100), hash8 };
    let cut = verify(ahead.to_string());
    assert!(!cut.ok && cut.why.is_some(), "{cut:?}");
    let other = Cursor::At { history, seq, hash8: "00000000".into() };
    let changed = verify(other.to_string());
    assert!(!changed.ok && changed.why.is_some(), "{changed:?}");
}

fn contains(bench: &dyn Bench, needle: &str) -> Option<bool> {
    let bytes = bench.raw_bytes()?;
    Some(bytes.windows(needle.len()).any(|window| window == needle.as_bytes()))
}

fn e5_redaction_erases_every_byte(bench: &dyn Bench) {
    const SECRET: &str = "hunter2-8b1f0c9d-in-an-event";
    let a = Agent::new(bench, "a");
    let padding = "x".repeat(20_000);
    let payload = json!({"said": SECRET, "padding": padding});
    let append = Append { payload: Json::of(&payload), ..note("x") };
    let reply = succeeds(a.send(a.request(append).id("r1")), "the event");
    a.must(&note("another"));
    assert_ne!(contains(bench, SECRET), Some(false), "the bench shows what the store keeps");
    assert!(!a.must(&redact(reply.seq)).already);
    assert_ne!(contains(bench, SECRET), Some(true), "the secret is still there");
    let text = Json::of(&log(bench));
    assert!(!text.text().contains(SECRET));
}

fn e5_a_redacted_event_keeps_its_place_in_the_chain(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let seq = a.must(&note("a secret")).seq;
    a.must(&note("later"));
    let before = event(bench, seq);
    a.must(&redact(seq));
    let after = event(bench, seq);
    assert_eq!(after, Event { payload: None, ..before });
    let last = log(bench).pop().expect("an event");
    assert_eq!(last.kind, "event.redacted");
    assert!(must(bench, &Verify::default()).ok);
    check_chain(&log(bench));
    let before = head_seq(bench);
    assert!(a.must(&redact(seq)).already);
    assert_eq!(head_seq(bench), before);
}

fn e5_the_author_or_a_person_redacts(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let person = Agent::human(bench, "person");
    let (one, other) = (a.must(&note("one")).seq, a.must(&note("other")).seq);
    b.refused(&redact(one), Code::Forbidden);
    assert!(event(bench, one).payload.is_some());
    a.must(&redact(one));
    person.must(&redact(other));
    person.refused(&redact(Seq(head_seq(bench) + 1)), Code::NotFound);
    person.refused(&redact(Seq(0)), Code::NotFound);
}

fn e6_pruning_removes_the_oldest_and_keeps_the_chain(bench: &dyn Bench) {
    let (a, person) = (Agent::new(bench, "a"), Agent::human(bench, "person"));
    let rev = a.must(&put("s", "k", "1")).rev;
    for number in 0..20 {
        a.must(&note(&number.to_string()));
    }
    let before = log(bench);
    let pruned = person.must(&prune(11));
    assert_eq!((pruned.removed, pruned.oldest), (10, Seq(11)));
    let after = log(bench);
    assert_eq!(after[..before.len() - 10], before[10..]);
    let verified = must(bench, &Verify::default());
    assert!(verified.ok && verified.checked == after.len() as u64, "{verified:?}");
    check_chain(&after);
    let again = person.must(&prune(11));
    assert_eq!((again.removed, again.oldest), (0, Seq(11)));
    let Rev(rev) = rev;
    assert!(rev < 11, "the key outlives its event");
    a.must(&put_expecting("s", "k", "2", rev));
}

fn e6_a_cursor_of_pruned_events_is_refused(bench: &dyn Bench) {
    let (a, person) = (Agent::new(bench, "a"), Agent::human(bench, "person"));
    let mut cursors = vec![head(bench).cursor];
    for number in 0..10 {
        a.must(&note(&number.to_string()));
        cursors.push(head(bench).cursor);
    }
    let oldest = person.must(&prune(head_seq(bench) - 3)).oldest;
    let at = |cursor: &str| match cursor.parse() {
        Ok(Cursor::At { seq, .. }) => seq.0,
        other => panic!("{other:?}"),
    };
    for cursor in &cursors {
        if at(cursor) + 1 < oldest.0 {
            let error = refuses(bench, &read(cursor), Code::Compacted);
            assert_eq!(error.details["oldest"], json!(oldest));
        } else {
            let next = must(bench, &Read { limit: 1, ..read(cursor) }).events;
            assert_eq!(next[0].seq.0, at(cursor) + 1, "nothing is missing behind {cursor}");
        }
    }
    assert!(cursors.iter().any(|cursor| at(cursor) + 1 == oldest.0));
    let last_pruned = cursors.iter().find(|cursor| at(cursor) + 1 == oldest.0).expect("a cursor");
    let Ok(Cursor::At { history, seq, .. }) = last_pruned.parse() else { panic!("{last_pruned}") };
    let forged = Cursor::At { history, seq, hash8: "00000000".into() };
    refuses(bench, &read(&forged.to_string()), Code::HistoryChanged);
    assert_eq!(must(bench, &Read { limit: 1, ..read("start") }).events[0].seq, oldest);
}

fn e6_pruning_stops_at_a_consumer_unless_forced(bench: &dyn Bench) {
    let (a, person) = (Agent::new(bench, "a"), Agent::human(bench, "person"));
    let cursor = head(bench).cursor;
    a.must(&commit(&cursor));
    let unread: Vec<_> = (0..10).map(|n| a.must(&note(&n.to_string())).seq).collect();
    person.refused(&prune(unread[5].0), Code::CursorBehind);
    let seen: Vec<_> = log_after(bench, &cursor).iter().map(|event| event.seq).collect();
    assert!(seen.starts_with(&unread), "the consumer finds all it has not read");
    person.must(&prune(unread[0].0));
    assert_eq!(log(bench).first().map(|event| event.seq), Some(unread[0]));
    let forced = person.must(&Prune { force: true, ..prune(unread[5].0) });
    assert_eq!(forced.oldest, unread[5]);
    refuses(bench, &read(&cursor), Code::Compacted);
    let stands = Commit { cursor: None, ..commit(&cursor) };
    let error = a.refused(&stands, Code::Compacted);
    assert_eq!(error.details["oldest"], json!(unread[5]));
}

fn e6_a_consumer_that_was_not_seen_for_7_days_does_not_count(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let cursor = head(bench).cursor;
    a.must(&commit(&cursor));
    let unread: Vec<_> = (0..10).map(|n| a.must(&note(&n.to_string())).seq).collect();
    bench.advance(6 * DAY);
    let person = Agent::human(bench, "person");
    person.refused(&prune(unread[5].0), Code::CursorBehind);
    bench.advance(2 * DAY);
    let later = Agent::human(bench, "later");
    assert_eq!(later.must(&prune(unread[5].0)).oldest, unread[5]);
}

fn e6_only_people_prune(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    a.must(&note("x"));
    let before = log(bench);
    a.refused(&prune(2), Code::Forbidden);
    a.refused(&Prune { force: true, ..prune(2) }, Code::Forbidden);
    assert_eq!(log(bench), before);
    assert_eq!(count(bench, "user.note"), 1);
}
