//! Broken, foreign, newer and unreachable stores: each gives its code, says what to do, and changes
//! nothing.
#![allow(missing_docs)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "bench/world.rs"]
mod world;

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use cotenant_core::{
    Code, Error, Result,
    clock::Reading,
    data::{Get, Put},
    event::{Head, sha256_hex},
    json::Json,
    lease::Acquire,
    name::SessionRef,
    process::{Liveness, ProcessIdentity, Processes},
    retention::RemoveLeftovers,
    session::{SignOff, SignOn},
    store::{Actor, Request, Store},
};
use cotenant_store::{
    IfMissing, LocalStore, admin,
    doctor::{Severity, doctor},
    sql::{Clock, Sql},
};
use rusqlite::Connection;
use tempfile::TempDir;

use world::World;

fn scratch() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("cotenant/store.db");
    (directory, file)
}

fn made() -> (TempDir, PathBuf) {
    let (directory, file) = scratch();
    LocalStore::open(&file, IfMissing::Create).unwrap();
    (directory, file)
}

fn open(file: &Path) -> Result<LocalStore> {
    LocalStore::open(file, IfMissing::Fail)
}

fn refused(file: &Path) -> Error {
    match open(file)
        .and_then(|store| (&store as &dyn Store).call(&Head {}, |request| request).map(drop))
    {
        Err(error) => error,
        Ok(()) => panic!("`{}` was opened", file.display()),
    }
}

fn sign_on(store: &dyn Store, name: &str) -> Result<Actor> {
    let digest = sha256_hex(name);
    let operation = SignOn {
        name: Some(name.into()),
        ttl_ms: Some(3_600_000),
        ..SignOn::new("agent", "u", digest.clone())
    };
    let session = store.call(&operation, |request| request)?.answer.session;
    Ok(Actor { session: SessionRef(session.0), token_digest: digest })
}

fn value(text: &str) -> Put {
    Put {
        scope: "s".into(),
        key: "k".into(),
        value: Json::parse(text).unwrap(),
        expect: None,
        ephemeral: false,
        ttl_ms: None,
    }
}

fn put(store: &dyn Store, actor: &Actor, text: &str) -> Result<()> {
    store.call(&value(text), |request| request.by(actor.clone())).map(drop)
}

fn get(store: &dyn Store) -> String {
    let operation = Get { scope: "s".into(), key: "k".into() };
    store.call(&operation, |request| request).unwrap().answer.value.text().to_owned()
}

#[test]
fn nothing_there_is_not_found_and_nothing_is_made() {
    let (directory, file) = scratch();
    assert_eq!(refused(&file).code, Code::NotFound);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn s12_a_directory_without_its_database_is_never_silently_a_new_store() {
    let (_directory, file) = made();
    fs::remove_file(&file).unwrap();
    for missing in [IfMissing::Fail, IfMissing::Create] {
        let Err(error) = LocalStore::open(&file, missing) else { panic!("a store was made") };
        assert_eq!(error.code, Code::StoreMissing);
        assert!(error.hint.unwrap().contains("restore"));
    }
    assert!(!file.exists());
}

#[test]
fn b5_places_that_others_can_reach_are_refused() {
    let mode =
        |path: &Path, mode: u32| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let (_directory, file) = made();
    mode(file.parent().unwrap(), 0o755);
    let error = refused(&file);
    assert_eq!(error.code, Code::StoreForeign);
    assert!(error.hint.unwrap().starts_with("chmod 700 "));
    mode(file.parent().unwrap(), 0o700);
    mode(&file, 0o644);
    assert!(refused(&file).hint.unwrap().starts_with("chmod 600 "));
    mode(&file, 0o600);
    open(&file).unwrap();

    let (other, linked) = scratch();
    symlink(file.parent().unwrap(), linked.parent().unwrap()).unwrap();
    assert_eq!(refused(&linked).code, Code::StoreForeign);
    fs::remove_file(linked.parent().unwrap()).unwrap();
    fs::hard_link(&file, other.path().join("second")).unwrap();
    assert_eq!(refused(&file).code, Code::StoreForeign);
}

#[test]
fn s11_damage_is_reported_and_never_served() {
    let (_directory, file) = made();
    fs::write(&file, "this is no database, whatever its name says").unwrap();
    assert_eq!(refused(&file).code, Code::StoreCorrupt);
    let (_directory, file) = made();
    let mut bytes = fs::read(&file).unwrap();
    bytes.truncate(bytes.len() / 2);
    fs::write(&file, bytes).unwrap();
    let findings = doctor(&file.clone().into(), false);
    assert!(findings.iter().any(|finding| finding.severity == Severity::Bad), "{findings:?}");
}

#[test]
fn a_database_of_somebody_else_is_foreign() {
    let (_directory, file) = made();
    fs::remove_file(&file).unwrap();
    let connection = Connection::open(&file).unwrap();
    connection.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1)").unwrap();
    drop(connection);
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    assert_eq!(refused(&file).code, Code::StoreForeign);
}

