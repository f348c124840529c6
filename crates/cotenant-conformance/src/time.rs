//! Section 2: the tick is the only clock that decides.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use cotenant_core::{
    Code,
    clock::{MINUTE, SECOND},
    data::Put,
    event::Head,
    id::Tick,
    lease::Check,
    session::{Heartbeat, State},
};

use crate::{
    Bench,
    ask::{Agent, ask, granted, log, must},
    sample::{TTL, acquire, check, claim, get, guard, list, note, put, put_expecting},
};

cases! {
    t1_the_tick_follows_its_source_and_never_goes_back,
    t1_a_read_computes_the_tick_and_does_not_write_it,
    t2_a_lease_lasts_for_its_whole_ttl,
    t2_a_key_lasts_for_its_whole_ttl,
    t2_a_session_lasts_for_its_whole_ttl,
    t3_a_jump_of_the_wall_clock_expires_nothing,
    t3_a_jump_of_the_wall_clock_revives_nothing,
    t3_a_reboot_expires_and_revives_nothing,
    t4_the_tick_ascends_with_the_log,
}

const YEAR: i64 = 365 * 24 * 3_600 * 1_000;

fn tick(a: &Agent<'_>) -> Tick {
    a.answered(&Heartbeat {}).tick
}

fn t1_the_tick_follows_its_source_and_never_goes_back(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let begun = tick(&a);
    bench.advance(10 * MINUTE);
    let later = tick(&a);
    let passed = begun.remaining(Tick(0)).abs_diff(later.remaining(Tick(0)));
    assert!((10 * MINUTE..11 * MINUTE).contains(&passed), "{passed} ms passed");
    bench.set_wall(0);
    let after_jump = tick(&a);
    assert!(later <= after_jump && after_jump < later.after(MINUTE), "{later} {after_jump}");
    bench.reboot();
    let after_boot = tick(&a);
    assert!(after_jump <= after_boot && after_boot < later.after(MINUTE), "{later} {after_boot}");
    bench.advance(10 * MINUTE);
    let last = tick(&a);
    assert!(after_boot.after(10 * MINUTE) <= last, "after a reboot the clock goes on");
}

fn t1_a_read_computes_the_tick_and_does_not_write_it(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let begun = tick(&a);
    bench.advance(10 * MINUTE);
    let read = granted::<Head, _>(bench.store().call(&Head {}, |request| request));
    assert!(read.tick >= begun.after(10 * MINUTE), "a read knows the time");
    bench.reboot();
    let after_boot = tick(&a);
    assert!(after_boot < begun.after(10 * MINUTE), "a read wrote the tick {after_boot}");
}

/// Asks until the TTL is over; every answer must fit the tick that comes with it.
fn valid_exactly_until(bench: &dyn Bench, expires: Tick, check: &Check) {
    for _ in 0..20 {
        let checked = granted::<Check, _>(bench.store().call(check, |request| request));
        let left = expires.remaining(checked.tick);
        assert_eq!(checked.answer.valid, left > 0, "with {left} ms left");
        if left == 0 {
            return;
        }
        assert_eq!(checked.answer.expires_in_ms, Some(left));
        bench.advance(if left > 1 { left.div_ceil(2) } else { 1 });
    }
    panic!("20 halvings did not reach the end of {TTL} ms");
}

fn t2_a_lease_lasts_for_its_whole_ttl(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let held = a.answered(&acquire("r"));
    assert_eq!(held.answer.expires_in_ms, TTL);
    valid_exactly_until(bench, held.tick.after(TTL), &check("r", held.answer.fence));
    a.fenced_by(&note("x"), guard("r", held.answer.fence));
}

fn t2_a_key_lasts_for_its_whole_ttl(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    a.must(&Put { ttl_ms: Some(TTL), ..put("s", "k", "1") });
    bench.advance(TTL - 20 * SECOND);
    let left = must(bench, &get("s", "k")).expires_in_ms.expect("a time to live");
    assert!(left <= 20 * SECOND && left > 0, "{left} ms left");
    a.must(&note("a write settles nothing too early"));
    must(bench, &get("s", "k"));
    bench.advance(20 * SECOND);
    let error = ask(bench, &get("s", "k")).expect_err("the key has expired");
    assert_eq!(error.code, Code::NotFound);
    assert!(must(bench, &list("s")).entries.is_empty());
    assert_eq!(a.must(&put_expecting("s", "k", "2", 0)).ver, 1, "an expired key is absent");
}

