//! Section 4: keys and values.

use std::thread;

use cotenant_core::{
    Code,
    clock::MINUTE,
    data::{Change, Compare, Delete, Deleted, Entry, Get, Put, Txn, Write, WriteAnswer, Written},
    id::{Rev, Seq},
    json::Json,
};
use serde_json::{Value, json};

use crate::{
    Bench,
    ask::{Agent, event, head_seq, must, refuses},
    sample::{delete, get, put, put_expecting, sign_off, update, writes},
};

cases! {
    k1_rev_is_the_number_of_the_writes_event,
    k1_ver_counts_writes_and_begins_anew_after_a_deletion,
    k2_expect_lets_one_writer_win,
    k2_expect_zero_means_that_the_key_must_not_exist,
    k2_a_mismatch_shows_the_rev_and_the_value,
    k2_a_deletion_expects_too,
    k3_a_txn_writes_all_in_order,
    k3_a_txn_says_which_conditions_failed,
    k3_a_txn_compares_rev_ver_and_existence,
    k5_an_ephemeral_key_belongs_to_its_last_writer,
    a_key_is_shown_with_its_writer,
    without_expect_the_last_writer_wins_and_the_event_names_what_it_overwrote,
    deleting_an_absent_key_is_no_error,
}

fn value(bench: &dyn Bench, key: &str) -> Value {
    must(bench, &get("s", key)).value.value().expect("valid JSON")
}

fn k1_rev_is_the_number_of_the_writes_event(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    for number in 0..3 {
        let before = head_seq(bench);
        let written = a.answered(&put("s", "k", &number.to_string()));
        assert_eq!((written.answer.rev.0, written.seq.0), (before + 1, before + 1));
        let event = event(bench, written.seq);
        assert_eq!((event.session, event.scope), (a.id.0.clone(), "s".into()));
        assert_eq!(must(bench, &get("s", "k")).rev, written.answer.rev);
    }
}

fn k1_ver_counts_writes_and_begins_anew_after_a_deletion(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let ver = || a.must(&put("s", "k", "1")).ver;
    assert_eq!((ver(), ver(), ver()), (1, 2, 3));
    assert_eq!(a.must(&update("s", "k", Change::Add(1))).ver, 4);
    a.must(&delete("s", "k"));
    assert_eq!((ver(), ver()), (1, 2));
}

fn k2_expect_lets_one_writer_win(bench: &dyn Bench) {
    let agents: Vec<_> = (0..8).map(|n| Agent::new(bench, &format!("w{n}"))).collect();
    let first = agents[0].must(&put("s", "k", "0"));
    let outcomes: Vec<_> = thread::scope(|scope| {
        let writers: Vec<_> = agents
            .iter()
            .map(|agent| {
                scope.spawn(|| {
                    let store = bench.second();
                    let put = put_expecting("s", "k", Json::of(&agent.name).text(), first.rev.0);
                    (*store).call(&put, |request| request.by(agent.actor()))
                })
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().expect("a writer")).collect()
    });
    let (won, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), refused.len()), (1, 7));
    let entry = must(bench, &get("s", "k"));
    assert_eq!((entry.value, entry.ver), (Json::of(&entry.writer), 2));
    for error in refused.into_iter().filter_map(Result::err) {
        assert_eq!((error.code, &error.details["rev"]), (Code::RevMismatch, &json!(entry.rev)));
    }
}

fn k2_expect_zero_means_that_the_key_must_not_exist(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let written = a.must(&put_expecting("s", "k", "1", 0));
    assert_eq!((written.ver, written.overwrote), (1, None));
    a.refused(&put_expecting("s", "k", "2", 0), Code::RevMismatch);
    a.must(&delete("s", "k"));
    a.must(&put_expecting("s", "k", "3", 0));
    assert_eq!(value(bench, "k"), json!(3));
}

fn k2_a_mismatch_shows_the_rev_and_the_value(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let written = a.must(&put("s", "k", "{\"a\":[1]}"));
    let error = a.refused(&put_expecting("s", "k", "2", written.rev.0 - 1), Code::RevMismatch);
    assert_eq!(error.details["rev"], json!(written.rev));
    assert_eq!(error.details["value"], json!({"a": [1]}));
    let absent = a.refused(&put_expecting("s", "absent", "2", written.rev.0), Code::RevMismatch);
    assert_eq!(absent.details["rev"], json!(0));
    assert_eq!(value(bench, "k"), json!({"a": [1]}));
}

fn k2_a_deletion_expects_too(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let written = a.must(&put("s", "k", "1"));
    let expecting = |rev| Delete { expect: Some(rev), ..delete("s", "k") };
    let error = a.refused(&expecting(Rev(written.rev.0 - 1)), Code::RevMismatch);
    assert_eq!(error.details["rev"], json!(written.rev));
    assert!(a.must(&expecting(written.rev)).existed);
    a.refused(&expecting(written.rev), Code::RevMismatch);
}

fn compare(key: &str) -> Compare {
    Compare { scope: "s".into(), key: key.into(), rev: None, ver: None, exists: None }
}

