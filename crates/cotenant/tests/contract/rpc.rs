//! A bench over `cotenant rpc`: every connection is a process of the real binary.

use std::process::Command;

use cotenant_client::Lines;
use cotenant_conformance::{Bench, token_of};
use cotenant_core::store::Store;
use tempfile::TempDir;

use crate::bench::{file, open, raw_bytes, world::World};

/// The binary under test.
const COTENANT: &str = env!("CARGO_BIN_EXE_cotenant");

pub(crate) struct RpcBench {
    directory: TempDir,
    world: World,
    store: Lines,
}

impl RpcBench {
    /// A fresh store, and a process in front of it that believes in the same world.
    pub(crate) fn new() -> Self {
        let (directory, world) = (tempfile::tempdir().unwrap(), World::new());
        world.keep(&directory.path().join("world"));
        drop(open(directory.path(), &world));
        let store = start(&directory);
        Self { directory, world, store }
    }
}

fn start(directory: &TempDir) -> Lines {
    let mut command = Command::new(COTENANT);
    command
        .arg("rpc")
        .current_dir(directory.path())
        .env_clear()
        .env("HOME", directory.path())
        // Whoever runs the tests, the contract has people.
        .env("COTENANT_HUMAN", "1")
        .env("COTENANT_STORE", file(directory.path()))
        .env("COTENANT_WORLD", directory.path().join("world"));
    // The failpoint or planted bug that the tests are run with, if any.
    command.envs(std::env::vars().filter(|(name, _)| name == "COTENANT_MUTANT"));
    Lines::start(&mut command, Box::new(token_of)).unwrap()
}

impl Bench for RpcBench {
    fn store(&self) -> &dyn Store {
        &self.store
    }

    fn second(&self) -> Box<dyn Store> {
        Box::new(start(&self.directory))
    }

    fn world(&self) -> &dyn cotenant_conformance::World {
        &self.world
    }

    fn raw_bytes(&self) -> Option<Vec<u8>> {
        Some(raw_bytes(self.directory.path()))
    }
}