#[test]
fn b3_a_newer_schema_can_be_read_while_it_allows_and_never_written() {
    let (_directory, file) = made();
    let store = open(&file).unwrap();
    let actor = sign_on(&store, "a").unwrap();
    put(&store, &actor, "1").unwrap();
    let raw = Connection::open(&file).unwrap();
    raw.execute("UPDATE meta SET schema = 9, min_writer = 9", []).unwrap();
    let error = put(&store, &actor, "2").unwrap_err();
    assert_eq!(error.code, Code::SchemaNewer);
    assert_eq!(get(&store), "1");
    raw.execute("UPDATE meta SET min_reader = 9", []).unwrap();
    assert_eq!(refused(&file).code, Code::SchemaNewer);
    raw.execute("UPDATE meta SET schema = 0, min_reader = 0, min_writer = 0", []).unwrap();
    let error = refused(&file);
    assert_eq!(error.code, Code::SchemaOlder);
    assert!(error.hint.unwrap().contains("--migrate"));
}

/// A clock whose source the test names.
#[derive(Clone, Default)]
struct Named(Arc<Mutex<String>>);

impl Clock for Named {
    fn reading(&self, _: &mut dyn Sql) -> Result<Reading> {
        Ok(Reading { source: self.0.lock().unwrap().clone(), value_ms: 1 })
    }

    fn wall_ms(&self) -> i64 {
        1_800_000_000_000
    }
}

struct Everybody;

impl Processes for Everybody {
    fn liveness(&self, _: &ProcessIdentity) -> Liveness {
        Liveness::Alive
    }
}

#[test]
fn two_kernels_on_one_file_are_noticed() {
    let (_directory, file) = scratch();
    let clock = Named::default();
    let kernel = |name: &str| name.clone_into(&mut clock.0.lock().unwrap());
    kernel("one");
    let store = LocalStore::open_with(
        &file,
        IfMissing::Create,
        Box::new(clock.clone()),
        Box::new(Everybody),
    );
    let store = store.unwrap();
    let actor = sign_on(&store, "a").unwrap();
    put(&store, &actor, "1").unwrap();
    kernel("two");
    put(&store, &actor, "2").unwrap();
    kernel("one");
    assert_eq!(put(&store, &actor, "3").unwrap_err().code, Code::ClockDomain);
    kernel("two");
    assert_eq!(get(&store), "2");
}

#[test]
fn a_busy_store_names_the_writer_and_does_nothing() {
    let (_directory, file) = made();
    let store = open(&file).unwrap().busy_timeout(Duration::from_millis(50));
    let actor = sign_on(&store, "a").unwrap();
    let gate = File::options().write(true).open(file.with_file_name("gate")).unwrap();
    gate.lock().unwrap();
    let error = put(&store, &actor, "1").unwrap_err();
    assert_eq!(error.code, Code::Busy);
    assert_eq!(error.details["holder_pid"], std::process::id());
    gate.unlock().unwrap();
    put(&store, &actor, "1").unwrap();
}

#[test]
fn a_busy_store_ends_no_wait_that_has_time_left() {
    let (_directory, file) = made();
    let store = open(&file).unwrap().busy_timeout(Duration::from_millis(20));
    let actor = sign_on(&store, "a").unwrap();
    let gate = File::options().write(true).open(file.with_file_name("gate")).unwrap();
    let acquire = |wait_ms: u64| Acquire {
        resource: "r".into(),
        ttl_ms: 60_000,
        slots: None,
        wait_ms: Some(wait_ms),
        lock_delay_ms: None,
        note: None,
    };
    let asks = |wait_ms| {
        let store: &dyn Store = &store;
        store.call(&acquire(wait_ms), |request| request.by(actor.clone()))
    };
    gate.lock().unwrap();
    assert_eq!(asks(300).unwrap_err().code, Code::Busy, "its wait is over");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| asks(60_000));
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(300) && !waiting.is_finished() {
            thread::yield_now();
        }
        gate.unlock().unwrap();
        waiting.join().unwrap().expect("it had time left");
    });
}

