//! Section 5: leases and fences.

use std::thread;

use cotenant_core::{
    Code,
    claim::{Holding, HoldingState},
    clock::{MINUTE, SECOND},
    data::Put,
    event::Event,
    id::Fence,
    lease::{Acquire, Break, LEASES_MAX, LOCK_DELAY_MS, ListLeases},
};
use serde_json::json;

use crate::{
    Bench,
    ask::{Agent, count, granted, head_seq, log, must, succeeds},
    sample::{TTL, acquire, claim, guard, note, put, release, renew, sign_off, unclaim},
};

cases! {
    l1_one_of_many_gets_a_lease,
    l1_as_many_as_slots_get_a_lease,
    l6_a_lease_cools_after_an_involuntary_end,
    l6_the_lock_delay_can_be_chosen,
    l6_what_cools_keeps_its_slots,
    l9_acquiring_again_keeps_the_fence,
    a_refusal_says_who_holds_it,
    slots_must_agree_with_the_live_grants,
    a_released_lease_is_free_at_once,
    releasing_again_is_no_error,
    releasing_an_earlier_grant_again_is_no_error,
    only_what_was_given_back_was_released,
    only_the_holder_releases,
    only_people_break_a_lease,
    a_broken_claim_ends_and_cools,
    a_session_has_64_leases,
    a_limit_counts_what_others_granted,
    a_lease_named_like_an_item_can_be_guarded,
    leases_are_listed_by_pattern,
}

fn held(bench: &dyn Bench, resource: &str) -> Vec<Holding> {
    let all = must(bench, &ListLeases { pattern: Some(resource.into()) }).holdings;
    all.into_iter().filter(|holding| holding.state == HoldingState::Held).collect()
}

fn slots(number: u32) -> Acquire {
    Acquire { slots: Some(number), ..acquire("r") }
}

