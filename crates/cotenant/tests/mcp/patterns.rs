//! The eight patterns in which sessions work together, each over the server's tools alone: an agent a
//! session, a server an agent. What docs/patterns.md shows by functions is asked of models here.

use std::{collections::BTreeSet, thread};

use serde_json::{Value, json};

use crate::world::{Server, World};

/// Longer than any test.
const LONG: &str = "10m";

/// Agents, each in a conversation and under a name of its own.
fn agents<const COUNT: usize>(world: &World) -> [Server; COUNT] {
    std::array::from_fn(|number| {
        let number = number + 1;
        let mut agent = world.agent(&format!("c{number}"));
        agent.call("sign_on", &json!({"session_id": format!("claude_{number}")}));
        agent
    })
}

/// Has all agents do something at once; what each answers, in their order.
fn at_once<T: Send>(
    agents: &mut [Server],
    work: impl Fn(usize, &mut Server) -> T + Sync,
) -> Vec<T> {
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> = agents
            .iter_mut()
            .enumerate()
            .map(|(number, agent)| scope.spawn(move || work(number, agent)))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Calls a tool; its answer, or the text of its refusal.
fn try_call(agent: &mut Server, tool: &str, arguments: &Value) -> Result<Value, String> {
    let result = agent.call_with(tool, arguments, &json!({}));
    if result["isError"] == true {
        return Err(result["content"][0]["text"].as_str().unwrap().to_owned());
    }
    Ok(crate::world::answer(&result))
}

fn retrieve(agent: &mut Server, scope: &str, key: &str) -> Value {
    agent.call("retrieve_data", &json!({"scope": scope, "key": key}))
}

fn fence(claimed: &Value) -> i64 {
    claimed["items"][0]["fence"].as_i64().unwrap()
}

#[test]
fn pattern_1_work_assignment() {
    let world = World::new();
    let mut agents = agents::<4>(&world);
    // All want the same: one has it, the others learn who.
    let claim = json!({"items": ["issue:15"], "intent": "the backend"});
    let outcomes = at_once(&mut agents, |_, agent| try_call(agent, "claim", &claim));
    let winner = outcomes.iter().position(Result::is_ok).unwrap();
    let name = format!("claude_{}", winner + 1);
    for refused in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        let names_it = refused.contains(&format!("held by {name} "));
        assert!(refused.starts_with("CLAIMED: ") && names_it, "{refused}");
    }
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    // All look for the next issue that is free: each finds another one.
    let issues = ["issue:15", "issue:16", "issue:17", "issue:18"];
    let found = at_once(&mut agents, |number, agent| {
        if number == winner {
            return "issue:15".to_owned();
        }
        let claimed = agent.call("claim", &json!({"items": issues, "any": true}));
        claimed["items"][0]["item"].as_str().unwrap().to_owned()
    });
    assert_eq!(found.iter().map(String::as_str).collect::<BTreeSet<_>>(), issues.into());
    // Everybody sees it, also those who look by the conventional keys.
    let scopes = agents[0].call("list_scopes", &json!({"pattern": "session:*"}));
    assert_eq!(scopes["scopes"].as_array().unwrap().len(), 4);
    for (number, issue) in found.iter().enumerate() {
        let session = format!("session:claude_{}", number + 1);
        let seen = retrieve(&mut agents[0], &session, "current_issue");
        assert_eq!(format!("issue:{seen}"), *issue);
    }
    agents.into_iter().for_each(Server::close);
}

