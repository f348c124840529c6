//! Section 1: the write transaction – precedence, repeats, guards, batches.

use cotenant_core::{
    Code,
    claim::{Holding, HoldingState},
    clock::{MINUTE, SECOND},
    data::{Change, Compare, Get, Put, Txn, Update, Write},
    event::{Append, Read},
    id::{Fence, Rev},
    json::Json,
    lease::Break,
    session::{Heartbeat, State},
    store::{BATCH_MAX, GUARDS_MAX, Guard, Request},
};

use crate::{
    Bench,
    ask::{
        Agent, answer, ask, count, fails, granted, head, head_seq, log, must, names, pending,
        refuses, succeeds,
    },
    sample::{
        acquire, check, claim, claim_path, delete, get, guard, list, note, put, put_expecting,
        read, release, sign_off, unclaim, update, who, writes,
    },
};

cases! {
    s1_a_refused_claim_leaves_nothing_behind,
    s1_a_failing_write_undoes_the_whole_txn,
    s1_a_failure_keeps_what_was_settled,
    s1_at_most_64_rows_are_settled_at_once_oldest_first,
    s1_a_mutation_extends_its_session_and_a_failed_one_does_not,
    s2_a_write_is_seen_by_every_later_read,
    s2_writes_of_many_connections_have_one_order,
    s4_a_repeat_has_one_effect,
    s4_a_repeat_after_sign_off_still_answers,
    s4_a_repeat_answers_although_its_guard_has_fallen,
    s4_another_request_under_the_same_id_is_refused,
    s4_a_failure_is_not_remembered,
    s4_ids_belong_to_their_actor,
    s5_a_waiting_read_blocks_no_writer,
    s5_reads_show_what_has_expired_and_write_nothing,
    the_actor_comes_before_the_guard,
    a_known_id_comes_before_the_state_of_the_session,
    the_state_of_the_session_comes_before_the_guard,
    rights_come_before_the_guard,
    quota_comes_before_the_guard,
    the_guard_comes_before_the_precondition,
    a_guard_lets_pass_who_holds,
    a_guard_stops_who_does_not_hold_any_more,
    a_guard_on_a_claim_is_named_like_the_item,
    every_guard_must_hold,
    a_request_takes_sixteen_guards,
    a_batch_is_carried_out_in_order,
    a_failure_in_a_batch_undoes_its_own_request_only,
    a_batch_shares_one_tick,
    a_batch_has_a_limit,
    a_batch_beyond_its_limit_has_no_effect,
}

fn s1_a_refused_claim_leaves_nothing_behind(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    a.must(&claim(&["issue:2"]));
    let before = log(bench);
    b.refused(&claim(&["issue:1", "issue:2", "issue:3"]), Code::Claimed);
    assert_eq!(log(bench), before);
    a.must(&claim(&["issue:1", "issue:3"]));
}

fn s1_a_failing_write_undoes_the_whole_txn(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    a.must(&put("s", "text", "\"x\""));
    let before = log(bench);
    let ops = vec![
        Write::Put(put("s", "new", "1")),
        Write::Delete(delete("s", "text")),
        Write::Put(put("s", "text", "\"y\"")),
        Write::Update(update("s", "text", Change::Add(1))),
    ];
    a.refused(&writes(ops), Code::TypeMismatch);
    assert_eq!(log(bench), before);
    assert_eq!(must(bench, &get("s", "text")).value.text(), "\"x\"");
    refuses(bench, &get("s", "new"), Code::NotFound);
}

fn s1_a_failure_keeps_what_was_settled(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let gone = Agent::brief(bench, "gone", MINUTE);
    bench.advance(2 * MINUTE);
    assert_eq!(count(bench, "session.lost"), 0);
    a.refused(&put_expecting("s", "k", "1", 7), Code::RevMismatch);
    assert_eq!(count(bench, "session.lost"), 1);
    assert_eq!(gone.state(), State::Lost);
}

