//! What goes over the wire, for each revision of the protocol, without a store.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::needless_pass_by_value, reason = "arguments are written as literals")]

use std::{
    io::{BufRead, BufReader, PipeReader, PipeWriter, Write},
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use cotenant_core::{
    Code, Error, Result,
    claim::Item,
    event::Appended,
    id::{Seq, Tick},
    name::SessionRef,
    offer::{OfferItem, Place},
    session::SignedOn,
    store::{Actor, Guard, Outcome, Reply, Request, Store},
};
use cotenant_server::mcp::{Caller, Host, INSTRUCTIONS, serve};
use serde_json::{Value, json, value::RawValue};

/// A program whose project has no store, or one that writes down what it is asked.
#[derive(Default)]
struct Program {
    recorder: Option<Arc<Recorder>>,
}

#[derive(Default)]
struct Recorder {
    requests: Mutex<Vec<Request>>,
    callers: Mutex<Vec<Caller>>,
}

impl Store for Recorder {
    fn submit(&self, requests: Vec<Request>) -> Vec<Outcome> {
        let answer = serde_json::to_string(&Appended { seq: Seq(1) }).unwrap();
        let reply = || Reply {
            data: RawValue::from_string(answer.clone()).unwrap(),
            seq: Seq(1),
            tick: Tick(1),
            replayed: false,
        };
        let outcomes = requests.iter().map(|_| Ok(reply())).collect();
        self.requests.lock().unwrap().extend(requests);
        outcomes
    }
}

impl Host for Program {
    fn store(&self) -> Result<Arc<dyn Store>> {
        match &self.recorder {
            Some(recorder) => Ok(Arc::clone(recorder) as Arc<dyn Store>),
            None => Err(Error::new(Code::NotFound, "no store here").hint("run `cotenant init`")),
        }
    }

    fn find(&self, _: &Caller) -> Result<Option<Actor>> {
        self.store().map(|_| None)
    }

    fn actor(&self, caller: &Caller) -> Result<Actor> {
        self.store()?;
        if let Some(recorder) = &self.recorder {
            recorder.callers.lock().unwrap().push(caller.clone());
        }
        Ok(Actor { session: SessionRef("a".into()), token_digest: "0".repeat(64) })
    }

    fn sign_on(&self, _: &Caller, _: Option<String>, _: Option<String>) -> Result<SignedOn> {
        Err(self.store().err().unwrap_or_else(|| Error::internal("not asked for here")))
    }

    fn locate(&self, item: Item) -> Result<Item> {
        Ok(Item { tree: Some("t".into()), ..item })
    }

    fn work(&self, _: &Place, _: &[OfferItem]) -> Result<Place> {
        Ok(Place::default())
    }

    fn guards(&self) -> Result<Vec<Guard>> {
        Ok(Vec::new())
    }

    fn request_id(&self) -> Result<String> {
        Ok("r".into())
    }

    fn agent_lives(&self) -> bool {
        true
    }
}

/// A client that writes lines and reads lines.
struct Client {
    to: Option<PipeWriter>,
    from: BufReader<PipeReader>,
    server: Option<JoinHandle<Result<()>>>,
    last_id: i64,
}

impl Client {
    fn start(program: Program) -> Self {
        let (input, to) = std::io::pipe().unwrap();
        let (from, output) = std::io::pipe().unwrap();
        let server = std::thread::spawn(move || serve(Arc::new(program), input, output));
        Self { to: Some(to), from: BufReader::new(from), server: Some(server), last_id: 0 }
    }

    fn write(&mut self, line: &str) {
        writeln!(self.to.as_mut().unwrap(), "{line}").unwrap();
    }

    fn read(&mut self) -> String {
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        line
    }

    /// Sends a request and returns the whole answer.
    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.last_id += 1;
        let id = self.last_id;
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.write(&request.to_string());
        let answer: Value = serde_json::from_str(&self.read()).unwrap();
        assert_eq!(answer["id"], id, "{answer}");
        answer
    }

    fn handshake(mut self, version: &str) -> (Self, Value) {
        let answer = self.ask(
            "initialize",
            json!({
                "protocolVersion": version,
                "capabilities": {"roots": {}, "elicitation": {}},
                "clientInfo": {"name": "claude-code", "version": "2.1.197"},
            }),
        );
        self.write(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        (self, answer["result"].clone())
    }

    fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.ask("tools/call", json!({"name": tool, "arguments": arguments}))
    }

    /// Closes the client's end; the server ends.
    fn close(mut self) {
        self.to.take();
        self.server.take().unwrap().join().unwrap().unwrap();
    }
}