fn t2_a_session_lasts_for_its_whole_ttl(bench: &dyn Bench) {
    let (a, other) = (Agent::brief(bench, "a", TTL), Agent::new(bench, "other"));
    bench.advance(TTL - 20 * SECOND);
    other.must(&note("a write settles nothing too early"));
    assert_eq!(a.state(), State::Active);
    assert!((1..=20 * SECOND).contains(&a.view().expires_in_ms));
    bench.advance(20 * SECOND);
    assert_eq!(a.state(), State::Lost);
    other.must(&note("settled"));
    assert_eq!((a.state(), a.view().expires_in_ms), (State::Lost, 0));
}

fn t3_a_jump_of_the_wall_clock_expires_nothing(bench: &dyn Bench) {
    let a = Agent::brief(bench, "a", TTL);
    let held = a.must(&acquire("r"));
    a.must(&Put { ttl_ms: Some(TTL), ..put("s", "k", "1") });
    a.must(&claim(&["issue:1"]));
    for wall in [100 * YEAR, 0, 60 * YEAR] {
        bench.set_wall(wall);
        assert!(must(bench, &check("r", held.fence)).valid);
        assert_eq!(must(bench, &get("s", "k")).value.text(), "1");
        granted::<Put, _>(a.guarded(&put("s", "guarded", "1"), guard("r", held.fence)));
        assert_eq!(a.state(), State::Active);
    }
}

fn t3_a_jump_of_the_wall_clock_revives_nothing(bench: &dyn Bench) {
    let (a, other) = (Agent::new(bench, "a"), Agent::brief(bench, "other", TTL));
    bench.set_wall(60 * YEAR);
    let held = a.must(&acquire("r"));
    bench.advance(2 * TTL);
    bench.set_wall(0);
    assert!(!must(bench, &check("r", held.fence)).valid);
    assert_eq!(other.state(), State::Lost);
    a.fenced_by(&note("x"), guard("r", held.fence));
    other.refused(&note("x"), Code::SessionLost);
}

fn t3_a_reboot_expires_and_revives_nothing(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let expired = a.must(&acquire("expired"));
    bench.advance(2 * TTL);
    let held = a.must(&acquire("held"));
    bench.advance(TTL / 2);
    a.must(&note("the tick is written"));
    bench.reboot();
    assert!(!must(bench, &check("expired", expired.fence)).valid);
    assert!(must(bench, &check("held", held.fence)).valid);
    granted::<Put, _>(a.guarded(&put("s", "k", "1"), guard("held", held.fence)));
    bench.advance(TTL / 2);
    a.fenced_by(&note("x"), guard("held", held.fence));
}

fn t4_the_tick_ascends_with_the_log(bench: &dyn Bench) {
    let agents: Vec<_> = (0..4).map(|n| Agent::new(bench, &format!("w{n}"))).collect();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let clock = scope.spawn(|| {
            for _ in (0..10_000).take_while(|_| !done.load(Ordering::Relaxed)) {
                bench.advance(1);
                thread::yield_now();
            }
        });
        let writers: Vec<_> = agents
            .iter()
            .map(|agent| {
                scope.spawn(|| {
                    let store = bench.second();
                    let mut last = Tick(0);
                    for _ in 0..15 {
                        let put = put("s", &agent.name, "1");
                        let written =
                            granted::<Put, _>((*store).call(&put, |r| r.by(agent.actor())));
                        assert!(written.tick >= last, "the tick went back");
                        last = written.tick;
                    }
                })
            })
            .collect();
        let outcomes: Vec<_> = writers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Relaxed);
        clock.join().expect("the clock runs");
        assert!(outcomes.iter().all(Result::is_ok), "a writer failed");
    });
    assert!(log(bench).is_sorted_by_key(|event| event.tick));
}
