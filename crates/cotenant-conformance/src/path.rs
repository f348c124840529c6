//! Section 6.1: claims on paths, and on files that are being edited.

use std::thread;

use cotenant_core::{
    Code,
    claim::{AUTOMATIC_MS, Holding, HoldingState, Item, Unclaim, Who},
    clock::{HOUR, MINUTE},
    lease::LOCK_DELAY_MS,
};

use crate::{
    Bench,
    ask::{Agent, must},
    sample::{acquire, claim, claim_items, claim_path, edit, item, path},
};

cases! {
    l11_paths_conflict_with_their_directories_in_one_tree,
    l11_paths_beside_each_other_do_not_conflict,
    l11_one_of_many_overlapping_paths_is_claimed,
    l11_paths_of_two_trees_overlap_without_conflict,
    l11_items_of_two_kinds_do_not_conflict,
    an_automatic_claim_lasts_15_minutes_after_the_last_edit,
    a_decided_claim_does_not_lapse_because_of_an_edit,
    who_finds_paths_that_overlap_in_every_tree,
}

fn held(holdings: Vec<Holding>) -> Vec<Holding> {
    holdings.into_iter().filter(|holding| holding.state == HoldingState::Held).collect()
}

/// The items of holdings with their holders, ordered.
fn pairs(holdings: Vec<Holding>) -> Vec<(String, String)> {
    let mut pairs: Vec<_> = holdings.into_iter().map(|h| (h.resource, h.name)).collect();
    pairs.sort_unstable();
    pairs
}

/// Whether b is refused one path while a holds the other, in one tree.
fn clash(bench: &dyn Bench, a: &Agent<'_>, b: &Agent<'_>, one: &str, other: &str) -> bool {
    a.must(&claim_path(one));
    let clashes = match b.ask(&claim_path(other)) {
        Ok(_) => false,
        Err(error) => {
            assert_eq!(error.code, Code::Claimed);
            true
        }
    };
    for agent in [a, b] {
        agent.must(&Unclaim { items: Vec::new(), all: true });
    }
    assert!(must(bench, &Who::default()).holdings.is_empty());
    clashes
}

fn l11_paths_conflict_with_their_directories_in_one_tree(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    for (one, other) in [
        ("src/a.rs", "src/a.rs"),
        ("src", "src/a.rs"),
        ("src/a.rs", "src"),
        ("src/a.rs", "."),
        (".", "src/deep/a.rs"),
        ("src/", "./src//deep/a.rs"),
        ("a b/c", "a b"),
    ] {
        assert!(clash(bench, &a, &b, one, other), "{one} and {other}");
        assert!(clash(bench, &a, &b, other, one), "{other} and {one}");
    }
}

fn l11_paths_beside_each_other_do_not_conflict(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    for (one, other) in [
        ("src/a.rs", "src/b.rs"),
        ("src", "src2/a.rs"),
        ("src/a", "src/a.rs"),
        ("src.rs", "src"),
        ("src", "src0/a.rs"),
        ("src", "src./a.rs"),
        ("s%", "sx/a"),
        ("s_c", "sxc"),
        ("src", "lib/src"),
    ] {
        assert!(!clash(bench, &a, &b, one, other), "{one} and {other}");
        assert!(!clash(bench, &a, &b, other, one), "{other} and {one}");
    }
}

fn l11_one_of_many_overlapping_paths_is_claimed(bench: &dyn Bench) {
    let agents: Vec<_> = (0..8).map(|n| Agent::new(bench, &format!("w{n}"))).collect();
    let won = thread::scope(|scope| {
        let racers: Vec<_> = agents
            .iter()
            .enumerate()
            .map(|(depth, agent)| {
                let claim = claim_path(&vec!["d"; depth + 1].join("/"));
                scope.spawn(move || {
                    let store = bench.second();
                    (*store).call(&claim, |request| request.by(agent.actor())).is_ok()
                })
            })
            .collect();
        racers.into_iter().filter_map(|racer| racer.join().ok()).filter(|won| *won).count()
    });
    assert_eq!((won, held(must(bench, &Who::default()).holdings).len()), (1, 1));
}

fn l11_paths_of_two_trees_overlap_without_conflict(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let theirs = a.must(&claim_items(vec![path("t1", "src/a.rs")])).items.remove(0);
    for tree in ["t1+x", "t2"] {
        let claimed = b.must(&claim_items(vec![path(tree, "src")]));
        assert_eq!(claimed.overlaps.len(), 1, "{:?}", claimed.overlaps);
        let overlap = &claimed.overlaps[0];
        assert_eq!((&*overlap.resource, &*overlap.name), ("path:src/a.rs", "a"));
        assert_eq!((overlap.tree.as_deref(), overlap.fence), (Some("t1"), theirs.fence));
    }
    b.refused(&claim_items(vec![path("t1", "src")]), Code::Claimed);
    let own = b.must(&claim_items(vec![path("t3", "lib")]));
    assert!(own.overlaps.is_empty());
}

fn l11_items_of_two_kinds_do_not_conflict(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    a.must(&claim(&["issue:1", "branch:x", "other:y"]));
    a.must(&acquire("1"));
    b.must(&claim(&["branch:1", "other:1", "issue:x", "issue:15", "issue:1/2"]));
    b.must(&claim_path("1"));
    b.refused(&claim(&["branch:x"]), Code::Claimed);
    b.refused(&claim(&["other:y"]), Code::Claimed);
}

fn an_automatic_claim_lasts_15_minutes_after_the_last_edit(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let first = a.must(&edit("src/a.rs")).items.remove(0);
    bench.advance(AUTOMATIC_MS - MINUTE);
    b.refused(&edit("src/a.rs"), Code::Claimed);
    let again = a.must(&edit("src/a.rs")).items.remove(0);
    assert_eq!((again.fence, again.already_held), (first.fence, true));
    bench.advance(AUTOMATIC_MS - MINUTE);
    b.refused(&edit("src/a.rs"), Code::Claimed);
    let shown = held(must(bench, &Who::default()).holdings).remove(0);
    assert!(shown.automatic && shown.expires_in_ms.is_some_and(|left| left <= MINUTE));
    bench.advance(MINUTE + LOCK_DELAY_MS);
    assert!(held(must(bench, &Who::default()).holdings).is_empty());
    let taken = b.must(&edit("src/a.rs")).items.remove(0);
    assert!(taken.fence > first.fence && !taken.already_held);
}

fn a_decided_claim_does_not_lapse_because_of_an_edit(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let fence = a.must(&claim_path("src/a.rs")).items[0].fence;
    let edited = a.must(&edit("src/a.rs")).items.remove(0);
    assert_eq!((edited.fence, edited.already_held), (fence, true));
    bench.advance(HOUR);
    b.refused(&edit("src/a.rs"), Code::Claimed);
    b.must(&edit("src/b.rs"));
    b.must(&claim_path("src/b.rs"));
    bench.advance(HOUR);
    a.refused(&edit("src/b.rs"), Code::Claimed);
}

fn who_finds_paths_that_overlap_in_every_tree(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    a.must(&claim_items(vec![path("t1", "src/a.rs")]));
    b.must(&claim_items(vec![path("t2", "src")]));
    let found =
        |item: Item| pairs(must(bench, &Who { item: Some(item), ..Who::default() }).holdings);
    let (one, other) = (("path:src/a.rs".into(), "a".into()), ("path:src".into(), "b".into()));
    assert_eq!(found(item("path:src/a.rs")), [other, one.clone()]);
    assert_eq!(found(path("t1", "src")), [one]);
    assert!(found(item("path:lib")).is_empty());
}
