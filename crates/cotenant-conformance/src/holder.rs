//! Sections 1 and 3.1: what becomes of a dead holder's things when the next one asks for them.

use cotenant_core::{
    Code,
    claim::HoldingState,
    clock::{MINUTE, SECOND},
    data::Put,
    event::Event,
    id::Fence,
    lease::{Acquire, LOCK_DELAY_MS},
    process::ProcessIdentity,
    session::{Reap, Relation, SignOn, SignedOn, State},
};

use crate::{
    Bench,
    ask::{Agent, count, granted, log, must},
    sample::{acquire, anonymous, check, claim, claim_path, guard, put, show, sign_on, who},
};

cases! {
    a_dead_holder_is_found_when_its_claim_is_asked_for,
    a_dead_holder_is_found_when_its_lease_is_asked_for,
    a_dead_holder_is_found_when_its_path_is_asked_for,
    every_conflicting_holder_is_looked_at,
    a_name_whose_process_died_is_free_at_once,
    a_conversation_whose_process_died_is_resumed_at_once,
    the_next_incarnation_inherits_what_was_held,
    a_session_that_takes_the_name_of_a_dead_one_goes_on_for_it,
    one_process_has_a_name_once,
    the_next_incarnation_inherits_what_is_still_cooling,
    the_next_incarnation_inherits_nothing_that_has_cooled,
    nobody_else_inherits,
}

/// A session that holds a lease, a claim and a path, with the process it lives with.
fn holder(bench: &dyn Bench) -> (Agent<'_>, ProcessIdentity) {
    let process = bench.process();
    let native_id = Some("n1".into());
    let sign_on = SignOn { native_id, process: Some(process.clone()), ..sign_on("a") };
    let a = Agent::on(bench, &sign_on);
    a.must(&acquire("r"));
    a.must(&claim(&["issue:1"]));
    a.must(&claim_path("src/a.rs"));
    (a, process)
}

fn again(bench: &dyn Bench) -> SignedOn {
    must(bench, &SignOn { process: Some(bench.process()), ..sign_on("a") })
}

fn fences_held(bench: &dyn Bench, session: &SignedOn) -> Vec<(String, i64)> {
    let holds = must(bench, &show(&session.session.0)).holds;
    assert!(holds.iter().all(|holding| holding.state == HoldingState::Held), "{holds:?}");
    let mut all: Vec<_> = holds.into_iter().map(|h| (h.resource, h.fence.0)).collect();
    all.sort_unstable();
    all
}

fn lost(bench: &dyn Bench) -> Vec<Event> {
    log(bench).into_iter().filter(|event| event.kind == "session.lost").collect()
}

fn a_dead_holder_is_found_when_its_claim_is_asked_for(bench: &dyn Bench) {
    let (a, process) = holder(bench);
    let b = Agent::new(bench, "b");
    b.refused(&claim(&["issue:1"]), Code::Claimed);
    bench.kill(&process);
    let refused = b.refused(&claim(&["issue:1"]), Code::Cooling);
    assert!((1..=LOCK_DELAY_MS).contains(&refused.retry_after_ms.expect("a time to wait")));
    assert_eq!((a.state(), lost(bench).len()), (State::Lost, 1));
    bench.advance(LOCK_DELAY_MS);
    b.must(&claim(&["issue:1"]));
}

fn a_dead_holder_is_found_when_its_lease_is_asked_for(bench: &dyn Bench) {
    let (a, process) = holder(bench);
    let b = Agent::new(bench, "b");
    b.refused(&acquire("r"), Code::Held);
    bench.kill(&process);
    b.refused(&acquire("r"), Code::Cooling);
    assert_eq!(a.state(), State::Lost);
    bench.advance(LOCK_DELAY_MS);
    b.must(&acquire("r"));
}

fn a_dead_holder_is_found_when_its_path_is_asked_for(bench: &dyn Bench) {
    let (a, process) = holder(bench);
    let b = Agent::new(bench, "b");
    b.refused(&claim_path("src"), Code::Claimed);
    bench.kill(&process);
    b.refused(&claim_path("src"), Code::Cooling);
    assert_eq!(a.state(), State::Lost);
    bench.advance(LOCK_DELAY_MS);
    b.must(&claim_path("src"));
}

fn every_conflicting_holder_is_looked_at(bench: &dyn Bench) {
    let processes: Vec<_> = (0..3).map(|_| bench.process()).collect();
    for (index, process) in processes.iter().enumerate() {
        let agent = Agent::living(bench, &format!("a{index}"), process);
        agent.must(&claim(&[&format!("issue:{index}")]));
    }
    let b = Agent::new(bench, "b");
    for process in &processes {
        bench.kill(process);
    }
    b.refused(&claim(&["issue:0", "issue:1", "issue:2"]), Code::Cooling);
    assert_eq!(count(bench, "session.lost"), 3);
    bench.advance(LOCK_DELAY_MS);
    assert_eq!(b.must(&claim(&["issue:0", "issue:1", "issue:2"])).items.len(), 3);
}

fn a_name_whose_process_died_is_free_at_once(bench: &dyn Bench) {
    let (a, process) = holder(bench);
    bench.kill(&process);
    let next = again(bench);
    assert!(!next.existing && next.session != a.id);
    assert_eq!((&*next.name, next.relation), ("a", Some(Relation::Resume)));
    assert_eq!(next.parent, Some(a.id.clone()));
    assert_eq!((a.state(), lost(bench).len()), (State::Lost, 1));
}

