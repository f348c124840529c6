//! Section 6: claims on issues, paths and branches.

use std::thread;

use cotenant_core::{
    Code,
    claim::{
        AUTOMATIC_MAX, CLAIMS_MAX, Claim, Holding, HoldingState, ITEMS_MAX, Mode, Unclaim, Who,
    },
    clock::{HOUR, MINUTE, SECOND},
    data::Put,
    lease::LOCK_DELAY_MS,
    name::SessionRef,
};

use crate::{
    Bench,
    ask::{Agent, granted, head_seq, must, names, succeeds},
    sample::{acquire, claim, claim_items, claim_path, edit, guard, item, path, put, unclaim, who},
};

cases! {
    one_of_many_gets_a_claim_and_the_others_learn_who,
    a_claim_of_several_takes_all_or_none,
    a_refused_claim_names_every_conflict,
    an_advisory_claim_never_fails_and_tells_what_overlaps,
    claiming_again_keeps_the_fence,
    claims_of_one_session_never_conflict,
    a_claim_lives_as_long_as_its_session,
    a_claim_can_have_a_ttl,
    unclaiming_tells_what_was_not_held,
    unclaiming_everything,
    a_claim_is_one_event_an_item,
    who_tells_who_holds_what,
    a_session_has_256_claims,
    a_session_has_4096_automatic_claims,
}

fn held(holdings: Vec<Holding>) -> Vec<Holding> {
    holdings.into_iter().filter(|holding| holding.state == HoldingState::Held).collect()
}

/// The items of holdings with their holders, ordered.
fn pairs(holdings: Vec<Holding>) -> Vec<(String, String)> {
    let mut pairs: Vec<_> = holdings.into_iter().map(|h| (h.resource, h.name)).collect();
    pairs.sort_unstable();
    pairs
}

fn one_of_many_gets_a_claim_and_the_others_learn_who(bench: &dyn Bench) {
    let agents: Vec<_> = (0..8).map(|n| Agent::new(bench, &format!("w{n}"))).collect();
    let outcomes: Vec<_> = thread::scope(|scope| {
        let racers: Vec<_> = agents
            .iter()
            .map(|agent| {
                scope.spawn(|| {
                    let store = bench.second();
                    (*store).call(&claim(&["issue:1"]), |request| request.by(agent.actor()))
                })
            })
            .collect();
        racers.into_iter().map(|racer| racer.join().expect("a racer")).collect()
    });
    let winner = held(must(bench, &who("issue:1")).holdings).remove(0);
    let mut won = 0;
    for (agent, outcome) in agents.iter().zip(outcomes) {
        match outcome {
            Ok(claimed) => {
                won += 1;
                assert_eq!(
                    (&winner.session, winner.fence),
                    (&agent.id, claimed.answer.items[0].fence)
                );
            }
            Err(error) => {
                assert_eq!(error.code, Code::Claimed);
                let details = serde_json::Value::from(error.details).to_string();
                assert!(details.contains(&winner.name), "{details}");
            }
        }
    }
    assert_eq!(won, 1);
}

fn a_claim_of_several_takes_all_or_none(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    a.must(&claim(&["issue:2"]));
    let before = head_seq(bench);
    let mut items = claim(&["issue:1", "issue:2", "branch:x"]);
    items.items.push(path("t1", "src"));
    b.refused(&items, Code::Claimed);
    assert_eq!(head_seq(bench), before);
    assert_eq!(pairs(must(bench, &Who::default()).holdings), [("issue:2".into(), "a".into())]);
    a.must(&unclaim(&["issue:2"]));
    let claimed = b.must(&items).items;
    let items: Vec<_> = claimed.iter().map(|item| &*item.item).collect();
    assert_eq!(items, ["issue:1", "issue:2", "branch:x", "path:src"]);
    assert!(claimed.iter().all(|item| !item.already_held));
}

