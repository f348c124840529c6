//! Sections 3.2 to 3.6: signs of life, signing off, silence and loss.

use std::thread;

use cotenant_core::{
    Code,
    claim::{Holding, HoldingState},
    clock::{HOUR, MINUTE, SECOND},
    data::Put,
    lease::LOCK_DELAY_MS,
    name::SessionRef,
    process::ProcessIdentity,
    session::{Beat, Heartbeat, Reap, Reaped, ShowSession, SignOff, SignOn, State},
};

use crate::{
    Bench,
    ask::{Agent, count, fails, granted, head_seq, must, refuses, until},
    sample::{acquire, check, claim, get, note, put, show, sign_off, sign_on, wait_for, who},
    wait::waiting,
};

cases! {
    a_heartbeat_extends_the_session_and_is_no_event,
    n2_a_heartbeat_revives_nobody,
    signing_off_gives_back_everything_and_counts_it,
    signing_off_again_is_no_error,
    what_was_given_back_is_free_at_once,
    k5_ephemeral_keys_go_with_their_session,
    a_quiet_session_whose_process_lives_is_silent_and_keeps_its_claims,
    a_session_that_is_silent_for_eight_hours_is_lost,
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
    a_session_is_marked_as_possibly_abandoned_after_an_hour,
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

fn a_heartbeat_extends_the_session_and_is_no_event(bench: &dyn Bench) {
    let a = Agent::brief(bench, "a", MINUTE);
    let before = head_seq(bench);
    for _ in 0..5 {
        bench.advance(40 * SECOND);
        let Beat { expires_in_ms } = a.must(&Heartbeat {});
        assert_eq!(expires_in_ms, MINUTE);
    }
    assert_eq!(a.state(), State::Active);
    assert!(a.view().heartbeat_age_ms < 40 * SECOND);
    assert_eq!(head_seq(bench), before);
}

fn n2_a_heartbeat_revives_nobody(bench: &dyn Bench) {
    let (a, b) = (Agent::brief(bench, "a", MINUTE), Agent::new(bench, "b"));
    b.must(&sign_off());
    bench.advance(2 * MINUTE);
    for _ in 0..2 {
        a.refused(&Heartbeat {}, Code::SessionLost);
        b.refused(&Heartbeat {}, Code::SessionEnded);
        assert_eq!((a.state(), b.state()), (State::Lost, State::Ended));
    }
    a.refused(&sign_off(), Code::SessionLost);
    assert!(must(bench, &reap(&b)).already, "what has ended cannot be lost");
    assert_eq!((a.state(), b.state()), (State::Lost, State::Ended));
}

fn signing_off_gives_back_everything_and_counts_it(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    a.must(&acquire("r1"));
    a.must(&acquire("r2"));
    a.must(&claim(&["issue:1", "issue:2", "issue:3"]));
    a.must(&Put { ephemeral: true, ..put("s", "mine", "1") });
    a.must(&put("s", "stays", "1"));
    b.must(&acquire("theirs"));
    let call = a.start(wait_for("theirs"));
    until("a waits", || waiting(bench, "theirs") == [a.name.clone()]);
    let outcome = SignOff { outcome: Some("done".into()), note: Some("bye".into()) };
    let off = a.must(&outcome);
    let counts = (off.leases, off.claims, off.keys, off.tickets, off.already);
    assert_eq!(counts, (2, 3, 1, 1, false));
    fails(call.outcome(), Code::SessionEnded, "the waiting call");
    assert_eq!(a.view().outcome.as_deref(), Some("done"));
    assert_eq!((a.state(), holdings(&a)), (State::Ended, Vec::new()));
    assert_eq!(must(bench, &get("s", "stays")).value.text(), "1");
    assert_eq!(count(bench, "session.off"), 1);
    assert!(waiting(bench, "theirs").is_empty());
}

fn signing_off_again_is_no_error(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    take(&a);
    a.must(&sign_off());
    let before = head_seq(bench);
    let off = a.must(&sign_off());
    assert_eq!((off.leases, off.claims, off.keys, off.tickets, off.already), (0, 0, 0, 0, true));
    assert_eq!(head_seq(bench), before);
}

fn what_was_given_back_is_free_at_once(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    take(&a);
    a.must(&sign_off());
    assert!(!b.must(&acquire("r")).already_held);
    assert!(!b.must(&claim(&["issue:1"])).items[0].already_held);
}

fn k5_ephemeral_keys_go_with_their_session(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::brief(bench, "b", MINUTE));
    let mine = |agent: &Agent<'_>| Put { ephemeral: true, ..put("s", &agent.name, "1") };
    a.must(&mine(&a));
    b.must(&mine(&b));
    let entry = must(bench, &get("s", "a"));
    assert!(entry.ephemeral && entry.writer == "a");
    a.must(&sign_off());
    refuses(bench, &get("s", "a"), Code::NotFound);
    must(bench, &get("s", "b"));
    bench.advance(2 * MINUTE);
    let c = Agent::new(bench, "c");
    c.must(&note("settled"));
    refuses(bench, &get("s", "b"), Code::NotFound);
    assert_eq!(c.must(&put("s", "b", "2")).ver, 1);
}