fn s1_at_most_64_rows_are_settled_at_once_oldest_first(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let gone: Vec<Agent<'_>> = (0..70)
        .map(|index| Agent::brief(bench, &format!("gone-{index}"), MINUTE + index * SECOND))
        .collect();
    bench.advance(10 * MINUTE);
    let lost = |bench| -> Vec<String> {
        let lost = log(bench).into_iter().filter(|event| event.kind == "session.lost");
        lost.map(|event| Json::of(&event).text().to_owned()).collect()
    };
    a.must(&put("s", "k", "1"));
    let first = lost(bench);
    assert!((1..=64).contains(&first.len()), "{} were settled at once", first.len());
    for (index, event) in first.iter().enumerate() {
        let agent = &gone[index];
        assert!(names(event, agent), "the oldest come first, but {event} came at {index}");
    }
    a.must(&put("s", "k", "2"));
    assert_eq!(lost(bench).len(), 70);
}

fn s1_a_mutation_extends_its_session_and_a_failed_one_does_not(bench: &dyn Bench) {
    let a = Agent::brief(bench, "a", MINUTE);
    bench.advance(40 * SECOND);
    a.must(&put("s", "k", "1"));
    bench.advance(40 * SECOND);
    assert_eq!(a.state(), State::Active);
    a.refused(&put_expecting("s", "k", "1", 0), Code::RevMismatch);
    bench.advance(40 * SECOND);
    assert_eq!(a.state(), State::Lost);
    a.refused(&put("s", "k", "2"), Code::SessionLost);
}

fn s2_a_write_is_seen_by_every_later_read(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let other = bench.second();
    for number in 0..10 {
        let written = a.must(&put("s", "k", &number.to_string()));
        let read = granted::<Get, _>((*other).call(&get("s", "k"), |request| request));
        assert_eq!(
            (read.answer.value.text(), read.answer.rev),
            (&*number.to_string(), written.rev)
        );
        assert!(read.seq.0 >= written.rev.0);
        let operation = put("s", "other", &number.to_string());
        let back = (*other).call(&operation, |request| request.by(a.actor()));
        granted::<Put, _>(back);
        assert_eq!(must(bench, &get("s", "other")).value.text(), number.to_string());
    }
}

fn s2_writes_of_many_connections_have_one_order(bench: &dyn Bench) {
    const WRITERS: usize = 8;
    const EACH: usize = 12;
    let agents: Vec<_> = (0..WRITERS).map(|n| Agent::new(bench, &format!("w{n}"))).collect();
    let before = head_seq(bench);
    std::thread::scope(|scope| {
        for agent in &agents {
            scope.spawn(|| {
                let store = bench.second();
                for _ in 0..EACH {
                    let operation = update("s", "count", Change::Add(1));
                    let done = (*store).call(&operation, |request| request.by(agent.actor()));
                    granted::<Update, _>(done);
                }
            });
        }
    });
    let total = WRITERS * EACH;
    let entry = must(bench, &get("s", "count"));
    assert_eq!((entry.value.text(), entry.ver), (&*total.to_string(), total as i64));
    assert_eq!(head_seq(bench), before + total as i64);
}

fn s4_a_repeat_has_one_effect(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let request = || a.request(update("s", "k", Change::Add(1))).id("r1");
    let first = succeeds(a.send(request()), "the first");
    let again = succeeds(a.send(request()), "the repeat");
    assert!(!first.replayed && again.replayed);
    assert_eq!(first.data.get(), again.data.get());
    assert_eq!(must(bench, &get("s", "k")).value.text(), "1");
    assert_eq!(head_seq(bench), first.seq.0);
}

fn s4_a_repeat_after_sign_off_still_answers(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let request = || a.request(note("once")).id("r1");
    let first = succeeds(a.send(request()), "the first");
    a.must(&sign_off());
    let again = succeeds(a.send(request()), "the repeat");
    assert_eq!((first.data.get(), again.replayed), (again.data.get(), true));
}

