//! Section 0: what arguments may be. Whatever is refused here is refused before the store is
//! looked at, so it comes before every other fault of the request.

use cotenant_core::{
    Code, Op,
    barrier::Arrive,
    claim::{Claim, ITEMS_MAX, Unclaim, Who},
    clock::{DAY, HOUR, MINUTE, SECOND},
    data::{Change, Compare, Delete, List, ListScopes, Put, Txn, Update, Write},
    event::{Append, Commit, Prune, Read, Redact, Verify},
    id::{Fence, MAX_INTEGER, Rev, Seq, SessionId, TaskId},
    json::{DEPTH_MAX, Json, VALUE_BYTES_MAX},
    lease::{Acquire, Break, Renew},
    message::{Inbox, ListMessages, SendMessage},
    name::{Addressee, NAME_BYTES_MAX, SessionRef, TEXT_BYTES_MAX},
    offer::{DeclineOffer, Draft, ListOffers, Offer, PAYLOAD_BYTES_MAX},
    operation::{Effect, TABLE},
    process::ProcessIdentity,
    progress::{SetProgress, ShowProgress},
    retention::{ListLeftovers, RemoveLeftovers},
    session::{ChangeNative, Lineage, ListSessions, Reap, Relation, SignOff, SignOn},
    status::ShowStatus,
    store::Request,
    task::{
        CancelTask, ExtendTask, FailTask, FailureClass, FinishTask, NewTask, NextTask, ReleaseTask,
        RequeueTask, TASKS_MAX,
        view::{GraphTasks, ListTasks, ShowTask},
    },
};

use crate::{
    Bench,
    ask::{Agent, head_seq, must},
    sample::{
        accept, ack, acquire, add, admit, arrive, check, claim, claim_items, decline, delete_scope,
        every_session, get, inbox, item, json, leftovers, lineage, list, messages, newest, next,
        note, offer, offer_items, offers, path, progress, put, put_expecting, read, release,
        remove_leftovers, scopes, send, show, show_progress, sign_off, sign_on, task, to, update,
        withdraw, writes,
    },
};

cases! {
    s0_wrong_arguments_are_refused_before_the_store_is_looked_at,
    s0_what_is_too_large_is_refused_before_the_store_is_looked_at,
    s0_unknown_fields_and_operations_are_refused,
    s0_a_name_says_what_it_shows,
    s0_a_value_comes_back_byte_for_byte,
    s0_a_value_of_one_mebibyte_and_64_levels_is_kept,
    s0_free_text_of_four_kibibytes_is_kept,
    s0_a_page_has_up_to_1000_rows,
}

const MISLEADING: &[&str] = &[
    "",
    "-x",
    "a//b",
    "/a",
    "a/",
    ".",
    "..",
    "a/./b",
    "../b",
    "a\u{202e}b",
    "a\u{200b}b",
    "a\nb",
    "a\0b",
    "e\u{301}",
];

fn long(bytes: usize) -> String {
    "x".repeat(bytes)
}

fn nested(levels: usize) -> String {
    "[".repeat(levels) + &"]".repeat(levels)
}

/// A value that readers of JSON understand differently.
const AMBIGUOUS: &str = "{\"a\":1,\"a\":2}";

fn bad_values() -> Vec<String> {
    let bad = [AMBIGUOUS, "[{\"a\":{\"b\":1,\"\\u0062\":1}}]", "\"\\ud800\""];
    bad.iter().map(|text| (*text).to_owned()).chain([nested(DEPTH_MAX + 1)]).collect()
}

