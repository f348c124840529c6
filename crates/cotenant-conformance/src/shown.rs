//! How sessions are shown and listed.

use cotenant_core::{
    Code,
    claim::HoldingState,
    clock::{HOUR, MINUTE, SECOND},
    name::SessionRef,
    session::{ListSessions, Relation, SignOn, State},
    status::ShowStatus,
    store::Request,
};

use crate::{
    Bench,
    ask::{Agent, count, head, log, must, refuses, succeeds},
    sample::{acquire, claim, every_session, note, put, show, sign_off, sign_on},
};

cases! {
    a_session_is_shown_as_it_signed_on,
    a_session_is_meant_by_id_or_by_live_name,
    sessions_are_listed_page_by_page,
    the_status_counts_who_is_here,
    the_status_shows_what_those_hold_whom_it_shows,
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
    let newest = head(bench);
    assert_eq!((status.seq, status.history), (newest.seq, newest.history));
    assert_eq!(
        must(bench, &ShowStatus { limit: Some(1), ..ShowStatus::default() }).sessions.len(),
        1
    );
}

fn the_status_shows_what_those_hold_whom_it_shows(bench: &dyn Bench) {
    let old = Agent::new(bench, "old");
    old.must(&claim(&["issue:1"]));
    old.must(&acquire("r"));
    let lost = Agent::brief(bench, "lost", 10 * MINUTE);
    lost.must(&claim(&["issue:2"]));
    let newest = Agent::new(bench, "newest");
    newest.must(&claim(&["issue:3", "branch:x"]));
    let shown = |limit| {
        let status = must(bench, &ShowStatus { limit, ..ShowStatus::default() });
        status.holdings.into_iter().map(|it| (it.resource, it.state)).collect::<Vec<_>>()
    };
    let held = |items: &[&str]| {
        items.iter().map(|it| ((*it).to_owned(), HoldingState::Held)).collect::<Vec<_>>()
    };
    assert_eq!(
        shown(Some(1)),
        held(&["issue:3", "branch:x"]),
        "one holds something that is not shown"
    );
    assert_eq!(shown(Some(2)), held(&["issue:2", "issue:3", "branch:x"]));
    assert_eq!(shown(None), held(&["r", "issue:1", "issue:2", "issue:3", "branch:x"]));
    // What cools down is in everybody's way, whether somebody has settled it or not.
    bench.advance(11 * MINUTE);
    let mut cooling = held(&["issue:2", "issue:3", "branch:x"]);
    cooling[0].1 = HoldingState::Cooling;
    assert_eq!(shown(Some(1)), cooling);
    newest.must(&note("settles"));
    assert_eq!(shown(Some(1)), cooling);
}
