//! `cotenant progress`, `handoff`, `send`, `inbox` and `barrier`.

use serde_json::json;

use crate::{TestEnv, env::steady};

fn env() -> TestEnv {
    let env = TestEnv::new();
    env.sign_on(&["alice", "bob"]);
    env
}

#[test]
fn progress_is_drawn_as_bars() {
    let env = env();
    env.shows(
        "progress set issue:15 analysis 25 'reading the code' --session alice",
        "issue:15 ██░░░░░░░░ 25% analysis",
    );
    env.shows(
        "progress set issue:15 testing 75 --session bob",
        "
        issue:15 ███████░░░ 75% testing
          before: 25% analysis, by alice, TIME ago
        ",
    );
    env.prints("progress set release complete 100 --session alice");
    env.shows(
        "progress show",
        "
        SUBJECT  DONE  PHASE  BY  UPDATED
        issue:15  ███████░░░ 75%  testing  bob  TIME ago
        release  ██████████ 100%  complete  alice  TIME ago
        ",
    );
    env.shows("progress show 'branch:*'", "nobody has reported progress of that");
    let page = env.prints("status");
    assert!(page.contains("███████░░░ 75%") && !page.contains("100%"), "{page}");
    env.prints("claim issue:15 --session alice");
    let refused = env.cotenant("progress set issue:15 testing 80 --session bob");
    assert_eq!(refused.exit, 73);
    assert!(refused.stderr.contains("held by `alice`"), "{refused:?}");
    assert!(refused.stderr.contains("hint: its holder says how far it is"), "{refused:?}");
    for percent in ["101", "-5", "1000000", "75.5", "%"] {
        let ran = env.cotenant(&format!("progress set x y {percent} --session bob"));
        let says = format!(
            "invalid value '{percent}' for '<PERCENT>': write a whole number from 0 to 100"
        );
        assert!(ran.exit == 64 && ran.stderr.contains(&says), "{percent}: {ran:?}");
    }
    env.shows("progress set x y 75% --session bob", "x ███████░░░ 75% y");
}

#[test]
fn work_is_handed_over_with_what_one_needs_to_know() {
    let env = env();
    env.prints("claim issue:15 --session alice");
    env.prints("lease acquire deploy --session alice");
    let offered = env.json(
        "handoff offer issue:15 lease:deploy --to bob --phase implementation_complete \
         --next 'Run the test suite' --next 'Update the docs' --branch feat/15 --modified src/a.rs \
         --ttl 47h30m --session alice",
    );
    let number = &offered["data"]["offer"];
    env.shows(
        "handoff list",
        &format!(
            "
            offer {number} of alice to bob, TIME ago: open, ends in 47h
              items: issue:15, lease:deploy
              from_session: alice
              handoff_at: AT
              phase: implementation_complete
              next_steps:
                - Run the test suite
                - Update the docs
              context:
                files_modified:
                  - src/a.rs
                branch: feat/15
            "
        ),
    );
    let page = env.prints("status");
    assert!(page.contains("issue:15, lease:deploy") && page.contains("OFFER"), "{page}");
    env.shows(
        "sign-off --session alice",
        &format!(
            "
            signed off; gave back 1 claim, 1 lease, 0 keys
            offer {number} stands; whoever accepts gets what it holds, as far as it is still free
            "
        ),
    );
    env.sign_on(&["carol"]);
    let warned = env.prints("claim issue:15 --session carol");
    assert!(warned.contains(&format!("`issue:15` is in offer {number} of `alice`, for `bob`")));
    env.prints("unclaim issue:15 --session carol");
    let ready = env.prints("session list --handoff-ready");
    assert!(ready.contains("alice") && ready.contains("handoff_ready"), "{ready}");
    let seen = steady(&env.prints(&format!("handoff accept {number} --session bob")));
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(lines[0], format!("took over offer {number} of alice"));
    assert_eq!(lines[1..3], ["  issue:15 (fence FENCE)", "  lease:deploy (fence FENCE)"]);
    assert!(seen.contains("- Run the test suite"), "{seen}");
    env.shows("handoff list", "nothing is offered");
    let again = env.cotenant(&format!("handoff accept {number} --session bob"));
    assert_eq!(again.exit, 66);
    assert!(again.stderr.contains("was accepted by this session before"), "{again:?}");
    env.shows(
        &format!("handoff accept {number} --session carol"),
        &format!(
            "
            error: offer {number} is for `bob`
            hint: `cotenant handoff list --mine` shows those for you
            [exit 77]
            "
        ),
    );
    let tree = env.prints("session tree bob");
    assert!(tree.contains("handoff"), "{tree}");
}

