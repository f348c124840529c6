//! A host with a clock and processes that the tests move.

#![allow(clippy::unwrap_used, reason = "a bench that cannot be set up fails its tests")]

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicU32, Ordering},
    },
};

use cotenant_core::{
    Result,
    clock::Reading,
    process::{Liveness, ProcessIdentity, Processes},
};
use cotenant_store::sql::{Clock, Sql};
use rustix::time::{ClockId, clock_gettime};

/// The host, its clock and its processes.
#[derive(Clone)]
pub(crate) struct World(Arc<State>);

const HOST: &str = "bench";
const NAMESPACE: &str = "pid:[1]";

struct State {
    boot: AtomicU32,
    ahead_ms: AtomicI64,
    wall_ms: AtomicI64,
    pids: AtomicU32,
    alive: Mutex<HashSet<(u32, u64)>>,
    /// Where other programs read it.
    file: Mutex<Option<PathBuf>>,
}

fn monotonic_ms() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000 + now.tv_nsec / 1_000_000
}

impl World {
    /// A host that was just started.
    pub(crate) fn new() -> Self {
        Self(Arc::new(State {
            boot: AtomicU32::new(1),
            ahead_ms: AtomicI64::new(1_000 - monotonic_ms()),
            wall_ms: AtomicI64::new(1_800_000_000_000),
            pids: AtomicU32::new(100),
            alive: Mutex::default(),
            file: Mutex::default(),
        }))
    }

    /// Keeps a file, now and after every change, for programs that believe in it too.
    #[allow(dead_code, reason = "only some benches have such programs")]
    pub(crate) fn keep(&self, file: &Path) {
        *self.0.file.lock().unwrap() = Some(file.to_path_buf());
        self.changed();
    }

    fn changed(&self) {
        let file = self.0.file.lock().unwrap();
        let Some(file) = &*file else { return };
        let alive: Vec<(u32, u64)> = self.0.alive.lock().unwrap().iter().copied().collect();
        let state = serde_json::json!({
            "host": HOST,
            "namespace": NAMESPACE,
            "boot": self.boot(),
            "ahead_ms": self.0.ahead_ms.load(Ordering::SeqCst),
            "wall_ms": self.wall_ms(),
            "alive": alive,
        });
        // A reader sees the earlier state or this one.
        let draft = file.with_extension("draft");
        fs::write(&draft, state.to_string()).unwrap();
        fs::rename(draft, file).unwrap();
    }

    fn boot(&self) -> String {
        format!("boot-{}", self.0.boot.load(Ordering::SeqCst))
    }
}

impl cotenant_conformance::World for World {
    fn advance(&self, ms: u64) {
        self.0.ahead_ms.fetch_add(i64::try_from(ms).unwrap(), Ordering::SeqCst);
        self.changed();
    }

    fn set_wall(&self, ms: i64) {
        self.0.wall_ms.store(ms, Ordering::SeqCst);
        self.changed();
    }

    fn reboot(&self) {
        self.0.boot.fetch_add(1, Ordering::SeqCst);
        self.0.alive.lock().unwrap().clear();
        self.changed();
    }

    fn process(&self) -> ProcessIdentity {
        let pid = self.0.pids.fetch_add(1, Ordering::SeqCst);
        let started = u64::from(pid) * 10;
        self.0.alive.lock().unwrap().insert((pid, started));
        self.changed();
        ProcessIdentity {
            host: HOST.into(),
            boot: self.boot(),
            namespace: NAMESPACE.into(),
            pid,
            started,
        }
    }

    fn kill(&self, process: &ProcessIdentity) {
        self.0.alive.lock().unwrap().remove(&(process.pid, process.started));
        self.changed();
    }

    fn foreign_process(&self) -> ProcessIdentity {
        ProcessIdentity { host: "elsewhere".into(), ..self.process() }
    }
}

impl Clock for World {
    fn reading(&self, _: &mut dyn Sql) -> Result<Reading> {
        let value_ms = monotonic_ms() + self.0.ahead_ms.load(Ordering::SeqCst);
        Ok(Reading { source: self.boot(), value_ms })
    }

    fn wall_ms(&self) -> i64 {
        self.0.wall_ms.load(Ordering::SeqCst)
    }
}

impl Processes for World {
    fn liveness(&self, process: &ProcessIdentity) -> Liveness {
        if process.host != HOST || process.namespace != NAMESPACE {
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