fn a_refused_claim_names_every_conflict(bench: &dyn Bench) {
    let (a, b, c) = (Agent::new(bench, "a"), Agent::new(bench, "b"), Agent::new(bench, "c"));
    let intent = Some("fix the parser".to_owned());
    a.must(&Claim { intent: intent.clone(), ..claim(&["issue:1", "issue:2"]) });
    b.must(&claim(&["branch:x"]));
    b.must(&claim_path("src/a.rs"));
    let mut items = claim(&["issue:1", "issue:2", "issue:3", "branch:x"]);
    items.items.push(path("t1", "src"));
    let error = c.refused(&items, Code::Claimed);
    let details = serde_json::Value::from(error.details).to_string();
    for named in ["issue:1", "issue:2", "branch:x", "path:src/a.rs", "fix the parser"] {
        assert!(details.contains(named), "{named} is missing in {details}");
    }
    assert!(!details.contains("issue:3"), "{details}");
    assert!(names(&details, &a) && names(&details, &b), "{details}");
}

fn an_advisory_claim_never_fails_and_tells_what_overlaps(bench: &dyn Bench) {
    let (a, b, c) = (Agent::new(bench, "a"), Agent::new(bench, "b"), Agent::new(bench, "c"));
    a.must(&claim(&["issue:1"]));
    a.must(&claim_path("src/a.rs"));
    let advisory = |mut claim: Claim| {
        claim.mode = Mode::Advisory;
        claim
    };
    let mut wanted = advisory(claim(&["issue:1", "issue:2"]));
    wanted.items.push(path("t1", "src"));
    let claimed = b.must(&wanted);
    assert_eq!(claimed.items.len(), 3);
    let overlaps = pairs(claimed.overlaps);
    assert_eq!(overlaps, [("issue:1".into(), "a".into()), ("path:src/a.rs".into(), "a".into())]);
    let exclusive = c.must(&claim(&["issue:2"]));
    assert_eq!(pairs(exclusive.overlaps), [("issue:2".into(), "b".into())]);
    c.refused(&claim(&["issue:1"]), Code::Claimed);
    let all = held(must(bench, &who("issue:1")).holdings);
    let modes: Vec<_> = all.iter().map(|holding| (&*holding.name, holding.mode)).collect();
    assert!(modes.contains(&("a", Mode::Exclusive)) && modes.contains(&("b", Mode::Advisory)));
}

fn claiming_again_keeps_the_fence(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let first = a.must(&claim(&["issue:1"])).items.remove(0);
    let again = a.must(&claim(&["issue:2", "issue:1"])).items;
    assert_eq!((again[1].fence, again[1].already_held), (first.fence, true));
    assert!(!again[0].already_held && again[0].fence > first.fence);
    assert_eq!(again[1].resource, first.resource);
}

fn claims_of_one_session_never_conflict(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    a.must(&claim_path("src"));
    a.must(&claim_path("src/a.rs"));
    a.must(&edit("src/b.rs"));
    a.must(&claim_path("."));
    let claimed = a.must(&claim(&["issue:1"]));
    assert!(claimed.overlaps.is_empty());
    a.must(&claim(&["issue:1"]));
    assert_eq!(held(must(bench, &Who::default()).holdings).len(), 5);
}

fn a_claim_lives_as_long_as_its_session(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let claimed = a.must(&claim(&["issue:1"])).items.remove(0);
    bench.advance(10 * HOUR);
    assert_eq!(held(must(bench, &who("issue:1")).holdings)[0].expires_in_ms, None);
    b.refused(&claim(&["issue:1"]), Code::Claimed);
    granted::<Put, _>(a.guarded(&put("s", "k", "1"), guard("issue:1", claimed.fence)));
}

fn a_claim_can_have_a_ttl(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let brief = Claim { ttl_ms: Some(MINUTE), ..claim(&["issue:1"]) };
    let fence = a.must(&brief).items[0].fence;
    bench.advance(MINUTE / 2);
    assert_eq!(a.must(&brief).items[0].fence, fence);
    bench.advance(MINUTE / 2 + 10 * SECOND);
    b.refused(&claim(&["issue:1"]), Code::Claimed);
    bench.advance(MINUTE / 2);
    a.fenced_by(&put("s", "k", "1"), guard("issue:1", fence));
    bench.advance(LOCK_DELAY_MS);
    assert!(b.must(&claim(&["issue:1"])).items[0].fence > fence);
}

