//! From one session to 256: where a store is full, and what goes wrong without one.
//!
//! The knee is where the two bounds of a closed system meet: `N* = (Z + D) / D` sessions, with `Z` the time
//! between two requests of one and `D` the time that the store needs for one (Denning and Buzen, "The
//! operational analysis of queueing network models", 1978).

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use cotenant_core::store::Store;
use cotenant_core::{Code, data::Update};
use cotenant_store::IfMissing;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::asked;
use super::row::{Limit, Row, short};
use super::run::Measured;
use super::sample::{Sample, figure};
use super::scene::{attach, scratch};
use super::setting::Setting;
use super::worker::{self, Job, Report, Task, now};

/// The time between two requests of a session: an agent that works without a break asks a hundred times
/// less often.
const THINK: Duration = Duration::from_millis(10);
/// What a session of a team does before it writes that it has taken an item.
const DECIDE: Duration = Duration::from_millis(3);
/// How many items there are for each session of a team.
const ITEMS_EACH: usize = 10;
/// From the order to begin until everybody begins.
const HEAD_START: u64 = 200_000_000;

/// What a session does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Doing {
    /// Adds to a counter of its own, at its pace.
    Counting,
    /// Takes the next free item of a team's list, by a claim.
    ItemsByClaim,
    /// The same in a file that all read and write, as one does without a store.
    ItemsByFile,
}

/// Measures the group.
pub(crate) fn run(setting: &Setting) -> Result<Measured> {
    let mut rows = Vec::new();
    let mut figures = Vec::new();
    let mut best: f64 = 0.0;
    for sessions in setting.size(&[1, 2, 4, 8, 16, 32, 64, 128, 256][..], &[1, 4]) {
        let for_ms = setting.size(2_000, 400);
        let reports = team(setting, Doing::Counting, *sessions, for_ms)?;
        let took = reports.iter().flat_map(|report| &report.claims);
        let took = Sample::of(took.map(|(began, end, _)| Duration::from_nanos(end - began)));
        let errors: usize = reports.iter().map(|report| report.errors.len()).sum();
        let rate = figure(took.len()) / Duration::from_millis(for_ms).as_secs_f64();
        best = best.max(rate);
        let [p50, p99] = [500, 990].map(|per_mille| short(took.quantile(per_mille) / 1e3));
        rows.push(Row::new(
            format!("{sessions} sessions: updates/s"),
            rate,
            "/s",
            format!("p50 {p50} p99 {p99} ms, {errors} errors"),
        ));
        figures.push(json!({
            "sessions": sessions, "rate": rate, "p50_us": took.p50(), "p99_us": took.quantile(990),
            "errors": errors,
        }));
    }
    let demand = 1.0 / best;
    let knee = (THINK.as_secs_f64() + demand) / demand;
    rows.push(Row::new(
        "the knee, in sessions that ask every 10 ms",
        knee,
        "",
        format!("{} ms of the store for each update", short(demand * 1e3)),
    ));
    let mut conflicts = Vec::new();
    for sessions in setting.size(&[2, 3, 5, 10, 20, 50][..], &[2, 5]) {
        let with = items(setting, Doing::ItemsByClaim, *sessions)?;
        let without = items(setting, Doing::ItemsByFile, *sessions)?;
        rows.push(
            Row::new(
                format!("a team of {sessions}: items taken twice, by claims"),
                with.twice,
                "%",
                format!("{} forgotten", with.forgotten),
            )
            .hard(Limit::Most(0.0)),
        );
        rows.push(Row::new(
            format!("a team of {sessions}: items taken twice, by a shared file"),
            without.twice,
            "%",
            format!("{} of {} forgotten", without.forgotten, without.taken),
        ));
        conflicts.push(json!({
            "sessions": sessions, "twice_percent": without.twice, "forgotten": without.forgotten,
            "taken": without.taken, "twice_percent_with_claims": with.twice,
        }));
    }
    Ok((rows, json!({"sweep": figures, "conflicts": conflicts, "knee": knee})))
}

