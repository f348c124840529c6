//! Calls that wait for something to happen.

use cotenant_core::{event::Event, name::SessionRef, session::Reap};
use serde_json::{Value, json};

use crate::world::{Server, World, answer, blank, this_process};

/// Longer than any test.
const LONG: &str = "10m";

/// What a client sends with each request that never shook hands.
fn stateless(mut params: Value) -> Value {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "claude-code", "version": "2.1.328"},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    params
}

#[test]
fn a_call_that_waits_holds_up_no_other() {
    let world = World::new();
    let (mut one, mut two) = (world.agent("c1"), world.agent("c2"));
    one.call("sign_on", &json!({"session_id": "claude_1"}));
    let waits: Vec<u64> = (0..6)
        .map(|_| one.begin_call("next_task", &json!({"queues": ["ci"], "wait": LONG})))
        .collect();
    let listens = one.begin_call("read_inbox", &json!({"wait": LONG}));
    // All seven wait, more than watch the log, and the eighth is answered.
    one.call("store_data", &json!({"scope": "s", "key": "k", "value": 1}));
    two.call("send_message", &json!({"to": "claude_1", "text": "here I am"}));
    let read = answer(&one.answer_to(listens));
    assert!(read["text"].as_str().unwrap().contains("here I am"), "{read}");
    two.call("add_tasks", &json!({"tasks": [{"payload": "elsewhere"}]}));
    let tasks: Vec<Value> = (0..6).map(|n| json!({"payload": n, "queue": "ci"})).collect();
    two.call("add_tasks", &json!({"tasks": tasks}));
    let mut taken = Vec::new();
    let mut answered = Vec::new();
    for _ in &waits {
        let (id, result) = one.answer_to_any();
        let task = answer(&result);
        taken.push(task["payload"].as_i64().unwrap());
        answered.push(id);
    }
    taken.sort_unstable();
    answered.sort_unstable();
    assert_eq!((taken, answered), ((0..6).collect(), waits));
    one.close();
    two.close();
}

#[test]
fn a_wait_that_is_over_finds_nothing() {
    let world = World::new();
    let mut server = world.agent("c1");
    let waited = server.call("next_task", &json!({"wait": "10ms"}));
    assert_eq!((&waited["task"], &waited["open"]["ready"]), (&json!(null), &json!(0)));
    let waited = server.call("read_inbox", &json!({"wait": "10ms"}));
    assert_eq!(waited, json!({"messages": []}));
    let text = server.refusal("next_task", &json!({"wait": "2d"}));
    assert!(text.starts_with("INVALID: wait is 2d"), "{text}");
    server.close();
}

/// Has a call wait, calls it off, and shows that a task which comes then is another session's.
fn called_off(world: &World, waiter: &mut Server, dress: fn(Value) -> Value) {
    let mut other = world.agent("c2");
    let wait = json!({"name": "next_task", "arguments": {"wait": LONG}});
    let id = waiter.begin("tools/call", &dress(wait));
    waiter.call_off(id);
    // Calls are carried out one after the other: once this one was, no try is left that began before.
    let look = json!({"name": "list_scopes", "arguments": {}});
    let looks = waiter.begin("tools/call", &dress(look));
    while waiter.answer_to_any().0 != looks {}
    let added = other.call("add_tasks", &json!({"tasks": [{"payload": 1}]}));
    let taken = other.call("next_task", &json!({}));
    assert_eq!(taken["task"], added["tasks"][0]["task"], "{taken}");
    other.close();
}

#[test]
fn what_comes_after_a_call_was_called_off_is_for_others() {
    let world = World::new();
    let mut one = world.agent("c1");
    one.open();
    called_off(&world, &mut one, |params| params);
    one.close();
}

#[test]
fn a_client_without_a_handshake_calls_off_too() {
    let world = World::new();
    let mut one = world.agent("c1");
    one.begin("server/discover", &stateless(json!({})));
    one.answer_to(0);
    called_off(&world, &mut one, stateless);
    one.close();
}

