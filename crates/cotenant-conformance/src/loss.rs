//! Sections 3.2 to 3.6: signs of life, signing off, silence and loss.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use cotenant_core::{
    Code,
    claim::{Holding, HoldingState},
    clock::{HOUR, MINUTE},
    data::Put,
    lease::LOCK_DELAY_MS,
    name::SessionRef,
    process::ProcessIdentity,
    session::{Reap, Reaped, ShowSession, SignOn, State},
};

use crate::{
    Bench,
    ask::{Agent, ask, count, fails, granted, must, refuses, until},
    sample::{acquire, claim, get, note, put, show, sign_on, wait_for, who},
    wait::waiting,
};

cases! {
    a_session_that_cannot_be_judged_is_lost_with_its_ttl,
    a_session_whose_process_died_is_lost_with_its_ttl,
    n3_loss_takes_everything_in_one_step,
    n3_nobody_sees_a_part_of_a_loss,
    n4_only_a_process_of_this_host_and_boot_is_judged,
    n4_a_reused_process_id_is_another_process,
    reaping_takes_a_session_whose_process_is_gone,
    reaping_leaves_a_session_that_may_live,
    only_people_reap_by_force,
    a_session_of_an_earlier_boot_is_lost_for_it,
}

fn reap(agent: &Agent<'_>) -> Reap {
    Reap { session: agent.reference(), force: false }
}

fn holdings(agent: &Agent<'_>) -> Vec<Holding> {
    must(agent.bench, &show(&agent.id.0)).holds
}

fn held(agent: &Agent<'_>) -> usize {
    holdings(agent).iter().filter(|holding| holding.state == HoldingState::Held).count()
}

/// Takes a lease, a claim and an ephemeral key.
fn take(agent: &Agent<'_>) {
    agent.must(&acquire("r"));
    agent.must(&claim(&["issue:1"]));
    agent.must(&Put { ephemeral: true, ..put("s", "mine", "1") });
}

fn a_session_that_cannot_be_judged_is_lost_with_its_ttl(bench: &dyn Bench) {
    let sign_on = SignOn {
        process: Some(bench.foreign_process()),
        ttl_ms: Some(10 * MINUTE),
        ..sign_on("a")
    };
    let (a, b) = (Agent::on(bench, &sign_on), Agent::new(bench, "b"));
    a.must(&claim(&["issue:1"]));
    bench.advance(9 * MINUTE);
    b.refused(&claim(&["issue:1"]), Code::Claimed);
    assert_eq!(a.state(), State::Active);
    bench.advance(2 * MINUTE);
    b.refused(&claim(&["issue:1"]), Code::Cooling);
    assert_eq!(a.state(), State::Lost);
}

fn a_session_whose_process_died_is_lost_with_its_ttl(bench: &dyn Bench) {
    let process = bench.process();
    let (a, b) = (Agent::living(bench, "a", &process), Agent::new(bench, "b"));
    a.must(&claim(&["issue:1"]));
    bench.kill(&process);
    b.must(&note("nobody asked for it yet"));
    assert_eq!((a.state(), a.view().process_alive), (State::Active, Some(false)));
    bench.advance(5 * MINUTE);
    assert_eq!(a.state(), State::Lost);
    b.must(&note("settled"));
    assert_eq!((a.state(), count(bench, "session.lost")), (State::Lost, 1));
    assert!(a.view().reason.is_some());
}

fn n3_loss_takes_everything_in_one_step(bench: &dyn Bench) {
    let process = bench.process();
    let (a, b) = (Agent::living(bench, "a", &process), Agent::new(bench, "b"));
    take(&a);
    b.must(&acquire("theirs"));
    let call = a.start(wait_for("theirs"));
    until("a waits", || waiting(bench, "theirs") == [a.name.clone()]);
    bench.kill(&process);
    must(bench, &reap(&a));
    assert_eq!(a.state(), State::Lost);
    let cooling = holdings(&a);
    assert_eq!(cooling.len(), 2, "{cooling:?}");
    assert!(cooling.iter().all(|holding| holding.state == HoldingState::Cooling));
    refuses(bench, &get("s", "mine"), Code::NotFound);
    assert!(waiting(bench, "theirs").is_empty());
    assert_eq!(count(bench, "session.lost"), 1);
    fails(call.outcome(), Code::SessionLost, "the waiting call");
    for refused in
        [b.refused(&claim(&["issue:1"]), Code::Cooling), b.refused(&acquire("r"), Code::Cooling)]
    {
        let wait = refused.retry_after_ms.expect("a time to wait");
        assert!((1..=LOCK_DELAY_MS).contains(&wait), "{wait} ms");
    }
    bench.advance(LOCK_DELAY_MS);
    b.must(&claim(&["issue:1"]));
    b.must(&acquire("r"));
}