fn session_ops() -> Vec<Op> {
    let reference = |text: &str| SessionRef(text.into());
    let x = || sign_on("x");
    vec![
        SignOn { kind: String::new(), ..x() }.into(),
        SignOn { name: Some("-x".into()), ..x() }.into(),
        SignOn { name: Some("00000000-0000-7000-8000-000000000000".into()), ..x() }.into(),
        SignOn { native_id: Some("a\u{202e}".into()), ..x() }.into(),
        SignOn { ttl_ms: Some(15 * SECOND - 1), ..x() }.into(),
        SignOn { ttl_ms: Some(DAY + 1), ..x() }.into(),
        SignOn { relation: Some(Relation::Fork), ..x() }.into(),
        SignOn { parent: Some(reference("")), ..x() }.into(),
        SignOn { process: Some(process("a\0")), ..x() }.into(),
        SignOn { process: Some(process(&"h".repeat(257))), ..x() }.into(),
        SignOn { purpose: Some("a\0".into()), ..x() }.into(),
        SignOn { labels: vec!["a//b".into()], ..x() }.into(),
        SignOn { labels: (0..17).map(|n| format!("l{n}")).collect(), ..x() }.into(),
        SignOn { token_digest: "secret".into(), ..x() }.into(),
        ChangeNative { native_id: String::new() }.into(),
        SignOff { outcome: Some("a//b".into()), note: None }.into(),
        SignOff { outcome: None, note: Some("a\0".into()) }.into(),
        Reap { session: reference(""), force: false }.into(),
        show("").into(),
        Lineage { session: reference("a\nb"), ..lineage(&SessionId("x".into())) }.into(),
        ListSessions { limit: 0, ..every_session() }.into(),
        ListSessions { limit: 1_001, ..every_session() }.into(),
        ShowStatus { limit: Some(0), ..ShowStatus::default() }.into(),
        ShowStatus { limit: Some(1_001), ..ShowStatus::default() }.into(),
        ShowStatus { session: Some(reference("")), ..ShowStatus::default() }.into(),
    ]
}

fn process(host: &str) -> ProcessIdentity {
    let (boot, namespace) = ("b".to_owned(), "n".to_owned());
    ProcessIdentity { host: host.to_owned(), boot, namespace, pid: 1, started: 1 }
}

fn data_ops() -> Vec<Op> {
    let nothing =
        Compare { scope: "s".into(), key: "k".into(), rev: None, ver: None, exists: None };
    let mut ops: Vec<Op> = vec![
        get("", "k").into(),
        get("s", "..").into(),
        List { limit: 0, ..list("s") }.into(),
        List { limit: 1_001, ..list("s") }.into(),
        put_expecting("s", "k", "1", -1).into(),
        put_expecting("s", "k", "1", MAX_INTEGER + 1).into(),
        Put { ttl_ms: Some(0), ..put("s", "k", "1") }.into(),
        Put { ttl_ms: Some(366 * DAY), ..put("s", "k", "1") }.into(),
        Delete { scope: "s".into(), key: "-k".into(), expect: None }.into(),
        Delete { scope: "s".into(), key: "k".into(), expect: Some(Rev(-1)) }.into(),
        delete_scope("a/").into(),
        writes(Vec::new()).into(),
        writes(vec![Write::Put(put("s", "", "1"))]).into(),
        writes(vec![Write::Put(put("s", "k", AMBIGUOUS))]).into(),
        Txn { compares: vec![nothing], ..writes(vec![Write::Put(put("s", "k", "1"))]) }.into(),
        Update { keep: Some(0), ..update("s", "k", Change::Append(json("1"))) }.into(),
        Update { keep: Some(2), ..update("s", "k", Change::Add(1)) }.into(),
        update("s", "k", Change::Add(MAX_INTEGER + 1)).into(),
        update("s", "k", Change::Merge(json("[1]"))).into(),
        update("s", "k", Change::Append(json(AMBIGUOUS))).into(),
        ListScopes { limit: 0, ..scopes("*") }.into(),
        ListScopes { limit: 1_001, ..scopes("*") }.into(),
        scopes("").into(),
        scopes(&long(NAME_BYTES_MAX + 1)).into(),
    ];
    ops.extend(bad_values().iter().map(|value| put("s", "k", value).into()));
    ops.extend(MISLEADING.iter().map(|name| put(name, "k", "1").into()));
    ops.extend(MISLEADING.iter().map(|name| put("s", name, "1").into()));
    ops.push(put(&long(NAME_BYTES_MAX + 1), "k", "1").into());
    ops
}

