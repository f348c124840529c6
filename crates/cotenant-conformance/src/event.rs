//! Sections 9.1, 9.3 and 9.4: the log and its readers.

use std::thread;

use cotenant_core::{
    Code,
    clock::{MINUTE, SECOND},
    data::Put,
    event::{Append, Commit, Cursor, Event, Events, Prune, Read},
    id::{Rev, Seq},
    store::Request,
};

use crate::{
    Bench,
    ask::{
        Agent, answer, granted, head, head_seq, log, log_after, must, pending, refuses, succeeds,
    },
    sample::{json, newest, note, put, read, sign_off},
};

cases! {
    e1_the_log_has_no_gap_under_many_writers,
    e1_who_sees_an_event_sees_all_before_it,
    e2_a_cursor_goes_on_where_it_stopped,
    e2_start_and_head_are_cursors,
    e2_a_filter_skips_and_the_cursor_moves_on,
    e2_a_cursor_of_another_history_is_refused,
    e2_a_cursor_ahead_of_the_log_is_refused,
    e2_an_empty_page_keeps_the_place,
    e2_behind_the_newest_nothing_is_passed_over,
    the_newest_events_come_in_ascending_order,
    the_newest_events_are_those_that_match,
    the_newest_events_are_those_that_are_kept,
    an_event_is_kept_as_it_was_appended,
    kinds_of_operations_are_not_appended,
    a_watch_wakes_for_the_event_it_waits_for,
    a_watch_that_is_not_woken_ends_with_nothing,
    a_watch_answers_at_once_when_there_is_something,
    a_watch_for_the_newest_waits_if_there_is_none,
    a_consumer_commits_only_forward,
    a_consumer_commits_only_cursors_of_this_log,
}

fn append(kind: &str, scope: &str, payload: &str) -> Append {
    Append { kind: kind.into(), scope: scope.into(), payload: json(payload) }
}

fn seqs(events: &[Event]) -> Vec<i64> {
    events.iter().map(|event| event.seq.0).collect()
}

/// The cursor with one part replaced.
fn altered(cursor: &str, change: impl FnOnce(&mut String, &mut Seq, &mut String)) -> String {
    let Ok(Cursor::At { mut history, mut seq, mut hash8 }) = cursor.parse() else {
        panic!("`{cursor}` is not history.seq.hash8")
    };
    change(&mut history, &mut seq, &mut hash8);
    Cursor::At { history, seq, hash8 }.to_string()
}

fn e1_the_log_has_no_gap_under_many_writers(bench: &dyn Bench) {
    let agents: Vec<_> = (0..6).map(|n| Agent::new(bench, &format!("w{n}"))).collect();
    thread::scope(|scope| {
        for agent in &agents {
            scope.spawn(|| {
                let store = bench.second();
                for n in 0..10 {
                    let fails = n % 3 == 2;
                    let expect = fails.then_some(Rev(1));
                    let key = format!("{}-{n}", agent.name);
                    let put = Put { expect, ..put("s", &key, "1") };
                    let done = (*store).call(&put, |request| request.by(agent.actor()));
                    assert_eq!(done.is_err(), fails);
                }
            });
        }
    });
    let events = log(bench);
    let expected: Vec<i64> = (1..=head_seq(bench)).collect();
    assert_eq!(seqs(&events), expected);
    assert_eq!(events.iter().filter(|event| event.scope == "s").count(), 6 * 7);
}

fn e1_who_sees_an_event_sees_all_before_it(bench: &dyn Bench) {
    let agents: Vec<_> = (0..4).map(|n| Agent::new(bench, &format!("w{n}"))).collect();
    let wanted = head_seq(bench) + 40;
    thread::scope(|scope| {
        for agent in &agents {
            scope.spawn(|| {
                let store = bench.second();
                for _ in 0..10 {
                    let done = (*store).call(&note("x"), |request| request.by(agent.actor()));
                    granted::<Append, _>(done);
                }
            });
        }
        let reader = scope.spawn(|| {
            let (store, mut cursor, mut last) = (bench.second(), "start".to_owned(), 0);
            while last < wanted {
                let next = Read { wait_ms: Some(10 * SECOND), limit: 7, ..read(&cursor) };
                let page = granted::<Read, _>((*store).call(&next, |request| request)).answer;
                assert!(!page.events.is_empty(), "nothing came behind event {last}");
                for event in page.events {
                    assert_eq!(event.seq.0, last + 1, "no event is passed over");
                    last = event.seq.0;
                }
                cursor = page.cursor;
            }
        });
        reader.join().expect("the reader saw every event");
    });
}

