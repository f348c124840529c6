//! Sessions see each other.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::e2e::cases::prompt::Prompt;
use crate::e2e::cases::repo::Repo;
use crate::e2e::stage::Stage;

pub(super) fn two_sessions(stage: &Stage) -> Result<()> {
    let repo = Repo::new(stage)?;
    let mut a = repo.agent()?;
    let alone = a.ask("@@say I am first")?;
    ensure!(alone.presence()?.contains("No other session"), "{}", alone.presence()?);
    let a_session = repo.live_of(&alone.native)?;
    ensure!(a_session.kind == "claude" && a_session.pid == Some(a.pid().into()), "{a_session:?}");

    let mut b = repo.agent()?;
    let second = b.ask("@@say I am second")?;
    let b_session = repo.live_of(&second.native)?;
    ensure!(b_session.pid == Some(b.pid().into()) && b_session.id != a_session.id);
    let line = |name: &str| format!("- `{name}` (claude");
    ensure!(second.presence()?.contains(&line(&a_session.name)), "{}", second.presence()?);
    let third = a.ask("@@say who is there?")?;
    ensure!(third.presence()?.contains(&line(&b_session.name)), "{}", third.presence()?);

    // The server says the same.
    let status = a.ask(&Prompt::new().mcp("status", &json!({})).say("so be it"))?.answer()?;
    let status: Value = serde_json::from_str(&status)?;
    ensure!(status["you"] == *a_session.name, "{status}");
    let names = [&status["sessions"][0]["name"], &status["sessions"][1]["name"]];
    ensure!(names.contains(&&json!(b_session.name)), "{status}");

    // Who leaves is gone at once.
    ensure!(b.close()?.success());
    ensure!(repo.session(&b_session.id)?.state == "ended", "{:?}", repo.sessions()?);
    let last = a.ask("@@say and now?")?;
    ensure!(last.presence()?.contains("No other session"), "{}", last.presence()?);
    ensure!(repo.live()?.len() == 1, "{:?}", repo.live()?);
    Ok(())
}

pub(super) fn named(stage: &Stage) -> Result<()> {
    let repo = Repo::new(stage)?;
    let mut a = repo.agent()?;
    let hello = a.ask("@@say hello")?;
    let before = repo.live_of(&hello.native)?;
    let name = json!({"session_id": "claude_1", "purpose": "the backend API"});
    a.ask(&Prompt::new().mcp("sign_on", &name).say("so be it"))?.answer()?;
    let after = repo.live_of(&hello.native)?;
    ensure!(after.name == "claude_1" && after.id == before.id, "{:#?}", repo.sessions()?);
    let mut b = repo.agent()?;
    let told = b.ask("@@say who is there?")?.presence()?;
    ensure!(told.contains("- `claude_1` (claude") && told.contains("the backend API"), "{told}");
    // The name is taken as long as its process lives.
    let taken = b.ask(&Prompt::new().mcp("sign_on", &name).say("so be it"))?;
    let results = taken.results();
    ensure!(results.iter().any(|it| it.is_error && it.text.contains("AGENT_BUSY")), "{results:?}");
    // Who takes it afterwards goes on with what it held.
    a.ask(&Prompt::new().bash("cotenant claim issue:15").say("mine"))?.answer()?;
    a.kill9()?;
    b.ask(&Prompt::new().mcp("sign_on", &name).say("so be it"))?.answer()?;
    let heir = repo.live()?;
    ensure!(heir.len() == 1 && heir[0].name == "claude_1" && heir[0].id != after.id, "{heir:#?}");
    ensure!(repo.session(&after.id)?.state == "lost", "{:#?}", repo.sessions()?);
    let holders = repo.holders("issue:15")?;
    ensure!(holders.len() == 1 && holders[0]["session"] == *heir[0].id, "{holders:?}");
    Ok(())
}