fn a_quiet_session_whose_process_lives_is_silent_and_keeps_its_claims(bench: &dyn Bench) {
    let a = Agent::living(bench, "a", &bench.process());
    let b = Agent::new(bench, "b");
    a.must(&claim(&["issue:1"]));
    let lease = a.must(&acquire("r"));
    bench.advance(HOUR);
    b.must(&note("settled"));
    assert_eq!(a.state(), State::Silent);
    b.refused(&claim(&["issue:1"]), Code::Claimed);
    assert!(!must(bench, &check("r", lease.fence)).valid, "a lease has a TTL of its own");
    a.must(&Heartbeat {});
    assert_eq!((a.state(), held(&a)), (State::Active, 1));
    assert_eq!(count(bench, "session.lost"), 0);
}

fn a_session_that_is_silent_for_eight_hours_is_lost(bench: &dyn Bench) {
    let a = Agent::living(bench, "a", &bench.process());
    let b = Agent::new(bench, "b");
    a.must(&claim(&["issue:1"]));
    bench.advance(7 * HOUR);
    b.must(&note("settled"));
    assert_eq!(a.state(), State::Silent);
    b.refused(&claim(&["issue:1"]), Code::Claimed);
    bench.advance(2 * HOUR);
    b.refused(&claim(&["issue:1"]), Code::Cooling);
    assert_eq!(a.state(), State::Lost);
    a.refused(&Heartbeat {}, Code::SessionLost);
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
    thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let store = bench.second();
            loop {
                let seen = (*store).call(&show(&a.id.0), |request| request);
                let shown = granted::<ShowSession, _>(seen);
                let shown = shown.answer;
                let held = |holding: &&Holding| holding.state == HoldingState::Held;
                let held = shown.holds.iter().filter(held).count();
                match shown.session.state {
                    State::Active => assert_eq!(held, 40, "an active session has all its claims"),
                    State::Lost => return assert_eq!(held, 0, "a lost session has no claim"),
                    other => panic!("the session is {other:?}"),
                }
            }
        });
        must(bench, &reap(&a));
        watcher.join().expect("the watcher saw all or nothing");
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

fn a_session_is_marked_as_possibly_abandoned_after_an_hour(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    bench.advance(HOUR - 5 * MINUTE);
    assert!(!a.view().possibly_abandoned);
    bench.advance(10 * MINUTE);
    let view = a.view();
    assert!(view.possibly_abandoned && view.state == State::Active);
    assert!((HOUR..HOUR + 10 * MINUTE).contains(&view.heartbeat_age_ms));
    a.must(&Heartbeat {});
    assert!(!a.view().possibly_abandoned);
}
