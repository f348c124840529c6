//! Many processes that count in one key.

use serde_json::json;

use crate::crew::{at_once, crew, place, the_log_is_whole};

#[test]
fn sixty_four_processes_count_to_12800() {
    let env = place();
    let mut crew = crew(&env, 64);
    let add = json!({"scope": "project", "key": "count", "change": {"add": 1}});
    let seen = at_once(&mut crew, |_, member| {
        let number = |_| member.does("data.update", &add)["value"].as_u64().unwrap();
        (0..200).map(number).collect::<Vec<u64>>()
    });
    assert!(seen.iter().all(|numbers| numbers.is_sorted()));
    // No number was given twice, and none left out.
    let mut all: Vec<u64> = seen.into_iter().flatten().collect();
    all.sort_unstable();
    assert_eq!(all, (1..=12_800).collect::<Vec<u64>>());
    assert_eq!(env.prints("data get project count"), "12800\n");
    the_log_is_whole(&env);
}
