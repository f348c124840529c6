//! What `init` sets up, in the client's eyes.

use anyhow::{Result, ensure};
use serde_json::json;

use crate::e2e::cases::prompt::Prompt;
use crate::e2e::cases::repo::Repo;
use crate::e2e::claude::Listed;
use crate::e2e::stage::Stage;

pub(super) fn connected(stage: &Stage) -> Result<()> {
    Repo::new(stage)?;
    let listed = stage.claude().mcp_list()?;
    let ours: Vec<&Listed> = listed.iter().filter(|server| server.name == "cotenant").collect();
    ensure!(ours.len() == 1 && ours[0].connected(), "{listed:?}");
    Ok(())
}

pub(super) fn allowed(stage: &Stage) -> Result<()> {
    let repo = Repo::new(stage)?;
    // Nobody could be asked: what is not allowed by the settings is refused.
    let prompt =
        Prompt::new().mcp("claim", &json!({"items": ["issue:15"]})).bash("touch b.txt").say("end");
    let printed = stage.claude().print(&prompt, &[])?;
    ensure!(printed.require_success()?.denied() == ["Bash"], "{}", printed.result);
    let granted = repo.events()?.iter().any(|event| event["kind"] == "claim.granted");
    ensure!(granted, "nothing was claimed");
    Ok(())
}

pub(super) fn removed(stage: &Stage) -> Result<()> {
    let repo = Repo::new(stage)?;
    repo.print("@@say before", &[])?.presence()?;
    let uninit = repo.run("cotenant", &["uninit"])?;
    ensure!(uninit.status.success(), "`cotenant uninit`: {}{}", uninit.stdout, uninit.stderr);
    let after = repo.print("@@say after", &[])?;
    ensure!(after.presence().is_err(), "a hook is left: {:?}", after.presence());
    ensure!(stage.claude().mcp_list()?.is_empty(), "{:?}", stage.claude().mcp_list()?);
    let left = repo.run("git", &["status", "--porcelain", "--untracked-files=all"])?;
    ensure!(left.stdout.is_empty(), "left behind:\n{}", left.stdout);
    ensure!(repo.sessions()?.len() == 1, "the store has not kept what it knew");
    Ok(())
}