#[test]
fn an_offer_can_be_declined_and_withdrawn() {
    let env = env();
    let offer = |to: &str| {
        let offered = env.json(&format!("handoff offer --phase x --to {to} --session alice"));
        offered["data"]["offer"].to_string()
    };
    let number = offer("bob");
    env.shows(
        &format!("handoff decline {number} --reason busy --session bob"),
        &format!("declined offer {number}"),
    );
    let number = offer("everybody");
    env.shows(
        &format!("handoff withdraw {number} --session alice"),
        &format!("withdrew offer {number}"),
    );
    let gone = env.cotenant(&format!("handoff accept {number} --session bob"));
    assert_eq!(gone.exit, 66);
    assert!(gone.stderr.contains("was withdrawn by `alice`"), "{gone:?}");
    let nothing = env.cotenant("handoff offer --session alice");
    assert_eq!(nothing.exit, 64);
    env.shows(
        "handoff offer --next '' --session alice",
        "
        error: `--next` is empty
        hint: leave the option out, or say something
        [exit 64]
        ",
    );
    let number = offer("everybody");
    env.shows(
        &format!("handoff decline {number} --session alice"),
        &format!(
            "
            error: offer {number} is this session's own
            hint: take it back with `cotenant handoff withdraw {number}`
            [exit 77]
            "
        ),
    );
    let not_held = env.cotenant("handoff offer issue:9 --session alice");
    assert_eq!(not_held.exit, 65);
}

#[test]
fn a_task_goes_on_in_other_hands() {
    let env = env();
    env.prints("task add 'port the parser' --session alice");
    let taken = env.json("task next --session alice");
    let (task, fence) = (&taken["data"]["task"]["task"], &taken["data"]["task"]["fence"]);
    let offered = env.json(&format!("handoff offer task:{task} --session alice"));
    let number = &offered["data"]["offer"];
    let seen = steady(&env.prints(&format!("handoff accept {number} --session bob")));
    let line = seen.lines().nth(1).unwrap_or_default();
    assert!(line.starts_with(&format!("  task:{task} (fence FENCE): attempt 1 of 3, ")), "{seen}");
    assert!(line.ends_with("to finish it: port the parser"), "{seen}");
    let stale = env.cotenant(&format!("task done {task} {fence} --session alice"));
    assert_eq!(stale.exit, 76, "{stale:?}");
    assert!(env.prints(&format!("task show {task}")).contains("bob"));
    let not_hers = env.cotenant(&format!("handoff offer task:{task} --session alice"));
    assert_eq!(not_hers.exit, 65);
    assert!(not_hers.stderr.contains("does not work on"), "{not_hers:?}");
    assert_eq!(env.cotenant("handoff offer task:x --session alice").exit, 64);
}

#[test]
fn an_offer_says_where_the_work_is() {
    let env = env();
    env.shell("git checkout -q -B main && git worktree add -q -b feat/15 ../feat");
    let place = |command: &str| {
        let number = env.json(command)["data"]["offer"].clone();
        let listed = env.json("handoff list");
        let context = listed["data"]["offers"][0]["payload"]["context"].clone();
        (number, context)
    };
    let top = env.shell("pwd -P").stdout.trim().to_owned();
    let feat = env.shell("cd ../feat && pwd -P").stdout.trim().to_owned();
    let (_, context) = place("handoff offer --phase x --session alice");
    assert_eq!(context, serde_json::json!({"branch": "main", "worktree": top}));
    let (_, context) = place("handoff offer --phase x --branch feat/15 --session alice");
    assert_eq!(context, serde_json::json!({"branch": "feat/15", "worktree": feat}));
    let (_, context) = place("handoff offer --phase x --worktree ../feat --session alice");
    assert_eq!(context, serde_json::json!({"branch": "feat/15", "worktree": feat}));
    let nowhere = env.cotenant("handoff offer --phase x --worktree ../nowhere --session alice");
    assert!(nowhere.exit == 64 && nowhere.stderr.contains("no directory"), "{nowhere:?}");
    env.prints("claim path:../feat/src --session alice");
    let (number, context) = place("handoff offer path:../feat/src --session alice");
    assert_eq!(context, serde_json::json!({"branch": "feat/15", "worktree": feat}));
    let seen = env.prints(&format!("handoff accept {number} --session bob"));
    assert!(seen.contains(&format!("go on where the work is: {feat}")), "{seen}");
    assert_eq!(env.cotenant("handoff offer --session alice").exit, 64, "nothing is no work");
}