fn s4_a_repeat_answers_although_its_guard_has_fallen(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let held = a.must(&acquire("r"));
    let request = || a.request(note("once")).id("r1").guarded_by([guard("r", held.fence)]);
    let first = succeeds(a.send(request()), "the first");
    a.must(&release("r", held.fence));
    let again = succeeds(a.send(request()), "the repeat");
    assert_eq!((first.data.get(), again.replayed), (again.data.get(), true));
}

fn s4_another_request_under_the_same_id_is_refused(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    succeeds(a.send(a.request(put("s", "k", "1")).id("r1")), "the first");
    let before = head_seq(bench);
    let other_value = a.request(put("s", "k", "2")).id("r1");
    fails(a.send(other_value), Code::IdempotencyMismatch, "another value");
    let other_operation = a.request(note("x")).id("r1");
    fails(a.send(other_operation), Code::IdempotencyMismatch, "another operation");
    assert_eq!(head_seq(bench), before);
}

fn s4_a_failure_is_not_remembered(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    a.must(&put("s", "k", "1"));
    let request = || a.request(put_expecting("s", "k", "2", 0)).id("r1");
    fails(a.send(request()), Code::RevMismatch, "a key that exists");
    a.must(&delete("s", "k"));
    let done = succeeds(a.send(request()), "the repeat");
    assert!(!done.replayed);
    assert_eq!(must(bench, &get("s", "k")).value.text(), "2");
}

fn s4_ids_belong_to_their_actor(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let first = succeeds(a.send(a.request(put("s", "a", "1")).id("r1")), "a's request");
    let other = succeeds(b.send(b.request(put("s", "b", "2")).id("r1")), "b's request");
    assert!(!first.replayed && !other.replayed);
    assert_eq!(must(bench, &get("s", "b")).value.text(), "2");
}

fn s5_a_waiting_read_blocks_no_writer(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let after = head(bench).cursor;
    let watch = Read { kind: Some("user.wanted".into()), wait_ms: Some(MINUTE), ..read(&after) };
    let watching = pending(bench, Request::new(watch));
    for number in 0..20 {
        a.must(&put("s", "k", &number.to_string()));
    }
    watching.still_waits("the watch");
    a.must(&Append { kind: "user.wanted".into(), ..note("now") });
    let reply = succeeds(watching.outcome(), "the watch");
    let read = answer::<Read>(&reply);
    assert_eq!(read.events.len(), 1);
}

fn s5_reads_show_what_has_expired_and_write_nothing(bench: &dyn Bench) {
    let a = Agent::brief(bench, "a", MINUTE);
    let held = a.must(&acquire("r"));
    a.must(&claim(&["issue:1"]));
    a.must(&Put { ttl_ms: Some(MINUTE), ..put("s", "timed", "1") });
    a.must(&Put { ephemeral: true, ..put("s", "mine", "1") });
    let before = log(bench);
    bench.advance(2 * MINUTE);
    assert_eq!(a.state(), State::Lost);
    assert!(!must(bench, &check("r", held.fence)).valid);
    refuses(bench, &get("s", "timed"), Code::NotFound);
    refuses(bench, &get("s", "mine"), Code::NotFound);
    assert!(must(bench, &list("s")).entries.is_empty());
    let held = |holding: &Holding| holding.state == HoldingState::Held;
    assert!(!must(bench, &who("issue:1")).holdings.iter().any(held));
    assert_eq!(log(bench), before);
}

fn the_actor_comes_before_the_guard(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let request = Request::new(note("x")).by(a.impostor()).guarded_by([guard("r", Fence(1))]);
    fails(a.send(request), Code::Unauthenticated, "a wrong token under a wrong guard");
}

fn a_known_id_comes_before_the_state_of_the_session(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    succeeds(a.send(a.request(note("x")).id("r1")), "the first");
    a.must(&sign_off());
    fails(a.send(a.request(note("y")).id("r1")), Code::IdempotencyMismatch, "its id, reused");
    fails(a.send(a.request(note("y")).id("r2")), Code::SessionEnded, "a new id");
}

