//! What happens in a turn, as the cases rely on it.

use std::fs;
use std::os::unix::fs::symlink;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::e2e::claude::{Claude, UNATTENDED};
use crate::e2e::home::ClaudeHome;
use crate::e2e::selftest::fixtures::{hooks, mcp_server};
use crate::e2e::stage::Stage;

/// What a hook answers that refuses a file.
const DENIAL: &str = "`a.txt` is being edited by session ada";

pub(super) fn says(stage: &Stage) -> Result<()> {
    let printed =
        stage.claude().print("hi\n@@usage in=7 out=9 cache_read=100\n@@say hello", &[])?;
    ensure!(printed.require_success()?.text() == "hello", "{}", printed.result);
    let usage = &printed.result["usage"];
    ensure!(usage["input_tokens"] == 7 && usage["output_tokens"] == 9, "{usage}");
    ensure!(usage["cache_read_input_tokens"] == 100, "{usage}");
    let plain = stage.claude().print("hi", &[])?;
    ensure!(plain.require_success()?.text() == "ok", "{}", plain.result);
    ensure!(stage.api.requests()[0].session.as_deref() == Some(printed.session()));
    ensure!(stage.api.strays().is_empty());
    Ok(())
}

pub(super) fn bash(stage: &Stage) -> Result<()> {
    let script = "@@tool Bash {\"command\":\"echo in $CLAUDE_CODE_SESSION_ID\"}\n\
                  @@+tool Bash {\"command\":\"echo and $((1 + 1))\"}\n@@say end";
    let printed = stage.claude().print(script, &UNATTENDED)?;
    ensure!(printed.require_success()?.text() == "end", "{}", printed.result);
    let results = stage.api.require_mention("and 2")?.tool_results();
    let texts: Vec<&str> = results.iter().map(|result| result.text.as_str()).collect();
    ensure!(texts == [&format!("in {}", printed.session()), "and 2"], "{texts:?}");
    ensure!(results.iter().all(|result| !result.is_error));
    let refused = stage.claude().print(script, &[])?;
    ensure!(refused.require_success()?.denied() == ["Bash"], "{}", refused.result);
    Ok(())
}

pub(super) fn bad_script(stage: &Stage) -> Result<()> {
    let printed = stage.claude().print("@@tool Bash {", &[])?;
    ensure!(printed.code == Some(1) && printed.result["is_error"] == true, "{}", printed.result);
    ensure!(printed.text().contains("script: arguments of `Bash`"), "{}", printed.text());
    Ok(())
}

pub(super) fn denial(stage: &Stage) -> Result<()> {
    let answer = json!({
        "hookEventName": "PreToolUse",
        "permissionDecision": "deny",
        "permissionDecisionReason": DENIAL,
    });
    hooks(stage, &[("PreToolUse", "Edit|Write", answer)])?;
    let file = stage.project.join("a.txt");
    let read = json!({"file_path": file});
    let edit = json!({"file_path": file, "old_string": "hello", "new_string": "bye"});
    let script = format!("@@tool Read {read}\n@@tool Edit {edit}\n@@say so be it");
    let printed = stage.claude().print(&script, &UNATTENDED)?;
    ensure!(printed.require_success()?.text() == "so be it", "{}", printed.result);
    ensure!(printed.denied() == ["Edit"], "{}", printed.result);
    let results = stage.api.require_mention(DENIAL)?.tool_results();
    let last = results.last().context("no result")?;
    ensure!(last.is_error && last.text == DENIAL, "{last:?}");
    ensure!(fs::read_to_string(&file)? == "hello\n");
    fs::remove_file(stage.project.join(".claude/settings.json"))?;
    stage.claude().print(&script, &UNATTENDED)?.require_success()?;
    ensure!(fs::read_to_string(&file)? == "bye\n");
    Ok(())
}

pub(super) fn permission(stage: &Stage) -> Result<()> {
    mcp_server(stage)?;
    let script = "@@tool mcp__echo__echo {\"text\":\"hear me\"}\n@@say end";
    let refused = stage.claude().print(script, &[])?;
    ensure!(refused.require_success()?.denied() == ["mcp__echo__echo"], "{}", refused.result);
    for args in [&["--allowedTools", "mcp__echo"][..], &UNATTENDED] {
        let allowed = stage.claude().print(script, args)?;
        ensure!(allowed.require_success()?.denied().is_empty(), "{}", allowed.result);
        stage.api.require_mention(&format!("hear me {}", allowed.session()))?;
    }
    Ok(())
}

pub(super) fn environment(stage: &Stage) -> Result<()> {
    let programs = stage.dir.join("programs");
    fs::create_dir(&programs)?;
    symlink("/bin/echo", programs.join("e2e-echo"))?;
    let mut home = ClaudeHome::new(&stage.dir.join("other"), &stage.api, &[&stage.project])?;
    home.prepend_path(&programs)?;
    home.set_env("E2E_WORD", "4711");
    let claude = Claude::new(&stage.programs.client, &home, &stage.project);
    let script = "@@tool Bash {\"command\":\"e2e-echo it is $E2E_WORD\"}\n@@say end";
    claude.print(script, &UNATTENDED)?.require_success()?;
    let request = stage.api.require_mention("it is 4711")?;
    ensure!(request.tool_names().contains(&"Bash"), "{:?}", request.tool_names());
    Ok(())
}

pub(super) fn subagent(stage: &Stage) -> Result<()> {
    let prompt = "@@tool Bash {\"command\":\"echo sub $CLAUDE_CODE_SESSION_ID\"}\n@@say sub ends";
    let call = json!({"description": "d", "subagent_type": "general-purpose", "prompt": prompt});
    let printed = stage.claude().print(&format!("@@tool Agent {call}\n@@say end"), &UNATTENDED)?;
    ensure!(printed.require_success()?.text() == "end", "{}", printed.result);
    let inner = stage.api.require_mention(&format!("sub {}", printed.session()))?;
    let outer = stage.api.require_mention("sub ends")?;
    ensure!(inner.session == outer.session && inner.agent.is_some() && outer.agent.is_none());
    Ok(())
}

pub(super) fn context(stage: &Stage) -> Result<()> {
    let events = ["SessionStart", "UserPromptSubmit", "PreToolUse", "PostToolUse"];
    let adds = |event| {
        (event, "", json!({"hookEventName": event, "additionalContext": format!("CTX {event}")}))
    };
    hooks(stage, &events.map(adds))?;
    stage
        .claude()
        .print("@@tool Bash {\"command\":\"true\"}\n@@say end", &UNATTENDED)?
        .require_success()?;
    for event in events {
        stage.api.require_mention(&format!("CTX {event}"))?;
    }
    Ok(())
}
