//! Sessions share data, and claims made in a shell hold.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::e2e::cases::prompt::Prompt;
use crate::e2e::cases::repo::Repo;
use crate::e2e::stage::Stage;

pub(super) fn shared(stage: &Stage) -> Result<()> {
    let repo = Repo::new(stage)?;
    let (mut a, mut b) = (repo.agent()?, repo.agent()?);
    let value = json!({"steps": ["read", "write \"ö\" and \u{1f980}"], "done": 1.5});
    let store = json!({"scope": "issue:15", "key": "plan", "value": value});
    let stored = a.ask(&Prompt::new().mcp("store_data", &store).say("stored"))?;
    stored.answer()?;
    let a_session = repo.live_of(&stored.native)?;

    let place = json!({"scope": "issue:15", "key": "plan"});
    let retrieve = |place: &Value| Prompt::new().mcp("retrieve_data", place).say("retrieved");
    let read = |text: &str| serde_json::from_str::<Value>(text).map(strip);
    let found = b.ask(&retrieve(&place))?.answer()?;
    ensure!(read(&found)? == value, "retrieved `{found}`");
    let absent = json!({"scope": "issue:15", "key": "absent"});
    let found = b.ask(&retrieve(&absent))?.answer()?;
    ensure!(read(&found)?.is_null(), "retrieved `{found}`");

    // It outlives the one who stored it, and is there in a shell too.
    a.kill9()?;
    let found = b.ask(&retrieve(&place))?.answer()?;
    ensure!(read(&found)? == value, "retrieved `{found}`");
    let entry = repo.ask(&["data", "get", "issue:15", "plan"])?;
    ensure!(entry["value"] == value && entry["writer"] == *a_session.name, "{entry}");
    Ok(())
}

/// A value that is no object travels in one, as structured content must be an object for some
/// clients.
fn strip(answer: Value) -> Value {
    match answer {
        Value::Object(fields) if fields.len() == 1 && fields.contains_key("result") => {
            fields.into_iter().map(|(_, value)| value).next().unwrap_or_default()
        }
        answer => answer,
    }
}

pub(super) fn claimed_in_a_shell(stage: &Stage) -> Result<()> {
    let repo = Repo::new(stage)?;
    let mut a = repo.agent()?;
    // Each call of the tool is a shell of its own, gone when the next one starts.
    let who = json!({"item": "issue:15"});
    let prompt = Prompt::new()
        .bash("cotenant claim issue:15 path:src")
        .bash("cotenant who issue:15")
        .mcp("who", &who)
        .say("mine");
    let turn = a.ask(&prompt)?;
    turn.answer()?;
    let session = repo.live_of(&turn.native)?;
    ensure!(repo.live()?.len() == 1, "a shell is a session of its own: {:#?}", repo.live()?);
    for result in &turn.results() {
        ensure!(!result.is_error, "{}", result.text);
    }
    for result in &turn.results()[1..] {
        ensure!(result.text.contains(&session.name), "{} is not `{}`", result.text, session.name);
    }
    let mut b = repo.agent()?;
    let line = "cotenant claim issue:15; echo \"exit $?\"";
    let refused = b.ask(&Prompt::new().bash(line).say("not mine"))?.answer()?;
    ensure!(refused.contains("exit 73") && refused.contains(&session.name), "{refused}");
    let new = Prompt::new().write(&repo.file("src/new.rs"), "//\n").say("not mine");
    let refused = b.ask(&new)?.refusal("Write")?;
    ensure!(refused.contains(&format!("is claimed by `{}`", session.name)), "{refused}");

    // It still holds in the next turn, until it is given back.
    a.ask("@@say a turn without a tool")?;
    ensure!(repo.holders("issue:15")?[0]["session"] == *session.id);
    a.ask(&Prompt::new().bash("cotenant unclaim issue:15").say("yours"))?.answer()?;
    b.ask(&Prompt::new().bash("cotenant claim issue:15").say("mine"))?.answer()?;
    Ok(())
}