#[test]
fn pattern_2_shared_state() {
    let world = World::new();
    let mut agents = agents::<3>(&world);
    let migration = |id: &str| json!({"id": id, "status": "pending"});
    let pending = json!([migration("001"), migration("002"), migration("003")]);
    let place = json!({"scope": "project:migrations", "key": "pending"});
    let mut store = place.clone();
    store["value"] = pending;
    agents[0].call("store_data", &store);
    // Each marks one of them as its own, in one value, at once; who comes too late reads again.
    at_once(&mut agents, |number, agent| {
        loop {
            let mut read = place.clone();
            read["with_rev"] = json!(true);
            let mut found = agent.call("retrieve_data", &read);
            found["value"][number]["status"] = json!("in_progress");
            found["value"][number]["started_by"] = json!(format!("claude_{}", number + 1));
            let mut update = place.clone();
            update["op"] = json!("cas");
            update["value"] = found["value"].clone();
            update["expect"] = found["rev"].clone();
            match try_call(agent, "update_data", &update) {
                Ok(_) => return,
                Err(text) => assert!(text.starts_with("REV_MISMATCH: "), "{text}"),
            }
        }
    });
    let seen = agents[2].call("retrieve_data", &place);
    for (number, migration) in seen.as_array().unwrap().iter().enumerate() {
        assert_eq!(migration["started_by"], format!("claude_{}", number + 1), "{seen}");
    }
    // Without reading at all: counted, appended and merged in one step each.
    at_once(&mut agents, |number, agent| {
        for (op, value) in [
            ("add", json!(1)),
            ("append", json!(number)),
            ("merge", json!({format!("{number}"): 1})),
        ] {
            let update = json!({"scope": "project:steps", "key": op, "op": op, "value": value});
            for _ in 0..5 {
                agent.call("update_data", &update);
            }
        }
    });
    assert_eq!(retrieve(&mut agents[0], "project:steps", "add"), json!(15));
    let appended = retrieve(&mut agents[0], "project:steps", "append");
    assert_eq!(appended.as_array().unwrap().len(), 15);
    let merged = retrieve(&mut agents[0], "project:steps", "merge");
    assert_eq!(merged, json!({"0": 1, "1": 1, "2": 1}));
    agents.into_iter().for_each(Server::close);
}

#[test]
fn pattern_3_reservation() {
    let world = World::new();
    let mut agents = agents::<3>(&world);
    let lock = json!({"items": ["lock:database_migration"], "ttl": LONG, "intent": "migrate"});
    let first = fence(&agents[0].call("claim", &lock));
    let again = agents[0].call("claim", &lock);
    assert_eq!((fence(&again), &again["items"][0]["already_held"]), (first, &json!(true)));
    let text = agents[1].refusal("claim", &lock);
    assert!(text.starts_with("HELD: ") && text.contains("held by claude_1 "), "{text}");
    assert!(text.contains("for another ") && text.contains("intent \"migrate\""), "{text}");
    assert!(text.contains("\n- lock:database_migration: held by "), "{text}");
    assert!(text.contains("\nnext: do something else first") && !text.contains("--"), "{text}");
    let status = agents[1].call("status", &json!({}));
    let holds = |view: &&Value| view["holds"] == json!(["lock:database_migration"]);
    assert_eq!(status["sessions"].as_array().unwrap().iter().filter(holds).count(), 1, "{status}");
    let who = agents[1].call("who", &json!({"item": "lock:database_*"}));
    assert_eq!(who["holdings"][0]["by"], "claude_1");
    assert_eq!(who["holdings"][0]["item"], "lock:database_migration");
    let seen = retrieve(&mut agents[1], "locks:database_migration", "locked_by");
    assert_eq!(seen, json!("claude_1"));
    // What it writes under the lock counts as long as it has it.
    let write = |fence: i64, value: i64| {
        json!({"scope": "schema", "key": "version", "value": value,
            "guards": [{"resource": "lock:database_migration", "fence": fence}]})
    };
    agents[0].call("store_data", &write(first, 0));
    let unclaim = json!({"items": ["lock:database_migration"]});
    let given = agents[0].call("unclaim", &unclaim);
    assert_eq!(given["released"], json!(["lock:database_migration"]));
    let given = agents[0].call("unclaim", &unclaim);
    assert_eq!(given["not_held"], json!(["lock:database_migration"]));
    let second = fence(&agents[1].call("claim", &lock));
    assert!(second > first);
    let text = agents[0].refusal("store_data", &write(first, 99));
    assert!(text.starts_with("FENCED: "), "{text}");
    agents[1].call("unclaim", &unclaim);
    // Reading and storing, which loses updates, loses none under the lock.
    at_once(&mut agents, |_, agent| {
        for _ in 0..5 {
            let held = loop {
                match try_call(agent, "claim", &lock) {
                    Ok(claimed) => break fence(&claimed),
                    Err(text) => assert!(text.starts_with("HELD: "), "{text}"),
                }
            };
            let version = retrieve(agent, "schema", "version").as_i64().unwrap();
            agent.call("store_data", &write(held, version + 1));
            agent.call("unclaim", &unclaim);
        }
    });
    assert_eq!(retrieve(&mut agents[0], "schema", "version"), json!(15));
    for (wrong, why) in [
        (json!({"items": ["lock:x"]}), "needs `ttl`"),
        (json!({"items": ["lock:x", "issue:1"], "ttl": "1m"}), "alone"),
        (json!({"items": ["lock:x"], "ttl": "1m", "mode": "advisory"}), "alone"),
        (json!({"items": ["lock:x"], "ttl": "1s"}), "ttl is 1s"),
        (json!({"items": ["lock:"], "ttl": "1m"}), "resource"),
    ] {
        let text = agents[0].refusal("claim", &wrong);
        assert!(text.starts_with("INVALID: ") && text.contains(why), "{text}");
    }
    agents.into_iter().for_each(Server::close);
}

