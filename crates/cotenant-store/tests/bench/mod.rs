//! A store in a scratch directory with a clock and processes that the tests move.

#![allow(clippy::unwrap_used, reason = "a bench that cannot be set up fails its tests")]

use std::{
    collections::HashSet,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicU32, Ordering},
    },
    time::Instant,
};

use cotenant_conformance::Bench;
use cotenant_core::{
    Result,
    clock::Reading,
    process::{Liveness, ProcessIdentity, Processes},
    store::Store,
};
use cotenant_store::{
    IfMissing, LocalStore,
    combine::{Combiner, Posting, combine},
    sql::{Clock, Sql},
};
use tempfile::TempDir;

/// The host, its clock and its processes.
#[derive(Clone)]
struct World(Arc<State>);

struct State {
    begun: Instant,
    boot: AtomicU32,
    ahead_ms: AtomicI64,
    wall_ms: AtomicI64,
    pids: AtomicU32,
    alive: Mutex<HashSet<(u32, u64)>>,
}

impl World {
    fn boot(&self) -> String {
        format!("boot-{}", self.0.boot.load(Ordering::SeqCst))
    }
}

impl Clock for World {
    fn reading(&self, _: &mut dyn Sql) -> Result<Reading> {
        let elapsed = i64::try_from(self.0.begun.elapsed().as_millis()).unwrap();
        Ok(Reading {
            source: self.boot(),
            value_ms: elapsed + self.0.ahead_ms.load(Ordering::SeqCst),
        })
    }

    fn wall_ms(&self) -> i64 {
        self.0.wall_ms.load(Ordering::SeqCst)
    }
}

impl Processes for World {
    fn liveness(&self, process: &ProcessIdentity) -> Liveness {
        if process.host != "bench" || process.namespace != "pid:[1]" {
            Liveness::Unverifiable
        } else if process.boot != self.boot() {
            Liveness::Rebooted
        } else if self.0.alive.lock().unwrap().contains(&(process.pid, process.started)) {
            Liveness::Alive
        } else {
            Liveness::Dead
        }
    }
}

/// A bench over `SQLite`.
pub(crate) struct SqliteBench {
    directory: TempDir,
    world: World,
    store: Box<dyn Store>,
    combiner: Option<Combiner>,
}

impl SqliteBench {
    /// A fresh store.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let world = World(Arc::new(State {
            begun: Instant::now(),
            boot: AtomicU32::new(1),
            ahead_ms: AtomicI64::new(1_000),
            wall_ms: AtomicI64::new(1_800_000_000_000),
            pids: AtomicU32::new(100),
            alive: Mutex::default(),
        }));
        let store = Box::new(open(directory.path(), &world));
        Self { directory, world, store, combiner: None }
    }

    /// A fresh store whose requests another thread carries out, as far as they can be posted.
    pub(crate) fn combined() -> Self {
        let mut bench = Self::new();
        let (path, world) = (bench.directory.path().to_path_buf(), bench.world.clone());
        let opened = move || Ok(open(&path, &world));
        bench.combiner = Some(combine(&file(bench.directory.path()), opened).unwrap());
        bench.store = bench.posting();
        bench
    }

    fn posting(&self) -> Box<dyn Store> {
        let (path, world) = (self.directory.path().to_path_buf(), self.world.clone());
        let found = std::fs::metadata(file(&path)).unwrap();
        let place = path.join("cotenant");
        let identity = (found.dev(), found.ino());
        Box::new(Posting::new(&place, identity, move || Ok(open(&path, &world))))
    }
}

fn file(directory: &Path) -> PathBuf {
    directory.join("cotenant/store.db")
}

fn open(directory: &Path, world: &World) -> LocalStore {
    LocalStore::open_with(
        &file(directory),
        IfMissing::Create,
        Box::new(world.clone()),
        Box::new(world.clone()),
    )
    .unwrap()
}

impl Bench for SqliteBench {
    fn store(&self) -> &dyn Store {
        &*self.store
    }

    fn second(&self) -> Box<dyn Store> {
        match &self.combiner {
            Some(_) => self.posting(),
            None => Box::new(open(self.directory.path(), &self.world)),
        }
    }

    fn advance(&self, ms: u64) {
        self.world.0.ahead_ms.fetch_add(i64::try_from(ms).unwrap(), Ordering::SeqCst);
    }

    fn set_wall(&self, ms: i64) {
        self.world.0.wall_ms.store(ms, Ordering::SeqCst);
    }

    fn reboot(&self) {
        self.world.0.boot.fetch_add(1, Ordering::SeqCst);
        self.world.0.alive.lock().unwrap().clear();
    }

    fn process(&self) -> ProcessIdentity {
        let pid = self.world.0.pids.fetch_add(1, Ordering::SeqCst);
        let started = u64::from(pid) * 10;
        self.world.0.alive.lock().unwrap().insert((pid, started));
        ProcessIdentity {
            host: "bench".into(),
            boot: self.world.boot(),
            namespace: "pid:[1]".into(),
            pid,
            started,
        }
    }

    fn kill(&self, process: &ProcessIdentity) {
        self.world.0.alive.lock().unwrap().remove(&(process.pid, process.started));
    }

    fn foreign_process(&self) -> ProcessIdentity {
        ProcessIdentity { host: "elsewhere".into(), ..self.process() }
    }

    fn raw_bytes(&self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        for entry in std::fs::read_dir(self.directory.path().join("cotenant")).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                bytes.extend(std::fs::read(entry.path()).unwrap());
            }
        }
        Some(bytes)
    }
}
