//! Section 3.7: where sessions come from and what came from them.

use std::collections::HashSet;

use cotenant_core::{
    Code,
    id::SessionId,
    name::SessionRef,
    session::{Direction, Lineage, Reap, Relation, SignOn},
    store::Request,
};

use crate::{
    Bench,
    ask::{Agent, answer, event, log, must, refuses},
    sample::{anonymous, lineage, sign_on},
};

cases! {
    a_parent_must_exist,
    n7_lineage_shows_where_a_session_comes_from,
    n7_only_some_relations_make_a_parent,
    n7_lineage_has_no_cycle_and_a_bounded_depth,
    n7_who_takes_the_name_of_its_child_does_not_come_from_it,
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
    assert_eq!(descendants, std::slice::from_ref(&leaf.id));
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

fn n7_only_some_relations_make_a_parent(bench: &dyn Bench) {
    let root = Agent::new(bench, "root");
    for (relation, is_parent) in [
        (Relation::Spawn, true),
        (Relation::Resume, true),
        (Relation::Fork, true),
        (Relation::Merge, false),
        (Relation::Compact, false),
        (Relation::Handoff, false),
    ] {
        let agent = child(bench, relation.word(), "root", relation);
        let parent = is_parent.then(|| (root.id.clone(), relation));
        let view = agent.view();
        assert_eq!(view.parent.zip(view.relation), parent, "{relation:?}");
        let edges = must(bench, &lineage(&agent.id)).edges;
        assert!(edges.iter().any(|edge| (&edge.from, edge.relation) == (&root.id, relation)));
    }
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

fn n7_who_takes_the_name_of_its_child_does_not_come_from_it(bench: &dyn Bench) {
    let (own, of_child) = (bench.process(), bench.process());
    let drawn = SignOn { process: Some(own), ..anonymous() };
    let parent = must(bench, &drawn).session;
    let by = Some(SessionRef(parent.0.clone()));
    let child = SignOn { parent: by, process: Some(of_child.clone()), ..sign_on("a") };
    let child = must(bench, &child).session;
    bench.kill(&of_child);
    must(bench, &Reap { session: SessionRef(child.0.clone()), force: false });
    let named = must(bench, &SignOn { name: Some("a".into()), ..drawn });
    assert_eq!((&named.session, named.existing), (&parent, true));
    let edges = must(bench, &lineage(&parent)).edges;
    let ends: Vec<_> = edges.iter().map(|edge| (&edge.from, &edge.to)).collect();
    assert_eq!(ends, [(&parent, &child)], "lineage leads one way");
}