/// Has eight sessions ask at once; tells how many were granted.
fn race(bench: &dyn Bench, acquire: &Acquire) -> usize {
    let agents: Vec<_> = (0..8).map(|n| Agent::new(bench, &format!("w{n}"))).collect();
    let outcomes: Vec<_> = thread::scope(|scope| {
        let racers: Vec<_> = agents
            .iter()
            .map(|agent| {
                scope.spawn(|| {
                    let store = bench.second();
                    (*store).call(acquire, |request| request.by(agent.actor()))
                })
            })
            .collect();
        racers.into_iter().map(|racer| racer.join().expect("a racer")).collect()
    });
    let (won, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert!(refused.into_iter().filter_map(Result::err).all(|error| error.code == Code::Held));
    won.len()
}

fn l1_one_of_many_gets_a_lease(bench: &dyn Bench) {
    assert_eq!(race(bench, &acquire("r")), 1);
    assert_eq!(held(bench, "r").len(), 1);
}

fn l1_as_many_as_slots_get_a_lease(bench: &dyn Bench) {
    assert_eq!(race(bench, &slots(3)), 3);
    assert_eq!(held(bench, "r").len(), 3);
    bench.advance(TTL + LOCK_DELAY_MS);
    assert!(held(bench, "r").is_empty());
}

fn l6_what_cools_keeps_its_slots(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    a.must(&acquire("r"));
    bench.advance(TTL + SECOND);
    let refused = b.refused(&slots(2), Code::Cooling);
    bench.advance(refused.retry_after_ms.expect("a time to wait"));
    b.must(&slots(2));
}

fn l6_a_lease_cools_after_an_involuntary_end(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    a.must(&acquire("r"));
    bench.advance(TTL + SECOND);
    let refused = b.refused(&acquire("r"), Code::Cooling);
    let left = refused.retry_after_ms.expect("a time to wait");
    assert!((1..LOCK_DELAY_MS).contains(&left), "{left} ms");
    let listed = must(bench, &ListLeases { pattern: None }).holdings;
    assert_eq!((listed.len(), listed[0].state), (1, HoldingState::Cooling));
    bench.advance(left);
    assert!(!b.must(&acquire("r")).already_held);
}

fn l6_the_lock_delay_can_be_chosen(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let with = |resource, lock_delay_ms| Acquire {
        lock_delay_ms: Some(lock_delay_ms),
        ..acquire(resource)
    };
    a.must(&with("none", 0));
    a.must(&with("long", MINUTE));
    bench.advance(TTL);
    b.must(&acquire("none"));
    let ends = |event: &&Event| event.kind == "lease.expired" && event.scope == "lease:none";
    assert_eq!(log(bench).iter().filter(ends).count(), 1, "a grant ends once");
    bench.advance(MINUTE / 2);
    b.refused(&acquire("long"), Code::Cooling);
    bench.advance(MINUTE / 2);
    b.must(&acquire("long"));
}

fn l9_acquiring_again_keeps_the_fence(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let first = a.must(&acquire("r"));
    assert!(!first.already_held);
    bench.advance(TTL / 2);
    let again = a.must(&acquire("r"));
    assert_eq!((again.fence, again.already_held, again.expires_in_ms), (first.fence, true, TTL));
    let longer = Acquire { ttl_ms: 10 * MINUTE, ..acquire("r") };
    assert_eq!(a.must(&longer).expires_in_ms, 10 * MINUTE);
    bench.advance(5 * MINUTE);
    granted::<Put, _>(a.guarded(&put("s", "k", "1"), guard("r", first.fence)));
    assert_eq!(held(bench, "r").len(), 1);
}

fn a_refusal_says_who_holds_it(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let note = Some("release 1.2".to_owned());
    a.must(&Acquire { note: note.clone(), ..acquire("r") });
    let refused = b.refused(&acquire("r"), Code::Held);
    let holders = refused.details["holders"].as_array().expect("holders").clone();
    assert_eq!(holders.len(), 1);
    assert_eq!(holders[0]["session"], json!(a.id));
    assert_eq!((&holders[0]["kind"], &holders[0]["note"]), (&json!("claude"), &json!(note)));
    assert!(holders[0]["since"].is_string());
    let left = holders[0]["expires_in_ms"].as_u64().expect("when it ends");
    assert!((1..=TTL).contains(&left));
}

fn slots_must_agree_with_the_live_grants(bench: &dyn Bench) {
    let agents: Vec<_> = (0..4).map(|n| Agent::new(bench, &format!("w{n}"))).collect();
    let first = agents[0].must(&slots(2));
    agents[1].refused(&slots(3), Code::SlotsMismatch);
    agents[1].refused(&acquire("r"), Code::SlotsMismatch);
    let second = agents[1].must(&slots(2));
    assert!(second.fence > first.fence);
    let refused = agents[2].refused(&slots(2), Code::Held);
    assert_eq!(refused.details["holders"].as_array().map(Vec::len), Some(2));
    agents[2].refused(&slots(3), Code::SlotsMismatch);
    assert!(agents[0].must(&slots(5)).already_held, "who holds it extends it");
    agents[0].must(&release("r", first.fence));
    agents[2].must(&slots(2));
    for agent in &agents[1..3] {
        agent.must(&sign_off());
    }
    agents[3].must(&slots(1));
}

fn a_released_lease_is_free_at_once(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let first = a.must(&acquire("r"));
    assert!(!a.must(&release("r", first.fence)).already);
    assert!(held(bench, "r").is_empty());
    assert!(b.must(&acquire("r")).fence > first.fence);
}

fn releasing_again_is_no_error(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let fence = a.must(&acquire("r")).fence;
    a.must(&release("r", fence));
    let before = head_seq(bench);
    assert!(a.must(&release("r", fence)).already);
    assert_eq!(head_seq(bench), before);
    let theirs = b.must(&acquire("r")).fence;
    assert!(a.must(&release("r", fence)).already);
    assert_eq!(held(bench, "r")[0].fence, theirs);
}

fn releasing_an_earlier_grant_again_is_no_error(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let first = a.must(&acquire("r")).fence;
    a.must(&release("r", first));
    let second = a.must(&acquire("r")).fence;
    let before = head_seq(bench);
    assert!(a.must(&release("r", first)).already);
    assert_eq!((head_seq(bench), held(bench, "r")[0].fence), (before, second), "the grant stays");
    assert!(!a.must(&release("r", second)).already);
    let third = a.must(&acquire("r")).fence;
    assert!(a.must(&release("r", first)).already && a.must(&release("r", second)).already);
    bench.advance(TTL + SECOND);
    assert!(
        a.must(&release("r", second)).already,
        "what became of a later grant is another matter"
    );
    a.refused(&release("r", third), Code::Fenced);

    let fence = a.must(&claim(&["issue:1"])).items[0].fence;
    a.must(&unclaim(&["issue:1"]));
    assert!(a.must(&release("issue:1", fence)).already);
    a.must(&claim(&["issue:1"]));
    assert!(a.must(&release("claim/issue/1", fence)).already);
    assert!(a.must(&unclaim(&["issue:1"])).not_held.is_empty());
}

fn only_what_was_given_back_was_released(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let theirs = b.must(&acquire("r")).fence;
    b.must(&release("r", theirs));
    let expired = a.must(&acquire("r")).fence;
    bench.advance(TTL + LOCK_DELAY_MS);
    let elsewhere = a.must(&acquire("other")).fence;
    a.must(&release("other", elsewhere));
    let fence = a.must(&acquire("r")).fence;
    a.refused(&release("r", theirs), Code::Fenced);
    a.refused(&release("r", expired), Code::Fenced);
    a.refused(&release("r", elsewhere), Code::Fenced);
    a.refused(&release("r", Fence(fence.0 + 1)), Code::Fenced);
    b.refused(&release("r", fence), Code::Fenced);
    assert_eq!(held(bench, "r")[0].fence, fence);
    a.must(&release("r", fence));
    let theirs = b.must(&slots(2)).fence;
    assert!(a.must(&slots(2)).fence > theirs);
    a.refused(&release("r", theirs), Code::Fenced);
    assert_eq!(held(bench, "r").len(), 2);
}

fn only_the_holder_releases(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let fence = a.must(&acquire("r")).fence;
    b.refused(&release("r", fence), Code::Fenced);
    a.refused(&release("r", Fence(fence.0 + 1)), Code::Fenced);
    a.refused(&release("free", fence), Code::Fenced);
    assert_eq!(held(bench, "r").len(), 1);
    bench.advance(TTL + SECOND);
    a.refused(&release("r", fence), Code::Fenced);
}

fn only_people_break_a_lease(bench: &dyn Bench) {
    let (a, person) = (Agent::new(bench, "a"), Agent::human(bench, "person"));
    let fence = a.must(&acquire("r")).fence;
    let breaking = Break { resource: "r".into(), reason: "stuck".into() };
    Agent::new(bench, "b").refused(&breaking, Code::Forbidden);
    a.refused(&breaking, Code::Forbidden);
    assert_eq!(held(bench, "r").len(), 1);
    let broken = person.must(&breaking);
    assert_eq!((broken.holders, broken.free_in_ms), (vec!["a".to_owned()], LOCK_DELAY_MS));
    a.refused(&renew("r", fence), Code::Fenced);
    a.fenced_by(&note("x"), guard("r", fence));
    person.refused(&acquire("r"), Code::Cooling);
    assert_eq!(count(bench, "lease.broken"), 1);
    bench.advance(LOCK_DELAY_MS);
    assert!(person.must(&acquire("r")).fence > fence);
    let free = Break { resource: "free".into(), reason: "stuck".into() };
    person.refused(&free, Code::NotFound);
}

fn a_broken_claim_ends_and_cools(bench: &dyn Bench) {
    let (a, person) = (Agent::new(bench, "a"), Agent::human(bench, "person"));
    let fence = a.must(&claim(&["issue:1"])).items[0].fence;
    let broken = person.must(&Break { resource: "issue:1".into(), reason: "stuck".into() });
    assert_eq!(broken.holders, ["a"]);
    a.fenced_by(&note("x"), guard("issue:1", fence));
    person.refused(&claim(&["issue:1"]), Code::Cooling);
    assert_eq!(a.must(&unclaim(&["issue:1"])).not_held, ["issue:1"]);
    bench.advance(LOCK_DELAY_MS);
    person.must(&claim(&["issue:1"]));
}

fn a_session_has_64_leases(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let requests = (0..LEASES_MAX).map(|n| a.request(acquire(&format!("r{n}"))));
    let replies: Vec<_> = bench
        .store()
        .submit(requests.collect())
        .into_iter()
        .map(|outcome| succeeds(outcome, "a lease within the quota"))
        .collect();
    let refused = a.refused(&acquire("one-more"), Code::Quota);
    assert!(refused.code.retryable());
    assert!(a.must(&acquire("r0")).already_held, "extending takes no more");
    b.must(&acquire("one-more"));
    let first = crate::ask::answer::<Acquire>(&replies[0]).fence;
    a.must(&release("r0", first));
    a.must(&acquire("another"));
    a.refused(&acquire("r0"), Code::Quota);
}

fn a_limit_counts_what_others_granted(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    a.must(&acquire("r0"));
    let other = bench.second();
    for n in 1..LEASES_MAX {
        let granted = (*other).call(&acquire(&format!("r{n}")), |request| request.by(a.actor()));
        granted.unwrap_or_else(|error| panic!("a lease within the quota: {error}"));
    }
    a.refused(&acquire("one-more"), Code::Quota);
}

fn a_lease_named_like_an_item_can_be_guarded(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    match a.ask(&acquire("issue:15")) {
        Err(error) => assert_eq!(error.code, Code::Invalid, "claims are not taken as leases"),
        Ok(held) => {
            let guard = guard("issue:15", held.answer.fence);
            granted::<Put, _>(a.guarded(&put("s", "k", "1"), guard));
        }
    }
}

fn leases_are_listed_by_pattern(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let note = Some("deploy".to_owned());
    let fence = a.must(&Acquire { note: note.clone(), ..acquire("env/prod") }).fence;
    b.must(&acquire("env/test"));
    b.must(&acquire("other"));
    a.must(&claim(&["issue:1"]));
    let names = |pattern: Option<&str>| -> Vec<String> {
        let listed = must(bench, &ListLeases { pattern: pattern.map(str::to_owned) });
        let mut names: Vec<_> = listed.holdings.into_iter().map(|h| h.resource).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(names(Some("env/*")), ["env/prod", "env/test"]);
    assert_eq!(names(Some("env/p*")), ["env/prod"]);
    assert_eq!(names(None), ["env/prod", "env/test", "other"], "claims are not leases");
    let prod = held(bench, "env/prod").remove(0);
    assert_eq!((prod.session, &*prod.name, &*prod.kind), (a.id, "a", "claude"));
    assert_eq!((prod.fence, prod.note, &*prod.user), (fence, note, "ada"));
    let left = prod.expires_in_ms.expect("a time to live");
    assert!(left <= TTL && prod.held_for_ms < TTL && !prod.automatic);
}