/// Lets a team work. Answers what each reports.
fn team(setting: &Setting, doing: Doing, sessions: usize, for_ms: u64) -> Result<Vec<Report>> {
    let directory = scratch(setting)?;
    let store = directory.path().join("cotenant/store.db");
    let _attached = attach(&store, IfMissing::Create)?;
    let count = u64::try_from(sessions)?;
    let jobs = (0..count).map(|number| Job {
        task: Task::Team(doing, sessions),
        store: store.clone(),
        number,
        for_ms,
    });
    let (_, mut reports) = worker::all(jobs, directory.path(), HEAD_START)?;
    if doing == Doing::ItemsByFile
        && let Some(first) = reports.first_mut()
    {
        // What the file has in the end, as one more report of the first.
        let text = fs::read_to_string(list(&store))?;
        let kept: HashMap<String, u64> = serde_json::from_str(&text).unwrap_or_default();
        first.refused = kept.len();
    }
    Ok(reports)
}

/// What became of a team's items.
struct Items {
    /// How many percent were taken by more than one.
    twice: f64,
    taken: usize,
    /// How many that somebody took the list knows nothing of.
    forgotten: usize,
}

fn items(setting: &Setting, doing: Doing, sessions: usize) -> Result<Items> {
    let reports = team(setting, doing, sessions, 60_000)?;
    let mut takers: HashMap<u64, usize> = HashMap::new();
    for (.., item) in reports.iter().flat_map(|report| &report.claims) {
        *takers.entry(*item).or_default() += 1;
    }
    let twice = takers.values().filter(|takers| **takers > 1).count();
    let kept = if doing == Doing::ItemsByFile {
        reports.first().map_or(0, |report| report.refused)
    } else {
        takers.len()
    };
    Ok(Items {
        twice: 100.0 * figure(twice) / figure(takers.len().max(1)),
        taken: takers.len(),
        forgotten: takers.len().saturating_sub(kept),
    })
}

/// The file in which a team without a store keeps who has what.
fn list(store: &Path) -> PathBuf {
    store.with_file_name("claims.json")
}

/// A session's part.
pub(crate) fn work(job: &Job, doing: Doing, sessions: usize) -> Result<Report> {
    match doing {
        Doing::Counting => count(job),
        Doing::ItemsByClaim | Doing::ItemsByFile => take(job, doing, sessions),
    }
}

fn count(job: &Job) -> Result<Report> {
    let (store, actor) = worker::member(job)?;
    let mut report = Report::default();
    let end = worker::wait_for_the_start()? + job.for_ms * 1_000_000;
    let mut request = job.number << 40;
    while now() < end {
        request += 1;
        let scope = format!("session/{}", job.number);
        let update = json!({"scope": scope, "key": "tokens", "change": {"add": 1}});
        let update: Update = serde_json::from_value(update)?;
        let began = now();
        match (&store as &dyn Store).one(asked::request(update, &actor, request)) {
            Ok(_) => report.claims.push((began, now(), request)),
            Err(error) => report.errors.push(error.to_string()),
        }
        sleep(THINK);
    }
    Ok(report)
}

fn take(job: &Job, doing: Doing, sessions: usize) -> Result<Report> {
    let (store, actor) = worker::member(job)?;
    let mut report = Report::default();
    worker::wait_for_the_start()?;
    let all = u64::try_from(sessions * ITEMS_EACH)?;
    let mut request = job.number << 40;
    for item in 0..all {
        let began = now();
        let taken = if doing == Doing::ItemsByFile {
            take_in_file(&list(&job.store), item, job.number)?
        } else {
            request += 1;
            sleep(DECIDE);
            match (&store as &dyn Store).one(asked::request(asked::claim(item), &actor, request)) {
                Ok(_) => true,
                Err(error) if error.code == Code::Claimed => false,
                Err(error) => return Err(error.into()),
            }
        };
        if taken {
            report.claims.push((began, now(), item));
        }
    }
    Ok(report)
}

/// Reads the list, decides, writes the list: what the seeds' sessions do with their state files.
fn take_in_file(file: &Path, item: u64, by: u64) -> Result<bool> {
    // A file that another is just writing is half a file; one looks again.
    let mut claims: HashMap<String, Value> = fs::read_to_string(file)
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default();
    if claims.contains_key(&item.to_string()) {
        return Ok(false);
    }
    sleep(DECIDE);
    claims.insert(item.to_string(), by.into());
    fs::write(file, serde_json::to_string(&claims)?).context("the list")?;
    Ok(true)
}
