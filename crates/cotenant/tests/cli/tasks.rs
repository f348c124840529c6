//! `cotenant task`, and what other commands say of tasks.

use std::fmt::Write as _;

use crate::TestEnv;

fn env() -> TestEnv {
    let env = TestEnv::new();
    env.sign_on(&["alice", "bob"]);
    env
}

/// The number and the fence of the next task.
fn take(env: &TestEnv, session: &str) -> (String, String) {
    let task = &env.json(&format!("task next --session {session}"))["data"]["task"];
    (task["task"].to_string(), task["fence"].to_string())
}

#[test]
fn a_task_is_added_taken_and_done() {
    let env = env();
    env.shows(
        "task add 'lint config.py' 'test server.py' --session alice",
        "
        added task 3 (ready)
        added task 4 (ready)
        ",
    );
    env.shows(
        "task add publish --needs 3,4 --priority 5 --session alice",
        "added task 5 (blocked)",
    );
    env.shows(
        "task next --session bob",
        "
        task 3 (fence FENCE): attempt 1 of 3, 15m to finish it; added by alice
        \"lint config.py\"
        ",
    );
    env.shows(
        "task list",
        "
        TASK  STATE  QUEUE  PRIO  TRIES  SINCE  DUE  BY  ABOUT
        3  running  default  1 of 3  TIME ago  in 15m  bob  lint config.py
        4  ready  default  TIME ago  test server.py
        5  blocked  default  5  TIME ago  publish
        ",
    );
    let page = env.prints("status");
    assert!(page.contains("\ntasks: 1 ready, 1 running, 1 blocked\n"), "{page}");
    let (task, fence) = take(&env, "bob");
    env.shows(&format!("task done {task} {fence} --string merged --session bob"), "done");
    env.shows(&format!("task done {task} {fence} --session bob"), "was done before");
    env.shows(
        &format!("task show {task}"),
        "
        task 4 in default: done, TIME ago
          attempts  1 of 3
          newest  by bob with fence FENCE
          needed by  5
          added  by alice, TIME ago
        \"test server.py\"
        result:
        \"merged\"
        ",
    );
    env.shows("sign-off --session bob", "signed off; gave back 0 claims, 0 leases, 0 keys, 1 task");
    let (task, fence) = take(&env, "alice");
    assert_eq!(task, "3");
    env.shows(
        &format!("task done {task} {fence} --session alice"),
        "done; 1 task is ready that waited for it",
    );
}

#[test]
fn nothing_to_do_is_said_and_exits_with_75() {
    let env = env();
    env.shows("task next --session alice", "no task is open\n[exit 75]");
    env.shows(
        "task next ci --queue docs --session alice",
        "no task is open in `ci`, `docs`\n[exit 75]",
    );
    env.shows("task list", "no open tasks");
    env.shows("task list --queue ci", "no such open tasks");
    env.shows("task list --state done", "no such tasks");
    env.prints("task add x --delay 1h --session alice");
    env.shows("task next --session alice", "no task is ready: 1 delayed\n[exit 75]");
    let ran = env.cotenant("--json task next --wait 50ms --session alice");
    assert_eq!(ran.exit, 75);
    assert!(
        ran.stdout.starts_with("{\"ok\":true,\"data\":{\"open\":{\"ready\":0,"),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_wait_ends_with_the_task_that_comes() {
    let env = env();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| env.cotenant("task next --wait 60s --session bob"));
        env.prints("task add x --session alice");
        let ran = waiting.join().unwrap();
        assert!(ran.exit == 0 && ran.stdout.contains("\"x\""), "{} {}", ran.stdout, ran.stderr);
    });
}

