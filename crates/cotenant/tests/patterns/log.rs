//! Pattern 8, the shared log: no event is lost, none is out of order, and a watcher sees them all.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, ChildStdout, Stdio},
};

use serde_json::{Value, json};

use crate::{
    TestEnv,
    crew::{at_once, crew, lines_at_once, place, the_log_is_whole},
};

const PROCESSES: usize = 8;
const EVENTS: usize = 25;

/// A process that watches, and what it prints.
struct Watcher(Child, BufReader<ChildStdout>);

impl Watcher {
    fn start(env: &TestEnv, arguments: &str) -> Self {
        let mut command = env.command("cotenant");
        command.args("event watch --json --for 5m".split(' ')).args(arguments.split(' '));
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        Self(process, output)
    }

    /// All events up to its end.
    fn ends(mut self) -> Vec<Value> {
        let mut events = Vec::new();
        for line in self.1.by_ref().lines() {
            let mut envelope: Value = serde_json::from_str(&line.unwrap()).unwrap();
            assert_eq!(envelope["ok"], true, "{envelope}");
            events.append(envelope["data"]["events"].as_array_mut().unwrap());
        }
        assert!(self.0.wait().unwrap().success());
        events
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn numbers(events: &[Value]) -> Vec<u64> {
    events.iter().map(|event| event["seq"].as_u64().unwrap()).collect()
}

#[test]
fn eight_processes_write_one_log_and_watchers_miss_nothing() {
    let env = place();
    let mut crew = crew(&env, PROCESSES);
    let count = (PROCESSES * EVENTS).to_string();
    let watchers = [
        Watcher::start(&env, &format!("--after start --kind user.* --count {count}")),
        Watcher::start(&env, &format!("--after start --scope issue:15 --count {EVENTS}")),
    ];
    let acknowledged = at_once(&mut crew, |number, member| {
        let append = |step| {
            let args = json!({
                "kind": "user.step", "scope": format!("issue:{}", 15 + number),
                "payload": {"step": step, "by": member.name}
            });
            member.does("event.append", &args)["seq"].as_u64().unwrap()
        };
        (0..EVENTS).map(append).collect::<Vec<u64>>()
    });
    let [all, own] = watchers.map(Watcher::ends);
    let mut expected: Vec<u64> = acknowledged.iter().flatten().copied().collect();
    expected.sort_unstable();
    assert_eq!(numbers(&all), expected);
    assert_eq!(numbers(&own), acknowledged[0]);
    for (number, seqs) in acknowledged.iter().enumerate() {
        let name = format!("s{number}");
        let written: Vec<&Value> = all.iter().filter(|event| event["name"] == *name).collect();
        assert_eq!(written.len(), EVENTS);
        for (step, event) in written.into_iter().enumerate() {
            assert_eq!(event["seq"], seqs[step]);
            assert_eq!(event["payload"], json!({"step": step, "by": name}));
        }
    }
    // Nothing is missing between the events of different sessions either.
    let listed = env.json("event list --after start --limit 1000");
    let listed = numbers(listed["data"]["events"].as_array().unwrap());
    assert_eq!(listed, (1..=(PROCESSES * (EVENTS + 1)) as u64).collect::<Vec<u64>>());
    the_log_is_whole(&env);
}

#[test]
fn eight_commands_write_one_log_at_once() {
    let env = place();
    let _crew = crew(&env, PROCESSES);
    let head = env.prints("event head");
    let lines: Vec<String> = (0..PROCESSES)
        .map(|number| {
            format!(
                "cotenant event append user.note issue:15 --message m{number} --session s{number}"
            )
        })
        .collect();
    let ran = lines_at_once(&env, &lines);
    assert!(ran.iter().all(|ran| (ran.exit, ran.stderr.as_str()) == (0, "")), "{ran:?}");
    let mut seqs: Vec<u64> = ran.iter().map(|ran| ran.stdout.trim().parse().unwrap()).collect();
    seqs.sort_unstable();
    let first = PROCESSES as u64 + 1;
    assert_eq!(seqs, (first..first + PROCESSES as u64).collect::<Vec<u64>>());
    let checked = env.prints(&format!("event verify --head {}", head.trim()));
    assert_eq!(checked, format!("ok, {} events\n", 2 * PROCESSES));
}