/// What a stateless client sends with every request.
fn inline_meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "claude-code", "version": "2.1.328"},
        "io.modelcontextprotocol/clientCapabilities": {},
    })
}

fn text(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}"))
}

#[test]
fn every_handshake_revision_is_answered_with_itself() {
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let (mut client, opened) = Client::start(Program::default()).handshake(version);
        assert_eq!(opened["protocolVersion"], version);
        assert_eq!(opened["serverInfo"]["name"], "cotenant");
        assert_eq!(opened["instructions"], INSTRUCTIONS);
        assert_eq!(opened["capabilities"], json!({"tools": {}}));
        assert!(client.ask("tools/list", json!({}))["result"]["tools"].is_array());
        assert!(client.ask("ping", json!({}))["result"].is_object());
        client.close();
    }
}

#[test]
fn a_handshake_for_a_revision_without_one_gets_the_newest_that_has_one() {
    for version in ["2026-07-28", "2099-01-01"] {
        let (client, opened) = Client::start(Program::default()).handshake(version);
        assert_eq!(opened["protocolVersion"], "2025-11-25");
        client.close();
    }
}

#[test]
fn a_stateless_client_discovers_and_calls_without_a_handshake() {
    let mut client = Client::start(Program::default());
    let found = client.ask("server/discover", json!({"_meta": inline_meta()}));
    let versions = found["result"]["supportedVersions"].as_array().unwrap();
    assert!(versions.contains(&json!("2026-07-28")), "{found}");
    assert_eq!(found["result"]["instructions"], INSTRUCTIONS);
    let tools = client.ask("tools/list", json!({"_meta": inline_meta()}));
    assert_eq!(tools["result"]["resultType"], "complete");
    let bytes = tools.to_string().len();
    assert!(bytes <= 12_000, "{bytes}");
    let params = json!({"name": "status", "arguments": {}, "_meta": inline_meta()});
    let refused = client.ask("tools/call", params);
    assert_eq!(refused["result"]["isError"], true);
    client.close();
}

#[test]
fn a_client_that_asks_and_then_shakes_hands_is_served() {
    let mut client = Client::start(Program::default());
    client.ask("server/discover", json!({"_meta": inline_meta()}));
    let (client, opened) = client.handshake("2025-11-25");
    assert_eq!(opened["protocolVersion"], "2025-11-25");
    client.close();
}

#[test]
fn a_client_that_leaves_before_the_handshake_is_no_error() {
    Client::start(Program::default()).close();
}

#[test]
fn the_tool_list_is_short() {
    let (mut client, _) = Client::start(Program::default()).handshake("2025-11-25");
    let answer = client.ask("tools/list", json!({}));
    let bytes = answer.to_string().len();
    assert!(bytes <= 12 * 1024, "{bytes}");
    let tools = answer["result"]["tools"].as_array().unwrap().clone();
    assert!(tools.len() <= 20);
    let names: Vec<&str> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "sign_on",
            "status",
            "claim",
            "unclaim",
            "who",
            "next_task",
            "finish_task",
            "add_tasks",
            "store_data",
            "retrieve_data",
            "update_data",
            "delete_data",
            "list_scopes",
            "delete_scope",
            "log_event",
            "report_progress",
            "hand_off",
            "send_message",
            "read_inbox",
            "sign_off",
        ]
    );
    println!("tools/list: {bytes} bytes, {} tools", tools.len());
    client.close();
}