fn lease_ops() -> Vec<Op> {
    let r = || acquire("r");
    let twice = || item("issue:1");
    vec![
        acquire("-r").into(),
        acquire("claim/issue/1").into(),
        Acquire { ttl_ms: 5 * SECOND - 1, ..r() }.into(),
        Acquire { ttl_ms: DAY + 1, ..r() }.into(),
        Acquire { slots: Some(0), ..r() }.into(),
        Acquire { slots: Some(1_001), ..r() }.into(),
        Acquire { wait_ms: Some(DAY + 1), ..r() }.into(),
        Acquire { lock_delay_ms: Some(MINUTE + 1), ..r() }.into(),
        Acquire { note: Some("a\0".into()), ..r() }.into(),
        Renew { resource: String::new(), fence: Fence(1), ttl_ms: None }.into(),
        Renew { resource: "r".into(), fence: Fence(1), ttl_ms: Some(1) }.into(),
        release("", Fence(1)).into(),
        check("..", Fence(1)).into(),
        admit("", 1).into(),
        admit("r", -1).into(),
        admit("r", MAX_INTEGER + 1).into(),
        Break { resource: "claim/bogus/1".into(), reason: "x".into() }.into(),
        Break { resource: "r".into(), reason: "a\0".into() }.into(),
        claim(&[]).into(),
        claim_items((0..=ITEMS_MAX).map(|n| item(&format!("issue:{n}"))).collect()).into(),
        claim_items(vec![twice(), twice()]).into(),
        claim_items(vec![item("path:src")]).into(),
        claim_items(vec![path("t1", "/etc/passwd")]).into(),
        claim_items(vec![path("t1", "src/../../x")]).into(),
        claim_items(vec![path("t/1", "src")]).into(),
        Claim { automatic: true, ..claim(&["issue:1"]) }.into(),
        Claim { automatic: true, any: true, ..claim_items(vec![path("t1", "src")]) }.into(),
        Claim { ttl_ms: Some(1), ..claim(&["issue:1"]) }.into(),
        Claim { intent: Some("a\0".into()), ..claim(&["issue:1"]) }.into(),
        Unclaim { items: Vec::new(), all: false }.into(),
        Unclaim { items: vec![item("issue:1")], all: true }.into(),
        Who { item: None, pattern: None, session: Some(SessionRef(String::new())) }.into(),
        Who { item: Some(item("issue:a//b")), pattern: None, session: None }.into(),
    ]
}

fn event_ops() -> Vec<Op> {
    let commit = |cursor: &str| Commit { consumer: "c".into(), cursor: Some(cursor.into()) };
    vec![
        Append { kind: String::new(), ..note("x") }.into(),
        Append { scope: String::new(), ..note("x") }.into(),
        Append { payload: json(AMBIGUOUS), ..note("x") }.into(),
        read("").into(),
        read("bogus").into(),
        read("h.-1.00000000").into(),
        Read { limit: 0, ..read("start") }.into(),
        Read { limit: 1_001, ..read("start") }.into(),
        Read { wait_ms: Some(MINUTE + 1), ..read("start") }.into(),
        Read { last: Some(1), ..read("start") }.into(),
        Read { last: None, ..newest(1) }.into(),
        Read { wait_ms: Some(MINUTE + 1), ..newest(1) }.into(),
        newest(0).into(),
        newest(1_001).into(),
        Commit { consumer: String::new(), cursor: None }.into(),
        commit("start").into(),
        commit("bogus").into(),
        Redact { seq: Seq(1), reason: "a\0".into() }.into(),
        Prune { before: Seq(-1), force: false }.into(),
        Verify { head: Some("bogus".into()) }.into(),
        leftovers(0).into(),
        ListLeftovers { limit: 0, ..leftovers(1) }.into(),
        remove_leftovers(0).into(),
        RemoveLeftovers { limit: 257, ..remove_leftovers(1) }.into(),
    ]
}

