//! Services that one would use instead, with the same durability: claims that stay, and leases that
//! are taken and given back. The services do only that; the store also keeps sessions, results of
//! requests and a chained log.

pub(crate) mod client;
mod server;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use self::client::Service;
use self::server::{Running, etcd, postgres, redis};
use super::contention::{Races, race};
use super::row::{Limit, Row};
use super::run::Measured;
use super::scene::scratch;
use super::setting::Setting;
use super::worker::{Task, What};
use crate::steps::Outcome;
use crate::tools::{self, ETCD, POSTGRES, REDIS};

/// A service: its name, how it is started, how many times faster a claim and a lease shall be here.
type Rival<'a> = (&'static str, Running, Option<Limit>, Option<Limit>);

/// Measures the group.
pub(crate) fn run(setting: &Setting) -> Result<Measured> {
    if let Outcome::Skipped(why) = tools::install(&[POSTGRES, REDIS, ETCD]) {
        bail!("services are {why}");
    }
    let directory = scratch(setting)?;
    let rivals: [Rival<'_>; 3] = [
        ("PostgreSQL", postgres()?, Some(Limit::Least(5.0)), Some(Limit::Least(2.0))),
        ("Redis", redis(directory.path())?, Some(Limit::Least(1.5)), Some(Limit::Least(2.0))),
        ("etcd", etcd(directory.path())?, Some(Limit::Least(50.0)), None),
    ];
    let processes = setting.size(32, 4);
    let repetitions = setting.plan(1).repetitions;
    let mut rows = Vec::new();
    let mut figures = serde_json::Map::new();
    for what in [What::Claims, What::Leases] {
        let mut ours = Races::default();
        let mut theirs: Vec<Races> = rivals.iter().map(|_| Races::default()).collect();
        for _ in 0..repetitions {
            ours.0.push(race(setting, &Task::Ours(what), processes)?);
            for ((_, rival, ..), races) in rivals.iter().zip(&mut theirs) {
                let task = Task::Service(what, rival.service.clone());
                races.0.push(race(setting, &task, processes)?);
            }
        }
        figures.insert(what.word().to_owned(), json!({"store": ours.json()}));
        rows.push(Row::new(
            format!("{processes} processes: {}/s of the store", what.word()),
            ours.median(|race| race.rate),
            "/s",
            ours.words(),
        ));
        for ((name, _, claims, leases), races) in rivals.iter().zip(&theirs) {
            let goal = if what == What::Claims { claims } else { leases };
            rows.extend(compare(what, name, &ours, races, *goal));
            figures[what.word()][*name] = races.json();
        }
    }
    rows.extend(behind_one_process(setting, &rivals[0].1, processes, &mut figures)?);
    Ok((rows, Value::Object(figures)))
}

/// Our store on the server, asked by as many threads of one process, against clients that each take the
/// next row of a queue by hand. The store's claims leave a chained log and results behind.
fn behind_one_process(
    setting: &Setting,
    server: &Running,
    clients: u64,
    figures: &mut serde_json::Map<String, Value>,
) -> Result<Vec<Row>> {
    let (Some(store), Service::Postgres(settings)) = (&server.store, &server.service) else {
        bail!("no store on the server");
    };
    let (mut ours, mut theirs) = (Races::default(), Races::default());
    for _ in 0..setting.plan(1).repetitions {
        let task = Task::Together(store.clone(), clients);
        ours.0.push(race(setting, &task, 1)?);
        theirs.0.push(race(setting, &Task::Queue(settings.clone()), clients)?);
    }
    figures.insert("one_process".into(), json!({"store": ours.json(), "queue": theirs.json()}));
    let rate = ours.median(|race| race.rate) / theirs.median(|race| race.rate);
    let tail = |races: &Races| races.median(|race| race.claims.quantile(990));
    let words = format!("{}; by hand: {}", ours.words(), theirs.words());
    let what = format!("PostgreSQL, {clients} clients of one process: claims/s ÷ SKIP LOCKED");
    Ok(vec![
        Row::new(what, rate, "×", words).goal(Limit::Least(0.5)),
        Row::new("p99 of SKIP LOCKED ÷ ours", tail(&theirs) / tail(&ours), "×", "")
            .goal(Limit::Least(1.0)),
    ])
}

fn compare(what: What, name: &str, ours: &Races, theirs: &Races, goal: Option<Limit>) -> Vec<Row> {
    let rate = ours.median(|race| race.rate) / theirs.median(|race| race.rate);
    let tail = |races: &Races| races.median(|race| race.claims.quantile(999));
    let row = Row::new(format!("{}/s ÷ {name}", what.word()), rate, "×", theirs.words());
    let row = match goal {
        Some(goal) => row.goal(goal),
        None => row,
    };
    let tails = tail(theirs) / tail(ours);
    vec![row, Row::new(format!("p99.9 of {name} ÷ ours, {}", what.word()), tails, "×", "")]
}
