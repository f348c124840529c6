//! Sessions are kept off each other's files.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::e2e::cases::agent::{Agent, Turn};
use crate::e2e::cases::prompt::Prompt;
use crate::e2e::cases::repo::{Repo, Session};
use crate::e2e::stage::Stage;
use crate::process::wait_until;

/// How long a file stays closed after its holder was found dead.
const LOCK_DELAY_MS: i64 = 5_000;

/// How long it may take on a busy machine.
const FREE: Duration = Duration::from_mins(2);

/// Two agents, one of which has edited `a.txt`.
struct Two<'a> {
    repo: Repo<'a>,
    holder: Agent<'a>,
    other: Agent<'a>,
    holder_session: Session,
}

impl<'a> Two<'a> {
    fn new(stage: &'a Stage) -> Result<Self> {
        let repo = Repo::new(stage)?;
        let (mut holder, other) = (repo.agent()?, repo.agent()?);
        let edited = holder.ask(&edit(&repo, "hello", "edited"))?;
        edited.answer()?;
        ensure!(repo.text("a.txt")? == "edited\n");
        let holder_session = repo.live_of(&edited.native)?;
        let holders = repo.holders("path:a.txt")?;
        ensure!(holders.len() == 1 && holders[0]["session"] == *holder_session.id, "{holders:?}");
        Ok(Self { repo, holder, other, holder_session })
    }

    /// The other one tries to edit the file.
    fn try_edit(&mut self) -> Result<Turn> {
        self.other.ask(&edit(&self.repo, "edited", "mine"))
    }

    /// Fails unless the other one's last try has changed the file, after the lock delay.
    fn require_taken_over(&self, turn: &Turn) -> Result<()> {
        turn.answer()?;
        ensure!(self.repo.text("a.txt")? == "mine\n");
        let other = self.repo.live_of(&turn.native)?;
        let holders = self.repo.holders("path:a.txt")?;
        ensure!(holders.len() == 1 && holders[0]["session"] == *other.id, "{holders:?}");
        let events = self.repo.events()?;
        let about = |kind: &str, session: &Session| {
            let is_it = |event: &&Value| {
                event["kind"] == kind && event.to_string().contains(session.id.as_str())
            };
            let found = events.iter().rfind(is_it).and_then(|event| event["tick"].as_i64());
            found.with_context(|| format!("no `{kind}` of {session:?}"))
        };
        let lost = about("session.lost", &self.holder_session)?;
        let granted = about("claim.granted", &other)?;
        ensure!(granted - lost >= LOCK_DELAY_MS, "granted {} ms after the loss", granted - lost);
        Ok(())
    }
}

fn edit(repo: &Repo<'_>, before: &str, after: &str) -> String {
    Prompt::new().edit(&repo.file("a.txt"), before, after).say("so be it")
}

pub(super) fn denied_then_free(stage: &Stage) -> Result<()> {
    let mut two = Two::new(stage)?;
    let denied = two.try_edit()?.refusal("Edit")?;
    let told = format!("`a.txt` is being edited by `{}`", two.holder_session.name);
    ensure!(denied.contains(&told), "the model was told `{denied}`");
    ensure!(two.repo.text("a.txt")? == "edited\n");
    // Its own holder goes on.
    two.holder.ask(&edit(&two.repo, "edited", "again"))?.answer()?;
    two.holder.ask(&edit(&two.repo, "again", "edited"))?.answer()?;

    two.holder.kill9()?;
    // Whoever asks next finds out, and is told when the file is free.
    let cooling = two.try_edit()?.refusal("Edit")?;
    let lost = format!("was held by `{}`, whose session was lost", two.holder_session.name);
    ensure!(cooling.contains(&lost), "the model was told `{cooling}`");
    ensure!(two.repo.session(&two.holder_session.id)?.state == "lost");
    wait_until("free file", FREE, || Ok(two.repo.holders("path:a.txt")?.is_empty().then_some(())))?;
    let turn = two.try_edit()?;
    two.require_taken_over(&turn)
}

pub(super) fn waits_as_advised(stage: &Stage) -> Result<()> {
    let mut two = Two::new(stage)?;
    let denied = two.try_edit()?.refusal("Edit")?;
    // The model does what it reads.
    let (_, command) = denied.split_once("wait: `").with_context(|| denied.clone())?;
    let (command, _) = command.split_once('`').with_context(|| denied.clone())?;
    two.holder.kill9()?;
    let file = two.repo.file("a.txt");
    let prompt = Prompt::new().bash(command).edit(&file, "edited", "mine").say("at last");
    let turn = two.other.ask(&prompt)?;
    two.require_taken_over(&turn)
}

pub(super) fn other_tree(stage: &Stage) -> Result<()> {
    let repo = Repo::new(stage)?;
    repo.commit("what `init` wrote")?;
    let tree = stage.dir.join("tree");
    let place = tree.to_string_lossy();
    repo.git(&["worktree", "add", "--quiet", "-b", "side", &place])?;
    let mut a = repo.agent()?;
    let edited = a.ask(&edit(&repo, "hello", "here"))?;
    let a_session = repo.live_of(&edited.native)?;
    let mut b = Agent::start(stage, &tree, &[])?;
    let prompt = Prompt::new().edit(&tree.join("a.txt"), "hello", "there").say("so be it");
    let turn = b.ask(&prompt)?;
    turn.answer()?;
    let told = format!("`a.txt` is also being edited by `{}` in another work tree", a_session.name);
    ensure!(turn.mentions(&told), "the model was not told `{told}`");
    ensure!(repo.holders("path:a.txt")?.len() == 2, "{:?}", repo.holders("path:a.txt")?);
    Ok(())
}

pub(super) fn broken_store(stage: &Stage) -> Result<()> {
    let repo = Repo::new(stage)?;
    let mut a = repo.agent()?;
    a.ask("@@say all is well")?;
    let is_as_left = stage.break_store()?;
    // The agent goes on; only its calls of the program fail, and say why.
    a.ask(&edit(&repo, "hello", "edited"))?.answer()?;
    ensure!(repo.text("a.txt")? == "edited\n");
    let claim = Prompt::new().bash("cotenant claim issue:15; echo \"exit $?\"");
    let told = a.ask(&claim.say("so be it"))?.answer()?;
    ensure!(told.contains("exit 74"), "{told}");
    ensure!(is_as_left()?, "the broken store was touched");
    ensure!(a.close()?.success());
    Ok(())
}
