//! Old and new programs on one store, and a migration in the midst of it: old ones are refused from then
//! on, new ones until then; of many that migrate one does; nothing acknowledged is lost, and what was
//! refused has no effect until it is asked for again.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use cotenant_store::SCHEMA;
use rusqlite::{Connection, OpenFlags};

use super::kill::{Aim, look};
use super::lab::{Bench, Lab};
use super::random::Random;
use super::report::Report;
use super::worker::{Request, Worker};
use super::writer::{Writer, Writers};

/// Plays a program of the next version.
pub(crate) const NEXT_VERSION: (&str, &str) = ("COTENANT_EXTRA_MIGRATION", "1");
/// Sessions of each version.
const WRITERS: usize = 3;
/// Processes that migrate at once, of which some die.
const MIGRATORS: usize = 4;
/// When the migration comes.
const BEFORE: Duration = Duration::from_millis(250);
/// Requests of a new program after it was let in.
const AFTERWARDS: usize = 10;
/// How long a program may be kept waiting for the migration.
const PATIENCE: Duration = Duration::from_mins(1);

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Migrations.
    pub(crate) rounds: u64,
}

/// Lets old and new programs meet.
pub(crate) fn run(bench: &Bench, seed: u64, size: Size) -> Report {
    let mut report = Report::begin("mixed", seed);
    let mut sums = Sums::default();
    let outcome = (0..size.rounds).try_for_each(|round| {
        let random = Random::new(seed, round);
        meet(bench, &format!("mixed-{seed}-{round}"), random, &mut sums, &mut report)
    });
    report.fact("migrations", sums.migrations);
    report.fact("programs of each version", WRITERS);
    report.fact("processes that migrated at once", MIGRATORS);
    report.fact("of these killed", sums.killed);
    report.fact("requests acknowledged", sums.acknowledged);
    report.fact("old programs refused afterwards", sums.shut_out);
    report.fact("refusals of new programs before", sums.kept_waiting);
    report.fact("acknowledged and lost", sums.lost);
    report.end(outcome)
}

#[derive(Debug, Default)]
struct Sums {
    migrations: usize,
    killed: usize,
    acknowledged: usize,
    shut_out: usize,
    kept_waiting: usize,
    lost: usize,
}

fn meet(
    bench: &Bench,
    name: &str,
    mut random: Random,
    sums: &mut Sums,
    report: &mut Report,
) -> Result<()> {
    let lab = Lab::new(bench, name)?;
    let next = lab.with(&[(NEXT_VERSION.0, NEXT_VERSION.1.into())]);
    let members = lab.sign_on(2 * WRITERS, &mut random)?;
    let old = Writers::new(&lab, &["SCHEMA_NEWER"]);
    let new = Writers::new(&next, &["SCHEMA_OLDER"]);
    let seed = random.below(u64::MAX);
    let (killed, is_migrated) = (AtomicUsize::new(0), AtomicBool::new(false));
    let ended: Vec<Result<Option<(Aim, Request)>>> = thread::scope(|scope| {
        let threads: Vec<_> = members
            .iter()
            .enumerate()
            .map(|(number, member)| {
                let random = Random::new(seed, number as u64);
                let (old, new, is_migrated) = (&old, &new, &is_migrated);
                scope.spawn(move || {
                    if number < WRITERS {
                        let writer = Writer::new(old, member, number, random)?;
                        write_until_shut_out(writer, is_migrated).map(Some)
                    } else {
                        write_once_let_in(Writer::new(new, member, number, random)?).map(|()| None)
                    }
                })
            })
            .collect();
        thread::sleep(random.within(BEFORE));
        let migrated = migrate(&lab, &mut random, &killed);
        is_migrated.store(true, Ordering::Release);
        let joined = threads.into_iter().map(thread::ScopedJoinHandle::join);
        let joined = joined.map(|one| one.unwrap_or_else(|_| Err(anyhow!("panicked"))));
        joined.chain([migrated.map(|()| None)]).collect()
    });
    sums.migrations += 1;
    sums.killed += killed.into_inner();
    let mut refused = Vec::new();
    for one in ended {
        refused.extend(one?);
    }
    sums.shut_out += refused.len();
    sums.kept_waiting += new.refused();
    // A program that was upgraded asks again.
    for (number, (aim, request)) in refused.iter().enumerate() {
        let mut writer = Writer::new(&new, &members[number], number, random.clone())?;
        let is_done = writer.ask(aim, request)?;
        report.expect(is_done, || format!("refused, then asked by a new program: {aim:?}"));
    }
    let mut ledger = old.into_ledger();
    ledger.add(new.into_ledger());
    look(&mut Worker::start(&next, "afterwards", None)?, &members, &mut ledger)?;
    sums.acknowledged += ledger.acknowledged.len();
    sums.lost += ledger.lost;
    report.faults.extend(ledger.faults);
    report.faults.extend(lab.doctor_with(&[NEXT_VERSION])?);
    if let Some(store) = lab.file_of_store() {
        let (schema, migrations) = schema_of(&store)?;
        let extra = migrations.matches("_extra:").count();
        report.expect((schema, extra) == (SCHEMA + 1, 1), || format!("{schema} by {migrations}"));
    }
    if report.is_clean() {
        lab.clean();
    }
    Ok(())
}

