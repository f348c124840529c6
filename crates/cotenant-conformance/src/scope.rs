//! Section 4.1, 4.3 and 4.6: lists of keys and scopes, and deleting a scope.

use cotenant_core::{
    Code,
    data::{DeleteScope, List, ListScopes, Put, Write},
    store::Request,
};

use crate::{
    Bench,
    ask::{Agent, head_seq, must, refuses, succeeds},
    sample::{delete, delete_scope, get, list, put, scopes, writes},
};

cases! {
    keys_are_listed_byte_by_byte,
    keys_are_listed_by_scope_and_prefix,
    keys_are_listed_page_by_page,
    deleting_a_scope_takes_exactly_that_scope,
    deleting_recursively_takes_what_is_below,
    deleting_a_scope_can_expect_a_count,
    deleting_a_scope_takes_up_to_10000_keys,
    scopes_are_listed_while_they_hold_a_key,
    scopes_match_a_pattern_in_which_only_the_star_is_special,
    all_of_2500_scopes_are_listed,
}

fn places(bench: &dyn Bench, list: &List) -> Vec<(String, String)> {
    let entries = must(bench, list).entries;
    entries.into_iter().map(|entry| (entry.scope, entry.key)).collect()
}

fn keys(bench: &dyn Bench, list: &List) -> Vec<String> {
    places(bench, list).into_iter().map(|(_, key)| key).collect()
}

/// Stores one key in each of many places, many to a transaction.
fn fill(a: &Agent<'_>, places: impl Iterator<Item = (String, String)>) {
    let writes_of = |chunk: &[(String, String)]| -> Request {
        let put = |(scope, key): &(String, String)| Write::Put(put(scope, key, "1"));
        a.request(writes(chunk.iter().map(put).collect()))
    };
    let places: Vec<_> = places.collect();
    for batch in places.chunks(120 * 20) {
        for outcome in a.bench.store().submit(batch.chunks(120).map(writes_of).collect()) {
            succeeds(outcome, "many writes");
        }
    }
}

fn keys_are_listed_byte_by_byte(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    for (scope, key) in
        [("p/é", "k"), ("p/z", "k"), ("p/a", "k2"), ("p/a", "k10"), ("p/a", "K"), ("p/B", "k")]
    {
        a.must(&put(scope, key, "1"));
    }
    let expected =
        [("p/B", "k"), ("p/a", "K"), ("p/a", "k10"), ("p/a", "k2"), ("p/z", "k"), ("p/é", "k")];
    let seen = places(bench, &list("p/"));
    let seen: Vec<_> = seen.iter().map(|(scope, key)| (&**scope, &**key)).collect();
    assert_eq!(seen, expected);
}

fn keys_are_listed_by_scope_and_prefix(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    for (scope, key) in
        [("x:1", "ab"), ("x:1", "b"), ("x:15", "ab"), ("x:%", "ab"), ("y", "a"), ("x:1", "a_c")]
    {
        a.must(&put(scope, key, "1"));
    }
    assert_eq!(keys(bench, &list("x:1")), ["a_c", "ab", "b", "ab"]);
    assert_eq!(keys(bench, &List { exact: true, ..list("x:1") }), ["a_c", "ab", "b"]);
    assert_eq!(keys(bench, &List { key: "a".into(), ..list("x:1") }), ["a_c", "ab", "ab"]);
    assert_eq!(keys(bench, &List { key: "a_".into(), ..list("x:1") }), ["a_c"]);
    assert_eq!(places(bench, &list("x:%")), [("x:%".into(), "ab".into())]);
    assert!(keys(bench, &List { exact: true, ..list("x:") }).is_empty());
}

fn keys_are_listed_page_by_page(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let all: Vec<_> =
        (0..25).map(|n| (format!("p/{}", n / 10), format!("k{:02}", n % 10))).collect();
    fill(&a, all.iter().cloned());
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = must(bench, &List { after, limit: 7, ..list("p/") });
        assert!(page.entries.len() <= 7);
        seen.extend(page.entries.into_iter().map(|entry| (entry.scope, entry.key)));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, all, "every key is on one page");
    let whole = must(bench, &List { limit: 25, ..list("p/") });
    assert_eq!((whole.entries.len(), whole.next), (25, None), "a full page may be the last");
}

