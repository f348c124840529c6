//! Much of everything: a long log, very many sessions, very many tasks.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cotenant_core::event::Verify;
use cotenant_core::id::TaskId;
use cotenant_core::json::Json;
use cotenant_core::status::ShowStatus;
use cotenant_core::store::{BATCH_MAX, Request, Store};
use cotenant_core::task::{AddTasks, FinishTask, NewTask, NextTask};
use cotenant_store::IfMissing;
use serde_json::json;

use super::asked;
use super::row::{Limit, Row, short};
use super::run::Measured;
use super::sample::Sample;
use super::scene::{Scene, attach, scratch};
use super::setting::Setting;
use super::worker::next;

/// The events of a page.
const PAGE: u32 = 100;
/// Tasks that one request adds.
const TASKS: usize = 500;

/// Measures a long log.
pub(crate) fn events(setting: &Setting) -> Result<Measured> {
    let directory = scratch(setting)?;
    let store = attach(&directory.path().join("cotenant/store.db"), IfMissing::Create)?;
    let store: &dyn Store = &store;
    let writer = asked::actor(store, "writer", None)?;
    let count = setting.options.events.next_multiple_of(u32::try_from(BATCH_MAX)?);
    let mut batches = Sample::default();
    let mut number = 0;
    while number < count {
        let batch = (0..BATCH_MAX).map(|_| {
            number += 1;
            let payload = json!({"number": number, "text": "what an agent did, in a few words"});
            asked::request(asked::append(&payload.to_string()), &writer, number.into())
        });
        let batch = batch.collect();
        let began = Instant::now();
        asked::all(store, batch)?;
        batches.push(began.elapsed());
    }
    let growth = batches.growth();

    let mut cursors = vec!["start".to_owned()];
    loop {
        let cursor = cursors.last().cloned().unwrap_or_default();
        let read = asked::read(cursor, 1_000, None);
        let page = store.call(&read, |request| request)?.answer;
        if !page.more {
            break;
        }
        cursors.push(page.cursor);
    }
    let mut draw = 7;
    let pages = (0..setting.size(2_000, 100)).map(|_| {
        let drawn = usize::try_from(next(&mut draw) % u64::try_from(cursors.len())?)?;
        let request = Request::new(asked::read(cursors[drawn].clone(), PAGE, None));
        let began = Instant::now();
        store.one(request)?;
        Ok(began.elapsed())
    });
    let pages = Sample::of(pages.collect::<Result<Vec<Duration>>>()?);
    let began = Instant::now();
    let verified = store.call(&Verify { head: None }, |request| request)?.answer;
    let took = began.elapsed();
    ensure!(verified.ok && verified.checked >= u64::from(count), "the chain: {:?}", verified.why);

    let million = took.as_secs_f64() * 1e6 / f64::from(count);
    let rows = vec![
        Row::new(
            format!("{count} events: a page of {PAGE}, p99"),
            pages.quantile(990) / 1e3,
            "ms",
            format!("p50 {} ms", short(pages.p50() / 1e3)),
        )
        .later(Limit::Most(5.0)),
        Row::new(
            "chain verified, for 1,000,000 events",
            million,
            "s",
            format!("{} s for {count}", short(took.as_secs_f64())),
        )
        .later(Limit::Most(3.0)),
        Row::new(
            "cost of an event: last tenth ÷ first tenth",
            growth,
            "×",
            format!("{} µs each in batches of {BATCH_MAX}", short(batches.p50() / 128.0)),
        )
        .later(Limit::Most(1.5)),
    ];
    Ok((
        rows,
        json!({"events": count, "page_p99_us": pages.quantile(990), "verify_s": took.as_secs_f64()}),
    ))
}

