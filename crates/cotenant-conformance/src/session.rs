//! Section 3.1: signing on, and 3.7, where sessions come from.

use std::collections::HashSet;

use cotenant_core::{
    Code,
    clock::{HOUR, MINUTE},
    id::is_id,
    process::ProcessIdentity,
    session::{ChangeNative, IfBusy, Relation, SignOn, State},
    store::Request,
};

use serde_json::json;

use crate::{
    Bench,
    ask::{Agent, count, fails, must, refuses, succeeds},
    sample::{anonymous, claim, note, show, sign_off, sign_on},
};

cases! {
    n1_an_id_is_a_uuid_and_belongs_to_one_session,
    n1_a_name_space_is_short_and_unique,
    n5_only_the_digest_of_the_token_opens_a_session,
    a_session_has_a_default_ttl,
    the_same_process_gets_its_session_back,
    a_drawn_name_gives_way_to_an_explicit_one,
    a_process_may_have_a_second_session_under_another_name,
    another_live_process_is_refused_the_name,
    another_live_process_is_refused_the_conversation,
    a_session_of_another_host_keeps_its_name,
    conversations_of_two_kinds_are_two,
    a_hook_signs_a_second_process_on_as_a_fork,
    a_clear_changes_the_conversation_and_keeps_the_session,
    a_name_used_again_is_the_next_incarnation,
    n8_no_more_sessions_are_live_than_may_be,
    n8_those_whose_process_died_do_not_count,
}

/// Signs on with a process and otherwise as given.
fn on<'a>(bench: &'a dyn Bench, process: &ProcessIdentity, sign_on: SignOn) -> Agent<'a> {
    Agent::on(bench, &SignOn { process: Some(process.clone()), ..sign_on })
}

fn n1_an_id_is_a_uuid_and_belongs_to_one_session(bench: &dyn Bench) {
    let mut ids = HashSet::new();
    for _ in 0..5 {
        for name in ["a", "b"] {
            let agent = Agent::new(bench, name);
            assert!(is_id(&agent.id.0) && agent.id.0.as_bytes()[14] == b'7', "{}", agent.id);
            assert!(ids.insert(agent.id.clone()), "{} is used again", agent.id);
            agent.must(&sign_off());
        }
    }
}

fn n1_a_name_space_is_short_and_unique(bench: &dyn Bench) {
    let spaces: HashSet<String> = (0..20).map(|_| must(bench, &anonymous()).ns).collect();
    assert_eq!(spaces.len(), 20);
    for space in spaces {
        let plain = space.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        assert!(plain && (1..=16).contains(&space.len()), "{space}");
    }
}

fn n5_only_the_digest_of_the_token_opens_a_session(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let with = |actor| Request::new(note("x")).by(actor);
    fails(a.send(with(a.impostor())), Code::Unauthenticated, "a token of nobody");
    let mut crossed = a.actor();
    crossed.token_digest.clone_from(&b.digest);
    fails(a.send(with(crossed)), Code::Unauthenticated, "b's token for a");
    let mut close = a.actor();
    let last = if close.token_digest.ends_with('0') { "1" } else { "0" };
    close.token_digest.replace_range(63.., last);
    fails(a.send(with(close)), Code::Unauthenticated, "almost the token");
    succeeds(a.send(with(a.actor())), "a's token");
    assert_eq!(count(bench, "user.note"), 1);
}

fn a_session_has_a_default_ttl(bench: &dyn Bench) {
    let process = Some(bench.process());
    let known = must(bench, &SignOn { process, ..sign_on("known") });
    assert_eq!(known.expires_in_ms, 2 * MINUTE);
    assert_eq!(must(bench, &sign_on("unknown")).expires_in_ms, HOUR);
}

fn the_same_process_gets_its_session_back(bench: &dyn Bench) {
    let process = bench.process();
    let native_id = Some("n1".to_owned());
    let first = on(bench, &process, SignOn { native_id: native_id.clone(), ..sign_on("a") });
    let again = |sign_on: SignOn| {
        let process = Some(process.clone());
        must(bench, &SignOn { process, token_digest: anonymous().token_digest, ..sign_on })
    };
    let by_native = again(SignOn { native_id, ..anonymous() });
    let by_name = again(sign_on("a"));
    for answer in [by_native, by_name] {
        assert!(answer.existing);
        assert_eq!((answer.session, answer.name), (first.id.clone(), first.name.clone()));
        assert_eq!(answer.token_digest, first.digest, "its token stays");
    }
    first.must(&note("its token stays"));
    assert_eq!(count(bench, "session.on"), 1);
}