fn deleting_a_scope_takes_exactly_that_scope(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    for scope in ["issue:1", "issue:15", "issue:1/sub", "issue:", "Issue:1"] {
        a.must(&put(scope, "k", "1"));
        a.must(&put(scope, "l", "1"));
    }
    let before = head_seq(bench);
    assert_eq!(a.must(&delete_scope("issue:1")).deleted, 2);
    assert_eq!(head_seq(bench), before + 2, "one event a key");
    refuses(bench, &get("issue:1", "k"), Code::NotFound);
    for scope in ["issue:15", "issue:1/sub", "issue:", "Issue:1"] {
        must(bench, &get(scope, "k"));
    }
    assert_eq!(a.must(&delete_scope("issue:1")).deleted, 0, "nothing left is no error");
    assert_eq!(head_seq(bench), before + 2);
}

fn deleting_recursively_takes_what_is_below(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    for scope in ["p", "p/a", "p/a/b", "p0", "p.", "p2", "p:1", "p%", "q/p"] {
        a.must(&put(scope, "k", "1"));
    }
    let recursive = |scope: &str| DeleteScope { recursive: true, ..delete_scope(scope) };
    assert_eq!(a.must(&recursive("p")).deleted, 3);
    for scope in ["p0", "p.", "p2", "p:1", "p%", "q/p"] {
        must(bench, &get(scope, "k"));
    }
    a.must(&put("p/a/b", "k", "1"));
    assert_eq!(a.must(&recursive("p")).deleted, 1, "the scope itself may be empty");
}

fn deleting_a_scope_can_expect_a_count(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    fill(&a, (0..3).map(|n| ("p".into(), format!("k{n}"))));
    let expecting = |count| DeleteScope { expect_count: Some(count), ..delete_scope("p") };
    let before = head_seq(bench);
    a.refused(&expecting(2), Code::RevMismatch);
    a.refused(&expecting(4), Code::RevMismatch);
    assert_eq!(head_seq(bench), before);
    assert_eq!(a.must(&expecting(3)).deleted, 3);
    assert_eq!(a.must(&expecting(0)).deleted, 0);
}

fn deleting_a_scope_takes_up_to_10000_keys(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    fill(&a, (0..10_001).map(|n| ("p".into(), format!("k{n:05}"))));
    let before = head_seq(bench);
    a.refused(&delete_scope("p"), Code::TooLarge);
    assert_eq!(head_seq(bench), before);
    assert_eq!(must(bench, &list("p")).entries.len(), 1_000);
    a.must(&delete("p", "k00000"));
    assert_eq!(a.must(&delete_scope("p")).deleted, 10_000);
    assert_eq!(head_seq(bench), before + 10_001);
    assert!(must(bench, &list("p")).entries.is_empty());
}

fn scopes_are_listed_while_they_hold_a_key(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    a.must(&put("p/b", "k", "1"));
    a.must(&put("p/b", "l", "1"));
    a.must(&Put { ttl_ms: Some(60_000), ..put("p/a", "k", "1") });
    let listed = || must(bench, &scopes("p/*")).scopes;
    assert_eq!(listed(), ["p/a", "p/b"]);
    bench.advance(120_000);
    assert_eq!(listed(), ["p/b"], "what has expired holds no key");
    a.must(&delete("p/b", "k"));
    assert_eq!(listed(), ["p/b"]);
    a.must(&delete("p/b", "l"));
    assert!(listed().is_empty());
}

fn scopes_match_a_pattern_in_which_only_the_star_is_special(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let all = ["p/a1z", "p/a2z", "p/aXb", "p/a_z", "p/a%z", "p/[a]", "p/A1z", "q/p/a1z"];
    fill(&a, all.iter().map(|scope| ((*scope).into(), "k".into())));
    for (pattern, expected) in [
        ("p/a*z", &["p/a%z", "p/a1z", "p/a2z", "p/a_z"][..]),
        ("p/a_z", &["p/a_z"]),
        ("p/a%z", &["p/a%z"]),
        ("p/[a]", &["p/[a]"]),
        ("p/a?z", &[]),
        ("p/a1z", &["p/a1z"]),
        ("p/a1", &[]),
        ("*/a1z", &["p/a1z", "q/p/a1z"]),
        ("p*1*", &["p/A1z", "p/a1z"]),
    ] {
        assert_eq!(must(bench, &scopes(pattern)).scopes, expected, "{pattern}");
    }
}

fn all_of_2500_scopes_are_listed(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let all: Vec<String> = (0..2_500).map(|n| format!("p/{n:04}")).collect();
    fill(&a, all.iter().map(|scope| (scope.clone(), "k".into())));
    fill(&a, all.iter().map(|scope| (scope.clone(), "l".into())));
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = must(bench, &ListScopes { after, ..scopes("p/*") });
        assert!(page.scopes.len() <= 1_000);
        seen.extend(page.scopes);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert!(seen == all, "{} of 2,500 scopes were listed", seen.len());
}