#[test]
fn instructions_fit_and_begin_with_the_essentials() {
    assert!(INSTRUCTIONS.chars().count() <= 2048);
    assert!(INSTRUCTIONS[..500].contains("`claim`"));
}

/// A boolean schema makes Claude Code 2.1.197 drop every tool (measured).
#[test]
fn every_schema_is_an_object_that_refuses_what_it_does_not_know() {
    fn no_booleans(schema: &Value, path: &str) {
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            assert!(inner.is_object(), "{path}.{name} is {inner}");
            no_booleans(inner, &format!("{path}.{name}"));
        }
        if !schema["items"].is_null() {
            assert!(schema["items"].is_object(), "{path}: items are {}", schema["items"]);
            no_booleans(&schema["items"], &format!("{path}[]"));
        }
    }
    let (mut client, _) = Client::start(Program::default()).handshake("2025-11-25");
    let answer = client.ask("tools/list", json!({}));
    for tool in answer["result"]["tools"].as_array().unwrap() {
        let name = tool["name"].as_str().unwrap();
        let schema = &tool["inputSchema"];
        assert_eq!(schema["type"], "object", "{name}");
        assert!(schema["properties"].is_object(), "{name}");
        assert_eq!(schema["additionalProperties"], false, "{name}");
        no_booleans(schema, name);
        assert_eq!(tool["annotations"]["openWorldHint"], false, "{name}");
    }
    let tools = answer["result"]["tools"].as_array().unwrap();
    let reading: Vec<&Value> = tools
        .iter()
        .filter(|t| t["annotations"]["readOnlyHint"] == true)
        .map(|t| &t["name"])
        .collect();
    assert_eq!(reading, ["status", "who", "retrieve_data", "list_scopes"]);
    client.close();
}

#[test]
fn without_a_store_every_tool_says_what_to_do() {
    let (mut client, _) = Client::start(Program::default()).handshake("2025-06-18");
    for (tool, arguments) in [
        ("status", json!({})),
        ("sign_on", json!({"session_id": "a"})),
        ("store_data", json!({"scope": "a", "key": "b", "value": null})),
        ("retrieve_data", json!({"scope": "a", "key": "b"})),
        ("list_scopes", json!({"pattern": "*"})),
        ("claim", json!({"items": ["issue:1"]})),
        ("who", json!({})),
        ("sign_off", json!({})),
    ] {
        let answer = client.call(tool, arguments);
        assert_eq!(answer["result"]["isError"], true, "{tool}: {answer}");
        assert_eq!(text(&answer), "NOT_FOUND: no store here\nnext: run `cotenant init`", "{tool}");
        assert!(answer["result"]["structuredContent"].is_null());
    }
    client.close();
}

#[test]
fn unknown_tools_and_arguments_are_refused() {
    let (mut client, _) = Client::start(Program::default()).handshake("2025-11-25");
    let answer = client.call("store_date", json!({}));
    assert_eq!(answer["error"]["code"], -32602);
    assert_eq!(answer["error"]["message"], "there is no tool `store_date`");
    let answer = client.call("store_data", json!({"scope": "a", "key": "b", "value": 1, "tll": 5}));
    assert!(
        text(&answer).starts_with("INVALID: arguments of `store_data`: unknown field `tll`"),
        "{answer}"
    );
    let answer = client.call("claim", json!({"items": ["isue:15"]}));
    assert!(
        text(&answer).starts_with("INVALID: `isue:15` has an unknown kind\nnext: write issue:15"),
        "{answer}"
    );
    let answer = client.call("add_tasks", json!({"tasks": ["lint"]}));
    assert!(text(&answer).contains("expected a task: an object with `payload`"), "{answer}");
    let answer =
        client.call("update_data", json!({"scope": "a", "key": "b", "op": "add", "value": 1.5}));
    assert_eq!(text(&answer), "INVALID: `add` takes a whole number");
    assert_eq!(client.ask("resources/nothing", json!({}))["error"]["code"], -32601);
    client.close();
}

