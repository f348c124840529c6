//! What sessions use is counted for each by itself.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::e2e::cases::agent::Agent;
use crate::e2e::cases::prompt::Prompt;
use crate::e2e::cases::repo::Repo;
use crate::e2e::stage::Stage;

/// The two sessions of the architecture paper: messages, tokens, pressure, level, checkpoints.
const SHORT: (i64, i64, &str, &str, usize) = (8, 29_414, "14.7", "normal", 0);
const LONG: (i64, i64, &str, &str, usize) = (42, 85_000, "42.5", "elevated", 1);

/// A turn of two messages after which so many tokens are in the context.
fn turn(agent: &mut Agent<'_>, tokens: i64) -> Result<String> {
    let prompt = format!("@@usage in=4 out=6 cache_read={}\n@@say so be it", tokens - 4);
    Ok(agent.ask(&prompt)?.native)
}

pub(super) fn never_blended(stage: &Stage) -> Result<()> {
    let repo = Repo::new(stage)?;
    // Windows differ; the paper's is this one.
    fs::write(repo.file("cotenant.toml"), "[pressure]\nwindow = 200000\n")?;
    let (mut a, mut b) = (repo.agent()?, repo.agent()?);
    let (mut short, mut long) = (String::new(), String::new());
    // Both work at once; the longer one passes its checkpoint while the shorter one goes on.
    for step in 1..=LONG.0 / 2 {
        if step % 5 == 1 && step / 5 < SHORT.0 / 2 {
            short = turn(&mut a, SHORT.1 * (step / 5 + 1) / 4)?;
        }
        long = turn(&mut b, LONG.1 * step / 21)?;
        let shown = repo.ask(&["metrics", "show", "--by", "user"])?;
        for session in shown["sessions"].as_array().into_iter().flatten() {
            let tokens = &session["gauges"]["context_tokens"];
            ensure!(tokens.as_i64() <= Some(LONG.1), "a blended figure: {session}");
        }
    }
    let (short, long) = (repo.live_of(&short)?, repo.live_of(&long)?);
    ensure!(a.close()?.success() && b.close()?.success());
    let shown = repo.ask(&["metrics", "show", "--all", "--by", "user"])?;
    for (session, figures) in [(&short, SHORT), (&long, LONG)] {
        let (messages, tokens, percent, level, checkpoints) = figures;
        let pressure = repo.ask(&["pressure", &session.id])?;
        let told = json!({
            "messages": pressure["messages"],
            "tokens": pressure["context_tokens"],
            "percent": pressure["percent"],
            "level": pressure["level"],
        });
        let expected =
            json!({"messages": messages, "tokens": tokens, "percent": percent, "level": level});
        ensure!(told == expected, "{told} is not {expected}\n{shown:#}");
        // Checkpoints fire once per session.
        let kind = ["event", "list", "--kind", "budget.threshold", "--last", "1000"];
        let events = repo.ask(&kind)?;
        let passed = |event: &&Value| {
            let threshold = event["payload"]["threshold"].as_str().unwrap_or_default();
            event["session"] == *session.id && threshold.starts_with("tokens-")
        };
        let passed = events["events"].as_array().into_iter().flatten().filter(passed).count();
        ensure!(passed == checkpoints, "{}: {passed} checkpoints: {events:#}", session.name);
    }
    // The sum is a total of what was used; how full sessions are has none.
    let total = &shown["totals"][0]["counters"];
    ensure!(total["messages"] == SHORT.0 + LONG.0, "{total}");
    ensure!(total.get("context_tokens").is_none(), "{total}");
    Ok(())
}

pub(super) fn instructed(stage: &Stage) -> Result<()> {
    let repo = Repo::new(stage)?;
    let signed = repo.run("cotenant", &["sign-on", "ann", "--kind", "human"])?;
    ensure!(signed.status.success(), "{}", signed.stderr);
    repo.ask(&["--session", "ann", "instruction", "add", "Run the tests before every commit"])?;
    let mut a = repo.agent()?;
    let first = a.ask("@@say hello")?;
    ensure!(first.mentions("| Run the tests before every commit"), "it is not told at the start");
    // What changes while a tool runs reaches the model in the same turn: with the next call, or, from a
    // server, with the first one that is due to give a sign of life, which is so after 5 s.
    let line = "cotenant instruction add 'Deploy on Fridays' && \
                cotenant --session ann instruction add 'Keep functions short'";
    let second = a.ask(&Prompt::new().bash(line).bash("sleep 5").say("so be it"))?;
    second.answer().context("the commands ran")?;
    ensure!(second.mentions("| Keep functions short"), "a running session is not told");
    ensure!(!second.mentions("| Deploy on Fridays"), "what an agent adds is not in force");
    Ok(())
}
