//! Section 8c: points that sessions pass together.

use std::thread;

use cotenant_core::{
    Code,
    barrier::{Arrive, Arrived, BARRIER_TIMEOUT_MS},
    clock::{HOUR, MINUTE},
    session::{Reap, State},
};
use serde_json::json;

use crate::{
    Bench,
    ask::{Agent, answer, count, fails, log, must, succeeds, until},
    sample::{arrive, sign_off},
};

cases! {
    y1_a_barrier_opens_with_its_last_party,
    y1_a_barrier_opens_for_those_who_wait,
    y1_of_many_generations_none_opens_early,
    y2_a_party_counts_once,
    y3_a_party_that_is_lost_breaks_the_barrier,
    y3_a_party_that_signs_off_breaks_the_barrier,
    y3_a_broken_barrier_is_told_to_those_who_come_late,
    y3_a_barrier_breaks_with_its_time,
    y4_who_was_told_begins_anew,
    a_barrier_has_one_number_of_parties,
    a_wait_at_a_barrier_ends_and_leaves_nothing,
    who_waits_at_a_barrier_is_told_at_once_who_went,
}

fn waiting(parties: u32) -> Arrive {
    Arrive { wait_ms: Some(HOUR), ..arrive("b", parties) }
}

fn arrived(answer: &Arrived) -> Vec<&str> {
    answer.arrived.iter().map(String::as_str).collect()
}

/// Begins to wait and returns once it has arrived.
fn wait_at(agent: &Agent<'_>, parties: u32) -> crate::ask::Pending {
    let before = count(agent.bench, "barrier.arrived");
    let call = agent.start(waiting(parties));
    until("it has arrived", || count(agent.bench, "barrier.arrived") > before);
    call
}

fn y1_a_barrier_opens_with_its_last_party(bench: &dyn Bench) {
    let [a, b, c] = ["a", "b", "c"].map(|name| Agent::new(bench, name));
    let first = a.must(&arrive("b", 3));
    assert_eq!((first.generation, first.open, arrived(&first)), (1, false, vec!["a"]));
    assert!(!b.must(&arrive("b", 3)).open);
    assert!(!a.must(&arrive("b", 3)).open, "one is still missing");
    let last = c.must(&arrive("b", 3));
    assert_eq!((last.generation, last.open, last.parties), (1, true, 3));
    assert_eq!(arrived(&last), ["a", "b", "c"]);
    // Those who did not wait learn it when they come again, and that is no new arrival.
    for agent in [&a, &b] {
        let told = agent.must(&arrive("b", 3));
        assert_eq!((told.generation, told.open, arrived(&told).len()), (1, true, 3));
    }
    let next = a.must(&arrive("b", 3));
    assert_eq!((next.generation, next.open, arrived(&next)), (2, false, vec!["a"]));
    assert_eq!(count(bench, "barrier.opened"), 1);
    assert!(a.must(&arrive("alone", 1)).open);
}

fn y1_a_barrier_opens_for_those_who_wait(bench: &dyn Bench) {
    let [a, b, c] = ["a", "b", "c"].map(|name| Agent::new(bench, name));
    let calls = [wait_at(&a, 3), wait_at(&b, 3)];
    for call in &calls {
        call.still_waits("two of three");
    }
    assert!(c.must(&waiting(3)).open);
    for call in calls {
        let answer = answer::<Arrive>(&succeeds(call.outcome(), "who waited"));
        assert_eq!((answer.open, answer.generation, answer.arrived.len()), (true, 1, 3));
    }
}

fn y1_of_many_generations_none_opens_early(bench: &dyn Bench) {
    const PARTIES: u32 = 4;
    const ROUNDS: i64 = 5;
    let agents: Vec<_> = (0..PARTIES).map(|n| Agent::new(bench, &format!("w{n}"))).collect();
    thread::scope(|scope| {
        for agent in &agents {
            scope.spawn(|| {
                let store = bench.second();
                for round in 1..=ROUNDS {
                    let reply = store.one(agent.request(waiting(PARTIES)));
                    let told = answer::<Arrive>(&succeeds(reply, "a round"));
                    assert_eq!((told.open, told.generation), (true, round));
                }
            });
        }
    });
    let events = log(bench);
    let opened: Vec<_> = events.iter().filter(|event| event.kind == "barrier.opened").collect();
    assert_eq!(opened.len(), 5);
    for event in opened {
        let facts = event.payload.as_ref().expect("a payload").value().expect("JSON");
        assert_eq!(facts["parties"].as_array().map(Vec::len), Some(agents.len()), "{facts}");
    }
}

fn y2_a_party_counts_once(bench: &dyn Bench) {
    let [a, b] = ["a", "b"].map(|name| Agent::new(bench, name));
    for _ in 0..3 {
        assert_eq!(arrived(&a.must(&arrive("b", 2))), ["a"]);
    }
    let call = a.start(waiting(2));
    call.still_waits("one alone");
    assert!(b.must(&arrive("b", 2)).open);
    assert!(answer::<Arrive>(&succeeds(call.outcome(), "a")).open);
    assert_eq!(count(bench, "barrier.arrived"), 1);
}

