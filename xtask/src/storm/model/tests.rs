//! What the models accept and what they do not.

use serde_json::{Value, json};

use super::{Brief, Claims, Data, Lease, Log, with_hindsight};
use crate::storm::history::Entry;
use crate::storm::search::{Model, Timed, Verdict, search};

/// An operation of a session; its answer is `{"code": …}` for a refusal, null for a kill.
struct Line(&'static str, &'static str, Value, Value);

fn entry(line: &Line, call: u64, end: u64) -> Entry {
    let Line(actor, op, args, answer) = line;
    let answer = match &answer["code"] {
        Value::String(code) => json!({"ok": false, "error": {"code": code, "details": answer}}),
        _ => json!({"ok": true, "data": answer, "tick": answer["at"]}),
    };
    Entry {
        actor: (*actor).to_owned(),
        op: (*op).to_owned(),
        args: args.clone(),
        guard: None,
        call,
        end: (!line.3.is_null()).then_some(end),
        died: None,
        answer,
    }
}

fn verdict<M: Model<Op = Entry>>(model: &M, entries: Vec<Entry>) -> bool {
    let timed = |entry: Entry| Timed { call: entry.call, end: entry.end, latest: None, op: entry };
    let history: Vec<_> = entries.into_iter().map(timed).collect();
    search(model, &history, 10_000) == Verdict::Linearizable
}

/// Whether operations one after the other have an order.
fn in_turn<M: Model<Op = Entry>>(model: &M, lines: &[Line]) -> bool {
    let times = (0u64..).map(|index| index * 10);
    verdict(model, lines.iter().zip(times).map(|(line, at)| entry(line, at, at + 5)).collect())
}

/// Whether operations all at once have an order.
fn at_once<M: Model<Op = Entry>>(model: &M, lines: &[Line]) -> bool {
    verdict(model, lines.iter().map(|line| entry(line, 0, 100)).collect())
}

fn add(actor: &'static str, answer: Value) -> Line {
    Line(actor, "data.update", json!({"change": {"add": 1}}), answer)
}

fn put(actor: &'static str, expect: i64, answer: Value) -> Line {
    Line(actor, "data.put", json!({"value": 7, "expect": expect}), answer)
}

fn got(rev: i64, ver: i64, value: i64) -> Line {
    Line("c", "data.get", json!({}), json!({"rev": rev, "ver": ver, "value": value}))
}

#[test]
fn a_lost_update_has_no_order() {
    let first = || add("a", json!({"rev": 1, "ver": 1, "value": 1}));
    assert!(at_once(&Data, &[first(), add("b", json!({"rev": 2, "ver": 2, "value": 2}))]));
    assert!(!at_once(&Data, &[first(), add("b", json!({"rev": 2, "ver": 1, "value": 1}))]));
}

#[test]
fn a_stale_read_has_no_order() {
    let writes = || add("a", json!({"rev": 1, "ver": 1, "value": 1}));
    let missing = Line("c", "data.get", json!({}), json!({"code": "NOT_FOUND"}));
    assert!(in_turn(&Data, &[writes(), got(1, 1, 1)]));
    assert!(!in_turn(&Data, &[writes(), missing]));
}

#[test]
fn a_killed_write_is_done_once_or_never() {
    let killed = || add("a", Value::Null);
    assert!(in_turn(&Data, &[killed(), got(3, 1, 1)]));
    assert!(in_turn(&Data, &[killed(), add("b", json!({"rev": 1, "ver": 1, "value": 1}))]));
    assert!(!in_turn(&Data, &[killed(), got(3, 2, 2)]));
}

#[test]
fn a_compare_and_set_needs_its_revision() {
    let writes = || put("a", 0, json!({"rev": 4, "ver": 1}));
    let again = |answer| put("b", 0, answer);
    assert!(in_turn(&Data, &[writes(), put("b", 4, json!({"rev": 5, "ver": 2, "overwrote": 4}))]));
    assert!(!in_turn(&Data, &[writes(), again(json!({"rev": 5, "ver": 2, "overwrote": 4}))]));
    let mismatch = json!({"code": "REV_MISMATCH", "rev": 4, "value": 7});
    assert!(in_turn(&Data, &[writes(), again(mismatch)]));
    let wrong = json!({"code": "REV_MISMATCH", "rev": 3, "value": 7});
    assert!(!in_turn(&Data, &[writes(), again(wrong)]));
}

