//! A host that tests pretend, in a file: its clocks and its processes.
//!
//! `COTENANT_WORLD=FILE` makes a program believe in it, as whoever writes the file does. The file is
//! replaced as a whole, so that a reader sees one state of it.

use std::{env, fs, path::PathBuf};

use cotenant_core::{
    Error, Result,
    clock::Reading,
    process::{Liveness, ProcessIdentity, Processes},
};
use nix::time::ClockId;
use serde::Deserialize;

use crate::sql::{Clock, Sql};

/// The pretended host.
#[derive(Clone, Debug)]
pub(crate) struct World(PathBuf);

/// What the file says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    host: String,
    namespace: String,
    /// The running boot.
    boot: String,
    /// What the source of the clock is ahead of the kernel's monotonic clock.
    ahead_ms: i64,
    /// The wall clock, which stands still.
    wall_ms: i64,
    /// The processes that run, by id and start time.
    alive: Vec<(u32, u64)>,
}

impl World {
    /// The host that this program shall believe in; none if that is the real one.
    pub(crate) fn find() -> Option<Self> {
        env::var_os("COTENANT_WORLD").map(|path| Self(path.into()))
    }

    fn state(&self) -> Result<State> {
        let broken = |why: String| Error::internal(format!("the tests' world: {why}"));
        let text = fs::read_to_string(&self.0).map_err(|error| broken(error.to_string()))?;
        serde_json::from_str(&text).map_err(|error| broken(error.to_string()))
    }
}

impl Clock for World {
    fn reading(&self, _: &mut dyn Sql) -> Result<Reading> {
        let state = self.state()?;
        let now = ClockId::CLOCK_MONOTONIC.now().map_err(|cause| {
            Error::internal("the kernel does not tell the time").caused_by(cause)
        })?;
        let ms = now.tv_sec() * 1_000 + now.tv_nsec() / 1_000_000;
        Ok(Reading { source: state.boot, value_ms: ms + state.ahead_ms })
    }

    fn wall_ms(&self) -> i64 {
        self.state().map_or(0, |state| state.wall_ms)
    }
}

impl Processes for World {
    fn liveness(&self, process: &ProcessIdentity) -> Liveness {
        match self.state() {
            Ok(state) if process.host == state.host && process.namespace == state.namespace => {
                if process.boot != state.boot {
                    Liveness::Rebooted
                } else if state.alive.contains(&(process.pid, process.started)) {
                    Liveness::Alive
                } else {
                    Liveness::Dead
                }
            }
            _ => Liveness::Unverifiable,
        }
    }
}