fn task_ops() -> Vec<Op> {
    let one = |task: NewTask| -> Op { add(&[task]).into() };
    let q = || task("q");
    let (id, fence) = (TaskId(1), Fence(1));
    let fail = |task, fence| -> Op {
        FailTask { task, fence, reason: "x".into(), class: FailureClass::Permanent }.into()
    };
    vec![
        add(&[]).into(),
        one(task("")),
        one(task("a//b")),
        one(NewTask { payload: json(AMBIGUOUS), ..q() }),
        one(NewTask { payload: json("\" \""), ..q() }),
        one(NewTask { priority: 1_001, ..q() }),
        one(NewTask { priority: -1_001, ..q() }),
        one(NewTask { needs: vec![TaskId(-1)], ..q() }),
        one(NewTask { needs_new: vec![1], ..q() }),
        one(NewTask { max_attempts: 0, ..q() }),
        one(NewTask { max_attempts: 101, ..q() }),
        one(NewTask { visibility_ms: 5 * SECOND - 1, ..q() }),
        one(NewTask { visibility_ms: DAY + 1, ..q() }),
        one(NewTask { delay_ms: Some(366 * DAY), ..q() }),
        one(NewTask { not_before: Some("tomorrow".into()), ..q() }),
        one(NewTask { not_before: Some("2026-12-01T09:30:00".into()), ..q() }),
        one(NewTask { delay_ms: Some(1), not_before: Some("2026-12-01T09:30:00Z".into()), ..q() }),
        one(NewTask { dedupe_key: Some(String::new()), ..q() }),
        next("").into(),
        NextTask { queues: (0..17).map(|n| format!("q{n}")).collect(), ..next("q") }.into(),
        NextTask { visibility_ms: Some(1), ..next("q") }.into(),
        NextTask { wait_ms: Some(DAY + 1), ..next("q") }.into(),
        ExtendTask { task: id, fence, visibility_ms: Some(DAY + 1) }.into(),
        ExtendTask { task: TaskId(-1), fence, visibility_ms: None }.into(),
        FinishTask { task: id, fence: Fence(-1), result: None }.into(),
        FinishTask { task: id, fence, result: Some(json(AMBIGUOUS)) }.into(),
        fail(id, Fence(-1)),
        FailTask { task: id, fence, reason: "a\0".into(), class: FailureClass::Transient }.into(),
        ReleaseTask { task: TaskId(-1), fence }.into(),
        CancelTask { task: TaskId(-1), reason: None }.into(),
        CancelTask { task: id, reason: Some("a\0".into()) }.into(),
        RequeueTask { task: TaskId(-1) }.into(),
        ShowTask { task: TaskId(-1) }.into(),
        ListTasks { limit: 0, ..ListTasks::default() }.into(),
        ListTasks { limit: 1_001, ..ListTasks::default() }.into(),
        ListTasks { queue: Some("-q".into()), ..ListTasks::default() }.into(),
        ListTasks { session: Some(SessionRef(String::new())), ..ListTasks::default() }.into(),
        GraphTasks { limit: 0, ..GraphTasks::default() }.into(),
        GraphTasks { task: Some(id), queue: Some("q".into()), ..GraphTasks::default() }.into(),
        acquire("task:1").into(),
    ]
}

