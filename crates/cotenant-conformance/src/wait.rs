//! Section 5.1: waiting for a lease – tickets, turns, deadlocks, time limits.

use cotenant_core::{
    Code,
    claim::HoldingState,
    clock::DAY,
    lease::{Acquire, LOCK_DELAY_MS, ListLeases, TICKETS_MAX},
    session::{Reap, State},
};

use crate::{
    Bench,
    ask::{Agent, Pending, answer, fails, must, pending, succeeds, until},
    sample::{TTL, acquire, release, sign_off, wait_for},
};

cases! {
    l7_tickets_are_served_in_their_order,
    l7_nobody_passes_an_earlier_ticket,
    l7_a_dropped_ticket_lets_the_next_one_pass,
    l8_two_who_wait_for_each_other_are_a_deadlock,
    l8_a_ring_of_three_is_a_deadlock,
    a_wait_ends_with_a_timeout_and_without_a_ticket,
    a_wait_outlasts_the_lock_delay,
    a_ticket_ends_with_its_session,
    a_ticket_ends_with_the_loss_of_its_session,
    a_free_lease_needs_no_ticket,
    a_session_has_64_tickets,
}

/// The names of those who wait for a resource, in turn.
#[track_caller]
pub(crate) fn waiting(bench: &dyn Bench, resource: &str) -> Vec<String> {
    let listed = must(bench, &ListLeases { pattern: Some(resource.into()) }).holdings;
    let mut waiting: Vec<_> = listed
        .into_iter()
        .filter(|holding| holding.state == HoldingState::Waiting)
        .map(|holding| (holding.fence, holding.name))
        .collect();
    waiting.sort_unstable();
    waiting.into_iter().map(|(_, name)| name).collect()
}

/// Begins to wait and returns when the ticket is drawn.
#[track_caller]
fn queue_up(agent: &Agent<'_>, resource: &str) -> Pending {
    let before = waiting(agent.bench, resource).len();
    let call = agent.start(wait_for(resource));
    let what = format!("{} waits for {resource}", agent.name);
    until(&what, || waiting(agent.bench, resource).len() == before + 1);
    assert_eq!(waiting(agent.bench, resource).last(), Some(&agent.name));
    call
}

fn l7_tickets_are_served_in_their_order(bench: &dyn Bench) {
    let agents: Vec<_> = (0..5).map(|n| Agent::new(bench, &format!("w{n}"))).collect();
    let mut fence = agents[0].must(&acquire("r")).fence;
    let mut calls: Vec<_> = agents[1..].iter().map(|agent| queue_up(agent, "r")).collect();
    assert_eq!(waiting(bench, "r"), ["w1", "w2", "w3", "w4"]);
    for (index, agent) in agents[..4].iter().enumerate() {
        agent.must(&release("r", fence));
        let reply = succeeds(calls.remove(0).outcome(), "the first in the queue");
        let granted = answer::<Acquire>(&reply);
        assert!(granted.fence > fence && !granted.already_held);
        fence = granted.fence;
        for call in &calls {
            call.still_waits("who is not first");
        }
        assert_eq!(waiting(bench, "r").len(), 3 - index);
    }
}

fn l7_nobody_passes_an_earlier_ticket(bench: &dyn Bench) {
    let (a, b, c) = (Agent::new(bench, "a"), Agent::new(bench, "b"), Agent::new(bench, "c"));
    let fence = a.must(&acquire("r")).fence;
    let call = queue_up(&b, "r");
    let both = vec![a.request(release("r", fence)), c.request(acquire("r"))];
    let mut outcomes = bench.store().submit(both).into_iter();
    let mut next = || outcomes.next().expect("an outcome");
    succeeds(next(), "the release");
    fails(next(), Code::Held, "who drew no ticket");
    let fence = answer::<Acquire>(&succeeds(call.outcome(), "b's turn")).fence;
    c.refused(&acquire("r"), Code::Held);
    b.must(&release("r", fence));
    c.must(&acquire("r"));
}

fn l7_a_dropped_ticket_lets_the_next_one_pass(bench: &dyn Bench) {
    let (a, b, c) = (Agent::new(bench, "a"), Agent::new(bench, "b"), Agent::new(bench, "c"));
    let fence = a.must(&acquire("r")).fence;
    let (first, second) = (queue_up(&b, "r"), queue_up(&c, "r"));
    assert_eq!(b.must(&sign_off()).tickets, 1);
    fails(first.outcome(), Code::SessionEnded, "who signed off");
    assert_eq!(waiting(bench, "r"), ["c"]);
    a.must(&release("r", fence));
    succeeds(second.outcome(), "who comes next");
}

