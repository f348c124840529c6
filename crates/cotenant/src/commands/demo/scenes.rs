//! The story: three windows, issues 15, 16 and 17, one crash.

use std::time::{Duration, Instant};

use cotenant_core::{Result, lease::LOCK_DELAY_MS};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{
    Stage,
    agent::{Agent, asked},
    player::{Ask, Told},
    scratch::Scratch,
    summary::Summary,
};

/// The issues that everybody wants, in this order.
const ISSUES: [&str; 3] = ["issue:15", "issue:16", "issue:17"];
/// Updates of one counter and one list by each agent.
const UPDATES: usize = 50;
const PURPOSES: [&str; 3] = ["the backend API", "the frontend", "the documentation"];

/// Plays all scenes.
pub(super) fn play(stage: &mut Stage<'_>, scratch: &Scratch) -> Result<Summary> {
    let mut summary = Summary::default();
    let mut agents = Vec::new();
    for (index, name) in ["claude_1", "claude_2", "claude_3"].into_iter().enumerate() {
        let home = if index == 2 { scratch.worktree() } else { scratch.repository() };
        agents.push(Agent::start(scratch, name, u32::try_from(index + 1).unwrap_or(0), &home)?);
    }
    let mut cast = Cast { scratch, agents };
    // A scene that cannot be played to its end is a promise that was not kept.
    if let Err(error) = cast.play(stage, &mut summary) {
        summary.row("the story is told to its end", error.message, false);
    }
    Ok(summary)
}

struct Cast<'a> {
    scratch: &'a Scratch,
    agents: Vec<Agent>,
}

/// What a hook tells the model.
fn context_of(answer: &Value) -> &str {
    answer["hookSpecificOutput"]["additionalContext"].as_str().unwrap_or_default()
}

/// Why a hook refuses, if it does.
fn refusal_of(answer: &Value) -> Option<&str> {
    let output = &answer["hookSpecificOutput"];
    (output["permissionDecision"] == "deny")
        .then(|| output["permissionDecisionReason"].as_str().unwrap_or_default())
}

