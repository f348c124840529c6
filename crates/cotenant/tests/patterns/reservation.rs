//! Pattern 3, reservation of a resource: one is inside at any time, and can prove it.

use std::{collections::BTreeSet, fs};

use serde_json::json;

use crate::crew::{at_once, crew, lines_at_once, place, the_log_is_whole};

const LOCK: &str = "locks:database_migration";

#[test]
fn of_eight_processes_one_reserves_and_the_others_learn_who() {
    let env = place();
    let mut crew = crew(&env, 8);
    let mut last = 0;
    for _ in 0..10 {
        let args = json!({"resource": LOCK, "ttl_ms": 60_000, "note": "the migration"});
        let answers = at_once(&mut crew, |_, member| member.asks("lease.acquire", &args));
        let winners: Vec<usize> =
            (0..answers.len()).filter(|number| answers[*number]["ok"] == true).collect();
        let [winner] = winners[..] else { panic!("{winners:?} won: {answers:#?}") };
        let fence = answers[winner]["data"]["fence"].as_u64().unwrap();
        assert!(fence > last, "{fence} after {last}");
        last = fence;
        for loser in answers.iter().filter(|answer| answer["ok"] != true) {
            assert_eq!(loser["error"]["code"], "HELD");
            let holder = &loser["error"]["details"]["holders"][0];
            assert_eq!(
                (&holder["name"], &holder["note"]),
                (&json!(crew[winner].name), &json!("the migration"))
            );
        }
        crew[winner].does("lease.release", &json!({"resource": LOCK, "fence": fence}));
    }
    the_log_is_whole(&env);
}

#[test]
fn of_eight_processes_that_wait_one_is_inside_at_any_time() {
    let env = place();
    let _crew = crew(&env, 8);
    fs::write(env.top().join("runs"), "0\n").unwrap();
    // `set -C` makes `>` fail on a file that exists: the witness. The count is read and then
    // written, as the pattern does it, and is right only if nobody else is inside.
    let inside = "set -Ce; : > witness; read -r runs < runs; echo $COTENANT_FENCE >> fences; \
                  cotenant data update project migrated --append $COTENANT_FENCE; \
                  echo $((runs + 1)) >| runs; rm witness";
    let lines: Vec<String> = (0..8)
        .map(|number| {
            format!(
                "cotenant lease run --lease {LOCK} --wait 5m --session s{number} -- sh -c '{inside}'"
            )
        })
        .collect();
    let ran = lines_at_once(&env, &lines);
    assert!(ran.iter().all(|ran| (ran.exit, ran.stderr.as_str()) == (0, "")), "{ran:?}");
    assert_eq!(fs::read_to_string(env.top().join("runs")).unwrap(), "8\n");
    let fences: Vec<u64> = fs::read_to_string(env.top().join("fences"))
        .unwrap()
        .lines()
        .map(|line| line.parse().unwrap())
        .collect();
    assert_eq!(fences.len(), 8);
    assert!(fences.is_sorted_by(|one, next| one < next), "{fences:?}");
    assert_eq!(env.json("data get project migrated")["data"]["value"], json!(fences));
    // Each of the eight was inside, and nobody is now.
    let events = env.json("event list --after start --limit 1000 --kind 'data.*'");
    let names: BTreeSet<String> = events["data"]["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names.len(), 8);
    assert_eq!(env.json("lease list")["data"]["holdings"], json!([]));
}