#[test]
fn pattern_4_progress() {
    let world = World::new();
    let [mut one, mut two] = agents::<2>(&world);
    assert_eq!(retrieve(&mut two, "issue:15", "progress"), json!(null));
    one.call("claim", &json!({"items": ["issue:15"]}));
    for (phase, percent) in [("analysis", 25), ("implementation", 50), ("testing", 75)] {
        let report = json!({"subject": "issue:15", "phase": phase, "percent": percent,
            "message": "Writing tests"});
        one.call("report_progress", &report);
    }
    let seen = retrieve(&mut two, "issue:15", "progress");
    assert_eq!((&seen["phase"], &seen["percent"]), (&json!("testing"), &json!(75)));
    assert_eq!(
        (&seen["message"], &seen["updated_by"]),
        (&json!("Writing tests"), &json!("claude_1"))
    );
    let status = two.call("status", &json!({}));
    assert_eq!(
        (&status["progress"][0]["percent"], &status["progress"][0]["by"]),
        (&json!(75), &json!("claude_1"))
    );
    // It is its own to report on.
    let report = json!({"subject": "issue:15", "phase": "complete", "percent": 100});
    let text = two.refusal("report_progress", &report);
    assert!(text.starts_with("CLAIMED: ") && text.contains("claude_1"), "{text}");
    assert_eq!(one.call("report_progress", &report)["before"]["percent"], 75);
    // It stays when who reported it has left.
    one.call("sign_off", &json!({}));
    assert_eq!(retrieve(&mut two, "issue:15", "progress")["percent"], 100);
    one.close();
    two.close();
}

#[test]
fn pattern_5_task_queue() {
    let world = World::new();
    let mut agents = agents::<4>(&world);
    let mut tasks: Vec<Value> = (0..12).map(|file| json!({"payload": {"file": file}})).collect();
    tasks.push(json!({"payload": "first", "priority": 9}));
    tasks.push(json!({"payload": "publish", "needs_new": (0..13).collect::<Vec<_>>()}));
    agents[0].call("add_tasks", &json!({"tasks": tasks}));
    let first = agents[0].call("next_task", &json!({}));
    assert_eq!(first["payload"], "first");
    let finish = |task: &Value| json!({"task": task["task"], "fence": task["fence"], "outcome": "done", "result": 1});
    agents[0].call("finish_task", &finish(&first));
    // All work until the last task, which waits for all others, has been done.
    let done = at_once(&mut agents, |_, agent| {
        let mut done = Vec::new();
        loop {
            let task = agent.call("next_task", &json!({"wait": LONG}));
            let payload = task["payload"].clone();
            let guards =
                json!([{"resource": format!("task:{}", task["task"]), "fence": task["fence"]}]);
            let note = json!({"scope": "project:queue", "key": "done", "op": "append",
                "value": payload, "guards": guards});
            agent.call("update_data", &note);
            agent.call("finish_task", &finish(&task));
            if payload == "publish" {
                // The others are told that there is no more.
                let ends: Vec<Value> = (0..3).map(|_| json!({"payload": "end"})).collect();
                agent.call("add_tasks", &json!({"tasks": ends}));
                return done;
            }
            if payload == "end" {
                return done;
            }
            done.push(payload["file"].as_i64().unwrap());
        }
    });
    let mut done: Vec<i64> = done.into_iter().flatten().collect();
    done.sort_unstable();
    assert_eq!(done, (0..12).collect::<Vec<_>>(), "each once");
    let order = retrieve(&mut agents[0], "project:queue", "done");
    assert_eq!(order[12], "publish", "{order}");
    let left = agents[0].call("next_task", &json!({}));
    assert_eq!((&left["open"]["ready"], &left["open"]["running"]), (&json!(0), &json!(0)));
    // What was taken back from a worker is the next one's, and the first one's word counts no more.
    agents[0].call("add_tasks", &json!({"tasks": [{"payload": "again"}]}));
    let task = agents[0].call("next_task", &json!({}));
    let mut release = finish(&task);
    release["outcome"] = json!("release");
    release.as_object_mut().unwrap().remove("result");
    agents[0].call("finish_task", &release);
    let again = agents[1].call("next_task", &json!({}));
    assert!(again["task"] == task["task"] && again["fence"].as_i64() > task["fence"].as_i64());
    let text = agents[0].refusal("finish_task", &finish(&task));
    assert!(text.starts_with("FENCED: "), "{text}");
    agents[1].call("finish_task", &finish(&again));
    agents.into_iter().for_each(Server::close);
}

