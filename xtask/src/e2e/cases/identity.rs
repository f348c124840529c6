//! Each call is the right session's.

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::e2e::cases::prompt::Prompt;
use crate::e2e::cases::repo::Repo;
use crate::e2e::stage::Stage;

pub(super) fn resumed(stage: &Stage) -> Result<()> {
    let repo = Repo::new(stage)?;
    let first = repo.print(&repo.act(Prompt::new(), "first").say("done"), &[])?;
    let ended = repo.sessions()?;
    ensure!(ended.len() == 1 && ended[0].state == "ended", "{ended:#?}");
    ensure!(ended[0].native.as_ref() == Some(&first.native), "{ended:#?}");
    repo.require_acted("first", &ended[0])?;

    // A conversation that is taken up again is the next incarnation of its session.
    let second =
        repo.print(&repo.act(Prompt::new(), "second").say("done"), &["--resume", &first.native])?;
    ensure!(second.native == first.native);
    let sessions = repo.sessions()?;
    ensure!(sessions.len() == 2, "{sessions:#?}");
    let next = sessions.iter().find(|session| session.id != ended[0].id).context("none")?;
    ensure!(next.native == ended[0].native, "{sessions:#?}");
    ensure!(next.parent.as_ref() == Some(&ended[0].id), "{sessions:#?}");
    ensure!(next.relation.as_deref() == Some("resume"), "{sessions:#?}");
    repo.require_acted("second", next)?;
    repo.require_acted("first", &ended[0])
}

pub(super) fn resumed_after_a_kill(stage: &Stage) -> Result<()> {
    let repo = Repo::new(stage)?;
    let mut a = repo.agent()?;
    let claim = Prompt::new().bash("cotenant claim issue:15");
    let turn = a.ask(&repo.act(claim, "before").say("done"))?;
    turn.answer()?;
    let killed = repo.live_of(&turn.native)?;
    a.kill9()?;
    // It gets back at once what it held, and may go on with its files.
    let prompt = Prompt::new()
        .bash("cotenant claim issue:15")
        .edit(&repo.file("before.txt"), "1", "2")
        .say("done");
    let turn =
        repo.print(&repo.act(Prompt::new(), "after").say("done"), &["--resume", &turn.native]);
    let turn = turn.and_then(|turn| repo.print(&prompt, &["--resume", &turn.native]))?;
    for result in &turn.results() {
        ensure!(!result.is_error, "{}", result.text);
    }
    ensure!(repo.session(&killed.id)?.state == "lost", "{:#?}", repo.sessions()?);
    let sessions = repo.sessions()?;
    let child = |parent: &str| {
        let mut found = sessions.iter().filter(|it| it.parent.as_deref() == Some(parent));
        found.next().with_context(|| format!("nobody resumed {parent}: {sessions:#?}"))
    };
    let after = child(&killed.id)?;
    ensure!(after.relation.as_deref() == Some("resume") && after.native == killed.native);
    repo.require_acted("after", after)
}

pub(super) fn forked(stage: &Stage) -> Result<()> {
    let repo = Repo::new(stage)?;
    let mut a = repo.agent()?;
    let turn = a.ask(&repo.act(Prompt::new(), "before").say("done"))?;
    let parent = repo.live_of(&turn.native)?;
    repo.require_acted("before", &parent)?;
    // The parent lives on, so what the fork does must not be taken for its work.
    let arguments = ["--resume", &turn.native, "--fork-session"];
    let fork = repo.print(&repo.act(Prompt::new(), "fork").say("done"), &arguments)?;
    ensure!(fork.native != turn.native);
    let sessions = repo.sessions()?;
    ensure!(sessions.len() == 2, "{sessions:#?}");
    let child = sessions.iter().find(|session| session.id != parent.id).context("none")?;
    ensure!(child.native.as_ref() == Some(&fork.native), "{sessions:#?}");
    ensure!(child.parent.as_ref() == Some(&parent.id), "{sessions:#?}");
    ensure!(child.relation.as_deref() == Some("fork"), "{sessions:#?}");
    repo.require_acted("fork", child)?;
    a.ask(&repo.act(Prompt::new(), "meanwhile").say("done"))?;
    repo.require_acted("meanwhile", &repo.live_of(&turn.native)?)?;
    ensure!(repo.live_of(&turn.native)?.id == parent.id, "{:#?}", repo.sessions()?);
    Ok(())
}