fn a_drawn_name_gives_way_to_an_explicit_one(bench: &dyn Bench) {
    let process = bench.process();
    let native_id = Some("n1".to_owned());
    let drawn = on(bench, &process, SignOn { native_id: native_id.clone(), ..anonymous() });
    assert!(drawn.name.starts_with("claude-"), "{}", drawn.name);
    drawn.must(&claim(&["issue:1"]));
    let named = SignOn {
        native_id,
        process: Some(process),
        token_digest: drawn.digest.clone(),
        ..sign_on("claude_1")
    };
    let answer = must(bench, &named);
    assert!(answer.existing);
    assert_eq!((answer.session, &*answer.name), (drawn.id.clone(), "claude_1"));
    let shown = must(bench, &show("claude_1"));
    assert_eq!((shown.session.session, shown.holds.len()), (drawn.id, 1));
    assert_eq!(shown.holds[0].name, "claude_1");
    refuses(bench, &show(&drawn.name), Code::NotFound);
}

fn a_process_may_have_a_second_session_under_another_name(bench: &dyn Bench) {
    let process = bench.process();
    let one = on(bench, &process, sign_on("one"));
    let two = on(bench, &process, sign_on("two"));
    assert_ne!(one.id, two.id);
    assert_eq!((one.view().name, two.view().name), ("one".into(), "two".into()));
    one.must(&claim(&["issue:1"]));
    two.refused(&claim(&["issue:1"]), Code::Claimed);
}

/// Another process must learn who is there.
fn busy(bench: &dyn Bench, holder: &Agent<'_>, process: &ProcessIdentity, sign_on: SignOn) {
    let token_digest = anonymous().token_digest;
    let sign_on = SignOn { process: Some(bench.process()), token_digest, ..sign_on };
    let details = refuses(bench, &sign_on, Code::AgentBusy).details;
    assert_eq!(details["session"], holder.id.0);
    assert_eq!(details["name"], holder.name);
    assert_eq!(details["pid"], process.pid);
    assert_eq!(details["host"], process.host);
    assert_eq!(details["since"], holder.view().since);
}

fn another_live_process_is_refused_the_name(bench: &dyn Bench) {
    let process = bench.process();
    let a = on(bench, &process, sign_on("a"));
    busy(bench, &a, &process, sign_on("a"));
    busy(bench, &a, &process, SignOn { kind: "codex".into(), ..sign_on("a") });
    assert_eq!(count(bench, "session.on"), 1);
}

fn another_live_process_is_refused_the_conversation(bench: &dyn Bench) {
    let process = bench.process();
    let native = || Some("n1".to_owned());
    let a = on(bench, &process, SignOn { native_id: native(), ..anonymous() });
    busy(bench, &a, &process, SignOn { native_id: native(), ..anonymous() });
    let b = Agent::living(bench, "b", &bench.process());
    b.refused(&ChangeNative { native_id: "n1".into() }, Code::AgentBusy);
}

fn a_session_of_another_host_keeps_its_name(bench: &dyn Bench) {
    let process = bench.foreign_process();
    let sign_on = SignOn { ttl_ms: Some(HOUR), ..sign_on("a") };
    let a = on(bench, &process, sign_on.clone());
    assert_eq!(a.view().process_alive, None, "nothing can be said of it from here");
    bench.advance(HOUR / 2);
    busy(bench, &a, &process, sign_on.clone());
    bench.advance(HOUR);
    let next = must(bench, &SignOn { process: Some(bench.process()), ..sign_on });
    assert_eq!((next.existing, next.parent), (false, Some(a.id)));
}

fn conversations_of_two_kinds_are_two(bench: &dyn Bench) {
    let native =
        |kind: &str| SignOn { kind: kind.into(), native_id: Some("n1".into()), ..anonymous() };
    let process = bench.process();
    let claude = on(bench, &process, native("claude"));
    let codex = on(bench, &bench.process(), native("codex"));
    assert_ne!(claude.id, codex.id);
    let without = |bench| Agent::on(bench, &anonymous());
    assert_ne!(without(bench).id, without(bench).id, "absent ids never match");
}