#[test]
fn a_client_that_leaves_ends_its_waits() {
    let world = World::new();
    let (mut one, mut two) = (world.agent("c1"), world.agent("c2"));
    let waits = one.begin_call("next_task", &json!({"wait": LONG}));
    // Asked for before it left: done and answered.
    let stores = one.begin_call("store_data", &json!({"scope": "s", "key": "k", "value": 1}));
    one.leave();
    let mut answers = [one.answer_to_any(), one.answer_to_any()];
    answers.sort_unstable_by_key(|answer| answer.0);
    assert_eq!([answers[0].0, answers[1].0], [waits, stores]);
    assert_eq!(answer(&answers[0].1)["task"], json!(null));
    answer(&answers[1].1);
    two.call("add_tasks", &json!({"tasks": [{"payload": 1}]}));
    assert_eq!(two.call("next_task", &json!({}))["payload"], 1);
    one.close();
    two.close();
}

/// The text of a refusal.
fn refused(result: &Value) -> &str {
    assert_eq!(result["isError"], true, "{result}");
    result["content"][0]["text"].as_str().unwrap()
}

/// How many sessions of agents were ever signed on.
fn sign_ons(world: &World) -> usize {
    let is_agent = |event: &&Event| event.kind == "session.on" && event.scope != "session:ann";
    world.events().iter().filter(is_agent).count()
}

/// Has a session wait, ends it meanwhile, and shows that what comes then is for others: the wait answers with what
/// became of its session, and nobody is signed on in its place.
fn outlived(tool: &str, end: fn(&World, &mut Server) -> Option<u64>, said: &str) {
    let world = World::new();
    let (mut one, mut two) = (world.agent("c1"), world.agent("c2"));
    one.call("sign_on", &json!({"session_id": "claude_1"}));
    two.call("sign_on", &json!({"session_id": "claude_2"}));
    let arguments = match tool {
        "next_task" => json!({"queues": ["none"], "wait": LONG}),
        _ => json!({"wait": LONG}),
    };
    let waits = one.begin_call(tool, &arguments);
    // Carried out behind the first try, and answered before the wait or after it.
    let looks = one.begin_call("list_scopes", &json!({}));
    one.answer_to(looks);
    let ends = end(&world, &mut one);
    two.call("send_message", &json!({"to": "everybody", "text": "up"}));
    let added = two.call("add_tasks", &json!({"tasks": [{"payload": 1, "queue": "none"}]}));
    let mut answers: Vec<(u64, Value)> =
        [Some(waits), ends].iter().flatten().map(|_| one.answer_to_any()).collect();
    answers.sort_by_key(|(id, _)| *id);
    assert_eq!(answers[0].0, waits);
    let text = refused(&answers[0].1);
    assert!(text.starts_with(said) && text.contains("\nnext: call `sign_on`"), "{text}");
    assert!(!text.contains("cotenant sign-on"), "{text}");
    assert_eq!(sign_ons(&world), 2, "nobody comes in its place");
    let taken = two.call("next_task", &json!({"queues": ["none"]}));
    assert_eq!(taken["task"], added["tasks"][0]["task"], "it is for others");
    // A call of its own begins anew.
    one.call("sign_on", &json!({"session_id": "claude_3"}));
    one.close();
    two.close();
}

#[test]
fn a_wait_ends_with_the_sign_off_of_its_session() {
    for tool in ["next_task", "read_inbox"] {
        let sign_off =
            |_: &World, server: &mut Server| Some(server.begin_call("sign_off", &json!({})));
        outlived(tool, sign_off, "SESSION_ENDED: session `claude_1` has signed off");
    }
}

#[test]
fn a_wait_ends_with_the_loss_of_its_session() {
    for tool in ["next_task", "read_inbox"] {
        let lose = |world: &World, _: &mut Server| {
            let (_, ann) = world.sign_on("ann", blank("human", Some(this_process())));
            let reap = Reap { session: SessionRef("claude_1".to_owned()), force: true };
            assert!(!world.write(&ann, &reap).already);
            None
        };
        outlived(tool, lose, "SESSION_LOST: session `claude_1` was lost");
    }
}
