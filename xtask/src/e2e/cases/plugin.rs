//! The plugin in place of `init`.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::e2e::cases::prompt::Prompt;
use crate::e2e::cases::repo::Repo;
use crate::e2e::stage::Stage;
use crate::process::run;

/// How long a look at a folder may take on a busy machine.
const VALIDATE: Duration = Duration::from_mins(2);

pub(super) fn valid(stage: &Stage) -> Result<()> {
    for folder in [stage.programs.plugin.clone(), stage.programs.plugin.join("plugins/cotenant")] {
        let mut command = stage.home.command(&stage.programs.client, &stage.project);
        let output = run(command.args(["plugin", "validate", "--strict"]).arg(&folder), VALIDATE)?;
        let place = folder.display();
        ensure!(output.status.success(), "{place}: {}{}", output.stdout, output.stderr);
    }
    Ok(())
}

pub(super) fn works(stage: &Stage) -> Result<()> {
    let repo = Repo::with(stage, &["init", "--store-only"])?;
    let folder = stage.programs.plugin.join("plugins/cotenant");
    let arguments = ["--plugin-dir", &folder.to_string_lossy()];
    let mut a = repo.agent_with(&arguments)?;
    let claim = json!({"items": ["issue:15"]});
    let prompt = Prompt::new()
        .tool("mcp__plugin_cotenant_cotenant__claim", &claim)
        .edit(&repo.file("a.txt"), "hello", "edited")
        .say("done");
    let turn = a.ask(&prompt)?;
    turn.presence()?;
    for result in &turn.results() {
        ensure!(!result.is_error, "{}", result.text);
    }
    let session = repo.live_of(&turn.native)?;
    for item in ["issue:15", "path:a.txt"] {
        let holders = repo.holders(item)?;
        ensure!(holders.len() == 1 && holders[0]["session"] == *session.id, "{holders:?}");
    }
    let mut b = repo.agent_with(&arguments)?;
    let prompt = Prompt::new().edit(&repo.file("a.txt"), "edited", "mine").say("so be it");
    let refused = b.ask(&prompt)?.refusal("Edit")?;
    ensure!(refused.contains(&session.name), "{refused}");
    ensure!(a.close()?.success() && b.close()?.success());
    ensure!(repo.live()?.is_empty(), "{:#?}", repo.live()?);
    Ok(())
}