fn the_state_of_the_session_comes_before_the_guard(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::brief(bench, "b", MINUTE));
    a.must(&sign_off());
    bench.advance(2 * MINUTE);
    let wrong = || guard("r", Fence(1));
    let ended = a.request(note("x")).guarded_by([wrong()]);
    fails(a.send(ended), Code::SessionEnded, "an ended session under a wrong guard");
    let lost = b.request(note("x")).guarded_by([wrong()]);
    fails(b.send(lost), Code::SessionLost, "a lost session under a wrong guard");
}

fn rights_come_before_the_guard(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let breaking = Break { resource: "r".into(), reason: "stuck".into() };
    let request = a.request(breaking).guarded_by([guard("r", Fence(1))]);
    fails(a.send(request), Code::Forbidden, "an agent that breaks a lease under a wrong guard");
}

fn quota_comes_before_the_guard(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    b.must(&acquire("theirs"));
    let requests = (0..64).map(|n| a.request(acquire(&format!("r{n}")))).collect();
    for outcome in bench.store().submit(requests) {
        succeeds(outcome, "a lease within the quota");
    }
    let request = a.request(acquire("theirs")).guarded_by([guard("r", Fence(1))]);
    fails(a.send(request), Code::Quota, "one lease too many, held, under a wrong guard");
}

fn the_guard_comes_before_the_precondition(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    a.must(&put("s", "k", "1"));
    let operation = put_expecting("s", "k", "2", 0);
    a.fenced_by(&operation, guard("r", Fence(1)));
    a.refused(&operation, Code::RevMismatch);
}

fn a_guard_lets_pass_who_holds(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let held = a.must(&acquire("migration"));
    let written = a.guarded(&put("s", "k", "1"), guard("migration", held.fence));
    granted::<Put, _>(written);
    assert_eq!(must(bench, &get("s", "k")).value.text(), "1");
}

fn a_guard_stops_who_does_not_hold_any_more(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let held = a.must(&acquire("r"));
    let before = head_seq(bench);
    let operation = put("s", "k", "1");
    a.fenced_by(&operation, guard("r", Fence(held.fence.0 + 1)));
    a.fenced_by(&operation, guard("r", Fence(held.fence.0 - 1)));
    a.fenced_by(&operation, guard("r2", held.fence));
    b.fenced_by(&operation, guard("r", held.fence));
    assert_eq!(head_seq(bench), before);
    bench.advance(2 * MINUTE);
    a.fenced_by(&operation, guard("r", held.fence));
    let again = b.must(&acquire("r"));
    a.fenced_by(&operation, guard("r", held.fence));
    b.must(&release("r", again.fence));
    b.fenced_by(&operation, guard("r", again.fence));
    refuses(bench, &get("s", "k"), Code::NotFound);
}

fn a_guard_on_a_claim_is_named_like_the_item(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let claimed = a.must(&claim(&["issue:15"])).items.remove(0);
    let file = a.must(&claim_path("src/a.rs")).items.remove(0);
    let operation = put("s", "k", "1");
    for resource in ["issue:15", "claim/issue/15", &claimed.resource] {
        granted::<Put, _>(a.guarded(&operation, guard(resource, claimed.fence)));
        b.fenced_by(&operation, guard(resource, claimed.fence));
    }
    granted::<Put, _>(a.guarded(&operation, guard("claim/path/t1/src/a.rs", file.fence)));
    granted::<Put, _>(a.guarded(&operation, guard(&file.resource, file.fence)));
    a.must(&unclaim(&["issue:15"]));
    a.fenced_by(&operation, guard("issue:15", claimed.fence));
}

fn every_guard_must_hold(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let (one, two) = (a.must(&acquire("r1")), a.must(&acquire("r2")));
    let both = [guard("r1", one.fence), guard("r2", two.fence)];
    succeeds(a.send(a.request(note("x")).guarded_by(both.clone())), "two guards that hold");
    a.must(&release("r2", two.fence));
    fails(a.send(a.request(note("x")).guarded_by(both)), Code::Fenced, "one that has fallen");
}