#[test]
fn lines_that_are_no_messages_are_answered_and_do_not_end_the_server() {
    let (mut client, _) = Client::start(Program::default()).handshake("2025-11-25");
    client.write("nonsense");
    let answer: Value = serde_json::from_str(&client.read()).unwrap();
    assert_eq!(answer["error"]["code"], -32700);
    client.write("");
    client.write(r#"{"jsonrpc":"2.0","id":"x","method":5}"#);
    let answer: Value = serde_json::from_str(&client.read()).unwrap();
    assert_eq!(
        (answer["id"].as_str(), answer["error"]["code"].as_i64()),
        (Some("x"), Some(-32600))
    );
    assert!(client.ask("ping", json!({}))["result"].is_object());
    client.close();
}

#[test]
fn values_reach_the_store_byte_for_byte() {
    let recorder = Arc::new(Recorder::default());
    let program = Program { recorder: Some(Arc::clone(&recorder)) };
    let (mut client, _) = Client::start(program).handshake("2025-11-25");
    let value = r#"{"z" : 1.0, "a": 1e3, "n":123456789012345678901234567890,"s":"\u00e9"}"#;
    client.write(&format!(
        r#"{{"jsonrpc":"2.0","id":99,"method":"tools/call","params":{{"name":"log_event","arguments":{{"event_type":"t","message":"m","metadata":{value}}},"_meta":{{"claudecode/toolUseId":"toolu_1"}}}}}}"#
    ));
    let answer: Value = serde_json::from_str(&client.read()).unwrap();
    assert_eq!(answer["result"]["structuredContent"], json!({"seq": 1}));
    client.close();
    let requests = recorder.requests.lock().unwrap();
    let request = requests.iter().find(|request| request.op.name() == "event.append").unwrap();
    assert!(request.op.arguments().contains(value), "{}", request.op.arguments());
    assert_eq!(request.request_id.as_deref(), Some("r"));
    let caller = Caller {
        client: Some("claude-code".into()),
        tool_use_id: Some("toolu_1".into()),
        native_id: None,
    };
    assert_eq!(*recorder.callers.lock().unwrap(), [caller]);
}

#[test]
fn codex_names_its_conversation_in_each_call() {
    let recorder = Arc::new(Recorder::default());
    let program = Program { recorder: Some(Arc::clone(&recorder)) };
    let (mut client, _) = Client::start(program).handshake("2025-06-18");
    client.ask(
        "tools/call",
        json!({
            "name": "log_event",
            "arguments": {"event_type": "t", "message": "m"},
            "_meta": {"callId": "c1", "threadId": "t1", "sessionId": "s1", "progressToken": 1},
        }),
    );
    client.close();
    let callers = recorder.callers.lock().unwrap();
    assert_eq!(callers[0].native_id.as_deref(), Some("s1"));
}

#[test]
fn calls_take_effect_in_the_order_of_their_arrival() {
    let recorder = Arc::new(Recorder::default());
    let program = Program { recorder: Some(Arc::clone(&recorder)) };
    let (mut client, _) = Client::start(program).handshake("2025-11-25");
    for id in 1000..1100 {
        client.write(
            &json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {
                "name": "log_event", "arguments": {"event_type": "t", "message": id.to_string()}}})
            .to_string(),
        );
    }
    for _ in 0..100 {
        client.read();
    }
    client.close();
    let requests = recorder.requests.lock().unwrap();
    let appended = requests.iter().filter(|request| request.op.name() == "event.append");
    let arrived: Vec<String> = appended
        .map(|request| {
            let arguments: Value = serde_json::from_str(&request.op.arguments()).unwrap();
            arguments["payload"]["message"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(arrived, (1000..1100).map(|id| id.to_string()).collect::<Vec<_>>());
}
