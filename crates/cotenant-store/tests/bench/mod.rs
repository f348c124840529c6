//! A store in a scratch directory with a clock and processes that the tests move.

#![allow(clippy::unwrap_used, reason = "a bench that cannot be set up fails its tests")]

pub(crate) mod world;

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use cotenant_conformance::Bench;
use cotenant_core::store::Store;
use cotenant_store::{
    IfMissing, LocalStore,
    combine::{Combiner, Posting, combine},
};
use tempfile::TempDir;

use world::World;

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
        let world = World::new();
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

/// A store's file.
pub(crate) fn file(directory: &Path) -> PathBuf {
    directory.join("cotenant/store.db")
}

/// Opens a store in a world.
pub(crate) fn open(directory: &Path, world: &World) -> LocalStore {
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

    fn world(&self) -> &dyn cotenant_conformance::World {
        &self.world
    }

    fn raw_bytes(&self) -> Option<Vec<u8>> {
        Some(raw_bytes(self.directory.path()))
    }
}

/// Every byte that a store keeps.
pub(crate) fn raw_bytes(directory: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(directory.join("cotenant")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            bytes.extend(std::fs::read(entry.path()).unwrap());
        }
    }
    bytes
}