fn work_ops() -> Vec<Op> {
    let something = || offer(&["issue:1"]);
    let payload = |text: &str| Offer { payload: Some(json(text)), ..offer(&[]) };
    let reference = |text: &str| SessionRef(text.into());
    vec![
        progress("", "x", 1).into(),
        progress("s", "a\nb", 1).into(),
        progress("s", "x", 101).into(),
        SetProgress { message: Some("a\0".into()), ..progress("s", "x", 1) }.into(),
        ShowProgress { limit: 0, ..show_progress(None) }.into(),
        ShowProgress { limit: 1_001, ..show_progress(None) }.into(),
        offer(&[]).into(),
        offer(&["issue:1", "issue:1"]).into(),
        offer(&["path:src"]).into(),
        offer(&["lease:a//b"]).into(),
        Offer { to: Addressee::Label(String::new()), ..something() }.into(),
        Offer { to: to("a\nb"), ..something() }.into(),
        Offer { ttl_ms: Some(MINUTE - 1), ..something() }.into(),
        Offer { ttl_ms: Some(31 * DAY), ..something() }.into(),
        payload("[1]").into(),
        payload("null").into(),
        payload(AMBIGUOUS).into(),
        offer_items((0..65).map(|_| "issue:1").collect(), None).into(),
        accept(Seq(-1)).into(),
        decline(Seq(MAX_INTEGER + 1)).into(),
        DeclineOffer { reason: Some("a\0".into()), ..decline(Seq(1)) }.into(),
        withdraw(Seq(-1)).into(),
        ListOffers { limit: 0, ..offers() }.into(),
        ListOffers { from: Some(reference("")), ..offers() }.into(),
        ListOffers { acceptor: Some(reference("")), ..offers() }.into(),
        ListOffers { after: Some(Seq(-1)), ..offers() }.into(),
        Draft { payload: Some(json("1")) }.into(),
        send("", "x").into(),
        send("b", " ").into(),
        send("b", "a\0").into(),
        SendMessage { ttl_ms: Some(MINUTE - 1), ..send("b", "x") }.into(),
        SendMessage { ttl_ms: Some(31 * DAY), ..send("b", "x") }.into(),
        Inbox { limit: 0, ..inbox() }.into(),
        Inbox { limit: 129, ..inbox() }.into(),
        Inbox { bytes: Some(0), ..inbox() }.into(),
        Inbox { wait_ms: Some(DAY + 1), ..inbox() }.into(),
        messages("").into(),
        ListMessages { limit: 1_001, ..messages("b") }.into(),
        ListMessages { after: Some(Seq(-1)), ..messages("b") }.into(),
        ack(&[]).into(),
        ack(&[Seq(-1)]).into(),
        ack(&[Seq(1); 129]).into(),
        arrive("", 2).into(),
        arrive("b", 0).into(),
        arrive("b", 1_001).into(),
        Arrive { timeout_ms: Some(5 * SECOND - 1), ..arrive("b", 2) }.into(),
        Arrive { timeout_ms: Some(DAY + 1), ..arrive("b", 2) }.into(),
        Arrive { wait_ms: Some(DAY + 1), ..arrive("b", 2) }.into(),
    ]
}

fn too_large_ops() -> Vec<Op> {
    let text = || long(TEXT_BYTES_MAX + 1);
    let value = || json(&format!("\"{}\"", long(VALUE_BYTES_MAX)));
    vec![
        SignOn { purpose: Some(text()), ..sign_on("x") }.into(),
        SignOn { user: text(), ..sign_on("x") }.into(),
        SignOff { outcome: None, note: Some(text()) }.into(),
        Put { value: value(), ..put("s", "k", "1") }.into(),
        writes((0..129).map(|n| Write::Put(put("s", &format!("k{n}"), "1"))).collect()).into(),
        update("s", "k", Change::Append(value())).into(),
        Acquire { note: Some(text()), ..acquire("r") }.into(),
        Break { resource: "r".into(), reason: text() }.into(),
        Claim { intent: Some(text()), ..claim(&["issue:1"]) }.into(),
        Append { payload: value(), ..note("x") }.into(),
        Redact { seq: Seq(1), reason: text() }.into(),
        add(&vec![task("q"); TASKS_MAX + 1]).into(),
        add(&[NewTask { payload: value(), ..task("q") }]).into(),
        add(&[NewTask { needs: (0..=1_000).map(TaskId).collect(), ..task("q") }]).into(),
        FinishTask { task: TaskId(1), fence: Fence(1), result: Some(value()) }.into(),
        FailTask {
            task: TaskId(1),
            fence: Fence(1),
            reason: text(),
            class: FailureClass::Transient,
        }
        .into(),
        CancelTask { task: TaskId(1), reason: Some(text()) }.into(),
        SetProgress { message: Some(text()), ..progress("s", "x", 1) }.into(),
        offer_items(Vec::new(), Some(json(&format!("\"{}\"", long(PAYLOAD_BYTES_MAX))))).into(),
        DeclineOffer { reason: Some(text()), ..decline(Seq(1)) }.into(),
        send("b", &text()).into(),
    ]
}

/// Each of these fails with the code, although the actor of a mutation has a wrong token.
fn all_fail(bench: &dyn Bench, ops: Vec<Op>, code: Code) {
    let a = Agent::new(bench, "a");
    let before = head_seq(bench);
    let mut wrong = Vec::new();
    for op in ops {
        let what: String = format!("{op:?}").chars().take(200).collect();
        let request = Request::new(op.clone());
        let request = if op.effect() == Effect::Read { request } else { request.by(a.impostor()) };
        match bench.store().one(request).map_err(|error| error.code) {
            Err(seen) if seen == code => {}
            other => wrong.push(format!("{what}: {:?}", other.map(|reply| reply.data))),
        }
    }
    assert!(wrong.is_empty(), "these must fail with {code}:\n{}", wrong.join("\n"));
    assert_eq!(head_seq(bench), before);
}