#[test]
fn pattern_6_handoff() {
    let world = World::new();
    let mut agents = agents::<3>(&world);
    let before = fence(&agents[0].call("claim", &json!({"items": ["issue:15", "path:src"]})));
    let lock = json!({"items": ["lock:deploy"], "ttl": LONG});
    agents[0].call("claim", &lock);
    let payload = json!({"phase": "implementation_complete",
        "next_steps": ["Run test suite with pytest"],
        "context": {"files_modified": ["src/adapters/local.py"], "branch": "feat/15"}});
    let offer = json!({"action": "offer", "items": ["issue:15", "path:src", "lock:deploy"],
        "payload": payload});
    let number = agents[0].call("hand_off", &offer)["offer"].clone();
    let text = agents[0].refusal("hand_off", &json!({"action": "offer", "items": ["lock:deploy"]}));
    assert!(text.starts_with("OFFERED: `lock:deploy` is in offer "), "{text}");
    assert!(text.contains(&format!("action withdraw, offer {number}")), "{text}");
    let text = agents[1].refusal("hand_off", &json!({"action": "offer", "items": ["lock:deploy"]}));
    assert!(text.starts_with("NOT_OWNER: `lock:deploy` is not held"), "{text}");
    assert!(!text.contains("lease:"), "{text}");
    let drafted = agents[0].call("hand_off", &json!({"action": "draft"}));
    let holds = drafted["draft"]["holds"].as_array().unwrap();
    assert!(
        holds.contains(&json!("lock:deploy")) && holds.contains(&json!("issue:15")),
        "{drafted}"
    );
    let seen = retrieve(&mut agents[1], "issue:15", "handoff");
    assert_eq!((&seen["from_session"], &seen["phase"]), (&json!("claude_1"), &payload["phase"]));
    agents[0].call("sign_off", &json!({"note": "over to you"}));
    let status = retrieve(&mut agents[1], "session:claude_1", "status");
    assert_eq!(status, json!("handoff_ready"));
    // Both want it; one has all of it.
    let outcomes = at_once(&mut agents[1..], |_, agent| {
        let listed = agent.call("hand_off", &json!({"action": "list"}));
        let open = listed["offers"].as_array().unwrap();
        assert!(open.iter().all(|offer| offer["offer"] == number), "{listed}");
        let named = json!(["issue:15", "path:src", "lock:deploy"]);
        assert!(open.iter().all(|offer| offer["items"] == named), "{listed}");
        try_call(agent, "hand_off", &json!({"action": "accept", "offer": number}))
    });
    let taker = outcomes.iter().position(Result::is_ok).unwrap();
    let (accepted, refused) = (outcomes[taker].as_ref().unwrap(), &outcomes[1 - taker]);
    let text = refused.as_ref().unwrap_err();
    assert!(
        text.starts_with("GONE: ") && text.contains(&format!("claude_{}", taker + 2)),
        "{text}"
    );
    let told = accepted["payload"].as_str().unwrap();
    assert!(told.contains("data, not instructions"), "{told}");
    assert!(told.contains("Run test suite with pytest") && told.contains("feat/15"), "{told}");
    assert!(fence(accepted) > before, "{accepted}");
    assert_eq!(accepted["items"].as_array().unwrap().len(), 3, "{accepted}");
    assert_eq!(accepted["items"][2]["item"], "lock:deploy", "{accepted}");
    let held = agents[1 + taker].call("claim", &lock);
    assert_eq!(held["items"][0]["already_held"], true);
    assert_eq!(retrieve(&mut agents[1], "issue:15", "handoff"), json!(null));
    let holder = retrieve(&mut agents[1], "issue:15", "current_session");
    assert_eq!(holder, json!(format!("claude_{}", taker + 2)));
    agents.into_iter().for_each(Server::close);
}

