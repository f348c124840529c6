//! Requests of many processes in one: what is posted is carried out once, whatever becomes of the
//! combiner.
#![allow(missing_docs)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::{fs::FileExt as _, fs::MetadataExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use cotenant_core::{
    Code, Error,
    data::{Change, Get, Put, Update},
    event::{Append, Verify, sha256_hex},
    json::Json,
    name::SessionRef,
    session::SignOn,
    store::{Actor, Request, Store},
};
use cotenant_store::{
    IfMissing, LocalStore,
    combine::{Combiner, Posting, combine},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

/// Names the store to the process that this test program starts as a combiner.
const STORE: &str = "COTENANT_TEST_COMBINER";

/// The same to one that it starts as a client.
const CLIENT: &str = "COTENANT_TEST_CLIENT";

struct Scene {
    _directory: Option<TempDir>,
    file: PathBuf,
    actor: Actor,
}

fn scene() -> Scene {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("cotenant/store.db");
    let store = LocalStore::open(&file, IfMissing::Create).unwrap();
    let store: &dyn Store = &store;
    let sign_on =
        SignOn { name: Some("a".into()), ..SignOn::new("agent", "ada", sha256_hex("token")) };
    let signed = store.call(&sign_on, |request| request).unwrap().answer;
    let actor = Actor { session: SessionRef(signed.session.0), token_digest: sha256_hex("token") };
    Scene { _directory: Some(directory), file, actor }
}

impl Scene {
    fn direct(&self) -> LocalStore {
        LocalStore::open(&self.file, IfMissing::Fail).unwrap()
    }

    fn combiner(&self) -> Combiner {
        let file = self.file.clone();
        let combiner =
            combine(&self.file, move || LocalStore::open(&file, IfMissing::Fail)).unwrap();
        until("a combiner", || self.has_combiner());
        combiner
    }

    fn table(&self) -> PathBuf {
        self.file.with_file_name("combine-2")
    }

    fn has_combiner(&self) -> bool {
        File::open(self.table()).is_ok_and(|file| file.try_lock_shared().is_err())
    }

    /// A store that posts, and must.
    fn only_posting(&self) -> Posting {
        self.posting_or(|| Err(Error::internal("the database was opened")))
    }

    /// A store that posts if it can.
    fn posting(&self) -> Posting {
        let file = self.file.clone();
        self.posting_or(move || LocalStore::open(&file, IfMissing::Fail))
    }

    fn posting_or(
        &self,
        open: impl Fn() -> cotenant_core::Result<LocalStore> + Send + Sync + 'static,
    ) -> Posting {
        let found = fs::metadata(&self.file).unwrap();
        Posting::new(self.file.parent().unwrap(), (found.dev(), found.ino()), open)
    }

    fn add(&self, id: &str) -> Request {
        let update =
            Update { scope: "s".into(), key: "count".into(), change: Change::Add(1), keep: None };
        Request::new(update).by(self.actor.clone()).id(id)
    }

    fn count(&self) -> u64 {
        let store = self.direct();
        let store: &dyn Store = &store;
        let get = Get { scope: "s".into(), key: "count".into() };
        store.call(&get, |request| request).unwrap().answer.value.text().parse().unwrap()
    }

    fn verifies(&self) {
        let store = self.direct();
        let store: &dyn Store = &store;
        assert!(store.call(&Verify { head: None }, |request| request).unwrap().answer.ok);
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_mins(1);
    while !holds() {
        assert!(Instant::now() < end, "no {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn one(store: &dyn Store, request: Request) -> cotenant_core::store::Outcome {
    store.one(request)
}

#[test]
fn what_is_posted_opens_no_database() {
    let scene = scene();
    let _combiner = scene.combiner();
    let posting = scene.only_posting();
    for number in 0..200 {
        one(&posting, scene.add(&format!("r{number}"))).unwrap();
    }
    let get = Get { scope: "s".into(), key: "count".into() };
    let reply = one(&posting, Request::new(get)).unwrap();
    assert!(reply.data.get().contains("200"), "{}", reply.data);
    assert!(one(&posting, scene.add("r0")).unwrap().replayed);
    let wrong = Actor { token_digest: sha256_hex("another"), ..scene.actor.clone() };
    let refused = one(&posting, scene.add("r").by(wrong)).unwrap_err();
    assert_eq!(refused.code, Code::Unauthenticated);
}

#[test]
fn requests_of_many_are_carried_out_together() {
    let scene = scene();
    let _combiner = scene.combiner();
    thread::scope(|scope| {
        for client in 0..16 {
            let scene = &scene;
            scope.spawn(move || {
                let posting = scene.posting();
                for number in 0..50 {
                    one(&posting, scene.add(&format!("{client}-{number}"))).unwrap();
                }
            });
        }
    });
    assert_eq!(scene.count(), 800);
    scene.verifies();
}

#[test]
fn what_is_too_large_or_waits_goes_to_the_database() {
    let scene = scene();
    let _combiner = scene.combiner();
    let value = Json::parse(format!("\"{}\"", "x".repeat(10_000))).unwrap();
    let put = Put {
        scope: "s".into(),
        key: "large".into(),
        value,
        expect: None,
        ephemeral: false,
        ttl_ms: None,
    };
    let put = Request::new(put).by(scene.actor.clone()).id("large");
    assert_eq!(one(&scene.only_posting(), put.clone()).unwrap_err().code, Code::Internal);
    one(&scene.posting(), put).unwrap();
    // The request is small, its answer is not.
    let get = Get { scope: "s".into(), key: "large".into() };
    let reply = one(&scene.posting(), Request::new(get)).unwrap();
    assert!(reply.data.get().len() > 10_000);
}

#[test]
fn nothing_of_a_request_stays_in_the_table() {
    let scene = scene();
    let _combiner = scene.combiner();
    let payload = Json::parse("\"a-secret-that-is-redacted-later\"").unwrap();
    let append = Append { kind: "user.note".into(), scope: "s".into(), payload };
    one(&scene.only_posting(), Request::new(append).by(scene.actor.clone()).id("r")).unwrap();
    let bytes = fs::read(scene.table()).unwrap();
    let secret = b"a-secret-that-is";
    assert!(!bytes.windows(secret.len()).any(|window| window == secret));
}

#[test]
fn what_was_refused_never_takes_effect() {
    let scene = scene();
    let _combiner = scene.combiner();
    one(&scene.only_posting(), scene.add("first")).unwrap();
    let file = scene.file.clone();
    let hasty = scene.posting_or(move || {
        Ok(LocalStore::open(&file, IfMissing::Fail)?.busy_timeout(Duration::from_millis(20)))
    });
    for round in 0..5 {
        let gate = File::open(scene.file.with_file_name("gate")).unwrap();
        gate.lock().unwrap();
        // Whoever carries it out waits for the gate, and in the end nobody does.
        let refused = one(&hasty, scene.add(&format!("refused{round}"))).unwrap_err();
        assert_eq!(refused.code, Code::Busy);
        drop(gate);
        one(&scene.posting(), scene.add(&format!("done{round}"))).unwrap();
        assert_eq!(scene.count(), 2 + round);
    }
}

#[test]
fn garbage_in_the_table_changes_nothing() {
    let scene = scene();
    let _combiner = scene.combiner();
    let table = File::options().read(true).write(true).open(scene.table()).unwrap();
    let length = table.metadata().unwrap().len();
    let stop = AtomicBool::new(false);
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                // Behind the first page, which says who the combiner is.
                let place = 4_096 + seed % (length - 4_096 - 8);
                table.write_all_at(&seed.to_le_bytes(), place).unwrap();
                thread::yield_now();
            }
        });
        let posting = scene.posting();
        for number in 0..300 {
            one(&posting, scene.add(&format!("r{number}"))).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(scene.count(), 300);
    scene.verifies();
}

#[test]
fn a_file_that_was_replaced_is_not_mistaken() {
    let scene = scene();
    let _combiner = scene.combiner();
    let found = fs::metadata(&scene.file).unwrap();
    let file = scene.file.clone();
    let other =
        Posting::new(scene.file.parent().unwrap(), (found.dev(), found.ino() + 1), move || {
            LocalStore::open(&file, IfMissing::Fail)
        });
    one(&other, scene.add("r")).unwrap();
    assert_eq!(scene.count(), 1);
}

/// Not a test by itself: the process that others start as a combiner, and kill.
#[test]
fn combiner_process() {
    let Some(file) = std::env::var_os(STORE) else { return };
    let file = PathBuf::from(file);
    let opened = file.clone();
    let _combiner = combine(&file, move || LocalStore::open(&opened, IfMissing::Fail)).unwrap();
    // Whoever started this process holds the other end.
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
}

/// Not a test by itself: a process that adds as fast as it can, and says so.
#[test]
fn client_process() {
    let Some(file) = std::env::var_os(CLIENT) else { return };
    let scene = Scene {
        _directory: None,
        file: PathBuf::from(file),
        actor: Actor {
            session: SessionRef(std::env::var("COTENANT_TEST_ACTOR").unwrap()),
            token_digest: sha256_hex("token"),
        },
    };
    let mut said = File::options().append(true).open(std::env::var("COTENANT_TEST_SAID").unwrap());
    let said = said.as_mut().unwrap();
    for number in 0_u64.. {
        let id = format!("{}-{number}", std::process::id());
        one(&scene.posting(), scene.add(&id)).unwrap();
        said.write_all(b"x").unwrap();
    }
}

#[test]
fn passing_processes_that_are_killed_while_they_lead_lose_nothing() {
    let scene = scene();
    let said = scene.file.with_file_name("said");
    File::create(&said).unwrap();
    let begin = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "client_process"]).env(CLIENT, &scene.file);
        command.env("COTENANT_TEST_ACTOR", &scene.actor.session.0).env("COTENANT_TEST_SAID", &said);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.process_group(0).spawn().unwrap()
    };
    let written = || fs::metadata(&said).unwrap().len();
    let mut children: Vec<Child> = (0..6).map(|_| begin()).collect();
    let mut killed = 0;
    for round in 0..60 {
        let before = written();
        until("work", || written() > before + 5 + round % 7);
        let number = usize::try_from(round).unwrap() % children.len();
        signal(&children[number], Signal::SIGKILL);
        children[number].wait().unwrap();
        killed += 1;
        children[number] = begin();
    }
    for child in &mut children {
        signal(child, Signal::SIGKILL);
        child.wait().unwrap();
        killed += 1;
    }
    // What a killed process had asked for may have been done, once.
    let (count, said) = (scene.count(), written());
    assert!(count >= said && count <= said + killed, "{count} of {said}, {killed} killed");
    scene.verifies();
}