fn l8_two_who_wait_for_each_other_are_a_deadlock(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "ann"), Agent::new(bench, "ben"));
    let fence = a.must(&acquire("x")).fence;
    b.must(&acquire("y"));
    let call = queue_up(&b, "x");
    let closing = a.start(wait_for("y"));
    let mut outcome = None;
    until("a cycle of two is noticed", || {
        assert!(waiting(bench, "y").is_empty(), "a ticket closes a cycle");
        outcome = closing.poll();
        outcome.is_some()
    });
    let error = fails(outcome.expect("an outcome"), Code::Deadlock, "a wait in a cycle");
    let cycle = error.details["cycle"].to_string();
    assert!([&a, &b].iter().all(|agent| cycle.contains(&agent.name)), "{cycle}");
    assert!(waiting(bench, "y").is_empty(), "no ticket is left");
    call.still_waits("b");
    a.must(&release("x", fence));
    succeeds(call.outcome(), "b's turn");
}

fn l8_a_ring_of_three_is_a_deadlock(bench: &dyn Bench) {
    let (a, b, c) = (Agent::new(bench, "ann"), Agent::new(bench, "ben"), Agent::new(bench, "cat"));
    a.must(&acquire("x"));
    b.must(&acquire("y"));
    c.must(&acquire("z"));
    let calls = [queue_up(&a, "y"), queue_up(&b, "z")];
    let error = c.refused(&wait_for("x"), Code::Deadlock);
    let cycle = error.details["cycle"].to_string();
    assert!([&a, &b, &c].iter().all(|agent| cycle.contains(&agent.name)), "{cycle}");
    c.refused(&acquire("x"), Code::Held);
    c.must(&sign_off());
    for (call, holder) in calls.into_iter().rev().zip([&b, &a]) {
        succeeds(call.outcome(), "whose turn it is");
        holder.must(&sign_off());
    }
}

fn a_wait_ends_with_a_timeout_and_without_a_ticket(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let fence = a.must(&Acquire { ttl_ms: DAY, ..acquire("r") }).fence;
    let call = b.start(Acquire { wait_ms: Some(200), ..acquire("r") });
    let mut outcome = None;
    until("a wait of 200 ms ends", || {
        bench.advance(1);
        outcome = call.poll();
        outcome.is_some()
    });
    fails(outcome.expect("an outcome"), Code::Timeout, "a wait of 200 ms");
    assert!(waiting(bench, "r").is_empty());
    let c = Agent::new(bench, "c");
    a.must(&release("r", fence));
    c.must(&acquire("r"));
}

fn a_wait_outlasts_the_lock_delay(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let first = a.must(&acquire("r")).fence;
    let call = queue_up(&b, "r");
    bench.advance(TTL + LOCK_DELAY_MS);
    let granted = answer::<Acquire>(&succeeds(call.outcome(), "who waited"));
    assert!(granted.fence > first);
}

fn a_ticket_ends_with_its_session(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let fence = a.must(&acquire("r")).fence;
    let call = queue_up(&b, "r");
    b.must(&sign_off());
    fails(call.outcome(), Code::SessionEnded, "who signed off");
    a.must(&release("r", fence));
    a.must(&acquire("r"));
}

fn a_ticket_ends_with_the_loss_of_its_session(bench: &dyn Bench) {
    let process = bench.process();
    let (a, b) = (Agent::new(bench, "a"), Agent::living(bench, "b", &process));
    let fence = a.must(&acquire("r")).fence;
    let call = queue_up(&b, "r");
    bench.kill(&process);
    let reap = Reap { session: b.reference(), force: false };
    must(bench, &reap);
    fails(call.outcome(), Code::SessionLost, "who was lost");
    assert_eq!((b.state(), waiting(bench, "r")), (State::Lost, Vec::new()));
    a.must(&release("r", fence));
    a.must(&acquire("r"));
}

fn a_free_lease_needs_no_ticket(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let granted = a.must(&wait_for("r"));
    assert!(!granted.already_held);
    assert!(a.must(&wait_for("r")).already_held);
    assert!(waiting(bench, "r").is_empty());
}

fn a_session_has_64_tickets(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let more = Agent::new(bench, "more");
    for n in 0..TICKETS_MAX {
        a.must(&acquire(&format!("r{n}")));
    }
    more.must(&acquire("one-more"));
    let calls: Vec<_> =
        (0..TICKETS_MAX).map(|n| pending(bench, b.request(wait_for(&format!("r{n}"))))).collect();
    until("64 tickets are drawn", || {
        let over = calls.iter().find_map(Pending::poll);
        assert!(over.is_none(), "a wait was over at once: {over:?}");
        waiting(bench, "r*").len() == calls.len()
    });
    b.refused(&wait_for("one-more"), Code::Quota);
    assert_eq!(b.must(&sign_off()).tickets, TICKETS_MAX as u64);
    for call in calls {
        fails(call.outcome(), Code::SessionEnded, "a wait of a session that has ended");
    }
}
