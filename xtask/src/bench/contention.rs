//! Many processes claiming issues as fast as they can, durable: through the store, and with the
//! same statements by hand under a plain busy timeout.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use cotenant_core::event::Verify;
use cotenant_core::store::Store;
use cotenant_store::IfMissing;
use serde_json::{Value, json};

use super::bare::{Bare, Turn};
use super::row::{Limit, Row, short};
use super::run::Measured;
use super::sample::{Sample, median};
use super::scene::{attach, scratch};
use super::setting::Setting;
use super::worker::{self, Job, Report, Task, What};

/// The issues that are claimed, so many that some are drawn twice and most are free.
pub(crate) const ISSUES: u64 = 200_000;
/// From the order to begin until everybody begins.
const HEAD_START: u64 = 50_000_000;

/// What a race showed.
pub(crate) struct Race {
    /// How long each that succeeded took.
    pub(crate) claims: Sample,
    /// How many a second.
    pub(crate) rate: f64,
    fairness: f64,
    refused: usize,
    errors: Vec<String>,
    doubles: usize,
}

/// The races of one way with one number of processes.
#[derive(Default)]
pub(crate) struct Races(pub(crate) Vec<Race>);

impl Races {
    /// The middle of a figure.
    pub(crate) fn median(&self, figure: impl Fn(&Race) -> f64) -> f64 {
        median(self.0.iter().map(figure))
    }

    fn sum(&self, figure: impl Fn(&Race) -> usize) -> usize {
        self.0.iter().map(figure).sum()
    }

    /// For people.
    pub(crate) fn words(&self) -> String {
        let [p50, p99, p999, max] = [500, 990, 999, 1_000]
            .map(|per_mille| short(self.median(|race| race.claims.quantile(per_mille)) / 1e3));
        let (rate, fair) = (short(self.median(|r| r.rate)), short(self.median(|r| r.fairness)));
        let errors = self.sum(|race| race.errors.len());
        format!(
            "{rate}/s, p50 {p50} p99 {p99} p99.9 {p999} max {max} ms, fair {fair}, {errors} errors"
        )
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let of = |race: &Race| {
            json!({
                "claims": race.claims.len(), "rate": race.rate, "fairness": race.fairness,
                "p50_us": race.claims.p50(), "p99_us": race.claims.quantile(990),
                "p999_us": race.claims.quantile(999), "max_us": race.claims.max(),
                "refused": race.refused, "errors": race.errors, "doubles": race.doubles,
            })
        };
        self.0.iter().map(of).collect()
    }
}

/// Measures the group.
pub(crate) fn run(setting: &Setting) -> Result<Measured> {
    let mut rows = Vec::new();
    let mut figures = serde_json::Map::new();
    for processes in setting.size([1, 8, 32], [1, 4, 8]) {
        let (mut ours, mut busy) = (Races(Vec::new()), Races(Vec::new()));
        for _ in 0..setting.plan(1).repetitions {
            ours.0.push(race(setting, &Task::Ours(What::Claims), processes)?);
            busy.0.push(race(setting, &Task::ByHand, processes)?);
        }
        rows.extend(compare(processes, &ours, &busy));
        figures.insert(processes.to_string(), json!({"store": ours.json(), "busy": busy.json()}));
    }
    Ok((rows, figures.into()))
}

fn compare(processes: u64, ours: &Races, busy: &Races) -> Vec<Row> {
    let many = processes >= 32;
    let limit = |row: Row, hard, goal| match (many, goal) {
        (true, Some(goal)) => row.later(hard).goal(goal),
        (true, None) => row.later(hard),
        (false, _) => row,
    };
    let rate = ours.median(|race| race.rate) / busy.median(|race| race.rate);
    let tail = |races: &Races| races.median(|race| race.claims.quantile(999));
    let tail_ratio = tail(busy) / tail(ours);
    let count = |races: &Races, figure: fn(&Race) -> usize| {
        f64::from(u32::try_from(races.sum(figure)).unwrap_or(u32::MAX))
    };
    let what = |text: &str| format!("{processes} processes: {text}");
    let mut rows = vec![
        limit(
            Row::new(what("claims/s ÷ busy timeout"), rate, "×", ours.words()),
            Limit::Least(20.0),
            None,
        ),
        limit(
            Row::new(
                what("p99.9 of busy timeout ÷ ours"),
                tail_ratio,
                "×",
                format!("busy: {}", busy.words()),
            ),
            Limit::Least(50.0),
            Some(Limit::Least(100.0)),
        ),
        Row::new(
            what("issues claimed twice"),
            count(ours, |race| race.doubles),
            "",
            "of both ways, and the chain verified",
        )
        .hard(Limit::Most(0.0)),
        limit(
            Row::new(what("errors"), count(ours, |race| race.errors.len()), "", first_error(ours)),
            Limit::Most(0.0),
            None,
        ),
    ];
    if processes > 1 {
        let fairness = ours.median(|race| race.fairness);
        let row = Row::new(what("fewest ÷ most claims of a process"), fairness, "", "");
        rows.push(limit(row, Limit::Least(0.5), Some(Limit::Least(0.6))));
    }
    rows
}

fn first_error(races: &Races) -> String {
    races.0.iter().find_map(|race| race.errors.first().cloned()).unwrap_or_default()
}

/// Lets processes claim for a while, and checks what they were told against the store.
pub(crate) fn race(setting: &Setting, task: &Task, processes: u64) -> Result<Race> {
    let directory = scratch(setting)?;
    let store = directory.path().join("cotenant/store.db");
    // One more process has the store open, as an agent's server would.
    let attached = attach(&store, IfMissing::Create)?;
    let for_ms = setting.size(1_200, 300);
    let jobs = (0..processes).map(|number| Job {
        task: task.clone(),
        store: store.clone(),
        number,
        for_ms,
    });
    let (start, reports) = worker::all(jobs, directory.path(), HEAD_START)?;

    let race = judge(&reports, start + for_ms * 1_000_000, Duration::from_millis(for_ms));
    if !matches!(task, Task::Ours(What::Claims) | Task::ByHand) {
        return Ok(race);
    }
    let held = Bare::open(&store, Turn::Busy)?.rows()?;
    let held = held.iter().find(|(table, _)| table == "lease").map(|(_, count)| *count);
    ensure!(
        held == Some(i64::try_from(race.claims.len())?),
        "{} claims were acknowledged, the store holds {held:?}",
        race.claims.len()
    );
    if *task == Task::Ours(What::Claims) {
        let store: &dyn Store = &attached;
        let verified = store.call(&Verify { head: None }, |request| request)?.answer;
        ensure!(verified.ok, "the chain does not verify: {:?}", verified.why);
    }
    Ok(race)
}

fn judge(reports: &[Report], end: u64, window: Duration) -> Race {
    let all = || reports.iter().flat_map(|report| &report.claims);
    let took = all().map(|(began, ended, _)| Duration::from_nanos(ended - began));
    let count = |number: usize| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
    let in_time = count(all().filter(|(_, ended, _)| *ended <= end).count());
    let each = || reports.iter().map(|report| count(report.claims.len()));
    let distinct: HashSet<u64> = all().map(|(.., issue)| *issue).collect();
    Race {
        rate: in_time / window.as_secs_f64(),
        fairness: each().fold(f64::INFINITY, f64::min) / each().fold(0.0, f64::max),
        refused: reports.iter().map(|report| report.refused).sum(),
        errors: reports.iter().flat_map(|report| report.errors.clone()).collect(),
        doubles: all().count() - distinct.len(),
        claims: Sample::of(took),
    }
}
