//! Section 1: the order of the steps, and guards.

use cotenant_core::{
    Code,
    clock::MINUTE,
    data::Put,
    id::Fence,
    lease::Break,
    store::{GUARDS_MAX, Guard, Request},
};

use crate::{
    Bench,
    ask::{Agent, fails, granted, head_seq, must, refuses, succeeds},
    sample::{
        acquire, claim, claim_path, get, guard, note, put, put_expecting, release, sign_off,
        unclaim,
    },
};

cases! {
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
