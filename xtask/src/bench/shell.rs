//! Commands as a shell runs them, against a process that does nothing.
//!
//! The ratio is (command − fsync) ÷ empty: what the run measured for an fsync on the same disk is
//! taken off a command with a durable write, nothing else. Empty is a static Rust program that does
//! nothing, as cargo's release profile makes it; a row also tells the ratio to one that is built
//! with our flags, which make an empty program quicker too.

use std::cell::Cell;

use anyhow::{Result, ensure};

use super::asked::CLAIMS_A_SESSION;
use super::disk::Disk;
use super::row::{Limit, Row, short};
use super::run::Measured;
use super::sample::{Contender, Series, combine, interleave};
use super::scene::Scene;
use super::setting::Setting;

/// The keys that are written in turns.
const KEYS: u64 = 50;

/// Measures the group.
pub(crate) fn run(setting: &Setting) -> Result<Measured> {
    let scene = Scene::new(setting)?;
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
                let (number, session) = next_claim(&scene, &claims, me)?;
                scene.as_session(&session, &["claim", &format!("issue:{number}")]).time()
            }),
            Contender::new("fsync", || disk.sync()),
        ],
    )?;
    let signed_on = claims.get().div_ceil(CLAIMS_A_SESSION);
    let expected = sets.get() + u64::try_from(claims.get() + signed_on)?;
    let written = scene.head()? - before;
    ensure!(written == i64::try_from(expected)?, "{written} events of {expected} commands");

    let [empty, alike, get, set, claim, fsync] = &series;
    let free = combine([get, empty], |[get, empty]| get / empty);
    let durable = |command: &Series| {
        combine([command, fsync, empty], |[command, fsync, empty]| (command - fsync) / empty)
    };
    let from = |command: &Series, fsync: f64| {
        let parts = [command.p50(), fsync, empty.p50()].map(|micros| short(micros / 1e3));
        let same = combine([command, alike], |[command, alike]| (command - fsync) / alike);
        let used = [&command.processor(), &empty.processor()];
        let used = combine(used, |[command, empty]| command / empty);
        let [command, fsync, empty] = parts;
        format!(
            "({command} − {fsync} ms) ÷ {empty} ms; built alike {} ×; of the processor's time {} ×",
            short(same),
            short(used)
        )
    };
    let above = combine([set, fsync], |[set, fsync]| (set - fsync) / 1e3);
    let rows = vec![
        Row::new("`data get` ÷ empty process", free, "×", from(get, 0.0))
            .hard(Limit::Most(3.0))
            .goal(Limit::Most(2.0)),
        Row::new("`data set` ÷ empty process", durable(set), "×", from(set, fsync.p50()))
            .hard(Limit::Most(3.5))
            .goal(Limit::Most(2.5)),
        Row::new("`claim` ÷ empty process", durable(claim), "×", from(claim, fsync.p50()))
            .hard(Limit::Most(4.0))
            .goal(Limit::Most(2.8)),
        Row::new("`data set` above fsync", above, "ms", "one durable write, the whole process")
            .hard(Limit::Most(5.0))
            .goal(Limit::Most(2.0)),
    ];
    Ok((rows, series.iter().map(Series::json).collect()))
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