fn acquire(actor: &'static str, fence: i64, already: bool) -> Line {
    let answer = json!({"fence": fence, "already_held": already});
    Line(actor, "lease.acquire", json!({}), answer)
}

fn release(actor: &'static str, fence: i64, answer: Value) -> Line {
    Line(actor, "lease.release", json!({"fence": fence}), answer)
}

#[test]
fn a_lease_has_one_holder_and_its_fence_rises() {
    let back = || release("a", 5, json!({"already": false}));
    assert!(in_turn(&Lease, &[acquire("a", 5, false), back(), acquire("b", 6, false)]));
    assert!(!in_turn(&Lease, &[acquire("a", 5, false), acquire("b", 6, false)]));
    assert!(!in_turn(&Lease, &[acquire("a", 5, false), back(), acquire("b", 5, false)]));
    assert!(in_turn(&Lease, &[acquire("a", 5, false), acquire("a", 5, true)]));
}

#[test]
fn what_was_given_back_stays_given_back() {
    let then = |answer: Value| {
        let once = release("a", 5, json!({"already": false}));
        let again = release("a", 5, answer);
        in_turn(&Lease, &[acquire("a", 5, false), once, acquire("a", 6, false), again])
    };
    assert!(then(json!({"already": true})));
    assert!(!then(json!({"already": false})));
    assert!(!then(json!({"code": "FENCED"})));
}

#[test]
fn a_killed_acquisition_shows_later() {
    let killed = || Line("a", "lease.acquire", json!({}), Value::Null);
    assert!(in_turn(&Lease, &[killed(), acquire("a", 5, true)]));
    let held = json!({"code": "HELD", "holders": [{"name": "a", "fence": 5}]});
    let refused = || Line("b", "lease.acquire", json!({}), held.clone());
    assert!(in_turn(&Lease, &[killed(), refused(), acquire("a", 5, true)]));
    assert!(!in_turn(&Lease, &[killed(), refused(), acquire("a", 6, true)]));
}

const BRIEF: Brief = Brief { ttl_ms: 5_000 };

fn acquire_at(tick: i64, actor: &'static str, fence: i64) -> Line {
    let answer = json!({"fence": fence, "already_held": false, "at": tick});
    Line(actor, "lease.acquire", json!({}), answer)
}

#[test]
fn a_brief_lease_expires_cools_down_and_is_free() {
    let then = |tick| in_turn(&BRIEF, &[acquire_at(100, "a", 5), acquire_at(tick, "b", 6)]);
    assert!(!then(5_099));
    assert!(!then(6_599));
    assert!(then(6_600));
    let own = [acquire_at(100, "a", 5), acquire_at(5_100, "a", 6)];
    assert!(in_turn(&BRIEF, &own));
}

#[test]
fn nothing_expires_early_and_nothing_is_revived() {
    let renew = |answer| Line("a", "lease.renew", json!({"fence": 5}), answer);
    let renewed = |tick: i64| renew(json!({"at": tick}));
    let fenced = || renew(json!({"code": "FENCED"}));
    assert!(in_turn(&BRIEF, &[acquire_at(100, "a", 5), renewed(5_000), renewed(9_999)]));
    assert!(!in_turn(&BRIEF, &[acquire_at(100, "a", 5), renewed(5_100)]));
    assert!(in_turn(&BRIEF, &[acquire_at(100, "a", 5), fenced()]));
    assert!(!in_turn(&BRIEF, &[acquire_at(100, "a", 5), fenced(), renewed(200)]));
    let killed = || renew(Value::Null);
    assert!(in_turn(&BRIEF, &[acquire_at(100, "a", 5), killed(), renewed(9_000)]));
    assert!(!in_turn(&BRIEF, &[acquire_at(100, "a", 5), renewed(3_000), renewed(8_000)]));
}