fn y3_a_party_that_is_lost_breaks_the_barrier(bench: &dyn Bench) {
    let process = bench.process();
    let lost = Agent::living(bench, "lost", &process);
    let [a, b] = ["a", "b"].map(|name| Agent::new(bench, name));
    lost.must(&arrive("b", 3));
    a.must(&arrive("b", 3));
    bench.kill(&process);
    // The store looks at the process itself before it lets anybody wait for it.
    let error = b.refused(&arrive("b", 3), Code::Cancelled);
    assert_eq!(
        (&error.details["name"], &error.details["session"]),
        (&json!("lost"), &json!(lost.id))
    );
    assert_eq!(lost.state(), State::Lost);
    let error = a.refused(&arrive("b", 3), Code::Cancelled);
    assert_eq!(error.details["reason"], "dead");
    assert_eq!((count(bench, "barrier.broken"), count(bench, "barrier.opened")), (1, 0));
}

fn y3_a_party_that_signs_off_breaks_the_barrier(bench: &dyn Bench) {
    let [a, b, c] = ["a", "b", "c"].map(|name| Agent::new(bench, name));
    a.must(&arrive("b", 3));
    b.must(&arrive("b", 3));
    b.must(&sign_off());
    let error = a.refused(&arrive("b", 3), Code::Cancelled);
    assert_eq!((&error.details["name"], &error.details["reason"]), (&json!("b"), &json!("ended")));
    // Whoever has passed it may go.
    a.must(&arrive("b", 2));
    assert!(c.must(&arrive("b", 2)).open);
    c.must(&sign_off());
    assert!(a.must(&arrive("b", 2)).open);
}

fn y3_a_broken_barrier_is_told_to_those_who_come_late(bench: &dyn Bench) {
    let [a, b, late, later] = ["a", "b", "late", "later"].map(|name| Agent::new(bench, name));
    b.must(&arrive("b", 3));
    a.must(&arrive("b", 3));
    b.must(&sign_off());
    let error = late.refused(&arrive("b", 3), Code::Cancelled);
    assert_eq!(error.details["name"], "b");
    // Nobody has begun it anew, and its time has passed: it is a new barrier to whoever comes.
    bench.advance(BARRIER_TIMEOUT_MS);
    assert_eq!(later.must(&arrive("b", 2)).generation, 2);
    // Its old party still learns what became of it.
    a.refused(&arrive("b", 2), Code::Cancelled);
    assert!(a.must(&arrive("b", 2)).open);
}

fn y3_a_barrier_breaks_with_its_time(bench: &dyn Bench) {
    let [a, b, c] = ["a", "b", "c"].map(|name| Agent::new(bench, name));
    let brief = || Arrive { timeout_ms: Some(10 * MINUTE), ..arrive("b", 3) };
    a.must(&brief());
    b.must(&brief());
    bench.advance(9 * MINUTE);
    assert!(!a.must(&brief()).open);
    bench.advance(MINUTE);
    for agent in [&b, &a] {
        let error = agent.refused(&brief(), Code::Timeout);
        assert_eq!(
            (&error.details["arrived"], &error.details["missing"]),
            (&json!(["a", "b"]), &json!(1))
        );
    }
    assert_eq!(count(bench, "barrier.broken"), 1);
    assert_eq!(c.must(&brief()).generation, 2, "what is over breaks nothing for others");
}

fn y4_who_was_told_begins_anew(bench: &dyn Bench) {
    let [a, b, gone] = ["a", "b", "gone"].map(|name| Agent::new(bench, name));
    for agent in [&a, &b, &gone] {
        agent.must(&arrive("b", 4));
    }
    gone.must(&sign_off());
    a.refused(&arrive("b", 2), Code::Cancelled);
    let again = a.must(&arrive("b", 2));
    assert_eq!((again.generation, again.open, again.parties), (2, false, 2));
    b.refused(&arrive("b", 2), Code::Cancelled);
    let opened = b.must(&arrive("b", 2));
    assert_eq!((opened.generation, opened.open), (2, true));
    assert!(a.must(&arrive("b", 2)).open);
    assert_eq!(a.must(&arrive("b", 2)).generation, 3);
}

fn a_barrier_has_one_number_of_parties(bench: &dyn Bench) {
    let [a, b] = ["a", "b"].map(|name| Agent::new(bench, name));
    a.must(&arrive("b", 3));
    let error = b.refused(&arrive("b", 2), Code::SlotsMismatch);
    assert_eq!(error.details["parties"], 3);
    // Who is alone there may change its mind.
    assert_eq!(a.must(&arrive("b", 2)).parties, 2);
    assert!(b.must(&arrive("b", 2)).open);
}

fn a_wait_at_a_barrier_ends_and_leaves_nothing(bench: &dyn Bench) {
    let [a, b, c] = ["a", "b", "c"].map(|name| Agent::new(bench, name));
    b.must(&arrive("b", 3));
    let call = a.start(Arrive { wait_ms: Some(200), ..arrive("b", 3) });
    let mut outcome = None;
    until("a wait of 200 ms ends", || {
        bench.advance(1);
        outcome = call.poll();
        outcome.is_some()
    });
    let error = fails(outcome.expect("an outcome"), Code::Timeout, "a wait of 200 ms");
    assert_eq!(error.details["arrived"], json!(["b"]));
    assert!(!c.must(&arrive("b", 3)).open, "who gave up is not there");
    assert!(a.must(&arrive("b", 3)).open);
}

fn who_waits_at_a_barrier_is_told_at_once_who_went(bench: &dyn Bench) {
    let process = bench.process();
    let lost = Agent::living(bench, "lost", &process);
    let a = Agent::new(bench, "a");
    lost.must(&arrive("b", 3));
    let call = wait_at(&a, 3);
    bench.kill(&process);
    must(bench, &Reap { session: lost.reference(), force: false });
    let error = fails(call.outcome(), Code::Cancelled, "who waited for a lost one");
    assert_eq!(error.details["name"], "lost");
}