fn unclaiming_tells_what_was_not_held(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    a.must(&claim(&["issue:1"]));
    b.must(&claim(&["issue:2"]));
    let unclaimed = a.must(&unclaim(&["issue:1", "issue:2", "issue:3"]));
    assert_eq!(unclaimed.released, ["issue:1"]);
    assert_eq!(unclaimed.not_held, ["issue:2", "issue:3"]);
    a.refused(&claim(&["issue:2"]), Code::Claimed);
    b.must(&claim(&["issue:1"]));
    let before = head_seq(bench);
    assert_eq!(a.must(&unclaim(&["issue:1"])).not_held, ["issue:1"]);
    assert_eq!(head_seq(bench), before);
}

fn unclaiming_everything(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    a.must(&claim(&["issue:1", "branch:x"]));
    a.must(&edit("src/a.rs"));
    let lease = a.must(&acquire("r"));
    let mut released = a.must(&Unclaim { items: Vec::new(), all: true }).released;
    released.sort_unstable();
    assert_eq!(released, ["branch:x", "issue:1", "path:src/a.rs"]);
    assert!(must(bench, &Who::default()).holdings.is_empty());
    granted::<Put, _>(a.guarded(&put("s", "k", "1"), guard("r", lease.fence)));
}

fn a_claim_is_one_event_an_item(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let before = head_seq(bench);
    let claimed = a.answered(&claim(&["issue:1", "issue:2", "issue:3"]));
    assert_eq!(claimed.seq.0, before + 3);
    a.must(&unclaim(&["issue:1", "issue:2"]));
    assert_eq!(head_seq(bench), before + 5);
}

fn who_tells_who_holds_what(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let intent = Some("fix it".to_owned());
    let fence = a.must(&Claim { intent: intent.clone(), ..claim(&["issue:1"]) }).items[0].fence;
    b.must(&claim(&["issue:15", "branch:x"]));
    b.must(&acquire("r"));
    let all = must(bench, &Who::default()).holdings;
    let expected = [("branch:x", "b"), ("issue:1", "a"), ("issue:15", "b")]
        .map(|(item, name)| (item.to_owned(), name.to_owned()));
    assert_eq!(pairs(all), expected, "leases are not claims");
    let one = must(bench, &who("issue:1")).holdings.remove(0);
    assert_eq!((one.session, one.fence, one.note), (a.id, fence, intent));
    assert_eq!((one.mode, one.state, one.automatic), (Mode::Exclusive, HoldingState::Held, false));
    let pattern = Who { pattern: Some("issue:*".into()), ..Who::default() };
    assert_eq!(pairs(must(bench, &pattern).holdings), expected[1..]);
    let session = Who { session: Some(SessionRef("b".into())), ..Who::default() };
    let by_session = pairs(must(bench, &session).holdings);
    assert_eq!(by_session, [expected[0].clone(), expected[2].clone()]);
    assert!(must(bench, &who("issue:2")).holdings.is_empty());
}

fn many(automatic: bool, from: i64, count: usize) -> Claim {
    let items = (from..).take(count).map(|n| {
        if automatic { path("t1", &format!("f{n}")) } else { item(&format!("issue:{n}")) }
    });
    Claim { automatic, ..claim_items(items.collect()) }
}

pub(crate) fn fill(a: &Agent<'_>, automatic: bool, most: i64) {
    let starts = (0..most).step_by(ITEMS_MAX);
    let requests: Vec<_> = starts.map(|from| a.request(many(automatic, from, ITEMS_MAX))).collect();
    for outcome in a.bench.store().submit(requests) {
        succeeds(outcome, "claims within the quota");
    }
}

fn a_session_has_256_claims(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    fill(&a, false, CLAIMS_MAX);
    a.refused(&many(false, CLAIMS_MAX, 1), Code::Quota);
    a.must(&many(false, 0, 1));
    a.must(&edit("src/a.rs"));
    a.must(&acquire("r"));
    b.must(&many(false, CLAIMS_MAX, 1));
    a.must(&unclaim(&["issue:0"]));
    a.refused(&many(false, 1_000, 2), Code::Quota);
    a.must(&claim(&["issue:1", "issue:1000"]));
}

fn a_session_has_4096_automatic_claims(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    fill(&a, true, AUTOMATIC_MAX);
    a.refused(&many(true, AUTOMATIC_MAX, 1), Code::Quota);
    a.must(&many(true, 0, 1));
    a.must(&claim(&["issue:1"]));
}
