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
    env.shows("instruction effective", "7  project  in force\nRun tests and lints\nwritten by ann (root, trust human), TIME ago; supersedes 4");
    env.shows(
        "instruction list --history",
        "
        4  project  superseded by 7
        Run the tests
        written by ann (root, trust human), TIME ago
        5  project, push  revoked
        Push often
        written by a (root, trust agent), TIME ago; approved by root; revoked by root; too often
        7  project  in force
        Run tests and lints
        written by ann (root, trust human), TIME ago; supersedes 4
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
        pressure  425
        crossed level-elevated (event 5)
        crossed tokens-25 (event 4)
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
}

#[test]
fn what_this_store_has_written_is_its_own() {
    let env = env();
    let entries = json!([
        {"id": "inst_001", "text": "rule 1", "source": "user", "active": true, "quadrant": "SYSTEM"},
        "rule 2",
    ]);
    write(&env, "history.json", &json!({"version": "1.0", "instructions": entries}));
    write(&env, "state.json", &json!({"session_id": "2025-10-07-001", "messages": 42}));
    env.prints("instruction import history.json --approve --session ann");
    env.prints("instruction import state.json --session ann");
    env.prints("instruction add 'rule 3' --session a");
    env.prints("metrics report --counter messages=8 --session a");
    env.prints("export --legacy out");
    // Whatever has become of it since.
    env.prints("instruction supersede inst_001 'rule 1, better' --session ann");
    for file in ["out", "out/instruction-history.json"] {
        let done = env.json(&format!("instruction import {file} --approve --session ann"));
        let data = &done["data"];
        assert_eq!((&data["instructions"], &data["keys"]), (&json!(0), &json!(0)), "{done}");
        assert_eq!(data["instructions_known"], 3, "{done}");
    }
    env.prints("export --legacy out");
    let done = env.json("instruction import out --session ann");
    // Keys: two entries, the file, an imported state; state and checkpoints of the store's own session.
    let known = json!({"instructions": 0, "instructions_known": 4, "approved": 0, "keys": 0,
        "keys_known": 6, "remarks": []});
    assert_eq!(done["data"], known);
    // Elsewhere they are somebody else's: proposals, under the ids of the file.
    let other = TestEnv::new();
    other.prints("sign-on ann --kind human");
    let out = env.top().join("out");
    let done = other.json(&format!("instruction import '{}' --session ann", out.display()));
    assert_eq!(done["data"]["instructions"], 4, "{done}");
    let listed = other.prints("instruction list");
    assert!(listed.contains("awaits approval") && !listed.contains("in force"), "{listed}");
    assert!(listed.contains("written elsewhere (trust external), from instruction-"), "{listed}");
}

#[test]
fn a_file_with_an_unknown_shape_is_refused() {
    let env = env();
    // It is not guessed at.
    write(&env, "odd.json", &json!({"a": 1}));
    env.shows(
        "instruction import odd.json --session ann",
        "
        error: `odd.json` has an unknown shape
        hint: it must be an instruction history, a session's state or its checkpoints
        [exit 64]
        ",
    );
    let whole = env.cotenant("import src");
    assert_eq!(whole.exit, 64);
    assert!(whole.stderr.contains("`cotenant instruction import DIR`"), "{whole:?}");
}

#[test]
fn files_of_older_tools_follow_what_happens() {
    let env = env();
    let ran = env.shell(
        "mkfifo lines; cotenant export --legacy out --follow > lines & follower=$!; exec 3< lines; \
         read first <&3; cotenant instruction add 'rule 1' --session ann >/dev/null; read second <&3; \
         kill $follower; echo \"$first; $second\"",
    );
    assert_eq!(
        (ran.stdout.as_str(), ran.stderr.as_str()),
        ("0 instructions and 0 sessions are in out; 1 instruction and 0 sessions are in out\n", "")
    );
    let history = read(&env.top().join("out/instruction-history.json"));
    assert_eq!(history["instructions"][0]["text"], "rule 1");
}

#[test]
fn a_report_crosses_what_it_passes_once() {
    let env = env();
    env.shows("metrics report --gauge context_tokens=49999 --session a", "reported");
    env.shows(
        "metrics report --gauge context_tokens=85000 --session a",
        "
        reported
        crossed tokens-25, level-elevated
        pressure 42.5 % elevated: a handoff may become necessary; `cotenant handoff draft` notes what comes next
        ",
    );
    env.shows("metrics report --gauge context_tokens=90000 --session a", "reported");
    env.prints("metrics report --gauge context_tokens=1000 --session a");
    env.shows("metrics report --gauge context_tokens=85000 --session a", "reported");
    // Whoever reports: all that is known of the session counts.
    let done = env.json("metrics report --source other --counter messages=400 --session a");
    assert_eq!(done["data"]["crossed"], json!(["level-high"]));
    assert_eq!(env.prints("event list --kind budget.threshold").lines().count(), 3);
    // The settings stand over what was reported.
    fs::write(env.top().join("cotenant.toml"), "[pressure]\nwindow = 100000\n").unwrap();
    let done = env.json("metrics report --gauge context_tokens=90000 --session b");
    let checkpoints = ["tokens-25", "tokens-50", "tokens-75"];
    let levels = ["level-elevated", "level-high", "level-critical", "level-dangerous"];
    assert_eq!(done["data"]["crossed"], json!([&checkpoints[..], &levels[..]].concat()));
    env.shows(
        "pressure b",
        "b: 90.0 % dangerous, 90000 of 100000 tokens, 0 messages, complexity 0",
    );
    env.shows(
        "metrics report --session a",
        "
        error: a report without a number
        hint: give counters or gauges, e.g. `--counter messages=8 --gauge context_tokens=29414`
        [exit 64]
        ",
    );
}

#[test]
fn the_status_line_of_a_session_can_be_asked_for() {
    let env = env();
    env.prints("claim issue:15 --session a");
    env.shows("statusline --session a", "a · issue:15");
    env.prints("metrics report --gauge context_tokens=85000 --session a");
    env.shows("statusline --session a", "a · issue:15 · 42.5 % elevated");
    env.shows("statusline --session nobody", "cotenant");
    let shown = env.json("statusline --session a");
    let data = &shown["data"];
    assert_eq!(
        (&data["name"], &data["holds"], &data["percent"], &data["pressure"]["level"]),
        (&json!("a"), &json!("issue:15"), &json!("42.5"), &json!("elevated"))
    );
    // The figures of one conversation are neither shown nor reported as another session's.
    let other = json!({"session_id": "other", "context_window": {"total_input_tokens": 190_000}});
    let ran = env.shell(&format!("echo '{other}' | cotenant statusline --session a"));
    assert_eq!(ran.stdout, "a · issue:15 · 42.5 % elevated\n");
    assert_eq!(env.json("pressure a")["data"]["percent"], "42.5");
}