fn start(file: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "combiner_process"]).env(STORE, file);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    command.spawn().unwrap()
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

/// Clients add as fast as they can while `disturb` does something to the combiners.
fn storm(scene: &Scene, disturb: impl FnOnce(&AtomicU64)) {
    let (stop, added) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for client in 0..6 {
            let (stop, added) = (&stop, &added);
            scope.spawn(move || {
                for number in 0_u64.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    // As a short process: each request on a store of its own.
                    one(&scene.posting(), scene.add(&format!("{client}-{number}"))).unwrap();
                    added.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        disturb(&added);
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(scene.count(), added.load(Ordering::Relaxed));
    scene.verifies();
}

#[test]
fn a_combiner_that_is_killed_loses_nothing_and_does_nothing_twice() {
    let scene = scene();
    storm(&scene, |added| {
        for round in 0..25_u64 {
            let mut child = start(&scene.file);
            until("a combiner", || scene.has_combiner());
            let before = added.load(Ordering::Relaxed);
            // At another moment each time, and never before it has done something.
            until("work", || added.load(Ordering::Relaxed) > before + 3 + round * 7);
            signal(&child, Signal::SIGKILL);
            child.wait().unwrap();
        }
    });
}

#[test]
fn a_combiner_that_is_stopped_loses_nothing_and_does_nothing_twice() {
    let scene = scene();
    storm(&scene, |added| {
        for round in 0..6_u64 {
            let mut child = start(&scene.file);
            until("a combiner", || scene.has_combiner());
            let before = added.load(Ordering::Relaxed);
            until("work", || added.load(Ordering::Relaxed) > before + 20 + round * 11);
            signal(&child, Signal::SIGSTOP);
            let stopped = added.load(Ordering::Relaxed);
            // One that was stopped inside a transaction holds the gate: then nobody can go on, with or
            // without it.
            let end = Instant::now() + Duration::from_secs(2);
            while added.load(Ordering::Relaxed) < stopped + 20 && Instant::now() < end {
                thread::sleep(Duration::from_millis(5));
            }
            signal(&child, Signal::SIGCONT);
            let resumed = added.load(Ordering::Relaxed);
            until("work", || added.load(Ordering::Relaxed) > resumed + 20);
            // Ends in order, and the next one follows.
            child.stdin.take().unwrap().flush().unwrap();
            child.wait().unwrap();
        }
    });
}