#[test]
fn a_draft_keeps_what_was_said_before() {
    let env = env();
    env.prints("claim issue:15 --session alice");
    env.prints("handoff draft --phase testing --next 'fix it' --session alice");
    env.shows(
        "handoff draft --phase review --session alice",
        "
        noted
          phase: review
          next_steps:
            - fix it
          holds:
            - issue:15
          drafted_at: AT
        ",
    );
}

#[test]
fn messages_are_read_once_and_acknowledged() {
    let env = env();
    let number = env.json("send bob 'the tests pass' --session alice")["data"]["message"].clone();
    env.shows("inbox --session bob", &format!("{number} from alice, TIME ago: the tests pass"));
    env.shows("inbox --session bob", "no unread messages");
    env.shows(&format!("inbox --ack {number} --session bob"), &format!("acknowledged: {number}"));
    env.shows(
        "inbox --all --session bob",
        &format!("{number} from alice, TIME ago, acknowledged: the tests pass"),
    );
    env.prints("sign-off --session bob");
    env.shows("send bob again --session alice", "undelivered: bob: its session has ended");
    env.shows(
        "send label:none x --session alice",
        "undelivered: nobody else who is signed on has the label `none`; `cotenant sign-on NAME --label WORD` gives one",
    );
    env.shows("send everybody x --session alice", "undelivered: nobody else is signed on");
    env.sign_on(&["carol"]);
    env.prints("send everybody \"$(printf 'red \\033[31m')\" --session alice");
    let seen = env.prints("inbox --session carol");
    assert!(seen.contains("to everybody") && !seen.contains('\u{1b}'), "{seen:?}");
}

#[test]
fn what_is_not_there_is_not_acknowledged() {
    let env = env();
    let number = env.json("send bob hi --session alice")["data"]["message"].clone();
    env.shows(
        &format!("inbox --ack {number} --ack 999 --session bob"),
        &format!(
            "
            acknowledged: {number}
            error: there is no message 999 to you
            hint: `cotenant inbox --all` shows the messages to you, with their numbers
            [exit 66]
            "
        ),
    );
    let refused = env.json(&format!("inbox --ack {number} --ack 999 --session alice"));
    let details = &refused["error"]["details"];
    assert_eq!(
        (&details["unknown"], &details["acknowledged"]),
        (&json!([number, 999]), &json!([]))
    );
}

#[test]
fn waiting_ends_with_a_message() {
    let env = env();
    let ran = env.shell(
        "cotenant inbox --wait 1m --session bob & \
         cotenant send bob now --session alice >/dev/null; wait",
    );
    assert!(ran.stdout.contains("from alice") && ran.stdout.contains(": now"), "{ran:?}");
    env.shows("inbox --wait 10ms --session bob", "no unread messages\n[exit 75]");
    env.shows("inbox --session bob", "no unread messages");
}

#[test]
fn a_barrier_is_passed_together() {
    let env = env();
    env.shows("barrier ready --parties 2 --session alice", "ready: 1 of 2 are there: alice");
    env.shows("barrier ready --parties 2 --wait 1m --session bob", "ready: open: alice, bob");
    env.shows("barrier ready --parties 2 --session alice", "ready: open: alice, bob");
    let ran = env.cotenant("barrier ready --parties 2 --wait 10ms --session alice");
    assert_eq!(ran.exit, 75);
    let said = "barrier `ready` is not open after 10ms: 1 of 2 parties is missing";
    assert!(ran.stderr.contains(said), "{ran:?}");
    env.prints("barrier others --parties 2 --session bob");
    let page = env.prints("status");
    assert!(page.contains("1 of 2") && page.contains("others"), "{page}");
    env.prints("barrier ready --parties 2 --session alice");
    env.prints("sign-off --session alice");
    let ran = env.cotenant("barrier ready --parties 2 --wait 1m --session bob");
    assert_eq!(ran.exit, 65);
    assert!(ran.stderr.contains("`alice` signed off"), "{ran:?}");
}
