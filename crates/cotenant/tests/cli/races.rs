//! Many processes at once.

use std::collections::BTreeMap;

use crate::TestEnv;

/// Runs lines at the same time and answers how each ended.
fn at_once(env: &TestEnv, lines: Vec<String>) -> Vec<crate::env::Ran> {
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            lines.into_iter().map(|line| scope.spawn(move || env.shell(&line))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn of_many_claims_one_wins_and_the_others_learn_who() {
    let env = TestEnv::new();
    let names: Vec<String> = (0..16).map(|n| format!("s{n}")).collect();
    let lines = names.iter().map(|name| {
        format!("cotenant sign-on {name} >/dev/null && cotenant claim issue:1 --session {name}")
    });
    let ran = at_once(&env, lines.collect());
    let winners: Vec<usize> = (0..names.len()).filter(|n| ran[*n].exit == 0).collect();
    assert_eq!(winners.len(), 1, "{ran:?}");
    for (number, loser) in ran.iter().enumerate().filter(|(_, ran)| ran.exit != 0) {
        assert_eq!(loser.exit, 73, "{number}: {loser:?}");
        assert!(loser.stderr.contains(&format!("held by `{}`", names[winners[0]])), "{loser:?}");
    }
}

#[test]
fn no_update_is_lost() {
    let env = TestEnv::new();
    let lines = (0..8).map(|n| {
        format!(
            "cotenant sign-on s{n} >/dev/null; for i in 1 2 3 4 5 6 7 8 9 10; do \
             cotenant data update n count --add 1 --session s{n}; \
             cotenant data update n log --append $i --session s{n}; done"
        )
    });
    let ran = at_once(&env, lines.collect());
    assert!(ran.iter().all(|ran| (ran.exit, ran.stderr.as_str()) == (0, "")), "{ran:?}");
    assert_eq!(env.prints("data get n count"), "80\n");
    let log: Vec<u32> = serde_json::from_str(&env.prints("data get n log")).unwrap();
    let mut counts = BTreeMap::new();
    for number in log {
        *counts.entry(number).or_insert(0) += 1;
    }
    assert_eq!(counts, (1..=10).map(|number| (number, 8)).collect());
    env.shows("event verify", "ok, 168 events");
}

#[test]
fn a_store_is_made_once() {
    let env = TestEnv::new();
    let lines = (0..12)
        .map(|n| format!("cotenant sign-on s{n} && cotenant claim path:f{n} --session s{n}"));
    let ran = at_once(&env, lines.collect());
    assert!(ran.iter().all(|ran| (ran.exit, ran.stderr.as_str()) == (0, "")), "{ran:?}");
    assert_eq!(env.json("status")["data"]["sessions_live"], 12);
    let who = env.json("who");
    let trees: std::collections::BTreeSet<String> = who["data"]["holdings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|holding| holding["tree"].to_string())
        .collect();
    assert_eq!(trees.len(), 1);
}