fn e2_a_cursor_goes_on_where_it_stopped(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    for number in 0..10 {
        a.must(&note(&number.to_string()));
    }
    let all = log(bench);
    let (mut seen, mut cursor) = (Vec::new(), "start".to_owned());
    loop {
        let page = must(bench, &Read { limit: 3, ..read(&cursor) });
        assert!(page.events.len() <= 3);
        seen.extend(page.events);
        cursor = page.cursor;
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, all, "every event is on one page");
    a.must(&note("later"));
    assert_eq!(seqs(&log_after(bench, &cursor)), [head_seq(bench)]);
    let other = bench.second();
    let page = granted::<Read, _>((*other).call(&read(&cursor), |request| request)).answer;
    assert_eq!(seqs(&page.events), [head_seq(bench)], "a cursor is good on every connection");
}

fn e2_start_and_head_are_cursors(bench: &dyn Bench) {
    let empty = head(bench);
    let a = Agent::new(bench, "a");
    let last = a.must(&note("x")).seq;
    assert_eq!(log_after(bench, &empty.cursor).len() as i64, last.0 - empty.seq.0);
    let from_head = must(bench, &read("head"));
    assert!(from_head.events.is_empty() && !from_head.more);
    let now = head(bench);
    assert_eq!((from_head.cursor, now.seq), (now.cursor, last));
    assert_eq!(log(bench).first().map(|event| event.seq), Some(Seq(1)));
    let newest = log(bench).pop().expect("an event");
    assert_eq!((newest.seq, newest.hash), (now.seq, now.hash));
}

fn e2_a_filter_skips_and_the_cursor_moves_on(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    for number in 0..5 {
        a.must(&append("user.odd", &format!("x/{number}"), "1"));
        b.must(&append("user.even", &format!("x/{number}"), "2"));
    }
    let filtered = |filter: Read| must(bench, &Read { limit: 1_000, ..filter }).events;
    let odd = || Read { kind: Some("user.o*".into()), ..read("start") };
    assert_eq!(filtered(odd()).len(), 5);
    assert!(filtered(odd()).iter().all(|event| event.kind == "user.odd"));
    assert_eq!(filtered(Read { scope: Some("x/3".into()), ..read("start") }).len(), 2);
    assert_eq!(filtered(Read { scope: Some("x/*".into()), ..read("start") }).len(), 10);
    let both = Read { scope: Some("x/3".into()), ..odd() };
    assert_eq!(filtered(both).len(), 1);
    let by_session =
        Read { session: Some(b.id.clone()), kind: Some("user.*".into()), ..read("start") };
    assert_eq!(filtered(by_session).len(), 5);
    let nothing =
        must(bench, &Read { kind: Some("user.never".into()), limit: 1_000, ..read("start") });
    assert!(nothing.events.is_empty() && !nothing.more);
    assert_eq!(nothing.cursor, head(bench).cursor, "the cursor moves over what does not match");
}

fn e2_a_cursor_of_another_history_is_refused(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    a.must(&note("x"));
    let cursor = head(bench).cursor;
    a.must(&note("y"));
    let elsewhere = altered(&cursor, |history, _, _| history.push('x'));
    refuses(bench, &read(&elsewhere), Code::HistoryChanged);
    let rewritten = altered(&cursor, |_, _, hash8| {
        *hash8 = if hash8 == "00000000" { "11111111" } else { "00000000" }.into();
    });
    refuses(bench, &read(&rewritten), Code::HistoryChanged);
    let ahead_elsewhere = altered(&elsewhere, |_, seq, _| seq.0 += 1_000);
    refuses(bench, &read(&ahead_elsewhere), Code::HistoryChanged);
    assert_eq!(log_after(bench, &cursor).len(), 1);
}

fn e2_a_cursor_ahead_of_the_log_is_refused(bench: &dyn Bench) {
    Agent::new(bench, "a").must(&note("x"));
    let ahead = altered(&head(bench).cursor, |_, seq, _| seq.0 += 1);
    refuses(bench, &read(&ahead), Code::CursorAhead);
    let waiting = Read { wait_ms: Some(MINUTE), ..read(&ahead) };
    refuses(bench, &waiting, Code::CursorAhead);
}

fn e2_an_empty_page_keeps_the_place(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let cursor = head(bench).cursor;
    let Events { events, cursor: same, more } = must(bench, &read(&cursor));
    assert_eq!((events.len(), &same, more), (0, &cursor, false));
    a.must(&note("x"));
    assert_eq!(log_after(bench, &same).len(), 1);
}

