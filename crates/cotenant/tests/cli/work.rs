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
              context: {{\"files_modified\":[\"src/a.rs\"],\"branch\":\"feat/15\"}}
            "
        ),
    );
    env.prints("sign-off --session alice");
    let ready = env.prints("session list --handoff-ready");
    assert!(ready.contains("alice") && ready.contains("handoff_ready"), "{ready}");
    let seen = steady(&env.prints(&format!("handoff accept {number} --session bob")));
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(lines[0], format!("took over offer {number} of alice"));
    assert_eq!(lines[1..3], ["  issue:15 (fence FENCE)", "  lease:deploy (fence FENCE)"]);
    assert!(seen.contains("- Run the test suite"), "{seen}");
    env.shows("handoff list", "nothing is offered");
    env.sign_on(&["carol"]);
    env.shows(
        &format!("handoff accept {number} --session carol"),
        &format!(
            "
            error: offer {number} is for `bob`
            hint: `cotenant handoff list` shows those for you
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
    let not_held = env.cotenant("handoff offer issue:9 --session alice");
    assert_eq!(not_held.exit, 65);
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
    assert!(ran.stderr.contains("1 of 2 are missing"), "{ran:?}");
    env.prints("barrier ready --parties 2 --session alice");
    env.prints("sign-off --session alice");
    let ran = env.cotenant("barrier ready --parties 2 --wait 1m --session bob");
    assert_eq!(ran.exit, 65);
    assert!(ran.stderr.contains("`alice` signed off"), "{ran:?}");
}