#[test]
fn what_long_ended_sessions_were_answered_goes_with_them() {
    let (_directory, file) = made();
    let store = open(&file).unwrap();
    let (store, day) = (&store as &dyn Store, 86_400_000_u32);
    let asks = |actor: &Actor| {
        store.call(&value("1"), |request| request.by(actor.clone()).id("once")).unwrap();
    };
    let old = sign_on(store, "old").unwrap();
    asks(&old);
    let over = SignOff { outcome: None, note: None };
    store.call(&over, |request| request.by(old.clone())).unwrap();
    let raw = Connection::open(&file).unwrap();
    raw.execute("UPDATE meta SET tick = tick + $1", [2 * i64::from(day)]).unwrap();
    let token_digest = sha256_hex("ann");
    let signed =
        store.call(&SignOn::new("human", "u", token_digest.clone()), |request| request).unwrap();
    let ann = Actor { session: SessionRef(signed.answer.session.0), token_digest };
    asks(&ann);
    let remembered = |actor: &Actor| -> i64 {
        let sql = "SELECT COUNT(*) FROM request WHERE actor = $1 AND id = 'once'";
        raw.query_row(sql, [&actor.session.0], |row| row.get(0)).unwrap()
    };
    assert_eq!((remembered(&old), remembered(&ann)), (1, 1));
    let remove = RemoveLeftovers { older_than_ms: day.into(), after: None, limit: 256 };
    let removed = store.call(&remove, |request| request.by(ann.clone())).unwrap().answer;
    assert_eq!(removed.sessions.len(), 1);
    assert_eq!((remembered(&old), remembered(&ann)), (0, 1));
}

#[test]
fn a_remembered_result_is_told_in_a_turn_only() {
    let (_directory, file) = made();
    let store = open(&file).unwrap().busy_timeout(Duration::from_millis(50));
    let actor = sign_on(&store, "a").unwrap();
    let operation = value("1");
    let repeat = || {
        let dress = |request: Request| request.by(actor.clone()).id("once");
        (&store as &dyn Store).call(&operation, dress)
    };
    repeat().unwrap();
    // Whoever writes may have been killed in the flush of just that commit.
    let gate = File::options().write(true).open(file.with_file_name("gate")).unwrap();
    gate.lock().unwrap();
    let told = repeat();
    assert!(told.is_err(), "told without a turn");
    assert_eq!(told.unwrap_err().code, Code::Busy);
    gate.unlock().unwrap();
    assert!(repeat().unwrap().replayed);
}

#[test]
fn b1_b2_a_backup_is_whole_and_a_restore_begins_a_new_history() {
    let (directory, file) = made();
    let store = open(&file).unwrap();
    let actor = sign_on(&store, "a").unwrap();
    put(&store, &actor, "\"before\"").unwrap();
    let copy = directory.path().join("copy.db");
    let copied = admin::backup(&file, &copy).unwrap();
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(copied.events_checked, 2);
    assert_eq!(admin::backup(&file, &copy).unwrap_err().code, Code::PathExists);

    put(&store, &actor, "\"after\"").unwrap();
    let head = |store: &LocalStore| {
        (store as &dyn Store).call(&Head {}, |request| request).unwrap().answer
    };
    let (before, fences) = (head(&store), fence(&file));
    assert_eq!(admin::restore(&file, &copy, false).unwrap_err().code, Code::LiveSessions);
    assert_eq!(get(&store), "\"after\"");
    let restored = admin::restore(&file, &copy, true).unwrap();
    // The connection that was open all the time sees the restored store.
    assert_eq!(get(&store), "\"before\"");
    assert_eq!(restored.sessions_lost, 1);
    assert_ne!(head(&store).history, before.history);
    assert!(fence(&file) >= fences);
    assert_eq!(put(&store, &actor, "1").unwrap_err().code, Code::SessionLost);
    let old = open(&restored.replaced.unwrap());
    // What was replaced lies beside the store, where it cannot be taken for it.
    assert_eq!(get(&old.unwrap()), "\"after\"");
    assert!(
        doctor(&file.clone().into(), true).iter().all(|finding| finding.severity == Severity::Good)
    );
}

fn fence(file: &Path) -> i64 {
    Connection::open(file)
        .unwrap()
        .query_row("SELECT fence FROM meta", [], |row| row.get(0))
        .unwrap()
}