fn e2_behind_the_newest_nothing_is_passed_over(bench: &dyn Bench) {
    let nothing = must(bench, &newest(5));
    assert_eq!((nothing.events.len(), &nothing.cursor), (0, &head(bench).cursor));
    let a = Agent::new(bench, "a");
    assert_eq!(log_after(bench, &nothing.cursor), log(bench));
    let found = must(bench, &Read { kind: Some("session.*".into()), ..newest(1) });
    assert_eq!((found.cursor.clone(), found.more), (head(bench).cursor, false));
    a.must(&note("x"));
    a.must(&note("y"));
    let last = head_seq(bench);
    assert_eq!(seqs(&log_after(bench, &found.cursor)), [last - 1, last]);
}

fn the_newest_events_come_in_ascending_order(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    for number in 0..10 {
        a.must(&note(&number.to_string()));
    }
    let all = log(bench);
    for count in [1, 3, 11] {
        let found = must(bench, &newest(count));
        assert_eq!(found.events, all[all.len() - count as usize..]);
        assert!(found.cursor == head(bench).cursor && !found.more);
    }
    assert_eq!(must(bench, &newest(1_000)).events, all, "no more than there are");
    let few = Read { limit: 1, ..newest(3) };
    assert_eq!(must(bench, &few).events.len(), 3, "the limit is for those behind a cursor");
}

fn the_newest_events_are_those_that_match(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    for number in 0..5 {
        a.must(&append("user.odd", &format!("x_{number}"), "1"));
        b.must(&append("user.even", &format!("xy{number}"), "2"));
        b.must(&append("user.Odd", &format!("X_{number}"), "3"));
    }
    let all = log(bench);
    let expect = |filter: Read, wanted: &dyn Fn(&Event) -> bool| {
        for count in [1, 2, 1_000] {
            let found = must(bench, &Read { last: Some(count), ..filter.clone() }).events;
            let mut expected: Vec<_> = all.iter().rev().filter(|event| wanted(event)).collect();
            expected.truncate(count as usize);
            expected.reverse();
            assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{filter:?}");
        }
    };
    let kind = |pattern: &str| Read { kind: Some(pattern.into()), ..newest(1) };
    let scope = |pattern: &str| Read { scope: Some(pattern.into()), ..newest(1) };
    expect(kind("user.odd"), &|event| event.kind == "user.odd");
    expect(kind("user.o*"), &|event| event.kind == "user.odd");
    expect(kind("*.*dd"), &|event| event.kind.ends_with("dd"));
    expect(kind("user.never"), &|_| false);
    expect(kind(&"*".repeat(60_000)), &|_| true);
    expect(scope("x_*"), &|event| event.scope.starts_with("x_"));
    expect(scope("x%"), &|_| false);
    expect(scope("x!_*"), &|_| false);
    expect(scope("x_3"), &|event| event.scope == "x_3");
    let by_a = Read { session: Some(a.id.clone()), ..kind("user.*") };
    expect(by_a, &|event| event.session == a.id.0 && event.kind.starts_with("user."));
    let all_three = Read { session: Some(b.id.clone()), scope: Some("*3".into()), ..kind("*even") };
    expect(all_three, &|event| event.scope == "xy3");
}

fn the_newest_events_are_those_that_are_kept(bench: &dyn Bench) {
    let person = Agent::human(bench, "person");
    for number in 0..5 {
        person.must(&note(&number.to_string()));
    }
    person.must(&Prune { before: Seq(4), force: false });
    let kept = log(bench);
    assert_eq!(kept[0].seq, Seq(4));
    assert_eq!(must(bench, &newest(100)).events, kept);
}

fn an_event_is_kept_as_it_was_appended(bench: &dyn Bench) {
    let (a, person) = (Agent::new(bench, "a"), Agent::human(bench, "person"));
    let payload = "{\"message\" : \"déjà vu\",\"n\":1.0}";
    let appended = a.answered(&append("user.note", "issue:15", payload));
    assert_eq!(appended.answer.seq, appended.seq);
    let event = log(bench).pop().expect("an event");
    assert_eq!((event.seq, event.tick), (appended.seq, appended.tick));
    assert_eq!((&*event.kind, &*event.scope), ("user.note", "issue:15"));
    assert_eq!((event.session, &*event.name, &*event.user), (a.id.0, "a", "ada"));
    assert_eq!(event.payload.expect("a payload").text(), payload);
    assert_eq!((event.hash.len(), event.payload_digest.len()), (64, 64));
    assert!(!event.at.is_empty() && !event.writer_version.is_empty() && event.trust == "agent");
    person.must(&note("x"));
    assert_eq!(log(bench).pop().expect("an event").trust, "human");
}

