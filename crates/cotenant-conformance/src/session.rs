//! Section 3.1: signing on, and 3.7, where sessions come from.

use std::collections::HashSet;

use cotenant_core::{
    Code,
    claim::HoldingState,
    clock::{HOUR, MINUTE, SECOND},
    id::{SessionId, is_id},
    name::SessionRef,
    process::ProcessIdentity,
    session::{ChangeNative, Direction, IfBusy, Lineage, ListSessions, Relation, SignOn, State},
    status::ShowStatus,
    store::Request,
};

use crate::{
    Bench,
    ask::{Agent, answer, ask, count, event, fails, head, log, must, refuses, succeeds},
    sample::{
        acquire, anonymous, claim, every_session, lineage, note, put, show, sign_off, sign_on,
    },
};

cases! {
    n1_an_id_is_a_uuid_and_belongs_to_one_session,
    n1_a_name_space_is_short_and_unique,
    n5_only_the_digest_of_the_token_opens_a_session,
    a_session_is_shown_as_it_signed_on,
    a_session_has_a_default_ttl,
    a_session_is_meant_by_id_or_by_live_name,
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
    a_parent_must_exist,
    n7_lineage_shows_where_a_session_comes_from,
    n7_lineage_has_no_cycle_and_a_bounded_depth,
    sessions_are_listed_page_by_page,
    the_status_counts_who_is_here,
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
    let mut short = a.actor();
    short.token_digest.truncate(8);
    fails(a.send(with(short)), Code::Unauthenticated, "the beginning of the token");
    succeeds(a.send(with(a.actor())), "a's token");
    assert_eq!(count(bench, "user.note"), 1);
}

fn a_session_is_shown_as_it_signed_on(bench: &dyn Bench) {
    let process = bench.process();
    let parent = Agent::new(bench, "parent");
    let given = SignOn {
        native_id: Some("n1".into()),
        process: Some(process.clone()),
        ttl_ms: Some(HOUR),
        parent: Some(SessionRef("parent".into())),
        purpose: Some("refactor".into()),
        labels: vec!["backend".into(), "night".into()],
        ..sign_on("a")
    };
    let answer = must(bench, &given);
    assert!(!answer.existing);
    assert_eq!((&*answer.name, answer.expires_in_ms), ("a", HOUR));
    assert_eq!((answer.parent, answer.relation), (Some(parent.id.clone()), Some(Relation::Spawn)));
    assert_eq!(answer.token_digest, given.token_digest);
    let view = must(bench, &show(&answer.session.0)).session;
    assert_eq!((view.session, view.name, view.kind), (answer.session, "a".into(), "claude".into()));
    assert_eq!((view.state, view.user), (State::Active, given.user));
    assert_eq!((view.native_id, view.purpose), (given.native_id, given.purpose));
    assert_eq!((view.labels, view.ns), (given.labels, answer.ns));
    assert_eq!((view.process, view.process_alive), (Some(process), Some(true)));
    assert_eq!((view.parent, view.relation), (Some(parent.id), Some(Relation::Spawn)));
    assert_eq!((view.outcome, view.reason), (None, None));
    assert_eq!(count(bench, "session.on"), 2);
}

fn a_session_has_a_default_ttl(bench: &dyn Bench) {
    let process = Some(bench.process());
    let known = must(bench, &SignOn { process, ..sign_on("known") });
    assert_eq!(known.expires_in_ms, 2 * MINUTE);
    assert_eq!(must(bench, &sign_on("unknown")).expires_in_ms, HOUR);
}

fn a_session_is_meant_by_id_or_by_live_name(bench: &dyn Bench) {
    let native_id = Some("n1".into());
    let a = Agent::on(bench, &SignOn { native_id, ..sign_on("a") });
    for reference in [&*a.name, &a.id.0, "native:claude:n1"] {
        assert_eq!(must(bench, &show(reference)).session.session, a.id, "{reference}");
    }
    let mut by_name = a.actor();
    by_name.session = SessionRef("a".into());
    succeeds(a.send(Request::new(note("x")).by(by_name)), "an actor by name");
    let last = log(bench).pop().expect("an event");
    assert_eq!((last.session, last.name), (a.id.0, a.name));
    refuses(bench, &show("nobody"), Code::NotFound);
    refuses(bench, &show("native:codex:n1"), Code::NotFound);
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
    let sign_on = SignOn { process: Some(bench.process()), ..sign_on };
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

fn a_parent_must_exist(bench: &dyn Bench) {
    let parent = Some(SessionRef("nobody".into()));
    refuses(bench, &SignOn { parent, ..sign_on("a") }, Code::NotFound);
    assert!(log(bench).iter().all(|event| event.kind != "session.on"));
    refuses(bench, &lineage(&SessionId("nobody".into())), Code::NotFound);
}

fn child<'a>(bench: &'a dyn Bench, name: &str, parent: &str, relation: Relation) -> Agent<'a> {
    let parent = Some(SessionRef(parent.into()));
    Agent::on(bench, &SignOn { parent, relation: Some(relation), ..sign_on(name) })
}

