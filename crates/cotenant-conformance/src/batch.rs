//! Section 1: batches.

use cotenant_core::{
    Code,
    data::{Change, Compare, Get, Put, Txn, Update, Write},
    id::Rev,
    name::SessionRef,
    session::{Heartbeat, SignOff},
    store::{Actor, BATCH_MAX, Request},
};

use crate::{
    Bench,
    ask::{Agent, answer, ask, fails, head_seq, must, names, succeeds},
    sample::{claim, get, note, put, sign_off, sign_on, update, writes},
};

cases! {
    a_batch_is_carried_out_in_order,
    a_failure_in_a_batch_undoes_its_own_request_only,
    a_batch_sees_what_it_did_before,
    a_batch_of_rivals_has_one_winner,
    a_batch_shares_one_tick,
    a_batch_has_a_limit,
    a_batch_beyond_its_limit_has_no_effect,
}

fn a_batch_is_carried_out_in_order(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let before = head_seq(bench);
    let outcomes = bench.store().submit(vec![
        a.request(put("s", "k", "1")),
        Request::new(get("s", "k")),
        a.request(update("s", "k", Change::Add(1))),
        Request::new(get("s", "k")),
    ]);
    let replies: Vec<_> = outcomes.into_iter().map(|outcome| succeeds(outcome, "it")).collect();
    assert_eq!(answer::<Get>(&replies[1]).value.text(), "1");
    assert_eq!(answer::<Get>(&replies[3]).value.text(), "2");
    let written = answer::<Put>(&replies[0]);
    let updated = answer::<Update>(&replies[2]);
    assert_eq!((written.rev, updated.rev), (Rev(before + 1), Rev(before + 2)));
}

fn a_failure_in_a_batch_undoes_its_own_request_only(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    a.must(&put("s", "text", "\"x\""));
    let before = head_seq(bench);
    let half = writes(vec![
        Write::Put(put("s", "half", "1")),
        Write::Update(update("s", "text", Change::Add(1))),
    ]);
    let mut outcomes = bench
        .store()
        .submit(vec![
            a.request(put("s", "one", "1")),
            a.request(half),
            Request::new(note("x")).by(b.impostor()),
            b.request(put("s", "two", "2")),
        ])
        .into_iter();
    let mut next = || outcomes.next().expect("an outcome");
    succeeds(next(), "the first");
    fails(next(), Code::TypeMismatch, "the second");
    fails(next(), Code::Unauthenticated, "the third");
    succeeds(next(), "the fourth");
    assert!(ask(bench, &get("s", "half")).is_err(), "what failed left a write");
    assert_eq!(head_seq(bench), before + 2);
    assert_eq!(must(bench, &get("s", "two")).rev, Rev(before + 2));
    // Nor does one that fails before it has done anything.
    let mut outcomes = bench
        .store()
        .submit(vec![Request::new(note("x")).by(b.impostor()), b.request(put("s", "three", "3"))])
        .into_iter();
    let mut next = || outcomes.next().expect("an outcome");
    fails(next(), Code::Unauthenticated, "the impostor");
    succeeds(next(), "who comes after it");
    assert_eq!(must(bench, &get("s", "three")).rev, Rev(before + 3));
}

fn a_batch_sees_what_it_did_before(bench: &dyn Bench) {
    let new = sign_on("new");
    let actor = Actor { session: SessionRef("new".into()), token_digest: new.token_digest.clone() };
    let outcomes = bench.store().submit(vec![
        Request::new(new),
        Request::new(claim(&["issue:1"])).by(actor.clone()),
        Request::new(sign_off()).by(actor),
    ]);
    let replies: Vec<_> = outcomes.into_iter().map(|outcome| succeeds(outcome, "it")).collect();
    assert_eq!(answer::<SignOff>(&replies[2]).claims, 1);
}

fn a_batch_of_rivals_has_one_winner(bench: &dyn Bench) {
    let agents: Vec<_> = (0..8).map(|n| Agent::new(bench, &format!("w{n}"))).collect();
    let requests = agents.iter().map(|agent| agent.request(claim(&["issue:1"]))).collect();
    let mut outcomes = bench.store().submit(requests).into_iter();
    succeeds(outcomes.next().expect("an outcome"), "the first");
    for outcome in outcomes {
        let details = fails(outcome, Code::Claimed, "a later one").details;
        assert!(names(&serde_json::Value::from(details).to_string(), &agents[0]));
    }
}

fn a_batch_shares_one_tick(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let requests = (0..20).map(|n| a.request(put("s", &format!("k{n}"), "1"))).collect();
    let outcomes = bench.store().submit(requests);
    let mut ticks: Vec<_> =
        outcomes.into_iter().map(|outcome| succeeds(outcome, "a write").tick).collect();
    ticks.dedup();
    assert_eq!(ticks.len(), 1);
}

fn a_batch_has_a_limit(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let batch = |size: usize| (0..size).map(|_| a.request(Heartbeat {})).collect();
    for outcome in bench.store().submit(batch(BATCH_MAX)) {
        succeeds(outcome, "a request of a full batch");
    }
    let compare = || Compare {
        scope: "s".into(),
        key: "k".into(),
        rev: None,
        ver: None,
        exists: Some(false),
    };
    let txn = |compares: usize, ops: usize| Txn {
        compares: (0..compares).map(|_| compare()).collect(),
        ops: (0..ops).map(|n| Write::Put(put("s", &format!("k{n}"), "1"))).collect(),
    };
    a.must(&txn(BATCH_MAX / 2, BATCH_MAX / 2));
    a.refused(&txn(1, BATCH_MAX), Code::TooLarge);
}

fn a_batch_beyond_its_limit_has_no_effect(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let before = head_seq(bench);
    let requests = (0..=BATCH_MAX).map(|n| a.request(put("s", &format!("k{n}"), "1"))).collect();
    for outcome in bench.store().submit(requests) {
        fails(outcome, Code::TooLarge, "a request of a batch of 129");
    }
    assert_eq!(head_seq(bench), before);
}