fn kinds_of_operations_are_not_appended(bench: &dyn Bench) {
    let (a, person) = (Agent::new(bench, "a"), Agent::human(bench, "person"));
    let before = head_seq(bench);
    for kind in ["claim.granted", "session.lost", "note", "user.", "user", "User.note"] {
        a.refused(&append(kind, "s", "1"), Code::Forbidden);
        person.refused(&append(kind, "s", "1"), Code::Forbidden);
    }
    assert_eq!(head_seq(bench), before);
}

fn a_watch_wakes_for_the_event_it_waits_for(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let watch = |after: &str| Read {
        kind: Some("user.wanted".into()),
        wait_ms: Some(MINUTE),
        ..read(after)
    };
    let mut cursor = head(bench).cursor;
    for round in 0..5 {
        let watching = pending(bench, Request::new(watch(&cursor)));
        a.must(&note("not this one"));
        watching.still_waits("the watch");
        let wanted = a.must(&append("user.wanted", "s", &round.to_string())).seq;
        let page = answer::<Read>(&succeeds(watching.outcome(), "the watch"));
        assert_eq!(seqs(&page.events), [wanted.0]);
        cursor = page.cursor;
    }
    assert_eq!(cursor, head(bench).cursor);
}

fn a_watch_that_is_not_woken_ends_with_nothing(bench: &dyn Bench) {
    let cursor = head(bench).cursor;
    let page = must(bench, &Read { wait_ms: Some(20), ..read(&cursor) });
    assert_eq!((page.events.len(), page.cursor, page.more), (0, cursor, false));
}

fn a_watch_answers_at_once_when_there_is_something(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let cursor = head(bench).cursor;
    let seq = a.must(&note("x")).seq;
    let page = must(bench, &Read { wait_ms: Some(MINUTE), ..read(&cursor) });
    assert_eq!(seqs(&page.events), [seq.0]);
}

fn a_watch_for_the_newest_waits_if_there_is_none(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let watch = || Read { kind: Some("user.wanted".into()), wait_ms: Some(MINUTE), ..newest(2) };
    let in_vain = must(bench, &Read { wait_ms: Some(20), ..watch() });
    assert_eq!((in_vain.events.len(), in_vain.cursor), (0, head(bench).cursor));
    let watching = pending(bench, Request::new(watch()));
    a.must(&note("not this one"));
    watching.still_waits("the watch");
    let first = a.must(&append("user.wanted", "s", "1")).seq;
    let page = answer::<Read>(&succeeds(watching.outcome(), "the watch"));
    assert_eq!(seqs(&page.events), [first.0]);
    let second = a.must(&append("user.wanted", "s", "2")).seq;
    assert_eq!(seqs(&log_after(bench, &page.cursor)), [second.0]);
    let third = a.must(&append("user.wanted", "s", "3")).seq;
    assert_eq!(seqs(&must(bench, &watch()).events), [second.0, third.0], "at once");
}

fn commit(consumer: &str, cursor: Option<&str>) -> Commit {
    Commit { consumer: consumer.into(), cursor: cursor.map(str::to_owned) }
}

fn a_consumer_commits_only_forward(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    assert_eq!(a.must(&commit("mail", None)).cursor, "start");
    let first = head(bench).cursor;
    assert_eq!(a.must(&commit("mail", Some(&first))).cursor, first);
    a.must(&note("x"));
    let second = head(bench).cursor;
    assert_eq!(a.must(&commit("mail", Some(&second))).cursor, second);
    assert_eq!(a.must(&commit("mail", Some(&second))).cursor, second, "again is no error");
    a.refused(&commit("mail", Some(&first)), Code::CursorBehind);
    assert_eq!(a.must(&commit("mail", None)).cursor, second);
    a.must(&sign_off());
    let b = Agent::new(bench, "b");
    assert_eq!(b.must(&commit("mail", None)).cursor, second, "a consumer outlives its session");
    assert_eq!(b.must(&commit("other", Some(&first))).cursor, first);
}

fn a_consumer_commits_only_cursors_of_this_log(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    a.must(&note("x"));
    let cursor = head(bench).cursor;
    let elsewhere = altered(&cursor, |history, _, _| history.push('x'));
    a.refused(&commit("mail", Some(&elsewhere)), Code::HistoryChanged);
    let ahead = altered(&cursor, |_, seq, _| seq.0 += 1_000);
    a.refused(&commit("mail", Some(&ahead)), Code::CursorAhead);
    assert_eq!(a.must(&commit("mail", None)).cursor, "start");
}