fn a_request_takes_sixteen_guards(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let guards: Vec<Guard> = (0..=GUARDS_MAX)
        .map(|n| guard(&format!("r{n}"), a.must(&acquire(&format!("r{n}"))).fence))
        .collect();
    let request = a.request(note("x")).guarded_by(guards[1..].to_vec());
    succeeds(a.send(request), "sixteen guards");
    fails(a.send(a.request(note("x")).guarded_by(guards)), Code::Invalid, "seventeen guards");
    let unreadable = a.request(note("x")).guarded_by([guard("issue:", Fence(1))]);
    fails(a.send(unreadable), Code::Invalid, "a guard without a name");
}

fn a_batch_is_carried_out_in_order(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let before = head_seq(bench);
    let outcomes = bench.store().submit(vec![
        a.request(put("s", "k", "1")),
        Request::new(get("s", "k")),
        a.request(update("s", "k", Change::Add(1))),
        Request::new(get("s", "k")),
    ]);
    let replies: Vec<_> = outcomes.into_iter().map(|outcome| succeeds(outcome, "it")).collect();
    assert_eq!(answer::<Get>(&replies[1]).value.text(), "1");
    assert_eq!(answer::<Get>(&replies[3]).value.text(), "2");
    let written = answer::<Put>(&replies[0]);
    let updated = answer::<Update>(&replies[2]);
    assert_eq!((written.rev, updated.rev), (Rev(before + 1), Rev(before + 2)));
}

fn a_failure_in_a_batch_undoes_its_own_request_only(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    a.must(&put("s", "text", "\"x\""));
    let before = head_seq(bench);
    let half = writes(vec![
        Write::Put(put("s", "half", "1")),
        Write::Update(update("s", "text", Change::Add(1))),
    ]);
    let mut outcomes = bench
        .store()
        .submit(vec![
            a.request(put("s", "one", "1")),
            a.request(half),
            Request::new(note("x")).by(b.impostor()),
            b.request(put("s", "two", "2")),
        ])
        .into_iter();
    let mut next = || outcomes.next().expect("an outcome");
    succeeds(next(), "the first");
    fails(next(), Code::TypeMismatch, "the second");
    fails(next(), Code::Unauthenticated, "the third");
    succeeds(next(), "the fourth");
    assert_eq!(head_seq(bench), before + 2);
    assert_eq!(must(bench, &get("s", "two")).rev, Rev(before + 2));
    assert!(ask(bench, &get("s", "half")).is_err());
}

fn a_batch_shares_one_tick(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let requests = (0..20).map(|n| a.request(put("s", &format!("k{n}"), "1"))).collect();
    let outcomes = bench.store().submit(requests);
    let mut ticks: Vec<_> =
        outcomes.into_iter().map(|outcome| succeeds(outcome, "a write").tick).collect();
    ticks.dedup();
    assert_eq!(ticks.len(), 1);
}

fn a_batch_has_a_limit(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let batch = |size: usize| (0..size).map(|_| a.request(Heartbeat {})).collect();
    for outcome in bench.store().submit(batch(BATCH_MAX)) {
        succeeds(outcome, "a request of a full batch");
    }
    let compare = || Compare {
        scope: "s".into(),
        key: "k".into(),
        rev: None,
        ver: None,
        exists: Some(false),
    };
    let txn = |compares: usize, ops: usize| Txn {
        compares: (0..compares).map(|_| compare()).collect(),
        ops: (0..ops).map(|n| Write::Put(put("s", &format!("k{n}"), "1"))).collect(),
    };
    a.must(&txn(BATCH_MAX / 2, BATCH_MAX / 2));
    a.refused(&txn(1, BATCH_MAX), Code::TooLarge);
}

fn a_batch_beyond_its_limit_has_no_effect(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let before = head_seq(bench);
    let requests = (0..=BATCH_MAX).map(|n| a.request(put("s", &format!("k{n}"), "1"))).collect();
    for outcome in bench.store().submit(requests) {
        fails(outcome, Code::TooLarge, "a request of a batch of 129");
    }
    assert_eq!(head_seq(bench), before);
}
