//! Commands as a shell runs them, against a process that does nothing.
//!
//! The ratio is (command − fsync) ÷ empty: what the run measured for an fsync on the same disk is
//! taken off a command with a durable write, nothing else. Empty is a static Rust program that does
//! nothing, as cargo's release profile makes it; a row also tells the ratio to one that is built
//! with our flags, which make an empty program quicker too.

use std::cell::Cell;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::asked::CLAIMS_A_SESSION;
use super::disk::Disk;
use super::row::{Limit, Row, short};
use super::run::Measured;
use super::sample::{Contender, Series, combine, interleave};
use super::scene::Scene;
use super::setting::Setting;

/// The keys that are written in turns.
const KEYS: u64 = 50;

/// Measures the group: in a repository where an agent's server runs, as while agents work, and where
/// only the database is in use.
pub(crate) fn run(setting: &Setting) -> Result<Measured> {
    let served = measure(&Scene::with_server(setting)?, setting)?;
    let alone = measure(&Scene::new(setting)?, setting)?;
    let [_, _, _, set, _, fsync] = &served;
    let above = combine([set, fsync], |[set, fsync]| (set - fsync) / 1e3);
    let mut rows = ratios(&served, "");
    let limits = [(3.0, 2.0), (3.5, 2.5), (4.0, 2.8)];
    rows = rows
        .into_iter()
        .zip(limits)
        .map(|(row, (hard, goal))| row.hard(Limit::Most(hard)).goal(Limit::Most(goal)))
        .collect();
    rows.push(
        Row::new("`data set` above fsync", above, "ms", "one durable write, the whole process")
            .hard(Limit::Most(5.0))
            .goal(Limit::Most(2.0)),
    );
    rows.extend(ratios(&alone, ", no server"));
    let json = |series: &[Series]| series.iter().map(Series::json).collect::<Value>();
    Ok((rows, json!({"served": json(&served), "alone": json(&alone)})))
}

/// Empty, empty built alike, `data get`, `data set`, `claim`, fsync.
fn measure(scene: &Scene, setting: &Setting) -> Result<[Series; 6]> {
    let me = std::process::id();
    scene.sign_on("shell", me)?;
    scene.as_session("shell", &["data", "set", "bench", "color", "\"green\""]).output()?;
    let got = scene.cotenant(&["data", "get", "bench", "color"]).output()?;
    ensure!(got.contains("green"), "`data get` answered `{got}`");

    let empty = scene.launch(&setting.empty.plain);
    let alike = scene.launch(&setting.empty.alike);
    let get = scene.as_session("shell", &["data", "get", "bench", "color"]);
    let mut disk = Disk::new(scene.beside())?;
    let (sets, claims) = (Cell::new(0), Cell::new(0));
    let before = scene.head()?;
    let series = interleave(
        setting.plan(40),
        [
            Contender::new("empty", || empty.time()),
            Contender::new("empty, built alike", || alike.time()),
            Contender::new("data get", || get.time()),
            Contender::new("data set", || {
                sets.set(sets.get() + 1);
                let (key, value) = (format!("key{}", sets.get() % KEYS), sets.get().to_string());
                scene.as_session("shell", &["data", "set", "bench", &key, &value]).time()
            }),
            Contender::new("claim", || {
                let (number, session) = next_claim(scene, &claims, me)?;
                scene.as_session(&session, &["claim", &format!("issue:{number}")]).time()
            }),
            Contender::new("fsync", || disk.sync()),
        ],
    )?;
    let signed_on = claims.get().div_ceil(CLAIMS_A_SESSION);
    let expected = sets.get() + u64::try_from(claims.get() + signed_on)?;
    let written = scene.head()? - before;
    ensure!(written == i64::try_from(expected)?, "{written} events of {expected} commands");
    Ok(series)
}

/// The rows of the three commands.
fn ratios([empty, alike, get, set, claim, fsync]: &[Series; 6], place: &str) -> Vec<Row> {
    let row = |name: &str, command: &Series, durable: bool| {
        let over = |base: &Series| {
            if durable {
                combine([command, fsync, base], |[command, fsync, base]| (command - fsync) / base)
            } else {
                combine([command, base], |[command, base]| command / base)
            }
        };
        let used = combine([&command.processor(), &empty.processor()], |[of, by]| of / by);
        let fsync = if durable { fsync.p50() } else { 0.0 };
        let [took, fsync, nothing] =
            [command.p50(), fsync, empty.p50()].map(|micros| short(micros / 1e3));
        let (same, used) = (short(over(alike)), short(used));
        let from = format!(
            "({took} − {fsync} ms) ÷ {nothing} ms; built alike {same} ×; of the processor's time {used} ×"
        );
        Row::new(format!("`{name}` ÷ empty process{place}"), over(empty), "×", from)
    };
    vec![row("data get", get, false), row("data set", set, true), row("claim", claim, true)]
}

/// The number of the next issue, and a session that still may claim it.
fn next_claim(scene: &Scene, claims: &Cell<usize>, pid: u32) -> Result<(usize, String)> {
    let number = claims.replace(claims.get() + 1);
    let session = format!("shell-{}", number / CLAIMS_A_SESSION);
    if number.is_multiple_of(CLAIMS_A_SESSION) {
        scene.sign_on(&session, pid)?;
    }
    Ok((number, session))
}