fn s0_wrong_arguments_are_refused_before_the_store_is_looked_at(bench: &dyn Bench) {
    let ops =
        [session_ops(), data_ops(), lease_ops(), event_ops(), task_ops(), work_ops()].concat();
    all_fail(bench, ops, Code::Invalid);
}

fn s0_what_is_too_large_is_refused_before_the_store_is_looked_at(bench: &dyn Bench) {
    all_fail(bench, too_large_ops(), Code::TooLarge);
}

fn s0_unknown_fields_and_operations_are_refused(_: &dyn Bench) {
    let raw = |text: &str| serde_json::value::RawValue::from_string(text.to_owned());
    for entry in TABLE {
        let arguments = raw("{\"no_such_field\":1}").expect("valid JSON");
        let error = Op::decode(entry.name, &arguments).expect_err("an unknown field");
        assert_eq!(error.code, Code::Invalid, "{}", entry.name);
    }
    let error = Op::decode("no.such", &raw("{}").expect("valid JSON")).expect_err("no operation");
    assert_eq!(error.code, Code::Invalid);
}

fn s0_a_name_says_what_it_shows(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let longest = long(NAME_BYTES_MAX);
    for name in
        ["issue:15", "Issue:15", "a b", "é", "项目/x", "v1.0.0", "a*b", "a'b", "%_", &longest]
    {
        let value = Json::of(&name);
        a.must(&Put { value, ..put(name, name, "1") });
    }
    assert_eq!(must(bench, &get("issue:15", "issue:15")).value.text(), "\"issue:15\"");
    assert_eq!(must(bench, &get("Issue:15", "Issue:15")).value.text(), "\"Issue:15\"");
    assert_eq!(must(bench, &get("项目/x", "项目/x")).value.text(), "\"项目/x\"");
    assert_eq!(must(bench, &get(&longest, &longest)).value.text(), format!("\"{longest}\""));
}

fn s0_a_value_comes_back_byte_for_byte(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    for text in [
        "1.0",
        "1e3",
        "-0",
        "18446744073709551616",
        "0.1000",
        "\"\\u00e9 \\/\"",
        "\"é\"",
        "{\"b\" : 1, \"a\":[ ]}",
        "null",
        "\"\\u0000\"",
        "[1,\n2]",
    ] {
        a.must(&put("s", "k", text));
        assert_eq!(must(bench, &get("s", "k")).value.text(), text);
        assert_eq!(must(bench, &list("s")).entries[0].value.text(), text);
    }
}

fn s0_a_value_of_one_mebibyte_and_64_levels_is_kept(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let large = format!("\"{}\"", long(VALUE_BYTES_MAX - 2));
    a.must(&put("s", "large", &large));
    assert!(must(bench, &get("s", "large")).value.text() == large, "the large value differs");
    let deep = nested(DEPTH_MAX);
    a.must(&put("s", "deep", &deep));
    assert_eq!(must(bench, &get("s", "deep")).value.text(), deep);
}

fn s0_free_text_of_four_kibibytes_is_kept(bench: &dyn Bench) {
    let purpose = "é".repeat(TEXT_BYTES_MAX / 2);
    let a = Agent::on(
        bench,
        &SignOn { purpose: Some(purpose.clone()), ttl_ms: Some(HOUR), ..sign_on("a") },
    );
    assert_eq!(a.view().purpose, Some(purpose.clone()));
    a.must(&SignOff { note: Some(purpose), ..sign_off() });
}

fn s0_a_page_has_up_to_1000_rows(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    for txn in 0..9 {
        let ops = (0..126).map(|n| Write::Put(put("s", &format!("k{txn}-{n}"), "1"))).collect();
        a.must(&writes(ops));
    }
    let page = must(bench, &list("s"));
    assert_eq!(page.entries.len(), 1_000);
    let rest = must(bench, &List { after: page.next, ..list("s") });
    assert_eq!((rest.entries.len(), rest.next), (9 * 126 - 1_000, None));
}