#[test]
fn an_old_attempt_is_refused_and_told_by_whom() {
    let env = env();
    env.prints("task add x --session alice");
    let (task, fence) = take(&env, "alice");
    env.prints(&format!("task extend {task} {fence} --visibility 1h --session alice"));
    env.shows(&format!("task release {task} {fence} --session alice"), "gave it back");
    take(&env, "bob");
    env.shows(
        &format!("task done {task} {fence} --session alice"),
        "
        error: fence FENCE is not that of the newest attempt, by `bob`, at task 3, which is running
        hint: stop this work; what you have may be of use to who works on it now
        [exit 76]
        ",
    );
    // Of one that never was it is not said that somebody took the task again.
    env.shows(
        &format!("task done {task} 7 --session bob"),
        "
        error: fence 7 is not that of your newest attempt at task 3, which is running
        hint: `cotenant task show` tells the fence that counts
        [exit 76]
        ",
    );
    env.prints(&format!("task cancel {task} --reason 'not wanted' --session alice"));
    env.shows(
        "task show 999",
        "
        error: there is no task 999
        hint: `cotenant task list` shows them
        [exit 66]
    ",
    );
}

#[test]
fn a_failed_task_is_tried_again_until_it_is_dead() {
    let env = env();
    env.prints("task add x --max-attempts 1 --session alice");
    let (task, fence) = take(&env, "bob");
    env.shows(
        &format!("task fail {task} {fence} --reason 'no such file' --session bob"),
        "dead; `cotenant task requeue` begins anew",
    );
    env.shows(
        "task list --state dead",
        "
        TASK  STATE  QUEUE  TRIES  SINCE  ABOUT
        3  dead  default  1 of 1  TIME ago  x
    ",
    );
    env.shows("task requeue 3 --session alice", "it is ready now");
    env.shows(
        "task requeue 3 --session alice",
        "
        error: task 3 is ready, neither dead nor cancelled
        hint: `cotenant task show 3` tells more
        [exit 65]
    ",
    );
    env.shows(
        "task next --session bob",
        "
        task 3 (fence FENCE): attempt 1 of 1, 15m to finish it; added by alice
        failed before: no such file
        \"x\"
    ",
    );
}

#[test]
fn a_file_of_tasks_is_added_in_several_requests() {
    let env = env();
    let mut lines = String::new();
    // Each needs the one behind it, so that the file must be turned round.
    for place in 0..1_200 {
        let needs = if place == 1_199 { String::new() } else { (place + 1).to_string() };
        let _ = writeln!(lines, "{{\"payload\":{place},\"needs_new\":[{needs}]}}");
    }
    std::fs::write(env.top().join("tasks.jsonl"), lines).unwrap();
    let line = "task add --file tasks.jsonl --request-id bulk --session alice";
    let ran = env.cotenant(line);
    assert!(ran.stderr.contains("added 1200 tasks: 1199 blocked, 1 ready"), "{ran:?}");
    // A line of what is printed is a line of the file.
    let printed: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(printed.len(), 1_200);
    assert_eq!(printed[1_199], "added task 3 (ready)", "what the others need came first");
    assert_eq!(printed[1_198], "added task 4 (blocked)");
    assert_eq!(env.cotenant(line).stdout, ran.stdout);
    assert_eq!(env.json("status")["data"]["tasks"]["blocked"], 1_199, "a repeat adds nothing");
    let task = &env.json("task next --session bob")["data"]["task"];
    assert_eq!(task["payload"], 1_199);
    std::fs::write(env.top().join("tasks.jsonl"), "{\"payload\":1}\n{\"paylod\":2}\n").unwrap();
    let ran = env.cotenant("task add --file tasks.jsonl --session alice");
    assert_eq!(ran.exit, 64);
    assert!(ran.stderr.contains("line 2") && ran.stderr.contains("paylod"), "{}", ran.stderr);
}