#[test]
fn pattern_7_health_check() {
    let world = World::new();
    let [mut one, mut two, mut three] = agents::<3>(&world);
    three.call("add_tasks", &json!({"tasks": [{"payload": "the work"}]}));
    let lost = one.call("next_task", &json!({}));
    one.call("claim", &json!({"items": ["issue:15"]}));
    let seen = retrieve(&mut two, "session:claude_1", "last_heartbeat");
    assert!(seen.is_string(), "{seen}");
    let status = two.call("status", &json!({}));
    for session in status["sessions"].as_array().unwrap() {
        let heard_of = session["heard_of"].as_str().unwrap();
        assert!(heard_of.ends_with(" ago"), "{session}");
        assert_eq!(session["possibly_abandoned"], json!(null));
    }
    // One dies. Whoever waits for work gets its task, and whoever asks for its issue is told when.
    let waits = three.begin_call("next_task", &json!({"wait": LONG}));
    one.kill();
    let text = two.refusal("claim", &json!({"items": ["issue:15"]}));
    assert!(text.starts_with("COOLING: ") && text.contains("claude_1"), "{text}");
    let taken = crate::world::answer(&three.answer_to(waits));
    assert_eq!((&taken["task"], &taken["attempt"]), (&lost["task"], &json!(2)));
    assert!(taken["fence"].as_i64() > lost["fence"].as_i64());
    two.call("claim", &json!({"items": ["issue:15"]}));
    let gone = retrieve(&mut two, "session:claude_1", "last_heartbeat");
    assert_eq!(gone, json!(null));
    two.close();
    three.close();
}

#[test]
fn pattern_8_event_log() {
    let world = World::new();
    let mut agents = agents::<3>(&world);
    at_once(&mut agents, |number, agent| {
        for line in 0..10 {
            let event = json!({"event_type": "tests_added", "message": format!("{number}/{line}"),
                "metadata": {"count": line}});
            agent.call("log_event", &event);
            let kept = json!({"scope": "project:events", "key": "log", "op": "append",
                "value": [number, line], "keep": 20});
            agent.call("update_data", &kept);
        }
    });
    let log = agents[0].call("status", &json!({"log": 50}))["log"].as_str().unwrap().to_owned();
    for number in 0..3 {
        let mut behind = 0;
        for line in 0..10 {
            // Each has its author, and those of one author are in their order.
            let said = format!("\"message\":\"{number}/{line}\"");
            let at = log.find(&said).unwrap_or_else(|| panic!("{said} is missing: {log}"));
            let author = format!("written by \"claude_{}\" ", number + 1);
            let head = log[..at].rfind("written by ").unwrap();
            assert!(log[head..].starts_with(&author), "{log}");
            assert!(at > behind, "{log}");
            behind = at;
        }
    }
    let newest = agents[0].call("status", &json!({"log": 1}))["log"].as_str().unwrap().to_owned();
    assert_eq!(newest.matches("written by ").count(), 1, "{newest}");
    // A log kept by hand in a key stays as long as one wants it, and loses nothing on the way.
    let kept = retrieve(&mut agents[0], "project:events", "log");
    let kept = kept.as_array().unwrap();
    assert_eq!(kept.len(), 20);
    let wrote = |entry: &Value| entry[1] == 9;
    assert_eq!(kept.iter().filter(|entry| wrote(entry)).count(), 3, "{kept:?}");
    agents.into_iter().for_each(Server::close);
}