fn a_conversation_whose_process_died_is_resumed_at_once(bench: &dyn Bench) {
    let (a, process) = holder(bench);
    bench.kill(&process);
    let resumed = must(
        bench,
        &SignOn { native_id: Some("n1".into()), process: Some(bench.process()), ..anonymous() },
    );
    assert!(!resumed.existing);
    assert_eq!((resumed.parent, resumed.relation), (Some(a.id), Some(Relation::Resume)));
    assert_eq!(resumed.inherited.len(), 3);
}

fn the_next_incarnation_inherits_what_was_held(bench: &dyn Bench) {
    let (a, process) = holder(bench);
    let before = must(bench, &show("a")).holds;
    bench.kill(&process);
    let next = again(bench);
    let mut inherited: Vec<_> =
        next.inherited.iter().map(|holding| (holding.resource.clone(), holding.fence.0)).collect();
    inherited.sort_unstable();
    let resources: Vec<&str> = inherited.iter().map(|(resource, _)| &**resource).collect();
    assert_eq!(resources, ["issue:1", "path:src/a.rs", "r"]);
    assert_eq!(fences_held(bench, &next), inherited);
    let highest = before.iter().map(|holding| holding.fence.0).max().expect("it held something");
    assert!(inherited.iter().all(|(_, fence)| *fence > highest), "new fences: {inherited:?}");
    let old = before.iter().find(|holding| holding.resource == "r").expect("the lease");
    assert!(!must(bench, &check("r", old.fence)).valid);
    a.refused(&put("s", "k", "1"), Code::SessionLost);
    let next = Agent::of(bench, &next);
    let (_, fence) = inherited.iter().find(|(resource, _)| resource == "issue:1").expect("issue:1");
    let guard = guard("issue:1", Fence(*fence));
    granted::<Put, _>(next.guarded(&put("s", "k", "1"), guard));
    Agent::new(bench, "b").refused(&claim(&["issue:1"]), Code::Claimed);
    bench.advance(2 * LOCK_DELAY_MS);
    Agent::new(bench, "c").refused(&acquire("r"), Code::Held);
}

/// As an agent does whose hooks signed it on under a drawn name before it said its own.
fn a_session_that_takes_the_name_of_a_dead_one_goes_on_for_it(bench: &dyn Bench) {
    let (a, process) = holder(bench);
    bench.kill(&process);
    let again = bench.process();
    let drawn =
        SignOn { native_id: Some("n2".into()), process: Some(again.clone()), ..anonymous() };
    let first = must(bench, &drawn);
    let named = must(bench, &SignOn { name: Some("a".into()), ..drawn });
    assert_eq!((&named.session, named.existing), (&first.session, true));
    assert_eq!((named.parent, named.relation), (Some(a.id.clone()), Some(Relation::Resume)));
    let mut inherited: Vec<_> =
        named.inherited.iter().map(|holding| holding.resource.as_str()).collect();
    inherited.sort_unstable();
    assert_eq!(inherited, ["issue:1", "path:src/a.rs", "r"]);
}

fn one_process_has_a_name_once(bench: &dyn Bench) {
    let process = Some(bench.process());
    let thread = |native: &str| SignOn {
        native_id: Some(native.into()),
        process: process.clone(),
        ..anonymous()
    };
    must(bench, &thread("one"));
    must(bench, &thread("two"));
    let first = must(bench, &SignOn { name: Some("a".into()), ..thread("one") });
    let second = must(bench, &SignOn { name: Some("a".into()), ..thread("two") });
    assert_eq!(second.session, first.session);
}

fn the_next_incarnation_inherits_what_is_still_cooling(bench: &dyn Bench) {
    let (a, process) = holder(bench);
    bench.kill(&process);
    must(bench, &Reap { session: a.reference(), force: false });
    bench.advance(2 * SECOND);
    let next = again(bench);
    assert_eq!(next.parent, Some(a.id));
    assert_eq!(fences_held(bench, &next).len(), 3);
    assert_eq!(next.inherited.len(), 3);
}

fn the_next_incarnation_inherits_nothing_that_has_cooled(bench: &dyn Bench) {
    let process = bench.process();
    let a = Agent::living(bench, "a", &process);
    a.must(&claim(&["issue:1"]));
    a.must(&Acquire { lock_delay_ms: Some(MINUTE), ..acquire("slow") });
    bench.kill(&process);
    must(bench, &Reap { session: a.reference(), force: false });
    bench.advance(30 * SECOND);
    let next = again(bench);
    let inherited: Vec<_> = next.inherited.iter().map(|h| &*h.resource).collect();
    assert_eq!(inherited, ["slow"]);
    Agent::new(bench, "b").must(&claim(&["issue:1"]));
}

fn nobody_else_inherits(bench: &dyn Bench) {
    let (_, process) = holder(bench);
    bench.kill(&process);
    let other = must(bench, &SignOn { process: Some(bench.process()), ..sign_on("other") });
    assert!(other.inherited.is_empty());
    let b = Agent::of(bench, &other);
    b.refused(&claim(&["issue:1"]), Code::Cooling);
    let cooling = must(bench, &who("issue:1")).holdings;
    assert_eq!(cooling.len(), 1);
    assert_eq!((cooling[0].state, &*cooling[0].name), (HoldingState::Cooling, "a"));
}