pub(super) fn cleared(stage: &Stage) -> Result<()> {
    let repo = Repo::new(stage)?;
    let mut a = repo.agent()?;
    let claim = Prompt::new().bash("cotenant claim issue:15");
    let before = a.ask(&repo.act(claim, "before").say("done"))?;
    let session = repo.live_of(&before.native)?;
    let native = a.clear()?;
    let after = a.ask(&repo.act(Prompt::new(), "after").say("done"))?;
    ensure!(after.native == native && native != before.native);
    // The same session goes on, with all it holds, under another conversation.
    let sessions = repo.sessions()?;
    ensure!(sessions.len() == 1 && sessions[0].id == session.id, "{sessions:#?}");
    ensure!(sessions[0].native.as_ref() == Some(&native), "{sessions:#?}");
    repo.require_acted("before", &session)?;
    repo.require_acted("after", &session)?;
    ensure!(repo.holders("issue:15")?[0]["session"] == *session.id);
    let changed = |event: &serde_json::Value| event["kind"] == "session.native";
    ensure!(repo.events()?.iter().any(changed), "no event tells of the new conversation");
    Ok(())
}

pub(super) fn subagent(stage: &Stage) -> Result<()> {
    let repo = Repo::new(stage)?;
    let mut a = repo.agent()?;
    // Subagents work on what their parent has claimed, and never conflict with it.
    let inner = repo
        .act(Prompt::new(), "inner")
        .edit(&repo.file("a.txt"), "hers", "theirs")
        .mcp("claim", &json!({"items": ["issue:15"]}))
        .say("the part is done");
    let outer = Prompt::new()
        .bash("cotenant claim issue:15")
        .edit(&repo.file("a.txt"), "hello", "hers")
        .subagent(&inner);
    let turn = a.ask(&repo.act(outer, "outer").say("all is done"))?;
    for result in &turn.results() {
        ensure!(!result.is_error, "{}", result.text);
    }
    ensure!(repo.text("a.txt")? == "theirs\n");
    let session = repo.live_of(&turn.native)?;
    ensure!(repo.sessions()?.len() == 1, "{:#?}", repo.sessions()?);
    repo.require_acted("inner", &session)?;
    repo.require_acted("outer", &session)
}

pub(super) fn open_twice(stage: &Stage) -> Result<()> {
    let repo = Repo::new(stage)?;
    let mut a = repo.agent()?;
    let native = a.ask("@@say I was first")?.native;
    let first = repo.live_of(&native)?;
    let mut b = repo.agent_with(&["--resume", &native])?;
    let told = b.ask("@@say I came later")?;
    ensure!(told.native == native);
    let also = |name: &str| format!("is also open in `{name}`");
    ensure!(told.presence()?.contains(&also(&first.name)), "{}", told.presence()?);
    let live = repo.live()?;
    let second = live.iter().find(|session| session.id != first.id).context("no second session")?;
    ensure!(live.len() == 2 && second.relation.as_deref() == Some("fork"), "{live:#?}");
    ensure!(second.parent.as_ref() == Some(&first.id), "{live:#?}");
    // Both write to one conversation, and each call is still known by its process.
    let told = a.ask(&repo.act(Prompt::new(), "first").say("done"))?;
    ensure!(told.presence()?.contains(&also(&second.name)), "{}", told.presence()?);
    b.ask(&repo.act(Prompt::new(), "second").say("done"))?;
    repo.require_acted("first", &first)?;
    repo.require_acted("second", second)
}