#[test]
fn a_wrong_line_of_a_file_is_named_with_what_it_should_be() {
    let env = env();
    for (line, fault) in [
        (
            "\"lint\"",
            "3, column 6: invalid type: string \"lint\", expected a task: an object with `payload`",
        ),
        (
            "{\"payload\":1,\"priority\":\"high\"}",
            "3, column 30: invalid type: string \"high\", expected a whole number",
        ),
        ("{\"payload\":1", "3, column 12: EOF while parsing an object"),
    ] {
        let lines = format!("{{\"payload\":1}}\n{{\"payload\":2}}\n{line}\n");
        std::fs::write(env.top().join("tasks.jsonl"), lines).unwrap();
        let ran = env.cotenant("task add --file tasks.jsonl --session alice");
        assert_eq!(ran.exit, 64);
        let expected = format!("error: line {fault}\nhint: a line is a task, e.g. {{\"payload\": ");
        assert!(ran.stderr.starts_with(&expected), "{}", ran.stderr);
        assert!(!ran.stderr.contains("struct") && !ran.stderr.contains("line 1"), "{}", ran.stderr);
    }
    assert_eq!(env.prints("task list"), "no open tasks\n", "nothing was added");
}

#[test]
fn help_says_what_is_printed() {
    let env = env();
    assert_eq!(env.prints("task add x --session alice"), "added task 3 (ready)\n");
    let help = env.prints("task add --help");
    assert!(help.contains("`added task 19 (ready)`") && help.contains("`--json` has"), "{help}");
    let added = env.json("task add y --session alice");
    assert_eq!(added["data"]["tasks"][0]["task"], 4);
    let help = env.prints("handoff offer --help");
    assert!(help.contains("`offer 5, for 24h`") && help.contains("`data.offer`"), "{help}");
}

#[test]
fn a_task_says_what_is_to_be_done() {
    let env = env();
    for text in ["''", "' '"] {
        env.shows(
            &format!("task add {text} --session alice"),
            "
            error: a task without a text says nothing to whoever takes it
            hint: say what is to be done, e.g. `test server.py`
            [exit 64]
            ",
        );
    }
    env.shows("task graph", "no open tasks; `--all` also draws what is over");
    env.prints("task add x --session alice");
    let task = env.prints("task add y --needs 3 --session alice");
    assert_eq!(task, "added task 4 (blocked)\n");
    env.shows("task cancel 3 --session alice", "cancelled");
}

#[test]
fn a_graph_is_drawn_in_four_ways() {
    let env = env();
    env.prints("task add build --session alice");
    env.prints("task add test --needs 3 --session alice");
    env.shows("task graph", "3 build (ready)\n  4 test (blocked)");
    assert!(env.prints("task graph --format dot").contains("  t3 -> t4;\n"));
    assert!(env.prints("task graph 4 --format mermaid").contains("  t3 --> t4\n"));
    let graph: serde_json::Value =
        serde_json::from_str(&env.prints("task graph --format json")).unwrap();
    assert_eq!(graph["edges"], serde_json::json!([{"task": 4, "needs": 3}]));
    assert_eq!(env.json("task graph")["data"], graph);
}

#[test]
fn a_refused_claim_names_what_can_be_done_instead() {
    let env = env();
    env.prints("claim issue:1 --session alice");
    env.prints("task add 'write tests' --queue ci --session alice");
    let ran = env.cotenant("claim issue:1 --session bob");
    assert_eq!(ran.exit, 73);
    let line = "  ready: task 4 of ci: \"write tests\"\n";
    assert!(
        ran.stderr.contains(line) && ran.stderr.contains("`cotenant task next`"),
        "{}",
        ran.stderr
    );
    env.shows("claim --any issue:1 issue:2 issue:3 --session bob", "claimed issue:2 (fence FENCE)");
}

#[test]
fn a_task_guards_what_its_worker_writes() {
    let env = env();
    env.prints("task add x --session alice");
    let (task, fence) = take(&env, "alice");
    let write = format!("data set s k 1 --guard task:{task}={fence} --session alice");
    env.prints(&write);
    env.prints(&format!("task done {task} {fence} --session alice"));
    assert_eq!(env.cotenant(&write).exit, 76);
}
