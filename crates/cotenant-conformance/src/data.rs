//! Section 4: keys and values.

use std::thread;

use cotenant_core::{
    Code,
    clock::MINUTE,
    data::{
        Change, Compare, Delete, Deleted, Entry, Get, Put, Txn, Update, Write, WriteAnswer, Written,
    },
    id::{Rev, Seq},
    json::{Json, VALUE_BYTES_MAX},
};
use serde_json::{Value, json};

use crate::{
    Bench,
    ask::{Agent, event, granted, head_seq, log, must, refuses},
    sample::{delete, get, json, put, put_expecting, sign_off, update, writes},
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
    k4_no_addition_is_lost,
    k4_no_appended_item_is_lost,
    k5_an_ephemeral_key_belongs_to_its_last_writer,
    a_key_is_shown_with_its_writer,
    without_expect_the_last_writer_wins_and_the_event_names_what_it_overwrote,
    deleting_an_absent_key_is_no_error,
    an_update_adds_appends_and_merges,
    an_update_of_another_type_is_refused,
    an_update_keeps_the_newest_items,
    an_update_beyond_the_limit_is_refused,
    the_event_of_an_update_carries_the_change,
    an_array_of_150_kilobytes_can_be_rewritten,
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
            WriteAnswer::Delete(Deleted { existed }),
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

/// Has eight sessions update a key at once, each twelve times.
fn all_update(bench: &dyn Bench, change: impl Fn(usize, usize) -> Change + Sync) {
    let agents: Vec<_> = (0..8).map(|n| Agent::new(bench, &format!("w{n}"))).collect();
    thread::scope(|scope| {
        for (index, agent) in agents.iter().enumerate() {
            let change = &change;
            scope.spawn(move || {
                let store = bench.second();
                for round in 0..12 {
                    let update = update("s", "k", change(index, round));
                    granted::<Update, _>((*store).call(&update, |r| r.by(agent.actor())));
                }
            });
        }
    });
}

fn k4_no_addition_is_lost(bench: &dyn Bench) {
    all_update(bench, |index, _| Change::Add(index as i64 + 1));
    assert_eq!(value(bench, "k"), json!(12 * (1..=8).sum::<i64>()));
}

fn k4_no_appended_item_is_lost(bench: &dyn Bench) {
    all_update(bench, |index, round| Change::Append(Json::of(&(index, round))));
    let Value::Array(items) = value(bench, "k") else { panic!("not an array") };
    let mut seen: Vec<(u64, u64)> = items
        .iter()
        .filter_map(|item| Some((item.get(0)?.as_u64()?, item.get(1)?.as_u64()?)))
        .collect();
    for index in 0..8 {
        let own = seen.iter().filter(|item| item.0 == index).map(|item| item.1);
        assert!(own.eq(0..12), "each writer's items come in its order");
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!((seen.len(), items.len()), (96, 96));
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
    let Entry { scope, key, value, rev, ver, writer, trust, expires_in_ms, ephemeral, at } =
        must(bench, &get("s", "k"));
    assert_eq!((&*scope, &*key, value.text()), ("s", "k", "{\"x\":1}"));
    assert_eq!((rev, ver, &*writer, &*trust), (written.rev, 1, "a", "agent"));
    let left = expires_in_ms.expect("a time to live");
    assert!((9 * MINUTE..=10 * MINUTE).contains(&left) && !ephemeral, "{left}");
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

fn an_update_adds_appends_and_merges(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let change = |key: &str, change| a.must(&update("s", key, change));
    assert_eq!(change("n", Change::Add(5)).value, Some(5));
    let added = change("n", Change::Add(-7));
    assert_eq!((added.value, added.ver, added.length), (Some(-2), 2, None));
    assert_eq!(change("list", Change::Append(json("{\"a\":1}"))).length, Some(1));
    assert_eq!(change("list", Change::Append(json("[2]"))).length, Some(2));
    change("map", Change::Merge(json("{\"a\":{\"b\":1,\"c\":2},\"d\":3}")));
    change("map", Change::Merge(json("{\"a\":{\"b\":null,\"e\":[1]},\"f\":null}")));
    assert_eq!(value(bench, "n"), json!(-2));
    assert_eq!(value(bench, "list"), json!([{"a": 1}, [2]]));
    assert_eq!(value(bench, "map"), json!({"a": {"c": 2, "e": [1]}, "d": 3}));
}

fn an_update_of_another_type_is_refused(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    for (stored, change) in [
        ("\"1\"", Change::Add(1)),
        ("1.5", Change::Add(1)),
        ("null", Change::Add(1)),
        ("{}", Change::Append(json("1"))),
        ("1", Change::Append(json("1"))),
    ] {
        a.must(&put("s", "k", stored));
        let before = head_seq(bench);
        a.refused(&update("s", "k", change), Code::TypeMismatch);
        assert_eq!((must(bench, &get("s", "k")).value.text(), head_seq(bench)), (stored, before));
    }
}

fn an_update_keeps_the_newest_items(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    for number in 0..10 {
        let append = update("s", "k", Change::Append(Json::of(&number)));
        let length = a.must(&Update { keep: Some(3), ..append }).length;
        assert_eq!(length, Some(3.min(number + 1)));
    }
    assert_eq!(value(bench, "k"), json!([7, 8, 9]));
}

fn an_update_beyond_the_limit_is_refused(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let half = Json::of(&"x".repeat(VALUE_BYTES_MAX / 2));
    let append = update("s", "k", Change::Append(half));
    a.must(&append);
    let before = head_seq(bench);
    a.refused(&append, Code::TooLarge);
    assert_eq!(head_seq(bench), before);
    assert_eq!(must(bench, &get("s", "k")).ver, 1);
}

fn the_event_of_an_update_carries_the_change(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let items: Vec<u32> = (0..10_000).collect();
    a.must(&Put { value: Json::of(&items), ..put("s", "k", "1") });
    let done = a.answered(&update("s", "k", Change::Append(json("\"needle\""))));
    let payload = event(bench, done.seq).payload.expect("a payload");
    assert!(payload.text().contains("needle") && payload.text().len() < 1_000, "{payload:?}");
}

fn an_array_of_150_kilobytes_can_be_rewritten(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let array = |round: u32| {
        let entry = |n: u32| json!({"event": n, "round": round, "message": "x".repeat(120)});
        Json::of(&(0..1_000).map(entry).collect::<Vec<_>>())
    };
    for round in 0..5 {
        let value = array(round);
        assert!(value.text().len() > 150_000);
        a.must(&Put { value, ..put("s", "log", "1") });
    }
    assert!(must(bench, &get("s", "log")).value == array(4), "the last one is stored");
    assert!(log(bench).len() >= 5);
}
