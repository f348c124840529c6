//! Section 1: the write transaction – atomicity, repeats and reads.

use cotenant_core::{
    Code,
    claim::{Holding, HoldingState},
    clock::{HOUR, MINUTE, SECOND},
    data::{Change, Get, Put, Update, Write},
    event::{Append, Read},
    json::Json,
    lease::{Acquire, ListLeases},
    session::{SignOn, State},
    store::Request,
};

use crate::{
    Bench,
    ask::{
        Agent, answer, count, fails, granted, head, head_seq, log, must, names, pending, refuses,
        succeeds,
    },
    sample::{
        acquire, check, claim, delete, get, guard, list, note, put, put_expecting, read, release,
        scopes, sign_off, sign_on, token, update, who, writes,
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
    s4_a_result_is_remembered_for_an_hour,
    s4_ids_belong_to_their_actor,
    s4_a_repeated_sign_on_keeps_its_first_token,
    s5_a_waiting_read_blocks_no_writer,
    s5_reads_show_what_has_expired_and_write_nothing,
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
    assert_eq!(count(bench, "session.lost"), 1, "a refusal undid what was settled");
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

fn s4_a_result_is_remembered_for_an_hour(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let request = || a.request(update("s", "k", Change::Add(1))).id("r1");
    let first = succeeds(a.send(request()), "the first");
    for minute in 0..59 {
        bench.advance(MINUTE);
        for number in 0..4 {
            let id = format!("{minute}-{number}");
            succeeds(a.send(a.request(put("s", "other", "1")).id(id)), "another request");
        }
    }
    let again = succeeds(a.send(request()), "the repeat");
    assert_eq!((first.data.get(), again.replayed), (again.data.get(), true));
}

fn s4_ids_belong_to_their_actor(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let first = succeeds(a.send(a.request(put("s", "a", "1")).id("r1")), "a's request");
    let other = succeeds(b.send(b.request(put("s", "b", "2")).id("r1")), "b's request");
    assert!(!first.replayed && !other.replayed);
    assert_eq!(must(bench, &get("s", "b")).value.text(), "2");
}

fn s4_a_repeated_sign_on_keeps_its_first_token(bench: &dyn Bench) {
    let first = sign_on("a");
    let again = SignOn { token_digest: token("drawn anew"), ..first.clone() };
    let send = |operation| bench.store().one(Request::new(operation).id("r1"));
    let one = succeeds(send(first.clone()), "the sign-on");
    let other = succeeds(send(again), "its repeat");
    assert!(other.replayed);
    assert_eq!(answer::<SignOn>(&other).token_digest, first.token_digest);
    assert_eq!(answer::<SignOn>(&other).session, answer::<SignOn>(&one).session);
    let another = SignOn { purpose: Some("another".into()), ..first };
    fails(send(another), Code::IdempotencyMismatch, "another sign-on");
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
    let held = a.must(&Acquire { ttl_ms: HOUR, ..acquire("r") });
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
    assert!(must(bench, &scopes("s")).scopes.is_empty());
    let held = |holding: &Holding| holding.state == HoldingState::Held;
    assert!(!must(bench, &who("issue:1")).holdings.iter().any(held));
    assert!(!must(bench, &ListLeases { pattern: None }).holdings.iter().any(held));
    assert_eq!(log(bench), before);
}
