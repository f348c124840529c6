//! Sections 3.2 to 3.4 and 3.8: signs of life, silence and signing off.

use cotenant_core::{
    Code,
    claim::{Holding, HoldingState},
    clock::{HOUR, MINUTE, SECOND},
    data::Put,
    session::{Beat, Heartbeat, Reap, SignOff, State},
};

use crate::{
    Bench,
    ask::{Agent, count, fails, head_seq, must, refuses, until},
    sample::{acquire, check, claim, get, note, put, show, sign_off, wait_for},
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