fn n7_lineage_shows_where_a_session_comes_from(bench: &dyn Bench) {
    let root = Agent::new(bench, "root");
    let left = child(bench, "left", "root", Relation::Spawn);
    let right = child(bench, "right", "root", Relation::Fork);
    let leaf = child(bench, "leaf", "left", Relation::Spawn);
    let stranger = Agent::new(bench, "stranger");
    let part =
        |agent: &Agent<'_>, direction| must(bench, &Lineage { direction, ..lineage(&agent.id) });
    let ids = |agent: &Agent<'_>, direction| {
        let sessions = part(agent, direction).sessions;
        sessions.into_iter().map(|view| view.session).collect::<Vec<_>>()
    };
    let all = [&root, &left, &right, &leaf].map(|agent| agent.id.clone());
    assert_eq!(ids(&leaf, Direction::Tree), all);
    assert_eq!(ids(&root, Direction::Tree), all);
    let above = |ids: Vec<SessionId>, own: &SessionId| -> Vec<SessionId> {
        ids.into_iter().filter(|id| id != own).collect()
    };
    let ancestors = above(ids(&leaf, Direction::Ancestors), &leaf.id);
    assert_eq!(ancestors, [root.id.clone(), left.id.clone()]);
    let descendants = above(ids(&left, Direction::Descendants), &left.id);
    assert_eq!(descendants, [leaf.id.clone()]);
    assert!(!ids(&root, Direction::Tree).contains(&stranger.id));
    let edges = part(&root, Direction::Tree).edges;
    let ends: Vec<_> = edges.iter().map(|edge| (&edge.from, &edge.to, edge.relation)).collect();
    assert_eq!(
        ends,
        [
            (&root.id, &left.id, Relation::Spawn),
            (&root.id, &right.id, Relation::Fork),
            (&left.id, &leaf.id, Relation::Spawn),
        ]
    );
    assert!(edges.iter().all(|edge| event(bench, edge.seq).kind.starts_with("session.")));
}

fn n7_lineage_has_no_cycle_and_a_bounded_depth(bench: &dyn Bench) {
    let mut last = must(bench, &sign_on("s0")).session;
    for round in 0..11 {
        let requests = (0..100).map(|n| {
            let n = round * 100 + n;
            let parent = Some(SessionRef(format!("s{n}")));
            Request::new(SignOn { parent, ..sign_on(&format!("s{}", n + 1)) })
        });
        for outcome in bench.store().submit(requests.collect()) {
            let Ok(reply) = outcome else { break };
            last = answer::<SignOn>(&reply).session;
        }
    }
    let view = must(bench, &Lineage { direction: Direction::Ancestors, ..lineage(&last) });
    assert!(view.edges.len() <= 1_000, "a chain of {} edges", view.edges.len());
    let mut parents: HashSet<&SessionId> = HashSet::new();
    for edge in &view.edges {
        assert_ne!(edge.from, edge.to);
        assert!(parents.insert(&edge.to), "{} has two parents", edge.to);
        let place = |id: &SessionId| view.sessions.iter().position(|view| view.session == *id);
        assert!(place(&edge.from) < place(&edge.to), "{edge:?} does not lead downwards");
    }
}

fn sessions_are_listed_page_by_page(bench: &dyn Bench) {
    let label = |name: &str, label: &str, kind: &str| SignOn {
        kind: kind.into(),
        labels: vec![label.into()],
        ..sign_on(name)
    };
    let agents: Vec<Agent<'_>> =
        (0..5).map(|n| Agent::on(bench, &label(&format!("s{n}"), "even", "claude"))).collect();
    let codex = Agent::on(bench, &label("x", "odd", "codex"));
    agents[1].must(&sign_off());
    let names = |list: ListSessions| -> Vec<String> {
        must(bench, &list).sessions.into_iter().map(|view| view.name).collect()
    };
    assert_eq!(names(every_session()), ["x", "s4", "s3", "s2", "s1", "s0"]);
    let live = || ListSessions { all: false, ..every_session() };
    assert_eq!(names(live()), ["x", "s4", "s3", "s2", "s0"]);
    assert_eq!(names(ListSessions { kind: Some("codex".into()), ..live() }), ["x"]);
    let even = || ListSessions { label: Some("even".into()), ..live() };
    assert_eq!(names(even()), ["s4", "s3", "s2", "s0"]);
    let first = must(bench, &ListSessions { limit: 2, ..live() });
    assert_eq!(first.next.as_ref(), Some(&agents[4].id));
    assert_eq!(names(ListSessions { after: first.next, ..live() }), ["s3", "s2", "s0"]);
    bench.advance(10 * MINUTE);
    codex.must(&note("still here"));
    let silent_for_ms = Some(5 * MINUTE);
    assert_eq!(names(ListSessions { silent_for_ms, ..live() }), ["s4", "s3", "s2", "s0"]);
    assert!(codex.view().heartbeat_age_ms < SECOND * 60);
}

fn the_status_counts_who_is_here(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    Agent::new(bench, "gone").must(&sign_off());
    a.must(&claim(&["issue:1"]));
    b.must(&acquire("r"));
    b.must(&put("s", "k", "1"));
    let status = must(bench, &ShowStatus::default());
    let names: Vec<_> = status.sessions.iter().map(|view| &*view.name).collect();
    assert_eq!(names, ["b", "a"]);
    assert_eq!((status.sessions_live, status.sessions_ever, status.keys), (2, 3, 1));
    let mut held: Vec<_> = status.holdings.iter().map(|h| (&*h.resource, &*h.name)).collect();
    held.sort_unstable();
    assert_eq!(held, [("issue:1", "a"), ("r", "b")]);
    assert!(status.holdings.iter().all(|holding| holding.state == HoldingState::Held));
    let head = head(bench);
    assert_eq!((status.seq, status.history), (head.seq, head.history));
    assert_eq!(must(bench, &ShowStatus { limit: Some(1) }).sessions.len(), 1);
    assert!(ask(bench, &show("gone")).is_err(), "`gone` is no live name");
}
