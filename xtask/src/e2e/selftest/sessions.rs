//! What becomes of sessions, as the cases rely on it.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::e2e::claude::UNATTENDED;
use crate::e2e::selftest::fixtures::mcp_server;
use crate::e2e::stage::{Stage, TURN};
use crate::process::wait_until;

pub(super) fn resume_and_fork(stage: &Stage) -> Result<()> {
    let claude = stage.claude();
    let first = claude.print("remember 4711\n@@say yes", &[])?;
    let session = first.require_success()?.session();
    let resumed = claude.print("@@say again", &["--resume", session])?;
    ensure!(resumed.require_success()?.session() == session);
    let forked = claude.print("@@say apart", &["--resume", session, "--fork-session"])?;
    ensure!(forked.require_success()?.session() != session);
    ensure!((resumed.text(), forked.text()) == ("again", "apart"));
    let requests = stage.api.requests();
    ensure!(requests.iter().all(|request| request.mentions("remember 4711")));
    Ok(())
}

pub(super) fn stream(stage: &Stage) -> Result<()> {
    mcp_server(stage)?;
    let mut stream = stage.claude().stream(&UNATTENDED)?;
    let first = stream.ask("@@tool mcp__echo__echo {\"text\":\"4711\"}\n@@say one", TURN)?;
    ensure!(first["result"] == "one", "{first}");
    let before = stream.session()?;
    ensure!(first["session_id"] == *before);
    let parent = format!("4711 {before} {}", stream.pid());
    stage.api.require_mention(&parent)?;

    let go = stage.dir.join("go");
    let call = json!({"command": format!("until test -e '{}'; do sleep 0.05; done", go.display())});
    stream.send_user(&format!("@@tool Bash {call}\n@@say never"))?;
    stream.wait_event(TURN, |event| event["message"]["content"][0]["name"] == "Bash")?;
    stream.interject("@@say a word in between")?;
    fs::write(&go, "")?;
    let second = stream.wait_result(TURN)?;
    ensure!(second["result"] == "a word in between", "{second}");

    let after = stream.clear()?;
    let mark = stage.api.count();
    let third = stream.ask("@@tool mcp__echo__echo {\"text\":\"after\"}\n@@say three", TURN)?;
    ensure!(
        third["result"] == "three" && third["session_id"] == *after && after != before,
        "{third}"
    );
    let requests = stage.api.requests().split_off(mark);
    ensure!(requests.iter().all(|request| request.session.as_deref() == Some(after.as_str())));
    ensure!(!requests.iter().any(|request| request.mentions("4711")), "history survived `/clear`");
    // The server is the same process, with the environment of the first session.
    stage.api.require_mention(&format!("after {before} {}", stream.pid()))?;
    ensure!(stream.close()?.success());
    Ok(())
}

pub(super) fn kill_and_resume(stage: &Stage) -> Result<()> {
    let go = stage.dir.join("go");
    let mut stream = stage.claude().stream(&UNATTENDED)?;
    stream.send_user(&format!("keep 4711\n@@wait {}\n@@say never", go.display()))?;
    let asked = stage.api.wait_request(0, TURN, |request| request.mentions("keep 4711"))?;
    let session = asked.session.context("no session")?;
    ensure!(stream.session()? == session);
    wait_until("transcript", TURN, || Ok(stage.home.transcript(&session)))?;
    let status = stream.kill9()?;
    ensure!(!status.success());
    ensure!(
        stage.home.registered(stream.pid()).is_some(),
        "a killed client leaves its registration"
    );
    let resumed = stage.claude().print("@@say alive", &["--resume", &session])?;
    ensure!(resumed.require_success()?.text() == "alive" && resumed.session() == session);
    stage.api.wait_request(asked.number + 1, TURN, |request| request.mentions("keep 4711"))?;
    Ok(())
}

pub(super) fn interrupt(stage: &Stage) -> Result<()> {
    let mut stream = stage.claude().stream(&[])?;
    stream.send_user(&format!("@@wait {}\n@@say never", stage.dir.join("never").display()))?;
    stage.api.wait_request(0, TURN, |_| true)?;
    stream.interrupt()?;
    let result = stream.wait_result(TURN)?;
    ensure!(result["subtype"] == "error_during_execution", "{result}");
    let next = stream.ask("@@say next", TURN)?;
    ensure!(next["result"] == "next", "{next}");
    Ok(())
}

pub(super) fn two_sessions(stage: &Stage) -> Result<()> {
    let go = stage.dir.join("go");
    let (mut a, mut b) = (stage.claude().stream(&[])?, stage.claude().stream(&[])?);
    a.send_user(&format!("I am a\n@@wait {}\n@@say a", go.display()))?;
    stage.api.wait_request(0, TURN, |request| request.mentions("I am a"))?;
    ensure!(b.ask("I am b\n@@say b", TURN)?["result"] == "b");
    ensure!(!a.events().iter().any(|event| event["type"] == "result"));
    fs::write(&go, "")?;
    ensure!(a.wait_result(TURN)?["result"] == "a");
    for (text, session) in [("I am a", a.session()?), ("I am b", b.session()?)] {
        let request = stage.api.require_mention(text)?;
        ensure!(request.session == Some(session), "{text} came from {:?}", request.session);
    }
    Ok(())
}

pub(super) fn terminal(stage: &Stage) -> Result<()> {
    mcp_server(stage)?;
    stage.home.approve_mcp(&["echo"])?;
    let terminal = stage.claude().terminal(&UNATTENDED)?;
    let before = terminal.session()?;
    terminal.submit("@@tool mcp__echo__echo {\"text\":\"4711\"}\n@@say it is said")?;
    let said = stage.api.wait_request(0, TURN, |request| request.mentions("4711"))?;
    ensure!(said.session.as_deref() == Some(before.as_str()));
    terminal.wait_screen("● it is said")?;
    stage.api.require_mention(&format!("4711 {before} {}", terminal.pid()))?;
    terminal.wait_idle()?;
    let after = terminal.clear()?;
    terminal.submit("@@say anew")?;
    terminal.wait_screen("● anew")?;
    let last = stage.api.require_mention("@@say anew")?;
    ensure!(last.session.as_deref() == Some(after.as_str()), "{:?} is not {after}", last.session);
    ensure!(!last.mentions("4711"), "history survived `/clear`");
    terminal.wait_idle()?;
    terminal.kill9()?;
    wait_until("end of the client", TURN, || Ok(terminal.screen().is_err().then_some(())))
}
