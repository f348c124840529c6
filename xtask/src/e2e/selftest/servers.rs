//! What the client does with MCP servers, as the cases rely on it.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::e2e::claude::{Claude, UNATTENDED};
use crate::e2e::selftest::fixtures::{SERVER, mcp_servers};
use crate::e2e::stage::Stage;

pub(super) fn late(stage: &Stage) -> Result<()> {
    let server = stage.dir.join("late.py");
    fs::write(
        &server,
        SERVER.replace("import sys\n", "import sys\nimport time\n\ntime.sleep(4)\n"),
    )?;
    mcp_servers(stage, &json!({"echo": {"command": "python3", "args": [server]}}))?;
    let script = "@@tool mcp__echo__echo {\"text\":\"4711\"}\n@@say end";
    let printed = stage.claude().print(script, &UNATTENDED)?;
    ensure!(printed.require_success()?.text() == "end", "{}", printed.result);
    let results = stage.api.require_mention("4711")?.tool_results();
    let last = results.last().context("no result")?;
    ensure!(!last.is_error && last.text.starts_with("4711 "), "{results:?}");
    Ok(())
}

pub(super) fn mcp_list(stage: &Stage) -> Result<()> {
    let (good, boolean) = (stage.dir.join("good.py"), stage.dir.join("boolean.py"));
    fs::write(&good, SERVER)?;
    fs::write(&boolean, SERVER.replace("{\"type\": \"string\"}", "True"))?;
    mcp_servers(
        stage,
        &json!({
            "good": {"command": "python3", "args": [good]},
            "boolean": {"command": "python3", "args": [boolean]},
            "absent": {"command": stage.dir.join("absent")},
            "unasked": {"command": "python3", "args": [good]},
        }),
    )?;
    stage.home.approve_mcp(&["good", "boolean", "absent"])?;
    for (program, accepts_boolean) in
        [(&stage.programs.handshake, false), (&stage.programs.stateless, true)]
    {
        let listed = Claude::new(program, &stage.home, &stage.project).mcp_list()?;
        let connected: BTreeMap<&str, bool> =
            listed.iter().map(|server| (server.name.as_str(), server.connected())).collect();
        let expected =
            [("absent", false), ("boolean", accepts_boolean), ("good", true), ("unasked", false)];
        ensure!(connected == BTreeMap::from(expected), "{listed:?}");
    }
    Ok(())
}
