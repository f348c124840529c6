//! Pattern 1, assignment of work, and "Race Conditions": whoever claims first has it, and the
//! others learn who that is.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::crew::{at_once, crew, lines_at_once, place, the_log_is_whole};

/// The only one that succeeded; all others were refused and told who.
#[track_caller]
fn winner(names: &[String], answers: &[Value]) -> usize {
    let winners: Vec<usize> =
        (0..answers.len()).filter(|number| answers[*number]["ok"] == true).collect();
    let [winner] = winners[..] else { panic!("{winners:?} won: {answers:#?}") };
    for answer in answers.iter().filter(|answer| answer["ok"] != true) {
        let error = &answer["error"];
        assert_eq!((&error["code"], &error["retryable"]), (&json!("CLAIMED"), &json!(true)));
        assert_eq!(error["details"]["holder"], names[winner].as_str(), "{answer}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(&format!("held by `{}`", names[winner])), "{message}");
    }
    winner
}

fn names(size: usize) -> Vec<String> {
    (0..size).map(|number| format!("s{number}")).collect()
}

#[test]
fn of_32_sessions_that_claim_each_of_200_issues_one_has_each() {
    let env = place();
    let mut crew = crew(&env, 32);
    let names = names(32);
    let mut holders = BTreeMap::new();
    for issue in 1..=200 {
        let issue = issue.to_string();
        let answers = at_once(&mut crew, |_, member| member.claims(&issue));
        holders.insert(format!("issue:{issue}"), names[winner(&names, &answers)].clone());
    }
    let who = env.json("who");
    let held: BTreeMap<String, String> = who["data"]["holdings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|holding| [&holding["resource"], &holding["name"]].map(|text| text.as_str().unwrap()))
        .map(|[item, name]| (item.to_owned(), name.to_owned()))
        .collect();
    assert_eq!(held, holders);
    the_log_is_whole(&env);
}

#[test]
fn of_32_commands_at_once_one_exits_0_and_31_exit_73() {
    let env = place();
    let _crew = crew(&env, 32);
    let names = names(32);
    for issue in ["issue:15", "issue:16", "issue:17"] {
        let lines: Vec<String> =
            names.iter().map(|name| format!("cotenant claim {issue} --session {name}")).collect();
        let ran = lines_at_once(&env, &lines);
        let winners: Vec<usize> = (0..ran.len()).filter(|number| ran[*number].exit == 0).collect();
        let [winner] = winners[..] else { panic!("{winners:?} won: {ran:?}") };
        let refusal = format!("error: `{issue}` is held by `{}`", names[winner]);
        for loser in ran.iter().filter(|ran| ran.exit != 0) {
            assert_eq!((loser.exit, loser.stdout.as_str()), (73, ""), "{loser:?}");
            assert!(loser.stderr.starts_with(&refusal), "{loser:?}");
        }
    }
}

#[test]
fn of_8_contenders_exactly_one_wins_each_round_and_stays_the_winner() {
    let env = place();
    let mut crew = crew(&env, 8);
    let names = names(8);
    let mut fence = 0;
    for round in 0..20 {
        let answers = at_once(&mut crew, |_, member| member.claims("15"));
        let winner = winner(&names, &answers);
        let granted = answers[winner]["data"]["items"][0]["fence"].as_u64().unwrap();
        assert!(granted > fence, "round {round}: {granted} after {fence}");
        fence = granted;
        // What the seed's delay and second look are for: nobody sees another holder than this one.
        let seen = at_once(&mut crew, |_, member| {
            member.does("who", &json!({"item": {"kind": "issue", "name": "15"}}))
        });
        for seen in seen {
            let holdings = seen["holdings"].as_array().unwrap();
            assert_eq!(holdings.len(), 1, "{seen}");
            assert_eq!(
                (&holdings[0]["name"], &holdings[0]["fence"]),
                (&json!(names[winner]), &json!(fence))
            );
        }
        let items = json!({"items": [{"kind": "issue", "name": "15"}]});
        crew[winner].does("unclaim", &items);
    }
    the_log_is_whole(&env);
}
