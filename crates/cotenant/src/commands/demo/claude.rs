//! The demo with real Claude Code: three windows in print mode, with the user's own account.

use std::{
    process::{Child, Stdio},
    time::Duration,
};

use cotenant_core::{Code, Error, Result, clock::in_words};
use serde_json::{Value, json};

use super::{Stage, broken, scratch::Scratch, summary::Summary};
use crate::env;

/// The longest a window may take.
const WINDOW: Duration = Duration::from_mins(10);

/// What each window is asked to do. The commands are those of the `cotenant` tools.
fn prompt(number: u32) -> String {
    let issue = 14 + number;
    format!(
        "You are window {number} of three in this repository. Use only the cotenant tools. \
         1. Claim issue:15. If another session has it, claim issue:{issue} instead. \
         2. Add 1 to the number at scope demo, key count, with update_data. \
         3. Append \"window {number}\" to the list at scope demo, key list, with update_data. \
         4. Say in one line which issue you hold and who else is here."
    )
}

/// Plays with three windows at once.
pub(super) fn play(stage: &mut Stage<'_>, scratch: &Scratch) -> Result<Summary> {
    stage.scene("Three real Claude Code windows start");
    stage.say("They use your account; each is one short conversation.");
    let mut windows = Vec::new();
    for number in 1..=3 {
        windows.push(open(scratch, number)?);
    }
    let mut summary = Summary::default();
    let mut good = 0;
    for (index, window) in windows.into_iter().enumerate() {
        let output = wait(window, index + 1)?;
        let result: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let said = result["result"].as_str().unwrap_or_default().to_owned();
        let fine = output.status.success() && result["is_error"] == json!(false);
        good += u32::from(fine);
        let said = cotenant_core::render::for_terminal(&said);
        stage.say(&format!("window {}: {said}", index + 1));
        if !fine {
            let why = String::from_utf8_lossy(&output.stderr);
            stage.say(&format!("it failed: {}", cotenant_core::render::for_terminal(why.trim())));
        }
    }
    summary.row("the windows finish", format!("{good} of 3"), good == 3);
    let sessions = scratch.data(&["session", "list", "--all", "--kind", "claude"])?;
    let signed_on = sessions["sessions"].as_array().map_or(0, Vec::len);
    summary.row("each is a session of its own", format!("{signed_on} sessions"), signed_on == 3);
    let granted = scratch.data(&["event", "list", "--kind", "claim.granted", "--last", "1000"])?;
    let first_on_15 = granted["events"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|event| event["scope"] == "issue:15")
        .count();
    summary.row("issue 15 was granted", format!("{first_on_15} times"), first_on_15 >= 1);
    let count = scratch
        .data(&["data", "get", "demo", "count"])
        .map_or(Value::Null, |data| data["value"].clone());
    let list = scratch
        .data(&["data", "get", "demo", "list"])
        .map_or(0, |data| data["value"].as_array().map_or(0, Vec::len));
    summary.row(
        "no update is lost",
        format!("counter {count} of 3, list {list} of 3"),
        count == json!(3) && list == 3,
    );
    let chain = scratch.data(&["event", "verify"])?;
    summary.row(
        "the audit log is whole",
        format!("{} events", chain["checked"]),
        chain["ok"] == json!(true),
    );
    Ok(summary)
}

fn open(scratch: &Scratch, number: u32) -> Result<Child> {
    // The account lives in the user's own home, so that only the repository is scratch.
    let mut command = std::process::Command::new("claude");
    for name in env::OF_SESSIONS {
        command.env_remove(name);
    }
    command
        .current_dir(scratch.repository())
        .args(["-p", "--output-format", "json", "--allowedTools", "mcp__cotenant", "--", &prompt(number)])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| {
            Error::new(Code::SpawnFailed, "Claude Code cannot be started")
                .hint("install it with `npm install -g @anthropic-ai/claude-code`, or run `cotenant demo` without it")
                .caused_by(error)
        })
}

fn wait(window: Child, number: usize) -> Result<std::process::Output> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let pid = window.id();
    std::thread::spawn(move || sender.send(window.wait_with_output()));
    match receiver.recv_timeout(WINDOW) {
        Ok(Ok(output)) => Ok(output),
        Ok(Err(error)) => Err(broken(format!("window {number} was lost: {error}"))),
        Err(_) => {
            let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
            if let Some(pid) = pid {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            }
            let limit = in_words(u64::try_from(WINDOW.as_millis()).unwrap_or(u64::MAX));
            Err(broken(format!("window {number} did not finish within {limit}")))
        }
    }
}