fn claim(actor: &'static str, paths: &[(&str, &str)], answer: Value) -> Line {
    let item = |(tree, name): &(&str, &str)| json!({"kind": "path", "tree": tree, "name": name});
    let items: Vec<Value> = paths.iter().map(item).collect();
    Line(actor, "claim", json!({"items": items}), answer)
}

fn granted(fences: &[i64]) -> Value {
    let item = |fence: &i64| json!({"fence": fence, "already_held": false});
    json!({"items": fences.iter().map(item).collect::<Vec<_>>()})
}

#[test]
fn paths_exclude_each_other_in_one_tree_only() {
    let first = || claim("a", &[("t1", "src")], granted(&[1]));
    assert!(in_turn(&Claims, &[first(), claim("b", &[("t2", "src")], granted(&[2]))]));
    assert!(in_turn(&Claims, &[first(), claim("b", &[("t1", "src2")], granted(&[2]))]));
    assert!(!in_turn(&Claims, &[first(), claim("b", &[("t1", "src/a")], granted(&[2]))]));
}

#[test]
fn a_refused_claim_names_every_holder_and_takes_nothing() {
    let holder = |name: &str, path: &str| json!({"name": name, "tree": "t", "resource": format!("path:{path}")});
    let taken =
        || [claim("a", &[("t", "x")], granted(&[1])), claim("b", &[("t", "y")], granted(&[2]))];
    let refused = |holders: Value| {
        let answer = json!({"code": "CLAIMED", "holders": holders});
        claim("c", &[("t", "x"), ("t", "y"), ("t", "z")], answer)
    };
    let history = |last: Line, more: Option<Line>| {
        taken().into_iter().chain([last]).chain(more).collect::<Vec<_>>()
    };
    let all = || refused(json!([holder("a", "x"), holder("b", "y")]));
    assert!(in_turn(&Claims, &history(all(), None)));
    assert!(!in_turn(&Claims, &history(refused(json!([holder("a", "x")])), None)));
    let free = claim("d", &[("t", "z")], granted(&[3]));
    assert!(in_turn(&Claims, &history(all(), Some(free))));
}

fn append(id: i64, answer: Value) -> Line {
    Line("a", "event.append", json!({"payload": {"id": id}}), answer)
}

fn read(after: &str, events: &[(i64, i64)]) -> Line {
    let event = |(id, seq): &(i64, i64)| json!({"seq": seq, "payload": {"id": id}});
    let events: Vec<Value> = events.iter().map(event).collect();
    Line("b", "event.read", json!({"after": after}), json!({"events": events}))
}

#[test]
fn a_read_has_every_event_behind_its_cursor() {
    let log = || [append(1, json!({"seq": 1})), append(2, json!({"seq": 2}))];
    let with = |last: Line| log().into_iter().chain([last]).collect::<Vec<_>>();
    assert!(in_turn(&Log, &with(read("start", &[(1, 1), (2, 2)]))));
    assert!(in_turn(&Log, &with(read("h.1.abcdef01", &[(2, 2)]))));
    assert!(!in_turn(&Log, &with(read("start", &[(1, 1)]))));
    assert!(!in_turn(&Log, &with(read("start", &[(2, 2)]))));
}

#[test]
fn a_killed_append_is_there_for_all_or_for_nobody() {
    let history = |reads: Vec<Line>| {
        let lines = [append(1, Value::Null), append(2, json!({"seq": 9}))];
        let times = (0u64..).map(|index| index * 10);
        let all = lines.into_iter().chain(reads).zip(times);
        let entries: Vec<Entry> = all.map(|(line, at)| entry(&line, at, at + 5)).collect();
        with_hindsight(&entries.iter().collect::<Vec<_>>())
    };
    let (with, without) = ([(1, 4), (2, 9)], [(2, 9)]);
    assert!(verdict(&Log, history(vec![read("start", &with), read("start", &with)])));
    assert!(verdict(&Log, history(vec![read("start", &without)])));
    assert!(!verdict(&Log, history(vec![read("start", &with), read("start", &without)])));
    // It is first in the log, so it was there when the second was read.
    assert!(!verdict(&Log, history(vec![read("start", &without), read("start", &with)])));
}