fn k3_a_txn_writes_all_in_order(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    a.must(&put("s", "old", "1"));
    let before = head_seq(bench);
    let done = a.answered(&writes(vec![
        Write::Put(put("s", "new", "5")),
        Write::Delete(delete("s", "old")),
        Write::Update(update("s", "new", Change::Add(2))),
    ]));
    assert_eq!(done.seq.0, before + 3, "one event a write, without a gap");
    match &done.answer.results[..] {
        [
            WriteAnswer::Put(put),
            WriteAnswer::Delete(Deleted { existed, .. }),
            WriteAnswer::Update(update),
        ] => {
            assert_eq!((put.rev.0, put.ver), (before + 1, 1));
            assert!(existed);
            assert_eq!((update.rev.0, update.ver, update.value), (before + 3, 2, Some(7)));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(value(bench, "new"), json!(7));
    refuses(bench, &get("s", "old"), Code::NotFound);
}

fn k3_a_txn_says_which_conditions_failed(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let rev = a.must(&put("s", "k", "1")).rev;
    let before = head_seq(bench);
    let txn = Txn {
        compares: vec![
            Compare { rev: Some(Rev(rev.0 - 1)), ..compare("k") },
            Compare { rev: Some(rev), ..compare("k") },
            Compare { exists: Some(true), ..compare("absent") },
        ],
        ..writes(vec![Write::Put(put("s", "k", "2"))])
    };
    let details = a.refused(&txn, Code::RevMismatch).details;
    assert!(details.values().any(|value| *value == json!([0, 2])), "{details:?}");
    assert_eq!(head_seq(bench), before);
    assert_eq!(value(bench, "k"), json!(1));
}

fn k3_a_txn_compares_rev_ver_and_existence(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    a.must(&put("s", "k", "1"));
    let rev = a.must(&put("s", "k", "2")).rev;
    let k = || compare("k");
    let no = || compare("absent");
    let holds = |compare: Compare| {
        let write = Write::Put(put("t", "k", "1"));
        match a.ask(&Txn { compares: vec![compare], ops: vec![write] }) {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error.code, Code::RevMismatch);
                false
            }
        }
    };
    for (compare, expected) in [
        (Compare { rev: Some(rev), ..k() }, true),
        (Compare { rev: Some(Rev(0)), ..k() }, false),
        (Compare { rev: Some(Rev(0)), ..no() }, true),
        (Compare { ver: Some(2), ..k() }, true),
        (Compare { ver: Some(1), ..k() }, false),
        (Compare { ver: Some(1), ..no() }, false),
        (Compare { exists: Some(true), ..k() }, true),
        (Compare { exists: Some(false), ..k() }, false),
        (Compare { exists: Some(false), ..no() }, true),
        (Compare { exists: Some(true), ..no() }, false),
        (Compare { rev: Some(rev), ver: Some(2), exists: Some(true), ..k() }, true),
        (Compare { rev: Some(rev), ver: Some(3), exists: Some(true), ..k() }, false),
    ] {
        assert_eq!(holds(compare.clone()), expected, "{compare:?}");
    }
}

fn k5_an_ephemeral_key_belongs_to_its_last_writer(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let mine = Put { ephemeral: true, ..put("s", "k", "1") };
    a.must(&mine);
    b.must(&mine);
    a.must(&sign_off());
    assert_eq!(must(bench, &get("s", "k")).writer, "b");
    assert_eq!(b.must(&sign_off()).keys, 1);
    refuses(bench, &get("s", "k"), Code::NotFound);
}

fn a_key_is_shown_with_its_writer(bench: &dyn Bench) {
    let (a, person) = (Agent::new(bench, "a"), Agent::human(bench, "person"));
    let written = a.must(&Put { ttl_ms: Some(10 * MINUTE), ..put("s", "k", "{\"x\":1}") });
    let Entry {
        scope,
        key,
        value,
        rev,
        ver,
        writer,
        trust,
        expires_in_ms,
        ephemeral,
        at,
        projected,
    } = must(bench, &get("s", "k"));
    assert_eq!((&*scope, &*key, value.text()), ("s", "k", "{\"x\":1}"));
    assert_eq!((rev, ver, &*writer, &*trust), (written.rev, 1, "a", "agent"));
    let left = expires_in_ms.expect("a time to live");
    assert!((9 * MINUTE..=10 * MINUTE).contains(&left) && !ephemeral && !projected, "{left}");
    assert_eq!(at, event(bench, Seq(rev.0)).at);
    person.must(&put("s", "k", "2"));
    let entry = must(bench, &get("s", "k"));
    assert_eq!((&*entry.writer, &*entry.trust, entry.expires_in_ms), ("person", "human", None));
}

fn without_expect_the_last_writer_wins_and_the_event_names_what_it_overwrote(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let first = a.must(&put("s", "k", "1"));
    assert_eq!(first.overwrote, None);
    let second: Written = b.must(&put("s", "k", "2"));
    assert_eq!((second.overwrote, second.ver), (Some(first.rev), 2));
    let payload = event(bench, Seq(second.rev.0)).payload.expect("a payload");
    let Ok(Value::Object(facts)) = payload.value() else { panic!("{payload:?}") };
    assert!(facts.values().any(|fact| *fact == json!(first.rev)), "{facts:?}");
}

fn deleting_an_absent_key_is_no_error(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let before = head_seq(bench);
    assert!(!a.must(&delete("s", "k")).existed);
    assert_eq!(head_seq(bench), before);
    a.must(&put("s", "k", "1"));
    assert!(a.must(&delete("s", "k")).existed);
    refuses::<Get>(bench, &get("s", "k"), Code::NotFound);
    assert_eq!(head_seq(bench), before + 2);
}
