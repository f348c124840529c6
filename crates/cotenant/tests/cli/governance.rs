//! `cotenant instruction`, `metrics`, `pressure` and the files of older tools.

use std::{collections::BTreeMap, fs};

use serde_json::{Value, json};

use crate::TestEnv;

fn env() -> TestEnv {
    let env = TestEnv::new();
    env.sign_on(&["a", "b"]);
    env.prints("sign-on ann --kind human");
    env
}

#[test]
fn what_a_person_adds_is_in_force_and_what_an_agent_adds_is_proposed() {
    let env = env();
    env.shows("instruction add 'Run the tests' --session ann", "4 is in force");
    env.shows(
        "instruction add 'Push often' --key push --session a",
        "5 awaits a person's approval: `cotenant instruction approve 5`",
    );
    env.shows(
        "instruction approve 5 --session b",
        "
        error: only a person may approve an instruction
        hint: run this at a terminal, without an agent's session
        [exit 77]
        ",
    );
    env.shows("instruction approve 5 --session ann", "5 is in force");
    env.shows("instruction supersede 4 'Run tests and lints' --session ann", "7 is in force");
    env.shows(
        "instruction supersede 4 'Run nothing' --session ann",
        "
        error: instruction 4 was superseded by 7 already
        hint: read that one and decide anew
        [exit 65]
        ",
    );
    env.shows("instruction revoke 5 --reason 'too often' --session ann", "5 is revoked");
    env.shows("instruction effective", "7  project  in force\nRun tests and lints\nann (root, trust human), TIME ago; supersedes 4");
    env.shows(
        "instruction list --history",
        "
        4  project  superseded by 7
        Run the tests
        ann (root, trust human), TIME ago
        5  project, push  revoked
        Push often
        a (root, trust agent), TIME ago; approved by root; revoked by root; too often
        7  project  in force
        Run tests and lints
        ann (root, trust human), TIME ago; supersedes 4
        ",
    );
}

#[test]
fn the_winner_is_told_with_the_reason() {
    let env = env();
    env.prints("instruction add 'tabs' --key style --session ann");
    env.prints("instruction add 'spaces' --key style --scope path:src --session ann");
    let here = env.json("instruction effective --path src/a.rs");
    let ruling = &here["data"]["rulings"][0];
    assert_eq!(
        (&ruling["instruction"]["text"], &ruling["over"][0]["why"]),
        (&json!("spaces"), &json!("narrower"))
    );
    let shown = env.prints("instruction effective --path src/a.rs");
    assert!(shown.contains("wins over 4: it holds for a narrower place"), "{shown}");
    let shown = env.prints("instruction conflicts");
    assert!(shown.starts_with("about `style`; 5 wins: it holds for a narrower place\n"), "{shown}");
    env.shows("instruction revoke 5 --session ann", "5 is revoked");
    env.shows("instruction conflicts", "no conflicts");
}