#[test]
fn l2_fences_ascend_over_a_restore_although_the_wall_clock_fell() {
    let (directory, file) = scratch();
    let ahead = World::new();
    cotenant_conformance::World::set_wall(&ahead, 9_000_000_000_000);
    let clock = Box::new(ahead.clone());
    let store = LocalStore::open_with(&file, IfMissing::Create, clock, Box::new(ahead)).unwrap();
    let copy = directory.path().join("copy.db");
    admin::backup(&file, &copy).unwrap();
    let actor = sign_on(&store, "a").unwrap();
    let acquire = |store: &LocalStore, actor: Actor| {
        let (slots, wait_ms, lock_delay_ms, note) = (None, None, None, None);
        let (resource, ttl_ms) = ("r".into(), 60_000);
        let acquire = Acquire { resource, ttl_ms, slots, wait_ms, lock_delay_ms, note };
        let store: &dyn Store = store;
        store.call(&acquire, |request| request.by(actor)).unwrap().answer.fence
    };
    let given = acquire(&store, actor);
    drop(store);
    // The clock of this machine is right again, and the copy does not know the grant.
    admin::restore(&file, &copy, true).unwrap();
    let store = open(&file).unwrap();
    let actor = sign_on(&store, "b").unwrap();
    let next = acquire(&store, actor);
    assert!(next > given, "fence {next} after {given}");
}

#[test]
fn a_damaged_store_can_be_restored() {
    let (directory, file) = made();
    let store = open(&file).unwrap();
    let actor = sign_on(&store, "a").unwrap();
    put(&store, &actor, "1").unwrap();
    let copy = directory.path().join("copy.db");
    admin::backup(&file, &copy).unwrap();
    drop(store);
    fs::write(&file, "rubbish").unwrap();
    let restored = admin::restore(&file, &copy, false).unwrap();
    assert_eq!(fs::read(restored.replaced.unwrap()).unwrap(), b"rubbish");
    assert_eq!(get(&open(&file).unwrap()), "1");
    fs::write(directory.path().join("bad.db"), "rubbish").unwrap();
    let error = admin::restore(&file, &directory.path().join("bad.db"), true).unwrap_err();
    assert_eq!(error.code, Code::StoreCorrupt);
    assert_eq!(get(&open(&file).unwrap()), "1");
}

#[test]
fn a_changed_event_is_found_by_number() {
    let (_directory, file) = made();
    let store = open(&file).unwrap();
    let actor = sign_on(&store, "a").unwrap();
    for value in ["1", "2", "3"] {
        put(&store, &actor, value).unwrap();
    }
    let raw = Connection::open(&file).unwrap();
    raw.execute(
        "UPDATE event SET payload = replace(payload, '\"ver\":2', '\"ver\":7') WHERE seq = 3",
        [],
    )
    .unwrap();
    let verified = (&store as &dyn Store)
        .call(&cotenant_core::event::Verify::default(), |r| r)
        .unwrap()
        .answer;
    assert_eq!((verified.ok, verified.first_bad.map(|seq| seq.0)), (false, Some(3)));
    raw.execute("DELETE FROM event WHERE seq = 4", []).unwrap();
    raw.execute("UPDATE data SET rev = 99", []).unwrap();
    let findings = doctor(&file.clone().into(), true);
    let bad: Vec<&str> = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Bad)
        .map(|finding| finding.check.as_str())
        .collect();
    assert_eq!(bad, ["data", "log"]);
}

#[test]
fn s11_an_empty_database_is_damaged_and_keeps_its_log() {
    let (_directory, file) = made();
    sign_on(&open(&file).unwrap(), "a").unwrap();
    let log = file.with_file_name("store.db-wal");
    let before = fs::read(&log).unwrap();
    File::create(&file).unwrap();
    let error = refused(&file);
    assert_eq!(error.code, Code::StoreCorrupt);
    assert!(error.hint.unwrap().contains("restore"));
    assert!(doctor_is_worried(&file));
    assert!(!before.is_empty() && fs::read(&log).unwrap() == before);
}

#[test]
fn b2_a_store_that_is_damaged_inside_can_be_restored() {
    let (directory, file) = made();
    let store = open(&file).unwrap();
    let actor = sign_on(&store, "a").unwrap();
    put(&store, &actor, "1").unwrap();
    drop(store);
    let backup = directory.path().join("backup.db");
    admin::backup(&file, &backup).unwrap();
    // Written back, so that the damage is not covered by the log.
    let connection = Connection::open(&file).unwrap();
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(connection);
    let mut bytes = fs::read(&file).unwrap();
    bytes[8192..].fill(7);
    fs::write(&file, bytes).unwrap();
    assert!(doctor_is_worried(&file));
    admin::restore(&file, &backup, true).unwrap();
    assert_eq!(get(&open(&file).unwrap()), "1");
    assert!(!doctor_is_worried(&file));
}

fn doctor_is_worried(file: &Path) -> bool {
    doctor(&file.to_path_buf().into(), true).iter().any(|one| one.severity == Severity::Bad)
}