impl Cast<'_> {
    fn play(&mut self, stage: &mut Stage<'_>, summary: &mut Summary) -> Result<()> {
        self.sign_on(stage, summary)?;
        self.race(stage, summary)?;
        self.share(stage, summary)?;
        self.edit(stage, summary)?;
        self.crash(stage, summary)?;
        self.pause(stage, summary)?;
        self.leave(stage, summary)
    }

    /// Asks all agents at once; answers in their order.
    fn all(&mut self, ask: impl Fn(usize) -> Ask) -> Result<Vec<Told>> {
        for (index, agent) in self.agents.iter_mut().enumerate() {
            agent.ask(&ask(index))?;
        }
        self.agents.iter().map(Agent::told).collect()
    }

    fn sign_on(&mut self, stage: &mut Stage<'_>, summary: &mut Summary) -> Result<()> {
        stage.scene("Three windows open");
        stage.say("Two in the repository, the third in a linked worktree of it.");
        let mut told = 0;
        for agent in &mut self.agents {
            agent.hook("SessionStart", json!({"source": "startup"}))?;
        }
        for (index, purpose) in PURPOSES.into_iter().enumerate() {
            let name = self.agents[index].name;
            self.agents[index].run(&["sign-on", name, "--purpose", purpose])?;
        }
        for agent in &mut self.agents {
            let answer = agent.hook("UserPromptSubmit", json!({"prompt": "go"}))?;
            let context = context_of(&answer).to_owned();
            let others =
                ["claude_1", "claude_2", "claude_3"].into_iter().filter(|name| *name != agent.name);
            let sees = others.clone().filter(|name| context.contains(name)).count();
            told += sees;
            stage.say(&format!("{} signs on and is told of {sees} others.", agent.name));
        }
        let live = self.scratch.data(&["session", "list"])?;
        let live = live["sessions"].as_array().map_or(0, Vec::len);
        summary.row(
            "sessions see each other",
            format!("{live} sessions live; {told} of 6 introductions reached a model"),
            live == 3 && told == 6,
        );
        Ok(())
    }

    fn race(&mut self, stage: &mut Stage<'_>, summary: &mut Summary) -> Result<()> {
        stage.scene("Everybody wants issue 15");
        let mut idle: Vec<usize> = (0..self.agents.len()).collect();
        let (mut winners, mut refused, mut told_by_whom) = (Vec::new(), 0, 0);
        for issue in ISSUES {
            for index in &idle {
                self.agents[*index].ask(&asked(&["claim", issue]))?;
            }
            let mut outcomes = Vec::new();
            for index in &idle {
                outcomes.push((*index, self.agents[*index].told()?));
            }
            let won: Vec<usize> = outcomes
                .iter()
                .filter(|(_, told)| told.exit == 0)
                .map(|(index, _)| *index)
                .collect();
            let [first] = won[..] else {
                stage.say(&format!("{} sessions got {issue} at once!", won.len()));
                continue;
            };
            let winner = self.agents[first].name;
            let lost: Vec<&Told> =
                outcomes.iter().map(|(_, told)| told).filter(|told| told.exit == 73).collect();
            refused += lost.len();
            told_by_whom += lost.iter().filter(|told| told.err.contains(winner)).count();
            let refusals = match lost.len() {
                0 => String::new(),
                1 => "; the other one is refused and told by whom (exit 73)".to_owned(),
                many => format!("; the other {many} are refused and told by whom (exit 73)"),
            };
            stage.say(&format!("{winner} gets {issue}{refusals}."));
            winners.push(winner);
            idle.retain(|index| *index != first);
        }
        let held = self.scratch.data(&["who"])?;
        let holders: Vec<(&str, &str)> = held["holdings"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|holding| Some((holding["resource"].as_str()?, holding["name"].as_str()?)))
            .collect();
        let agree = ISSUES.iter().zip(&winners).all(|(issue, winner)| {
            holders.iter().filter(|(resource, _)| resource == issue).count() == 1
                && holders.contains(&(issue, winner))
        });
        summary.row(
            "an issue is taken once",
            format!(
                "{} issues, {} winners; {told_by_whom} of {refused} refusals name the winner",
                ISSUES.len(),
                winners.len()
            ),
            agree && winners.len() == 3 && refused == 3 && told_by_whom == 3,
        );
        Ok(())
    }

    fn share(&mut self, stage: &mut Stage<'_>, summary: &mut Summary) -> Result<()> {
        stage.scene("All write the same data at once, through the MCP server");
        let adds = self.all(|_| Ask::Tool {
            name: "update_data".to_owned(),
            arguments: vec![
                json!({"scope": "demo", "key": "count", "op": "add", "value": 1});
                UPDATES
            ],
        })?;
        let appends = self.all(|index| Ask::Tool {
            name: "update_data".to_owned(),
            arguments: (0..UPDATES)
                .map(|number| {
                    let item = format!("{index}-{number}");
                    json!({"scope": "demo", "key": "list", "op": "append", "value": item})
                })
                .collect(),
        })?;
        let failed: usize = adds.iter().chain(&appends).map(|told| told.failed).sum();
        let count =
            self.scratch.data(&["data", "get", "demo", "count"])?["value"].as_u64().unwrap_or(0);
        let list = self.scratch.data(&["data", "get", "demo", "list"])?;
        let mut items: Vec<&str> =
            list["value"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        items.sort_unstable();
        items.dedup();
        let wanted = 3 * UPDATES;
        stage.say(&format!(
            "{wanted} additions gave {count}, {wanted} entries gave {}.",
            items.len()
        ));
        summary.row(
            "no update is lost",
            format!(
                "counter {count} of {wanted}, list {} of {wanted}, {failed} calls failed",
                items.len()
            ),
            count == wanted as u64 && items.len() == wanted && failed == 0,
        );
        Ok(())
    }

    fn edit(&mut self, stage: &mut Stage<'_>, summary: &mut Summary) -> Result<()> {
        stage.scene("claude_1 edits a file, claude_2 wants to");
        let (here, there) = (
            self.scratch.repository().join("README.md"),
            self.scratch.worktree().join("README.md"),
        );
        let first = self.agents[0].edit(&here, 1)?;
        let second = self.agents[1].edit(&here, 2)?;
        let third = self.agents[2].edit(&there, 3)?;
        let reason = refusal_of(&second).unwrap_or_default().to_owned();
        if reason.is_empty() {
            stage.say("claude_2 was NOT refused.");
        } else {
            stage.say(&format!("claude_2's edit is refused, and its model reads: {reason}"));
        }
        let named = reason.contains("claude_1");
        summary.row(
            "nobody edits another's file",
            format!(
                "claude_1 allowed: {}; claude_2 refused: {named}",
                refusal_of(&first).is_none()
            ),
            refusal_of(&first).is_none() && named,
        );
        let note = context_of(&third).contains("claude_1");
        let allowed = refusal_of(&third).is_none();
        stage.say(&format!(
            "claude_3 edits the same file in its own worktree: allowed{}.",
            if note { ", with a note" } else { "" }
        ));
        summary.row(
            "another worktree is only told",
            format!("allowed: {allowed}; told: {note}"),
            allowed && note,
        );
        Ok(())
    }

    fn crash(&mut self, stage: &mut Stage<'_>, summary: &mut Summary) -> Result<()> {
        stage.scene("claude_1 dies: kill -9");
        let held = self.scratch.data(&["session", "show", "claude_1"])?;
        let issue = held["holds"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|holding| holding["resource"].as_str())
            .find(|resource| resource.starts_with("issue:"))
            .unwrap_or("issue:15")
            .to_owned();
        let pid = self.agents[0].kill()?;
        let died = Instant::now();
        stage.say(&format!(
            "Process {pid} is gone; nobody signed off for it. claude_2 asks for its {issue}."
        ));
        let told = self.agents[1].run(&["claim", &issue, "--wait", "30s"])?;
        let took = died.elapsed();
        let file = self.scratch.repository().join("README.md");
        let free = refusal_of(&self.agents[1].edit(&file, 4)?).is_none();
        stage.say(&format!(
            "After {:.1} s claude_2 has {issue}; the file is free too: {free}.",
            took.as_secs_f64()
        ));
        let bound = Duration::from_millis(LOCK_DELAY_MS + 1_000);
        let order = self.passed_in_order(&issue)?;
        summary.row(
            "a crash gives everything back",
            format!(
                "exit {}; {:.1} s (lock delay 5 s); lost before granted again: {order}",
                told.exit,
                took.as_secs_f64()
            ),
            told.exit == 0 && free && order && took <= bound + Duration::from_secs(1),
        );
        Ok(())
    }

    /// Whether the log shows the claim lost before it was granted to somebody else.
    fn passed_in_order(&self, issue: &str) -> Result<bool> {
        let log = self.scratch.data(&["event", "list", "--scope", issue, "--last", "1000"])?;
        let kinds: Vec<&str> = log["events"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|event| event["kind"].as_str())
            .collect();
        let at = |kind: &str, from: usize| kinds.iter().skip(from).position(|found| *found == kind);
        Ok(at("claim.granted", 0) == Some(0)
            && at("claim.lost", 1).is_some()
            && kinds.last() == Some(&"claim.granted"))
    }

    fn pause(&mut self, stage: &mut Stage<'_>, summary: &mut Summary) -> Result<()> {
        stage.scene("claude_2 takes a lease and is suspended past its end");
        let (sleeper, heir) = (1, 2);
        let lease = ["lease", "acquire", "deploy", "--ttl", "5s", "--lock-delay", "0s"];
        let old = self.agents[sleeper].run(&lease)?.out.trim().to_owned();
        self.agents[sleeper].signal(Signal::STOP)?;
        let mut waiting = lease.to_vec();
        waiting.extend(["--wait", "30s"]);
        let new = self.agents[heir].run(&waiting)?.out.trim().to_owned();
        stage.say(&format!("claude_3 waited and holds it now: fence {new} instead of {old}."));
        let guard = format!("deploy={new}");
        let fresh = self.agents[heir].run(&[
            "--guard",
            &guard,
            "data",
            "set",
            "deploy",
            "by",
            "\"claude_3\"",
        ])?;
        self.agents[sleeper].signal(Signal::CONT)?;
        let guard = format!("deploy={old}");
        let refused = self.agents[sleeper].run(&[
            "--guard",
            &guard,
            "data",
            "set",
            "deploy",
            "by",
            "\"claude_2\"",
        ])?;
        stage.say(&format!(
            "claude_2 wakes up and writes with its old fence: exit {}.",
            refused.exit
        ));
        let value = self.scratch.data(&["data", "get", "deploy", "by"])?["value"].clone();
        let risen = old.parse::<i64>().unwrap_or(i64::MAX) < new.parse::<i64>().unwrap_or(0);
        summary.row(
            "an old holder cannot write",
            format!(
                "fence {old} then {new}; stale write exits {} (FENCED is 76); value {value}",
                refused.exit
            ),
            fresh.exit == 0 && refused.exit == 76 && value == "claude_3" && risen,
        );
        Ok(())
    }

    fn leave(&mut self, stage: &mut Stage<'_>, summary: &mut Summary) -> Result<()> {
        stage.scene("The windows close");
        for index in [1, 2] {
            let session = self.agents[index].session();
            self.agents[index].hook("SessionEnd", json!({"reason": "other"}))?;
            let shown = self.scratch.data(&["session", "show", &session])?;
            let left = &shown["session"]["state"];
            stage.say(&format!("{} signs off: {left}.", self.agents[index].name));
        }
        let left = self.scratch.data(&["who"])?["holdings"].as_array().map_or(0, Vec::len);
        let live =
            self.scratch.data(&["session", "list"])?["sessions"].as_array().map_or(0, Vec::len);
        summary.row(
            "nothing is left behind",
            format!("{live} sessions live, {left} claims held"),
            live + left == 0,
        );
        let chain = self.scratch.data(&["event", "verify"])?;
        let checked = chain["checked"].as_u64().unwrap_or(0);
        stage.say(&format!("The log has {checked} events, each hashed onto the one before."));
        let doctor = self.scratch.data(&["doctor", "--deep"]);
        let sound = doctor.is_ok();
        if let Err(error) = doctor {
            stage.say(&format!("The doctor says: {}", error.message));
        }
        summary.row(
            "the audit log is whole",
            format!(
                "{checked} events, chain whole: {}; rows agree with the log: {sound}",
                chain["ok"]
            ),
            chain["ok"] == json!(true) && checked > 0 && sound,
        );
        Ok(())
    }
}