/// Writes until a newer schema is there. Answers what was refused for it.
fn write_until_shut_out(
    mut writer: Writer<'_>,
    is_migrated: &AtomicBool,
) -> Result<(Aim, Request)> {
    loop {
        let too_late = is_migrated.load(Ordering::Acquire);
        let (aim, request) = writer.next();
        if !writer.ask(&aim, &request)? {
            // It stays so.
            let (again, other) = writer.next();
            ensure!(!writer.ask(&again, &other)?, "an old program was let in again");
            return Ok((aim, request));
        }
        ensure!(!too_late, "an old program still writes after the migration");
    }
}

/// Asks until the store has the new schema, then writes some more.
fn write_once_let_in(mut writer: Writer<'_>) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    let (mut aim, mut request) = writer.next();
    while !writer.ask(&aim, &request)? {
        ensure!(Instant::now() < end, "a new program was never let in: {}", writer.refusal);
    }
    for _ in 0..AFTERWARDS {
        (aim, request) = writer.next();
        ensure!(writer.ask(&aim, &request)?, "a new program was let in, then not");
    }
    Ok(())
}

/// Many migrate at once, some of them die of it, and one more makes sure.
fn migrate(lab: &Lab, random: &mut Random, killed: &AtomicUsize) -> Result<()> {
    let points = ["migrate.step(n)=kill", "migrate.before_commit=kill", "none=kill"];
    let failpoints: Vec<&str> = (0..MIGRATORS).map(|_| *random.pick(&points)).collect();
    let ended: Vec<Result<()>> = thread::scope(|scope| {
        let threads: Vec<_> = failpoints
            .iter()
            .map(|failpoint| {
                scope.spawn(move || {
                    let variables = [NEXT_VERSION, ("COTENANT_FAILPOINT", failpoint)];
                    let (status, said) = lab.call(&["doctor", "--migrate"], &variables)?;
                    killed.fetch_add(usize::from(status.code().is_none()), Ordering::Relaxed);
                    let may_die = *failpoint != "none=kill" && status.code().is_none();
                    ensure!(status.success() || may_die, "one of many migrations: {said}");
                    Ok(())
                })
            })
            .collect();
        let joined = threads.into_iter().map(thread::ScopedJoinHandle::join);
        joined.map(|one| one.unwrap_or_else(|_| Err(anyhow!("panicked")))).collect()
    });
    ended.into_iter().collect::<Result<()>>()?;
    let (status, said) = lab.call(&["doctor", "--migrate"], &[NEXT_VERSION])?;
    ensure!(status.success(), "the last migration: {said}");
    Ok(())
}

/// The schema of a database, and the migrations that made it.
pub(crate) fn schema_of(path: &Path) -> Result<(i64, String)> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    Ok(connection.query_row("SELECT schema, migrations FROM meta WHERE id = 1", [], row)?)
}