fn a_hook_signs_a_second_process_on_as_a_fork(bench: &dyn Bench) {
    let native = || Some("n1".to_owned());
    let a = on(bench, &bench.process(), SignOn { native_id: native(), ..sign_on("a") });
    let process = Some(bench.process());
    let hook = SignOn { native_id: native(), process, if_busy: IfBusy::Fork, ..anonymous() };
    let fork = must(bench, &hook);
    assert!(!fork.existing);
    assert_eq!((&*fork.name, fork.relation), ("a-2", Some(Relation::Fork)));
    assert_eq!((fork.parent, fork.forked_from), (Some(a.id.clone()), Some("a".into())));
    let again = must(bench, &hook);
    assert!(again.existing);
    assert_eq!(again.session, fork.session, "the second process keeps its own session");
    a.must(&claim(&["issue:1"]));
    let fork = Agent { name: fork.name, id: fork.session, digest: fork.token_digest, bench };
    fork.refused(&claim(&["issue:1"]), Code::Claimed);
}

fn a_clear_changes_the_conversation_and_keeps_the_session(bench: &dyn Bench) {
    let process = bench.process();
    let native_id = Some("n1".into());
    let a = on(bench, &process, SignOn { native_id, ..sign_on("a") });
    a.must(&claim(&["issue:1"]));
    let changed = a.must(&ChangeNative { native_id: "n2".into() });
    assert_eq!((changed.before.as_deref(), changed.changed), (Some("n1"), true));
    assert_eq!(count(bench, "session.native"), 1);
    let again = a.must(&ChangeNative { native_id: "n2".into() });
    assert!(!again.changed);
    assert_eq!(count(bench, "session.native"), 1);
    let shown = must(bench, &show("native:claude:n2"));
    assert_eq!((shown.session.session, shown.holds.len()), (a.id.clone(), 1));
    refuses(bench, &show("native:claude:n1"), Code::NotFound);
    let native_id = Some("n1".into());
    let other = on(bench, &bench.process(), SignOn { native_id, ..anonymous() });
    assert_ne!(other.id, a.id, "the old conversation is free");
}

fn a_name_used_again_is_the_next_incarnation(bench: &dyn Bench) {
    let first = Agent::new(bench, "a");
    first.must(&claim(&["issue:1"]));
    first.must(&sign_off());
    let second = must(bench, &sign_on("a"));
    assert!(!second.existing && second.session != first.id);
    assert_eq!((second.parent, second.relation), (Some(first.id.clone()), Some(Relation::Resume)));
    assert!(second.inherited.is_empty(), "what was given back is not inherited");
    assert_eq!(first.state(), State::Ended);
    assert_eq!(must(bench, &show("a")).session.session, second.session);
    let native = |name: &str| SignOn { native_id: Some("n1".into()), ..sign_on(name) };
    let third = Agent::on(bench, &native("b"));
    third.must(&sign_off());
    let fourth = must(bench, &native("c"));
    assert_eq!((fourth.parent, fourth.relation), (Some(third.id), Some(Relation::Resume)));
}

/// A sign-on where so many sessions may be live.
fn of_at_most(live_max: u32, name: &str) -> SignOn {
    SignOn { live_max: Some(live_max), ..sign_on(name) }
}

fn n8_no_more_sessions_are_live_than_may_be(bench: &dyn Bench) {
    let (a, person) = (Agent::new(bench, "a"), Agent::human(bench, "person"));
    must(bench, &of_at_most(2, "b"));
    let error = refuses(bench, &of_at_most(2, "c"), Code::Quota);
    let mut named: Vec<String> =
        serde_json::from_value(error.details["sessions"].clone()).expect("names");
    named.sort_unstable();
    assert_eq!((named, &error.details["limit"]), (vec!["a".into(), "b".into()], &json!(2)));
    assert!(must(bench, &of_at_most(1, "a")).existing, "what is there stays");
    must(bench, &SignOn { kind: "human".into(), ..of_at_most(1, "another-person") });
    must(bench, &of_at_most(3, "c"));
    a.must(&sign_off());
    refuses(bench, &of_at_most(2, "a"), Code::Quota);
    must(bench, &of_at_most(3, "a"));
    person.must(&note("a person does not count"));
}

fn n8_those_whose_process_died_do_not_count(bench: &dyn Bench) {
    let process = bench.process();
    let dead = Agent::living(bench, "dead", &process);
    refuses(bench, &of_at_most(1, "a"), Code::Quota);
    bench.kill(&process);
    must(bench, &of_at_most(1, "a"));
    assert_eq!(dead.state(), State::Lost);
}
