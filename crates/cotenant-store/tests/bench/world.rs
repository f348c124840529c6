//! A host with a clock and processes that the tests move.

#![allow(clippy::unwrap_used, reason = "a bench that cannot be set up fails its tests")]

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicU32, Ordering},
    },
    time::Instant,
};

use cotenant_core::{
    Result,
    clock::Reading,
    process::{Liveness, ProcessIdentity, Processes},
};
use cotenant_store::sql::{Clock, Sql};

/// The host, its clock and its processes.
#[derive(Clone)]
pub(crate) struct World(Arc<State>);

struct State {
    begun: Instant,
    boot: AtomicU32,
    ahead_ms: AtomicI64,
    wall_ms: AtomicI64,
    pids: AtomicU32,
    alive: Mutex<HashSet<(u32, u64)>>,
}

impl World {
    /// A host that was just started.
    pub(crate) fn new() -> Self {
        Self(Arc::new(State {
            begun: Instant::now(),
            boot: AtomicU32::new(1),
            ahead_ms: AtomicI64::new(1_000),
            wall_ms: AtomicI64::new(1_800_000_000_000),
            pids: AtomicU32::new(100),
            alive: Mutex::default(),
        }))
    }

    fn boot(&self) -> String {
        format!("boot-{}", self.0.boot.load(Ordering::SeqCst))
    }
}

impl cotenant_conformance::World for World {
    fn advance(&self, ms: u64) {
        self.0.ahead_ms.fetch_add(i64::try_from(ms).unwrap(), Ordering::SeqCst);
    }

    fn set_wall(&self, ms: i64) {
        self.0.wall_ms.store(ms, Ordering::SeqCst);
    }

    fn reboot(&self) {
        self.0.boot.fetch_add(1, Ordering::SeqCst);
        self.0.alive.lock().unwrap().clear();
    }

    fn process(&self) -> ProcessIdentity {
        let pid = self.0.pids.fetch_add(1, Ordering::SeqCst);
        let started = u64::from(pid) * 10;
        self.0.alive.lock().unwrap().insert((pid, started));
        ProcessIdentity {
            host: "bench".into(),
            boot: self.boot(),
            namespace: "pid:[1]".into(),
            pid,
            started,
        }
    }

    fn kill(&self, process: &ProcessIdentity) {
        self.0.alive.lock().unwrap().remove(&(process.pid, process.started));
    }

    fn foreign_process(&self) -> ProcessIdentity {
        ProcessIdentity { host: "elsewhere".into(), ..self.process() }
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