/// The architecture paper's table of lost instructions, with ours.
#[test]
fn sixteen_processes_add_a_thousand_instructions_each() {
    const EACH: usize = 1_000;
    let env = TestEnv::new();
    let lines = (0..16).map(|n| {
        format!(
            "cotenant sign-on s{n} >/dev/null; \
             (echo '{{\"id\":0,\"op\":\"instruction.add\",\"args\":{{\"text\":\"s{n} 0\",\"key\":\"style\"}}}}'; \
             seq {} | sed 's/.*/{{\"id\":&,\"op\":\"instruction.add\",\"args\":{{\"text\":\"s{n} &\"}}}}/') \
             | cotenant rpc --session s{n} | grep -c '\"ok\":true'",
            EACH - 1
        )
    });
    let ran: Vec<_> = std::thread::scope(|scope| {
        let env = &env;
        let threads: Vec<_> = lines.map(|line| scope.spawn(move || env.shell(&line))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for one in &ran {
        assert_eq!((one.stdout.trim(), one.exit), ("1000", 0), "{one:?}");
    }
    let all = env.json("instruction list --history");
    let mut authors: BTreeMap<String, std::collections::BTreeSet<String>> = BTreeMap::new();
    for entry in all["data"]["entries"].as_array().unwrap() {
        let (text, name) = (entry["text"].as_str().unwrap(), entry["name"].as_str().unwrap());
        assert!(text.starts_with(&format!("{name} ")), "{entry}");
        assert!(authors.entry(name.to_owned()).or_default().insert(text.to_owned()), "{entry}");
    }
    assert_eq!(authors.len(), 16);
    assert!(authors.values().all(|texts| texts.len() == EACH), "one was lost");
    let conflicts = env.json("instruction conflicts");
    assert_eq!(conflicts["data"]["conflicts"][0]["entries"].as_array().unwrap().len(), 16);
    assert_eq!(env.cotenant("doctor --deep").exit, 0);
}

#[test]
fn figures_are_shown_for_each_session_and_as_totals() {
    let env = env();
    env.prints("metrics report --counter messages=8 --gauge context_tokens=29414 --session a");
    env.prints("metrics report --counter messages=42 --gauge context_tokens=85000 --session b");
    env.prints("metrics report --counter messages=30 --counter errors/Bash/exit=2 --session b");
    env.shows(
        "metrics show --by user",
        "
        SESSION  MESSAGES  CONTEXT  PRESSURE  COMPLEXITY
        b  42  85000  42.5 elevated  0
        a  8  29414  14.7 normal  0

        TOTAL  SESSIONS  MESSAGES
        root  2  50
        ",
    );
    env.shows("pressure a", "a: 14.7 % normal, 29414 of 200000 tokens, 8 messages, complexity 0");
    env.shows(
        "metrics show b",
        "
        METRIC  ALL  THIS CONVERSATION  NOW
        context_tokens  85000
        errors/Bash/exit  2  2
        messages  42  42
        ",
    );
    assert_eq!(env.json("pressure b")["data"]["percent"], "42.5");
    // A smaller window, or fewer tokens, are full earlier.
    fs::write(env.top().join("cotenant.toml"), "[pressure]\ntokens = [20000, 25000]\n").unwrap();
    env.shows("pressure a", "a: 14.7 % high, 29414 of 200000 tokens, 8 messages, complexity 0");
    env.shows(
        "metrics report --counter messages --session a",
        "
        error: invalid value 'messages' for '--counter <NAME=NUMBER>': write NAME=NUMBER

        For more information, try '--help'.
        [exit 64]
    ",
    );
}

fn write(env: &TestEnv, name: &str, value: &Value) {
    let path = env.top().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("{value:#}\n")).unwrap();
}

fn read(path: &std::path::Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn the_files_of_older_tools_come_and_go() {
    let env = env();
    let entry = |number: u32, active: bool| {
        json!({"id": format!("inst_{number:03}"), "text": format!("rule {number}"),
            "timestamp": "2025-10-07T12:00:00Z", "session_id": "2025-10-07-001", "source": "user",
            "quadrant": "SYSTEM", "persistence": "HIGH", "active": active})
    };
    let entries: Vec<Value> = (1..=18).map(|number| entry(number, number != 7)).collect();
    write(
        &env,
        ".claude/instruction-history.json",
        &json!({"version": "1.0", "instructions": entries}),
    );
    let state = json!({"session_id": "2025-10-07-001", "created_at": "2025-10-07T12:00:00Z",
        "token_budget": 200_000, "messages": 42, "extra": {"kept": true},
        "framework_activity": {"pressure_checks": 3, "instructions_added": 2,
            "validations_run": 15, "boundary_enforcements": 1}});
    write(&env, ".claude/session-state.json", &state);
    let checkpoints = json!({"session_id": "2025-10-07-001", "checkpoints": [{"percentage": 25}]});
    write(&env, ".claude/token-checkpoints.json", &checkpoints);
    write(
        &env,
        ".claude/session-state/issue%3A15.json",
        &json!({"claimed_by": "claude_1", "progress": 40}),
    );
    write(&env, ".claude/session-state/session:claude_1/status.json", &json!("working"));
    write(&env, ".claude/settings.json", &json!({}));
    env.shows(
        "instruction import . --approve --session ann",
        "
        new: 18 instructions, 24 keys; there before: 0 instructions, 0 keys; approved: 17
        left alone: ./.claude/settings.json
        ",
    );
    env.shows(
        "instruction import . --approve --session ann",
        "
        new: 0 instructions, 0 keys; there before: 18 instructions, 24 keys; approved: 0
        left alone: ./.claude/settings.json
        ",
    );
    assert_eq!(env.prints("data get issue:15 progress"), "40\n");
    assert_eq!(env.prints("data get session:claude_1 status"), "\"working\"\n");
    let listed = env.prints("instruction list");
    assert!(listed.contains("(inst_007)  project  awaits approval"), "{listed}");
    assert!(
        listed.contains("from instruction-history.json; said by user; session 2025-10-07-001"),
        "{listed}"
    );

    // The way back, with what has become of them since.
    env.prints("instruction revoke inst_001 --session ann");
    env.prints("instruction add 'rule 19' --session a");
    env.prints("metrics report --counter messages=8 --counter validations_run=15 --gauge context_tokens=29414 --session a");
    env.shows("export --legacy out", "19 instructions and 1 session are in out");
    let history = read(&env.top().join("out/instruction-history.json"));
    assert_eq!(history["version"], "1.0");
    let all = history["instructions"].as_array().unwrap();
    assert_eq!(all.len(), 19);
    assert_eq!(
        (&all[0]["id"], &all[0]["active"], &all[0]["persistence"]),
        (&json!("inst_001"), &json!(false), &json!("HIGH"))
    );
    assert_eq!(
        (&all[1]["active"], &all[1]["timestamp"]),
        (&json!(true), &json!("2025-10-07T12:00:00Z"))
    );
    let files: Vec<_> = fs::read_dir(env.top().join("out/sessions"))
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    let states: Vec<Value> = files.iter().map(|it| read(&it.join("session-state.json"))).collect();
    let ours = states.iter().find(|it| it["session_id"] == "a").unwrap();
    for (name, value) in [
        ("token_budget", json!(200_000)),
        ("messages", json!(8)),
        ("tokens_used", json!(29_414)),
        ("pressure_score", json!(14.7)),
        ("status", json!("NORMAL")),
    ] {
        assert_eq!(ours[name], value, "{name}: {ours:#}");
    }
    assert!(ours["created_at"].is_string());
    let activity = json!({"pressure_checks": 0, "instructions_added": 1, "validations_run": 15, "boundary_enforcements": 0});
    assert_eq!(ours["framework_activity"], activity);
    assert!(states.contains(&state), "what came from another tool is given back: {states:#?}");
    // A file with an unknown shape is refused, not guessed at.
    write(&env, "odd.json", &json!({"a": 1}));
    env.shows(
        "instruction import odd.json --session ann",
        "
        error: `odd.json` has an unknown shape
        hint: it must be an instruction history, a session's state or its checkpoints
        [exit 64]
        ",
    );
}
