//! The MCP server in the client's eyes.

use anyhow::{Result, ensure};

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
