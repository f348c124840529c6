//! A commit, seen by another process that waits for it.

use std::collections::HashMap;
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use cotenant_core::store::Store;
use cotenant_store::IfMissing;
use serde_json::json;

use super::asked;
use super::row::{Limit, Row, short};
use super::run::Measured;
use super::sample::Sample;
use super::scene::{attach, scratch};
use super::setting::Setting;
use super::worker::{Job, Task, Worker, next, now};

/// Nothing happens for so long, to see what waiting costs.
const IDLE: Duration = Duration::from_millis(3_500);

/// Measures the group.
pub(crate) fn run(setting: &Setting) -> Result<Measured> {
    let directory = scratch(setting)?;
    let file = directory.path().join("cotenant/store.db");
    let store = attach(&file, IfMissing::Create)?;
    let store: &dyn Store = &store;
    let writer = asked::actor(store, "writer", None)?;
    let count = setting.size(400, 40);
    let for_ms = 60_000;
    let job = Job { task: Task::Watch(count), store: file, number: 0, for_ms };
    let mut waiter = Worker::start(&job, directory.path())?;
    waiter.ready()?;
    waiter.begin(now())?;
    sleep(IDLE);

    let mut draw = 1;
    let mut written = HashMap::new();
    let mut commits = Sample::default();
    for number in 0..count {
        sleep(Duration::from_micros(3_000 + next(&mut draw) % 5_000));
        let request = asked::request(asked::append("{}"), &writer, u64::try_from(number)?);
        let began = now();
        let reply = store.one(request)?;
        let ended = now();
        commits.push(Duration::from_nanos(ended - began));
        written.insert(reply.seq.0, began);
    }
    let report = waiter.report(for_ms)?;
    let seen: HashMap<i64, u64> = report.seen.iter().copied().collect();
    let took = written.iter().filter_map(|(seq, began)| {
        Some(Duration::from_nanos(seen.get(seq)?.saturating_sub(*began)))
    });
    let sample = Sample::of(took);
    let lost = written.len() - sample.len();
    let micros = |per_mille| short(sample.quantile(per_mille));
    let from = format!("p99 {} max {} µs, {} commits", micros(990), micros(1_000), sample.len());
    let after = (sample.p50() - commits.p50()) / 1e3;
    let idle = f64::from(u32::try_from(report.idle_us)?) / 1e3;
    let rows = vec![
        Row::new("from the start of a durable commit until seen, p50", sample.p50(), "µs", from),
        Row::new(
            "the same after the commit's own p50",
            after,
            "ms",
            format!("the commit itself {} µs", short(commits.p50())),
        ),
        Row::new("commits never seen", f64::from(u32::try_from(lost)?), "", "")
            .hard(Limit::Most(0.0)),
        Row::new("processor time of the waiter while nothing happens", idle, "ms/s", "")
            .goal(Limit::Most(1.0)),
    ];
    Ok((
        rows,
        json!({"p50_us": sample.p50(), "p99_us": sample.quantile(990), "commit_p50_us": commits.p50()}),
    ))
}