/// Measures very many sessions, each with a claim.
pub(crate) fn sessions(setting: &Setting) -> Result<Measured> {
    let scene = Scene::new(setting)?;
    let store = scene.store();
    let count: usize = setting.size(10_000, 500);
    let mut actors = Vec::new();
    let began = Instant::now();
    for first in (0..count).step_by(BATCH_MAX) {
        let numbers = first..count.min(first + BATCH_MAX);
        let names: Vec<String> = numbers.map(|number| format!("session-{number}")).collect();
        let batch =
            names.iter().map(|name| Request::new(asked::sign_on(name, None)).id(name.clone()));
        asked::all(store, batch.collect())?;
        actors.extend(names.iter().map(|name| asked::by_name(name)));
    }
    for (batch, actors) in actors.chunks(BATCH_MAX).enumerate() {
        let batch = u64::try_from(batch * BATCH_MAX)?;
        let claims =
            (batch..).zip(actors).map(|(n, actor)| asked::request(asked::claim(n), actor, n));
        asked::all(store, claims.collect())?;
    }
    let filled = began.elapsed();

    let mut draw = 3;
    let claims = (0..setting.size(1_000_u64, 50)).map(|number| {
        let drawn = usize::try_from(next(&mut draw) % u64::try_from(actors.len())?)?;
        let number = 1_000_000 + number;
        let request = asked::request(asked::claim(number), &actors[drawn], number);
        let began = Instant::now();
        store.one(request).context("a claim")?;
        Ok(began.elapsed())
    });
    let claims = Sample::of(claims.collect::<Result<Vec<Duration>>>()?);
    let status = scene.cotenant(&["status"]);
    let pages = (0..setting.size(20, 3)).map(|_| Ok(status.time()?.wall));
    let pages = Sample::of(pages.collect::<Result<Vec<Duration>>>()?);
    let inside = (0..setting.size(20, 3)).map(|_| {
        let began = Instant::now();
        store.one(Request::new(ShowStatus::default()))?;
        Ok(began.elapsed())
    });
    let inside = Sample::of(inside.collect::<Result<Vec<Duration>>>()?);

    let what = |text: &str| format!("{count} sessions: {text}");
    let rows = vec![
        Row::new(
            what("`claim`, p99"),
            claims.quantile(990) / 1e3,
            "ms",
            format!("p50 {} ms, durable", short(claims.p50() / 1e3)),
        )
        .hard(Limit::Most(20.0)),
        Row::new(
            what("`status` of the shipped program, p50"),
            pages.p50() / 1e3,
            "ms",
            format!("{} ms of it the operation", short(inside.p50() / 1e3)),
        )
        .hard(Limit::Most(100.0)),
        Row::new(what("signing on and claiming"), filled.as_secs_f64(), "s", "in batches"),
    ];
    Ok((
        rows,
        json!({"sessions": count, "claim_p99_us": claims.quantile(990), "status_p50_us": pages.p50()}),
    ))
}

/// Adds very many tasks, every second of which needs two others, and takes some.
pub(crate) fn tasks(setting: &Setting) -> Result<Measured> {
    let scene = Scene::new(setting)?;
    let store = scene.store();
    let actor = asked::actor(store, "worker", None)?;
    let count: usize = setting.size(100_000, 2_000);
    let (mut ids, mut draw): (Vec<TaskId>, u64) = (Vec::with_capacity(count), 11);
    let mut batches = Sample::default();
    let began = Instant::now();
    while ids.len() < count {
        let first = ids.len();
        let mut tasks = Vec::with_capacity(TASKS);
        for place in 0..TASKS {
            let payload = json!({"type": "test", "file": format!("src/part-{}.rs", first + place)});
            let mut task = NewTask::new(Json::of(&payload));
            task.priority = i64::try_from(next(&mut draw) % 5)?;
            if place % 2 == 1 {
                task.needs_new.push(u32::try_from(next(&mut draw) % u64::try_from(place)?)?);
                if first > 0 {
                    task.needs.push(ids[usize::try_from(next(&mut draw) % u64::try_from(first)?)?]);
                }
            }
            tasks.push(task);
        }
        let began = Instant::now();
        let add = AddTasks { tasks };
        let id = format!("add-{first}");
        let added = store.call(&add, |request| request.by(actor.clone()).id(id))?.answer;
        batches.push(began.elapsed());
        ids.extend(added.tasks.iter().map(|task| task.task));
    }
    let filled = began.elapsed();

    let (mut taken, mut done) = (Sample::default(), Sample::default());
    for number in 0..setting.size(2_000_u64, 50) {
        let began = Instant::now();
        let id = format!("next-{number}");
        let next = store.call(&NextTask::default(), |request| request.by(actor.clone()).id(id))?;
        taken.push(began.elapsed());
        let task = next.answer.task.context("no task is ready")?;
        let finish = FinishTask { task: task.task, fence: task.fence, result: None };
        let began = Instant::now();
        let id = format!("done-{number}");
        store.call(&finish, |request| request.by(actor.clone()).id(id))?;
        done.push(began.elapsed());
    }
    let status = scene.cotenant(&["status"]);
    let pages = (0..setting.size(20, 3)).map(|_| Ok(status.time()?.wall));
    let pages = Sample::of(pages.collect::<Result<Vec<Duration>>>()?);

    let what = |text: &str| format!("{count} tasks: {text}");
    let rows = vec![
        Row::new(
            what("adding them"),
            filled.as_secs_f64(),
            "s",
            format!("{TASKS} a request, p99 {} ms", short(batches.quantile(990) / 1e3)),
        )
        .hard(Limit::Most(20.0)),
        Row::new(
            what("`task next`, p99"),
            taken.quantile(990) / 1e3,
            "ms",
            format!("p50 {} ms, durable", short(taken.p50() / 1e3)),
        )
        .hard(Limit::Most(20.0)),
        Row::new(
            what("`task done`, p99"),
            done.quantile(990) / 1e3,
            "ms",
            format!("p50 {} ms, durable", short(done.p50() / 1e3)),
        ),
        Row::new(what("`status` of the shipped program, p50"), pages.p50() / 1e3, "ms", "")
            .hard(Limit::Most(100.0)),
    ];
    Ok((
        rows,
        json!({"tasks": count, "add_s": filled.as_secs_f64(), "next_p99_us": taken.quantile(990),
            "done_p99_us": done.quantile(990), "status_p50_us": pages.p50()}),
    ))
}
