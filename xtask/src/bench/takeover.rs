//! A holder is killed with -9; another session, which waits for its claim, gets it.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cotenant_core::lease::LOCK_DELAY_MS;
use serde_json::json;

use super::row::{Limit, Row, short};
use super::run::Measured;
use super::sample::Sample;
use super::scene::Scene;
use super::setting::Setting;
use crate::process::Group;

/// Measures the group: a few holders at once, each with one that waits.
pub(crate) fn run(setting: &Setting) -> Result<Measured> {
    let scene = Scene::new(setting)?;
    scene.sign_on("next", std::process::id())?;
    let took = thread::scope(|scope| {
        let pairs: Vec<_> = (0..setting.size(5, 2))
            .map(|pair| {
                scope.spawn({
                    let scene = &scene;
                    move || take_over(scene, pair)
                })
            })
            .collect();
        let joined = pairs.into_iter().map(|pair| pair.join().ok().context("a thread panicked")?);
        joined.collect::<Result<Vec<Duration>>>()
    })?;
    let sample = Sample::of(took);
    let lock_delay = Duration::from_millis(LOCK_DELAY_MS).as_secs_f64();
    let from = format!(
        "the longest of {}; p50 {} s, of it {lock_delay} s lock delay",
        sample.len(),
        short(sample.p50() / 1e6)
    );
    let rows = vec![
        Row::new("kill -9 until the waiting `claim` has ended", sample.max() / 1e6, "s", from)
            .hard(Limit::Most(lock_delay + 1.0)),
    ];
    Ok((rows, json!({"p50_us": sample.p50(), "max_us": sample.max()})))
}

fn take_over(scene: &Scene, pair: u32) -> Result<Duration> {
    let (holder, issue) = (format!("holder-{pair}"), format!("issue:{pair}"));
    // Stands in for an agent: the session lives with this process.
    let mut agent = Group::spawn(Command::new("sleep").arg("600").stdin(Stdio::null()))?;
    scene.sign_on(&holder, agent.pid())?;
    scene.as_session(&holder, &["claim", &issue]).output()?;
    let waiting = scene.as_session("next", &["claim", &issue, "--wait", "30s"]);
    let mut waiting = waiting.command()?.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    thread::sleep(Duration::from_millis(500));
    ensure!(waiting.try_wait()?.is_none(), "a claim of `{issue}` does not wait for its holder");
    let killed = Instant::now();
    agent.kill9()?;
    let status = waiting.wait()?;
    let took = killed.elapsed();
    ensure!(status.success(), "the claim that waited for `{issue}` ended with {status}");
    Ok(took)
}