fn n3_nobody_sees_a_part_of_a_loss(bench: &dyn Bench) {
    let process = bench.process();
    let a = Agent::living(bench, "a", &process);
    let items: Vec<String> = (0..40).map(|n| format!("issue:{n}")).collect();
    a.must(&claim(&items.iter().map(String::as_str).collect::<Vec<_>>()));
    bench.kill(&process);
    let reaped = AtomicBool::new(false);
    thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let store = bench.second();
            loop {
                let last = reaped.load(Ordering::SeqCst);
                let seen = (*store).call(&show(&a.id.0), |request| request);
                let shown = granted::<ShowSession, _>(seen).answer;
                let held = |holding: &&Holding| holding.state == HoldingState::Held;
                let held = shown.holds.iter().filter(held).count();
                match shown.session.state {
                    State::Active => assert_eq!(held, 40, "an active session has all its claims"),
                    State::Lost => return assert_eq!(held, 0, "a lost session has no claim"),
                    other => panic!("the session is {other:?}"),
                }
                assert!(!last, "a session that was reaped is lost");
            }
        });
        let outcome = ask(bench, &reap(&a));
        reaped.store(true, Ordering::SeqCst);
        watcher.join().expect("the watcher saw all or nothing");
        granted::<Reap, _>(outcome);
    });
}

fn n4_only_a_process_of_this_host_and_boot_is_judged(bench: &dyn Bench) {
    let here = bench.process();
    let elsewhere = [
        bench.foreign_process(),
        ProcessIdentity { namespace: "another".into(), ..here.clone() },
        ProcessIdentity { host: "another".into(), ..here.clone() },
    ];
    bench.kill(&here);
    let b = Agent::new(bench, "b");
    for (index, process) in elsewhere.iter().enumerate() {
        let a = Agent::living(bench, &format!("a{index}"), process);
        let item = format!("issue:{index}");
        a.must(&claim(&[&item]));
        assert_eq!(a.view().process_alive, None, "{process:?}");
        b.refused(&claim(&[&item]), Code::Claimed);
        refuses(bench, &reap(&a), Code::NotDead);
        assert_eq!(a.state(), State::Active);
    }
}

fn n4_a_reused_process_id_is_another_process(bench: &dyn Bench) {
    let now = bench.process();
    let earlier = ProcessIdentity { started: now.started.wrapping_sub(1), ..now.clone() };
    let a = Agent::living(bench, "a", &earlier);
    a.must(&claim(&["issue:1"]));
    assert_eq!(a.view().process_alive, Some(false));
    let b = Agent::living(bench, "b", &now);
    b.refused(&claim(&["issue:1"]), Code::Cooling);
    assert_eq!((a.state(), b.state()), (State::Lost, State::Active));
}

fn reaping_takes_a_session_whose_process_is_gone(bench: &dyn Bench) {
    let process = bench.process();
    let dead = Agent::living(bench, "dead", &process);
    bench.kill(&process);
    let Reaped { session, name, reason, already } = must(bench, &reap(&dead));
    assert_eq!((session, &*name, already), (dead.id.clone(), "dead", false));
    assert_eq!((dead.state(), dead.view().reason), (State::Lost, Some(reason.clone())));
    assert!(!reason.is_empty());
    assert!(must(bench, &reap(&dead)).already);
    let quiet = Agent::brief(bench, "quiet", MINUTE);
    bench.advance(2 * MINUTE);
    must(bench, &reap(&quiet));
    assert_eq!((quiet.state(), count(bench, "session.lost")), (State::Lost, 2));
    let unknown = Reap { session: SessionRef("nobody".into()), force: false };
    refuses(bench, &unknown, Code::NotFound);
}

fn reaping_leaves_a_session_that_may_live(bench: &dyn Bench) {
    let living = Agent::living(bench, "living", &bench.process());
    let foreign = Agent::living(bench, "foreign", &bench.foreign_process());
    let brief = Agent::brief(bench, "brief", MINUTE);
    for agent in [&living, &foreign, &brief] {
        refuses(bench, &reap(agent), Code::NotDead);
        assert_eq!(agent.state(), State::Active);
    }
    bench.advance(HOUR);
    refuses(bench, &reap(&living), Code::NotDead);
    assert_eq!(living.state(), State::Silent);
}

fn only_people_reap_by_force(bench: &dyn Bench) {
    let living = Agent::living(bench, "living", &bench.process());
    let (agent, person) = (Agent::new(bench, "agent"), Agent::human(bench, "person"));
    living.must(&claim(&["issue:1"]));
    let force = Reap { session: living.reference(), force: true };
    agent.refused(&force, Code::Forbidden);
    assert_eq!(held(&living), 1);
    assert!(!person.must(&force).already);
    assert_eq!((living.state(), held(&living)), (State::Lost, 0));
    living.refused(&note("x"), Code::SessionLost);
}

fn a_session_of_an_earlier_boot_is_lost_for_it(bench: &dyn Bench) {
    let here = Agent::living(bench, "here", &bench.process());
    let foreign = Agent::living(bench, "foreign", &bench.foreign_process());
    let unknown = Agent::new(bench, "unknown");
    for (index, agent) in [&here, &foreign, &unknown].into_iter().enumerate() {
        agent.must(&claim(&[&format!("issue:{index}")]));
    }
    bench.reboot();
    let b = Agent::living(bench, "b", &bench.process());
    b.refused(&claim(&["issue:0"]), Code::Cooling);
    assert_eq!((here.state(), here.view().reason.as_deref()), (State::Lost, Some("reboot")));
    b.refused(&claim(&["issue:1"]), Code::Claimed);
    b.refused(&claim(&["issue:2"]), Code::Claimed);
    bench.advance(LOCK_DELAY_MS);
    b.must(&claim(&["issue:0"]));
    assert_eq!(count(bench, "session.lost"), 1);
    assert!(must(bench, &who("issue:1")).holdings.iter().all(|h| h.session == foreign.id));
}
