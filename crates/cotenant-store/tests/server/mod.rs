//! Stores and benches over a real `PostgreSQL` server.

#![allow(clippy::unwrap_used, reason = "a server that cannot be started fails its tests")]

#[path = "../bench/world.rs"]
pub(crate) mod world;

use std::sync::Arc;

use cotenant_conformance::Bench;
use cotenant_core::store::Store;
use cotenant_store::{IfMissing, LocalStore, postgres::Address, sql::Clock};
use cotenant_testbed::Server;

use world::World;

/// The address of a project that nobody has used.
pub(crate) fn project(server: &Server) -> Address {
    parse(&server.project())
}

/// As [`project`], in a database in which no other test keeps a transaction open.
pub(crate) fn quiet_project(server: &Server) -> Address {
    parse(&server.quiet_project())
}

/// The address of a project for a user.
pub(crate) fn address(server: &Server, user: &str, project: &str) -> Address {
    parse(&server.address(user, project))
}

fn parse(text: &str) -> Address {
    Address::parse(text, None).unwrap()
}

/// A store of a project whose clock and processes the tests move.
pub(crate) fn open(address: &Address, world: &World, clock: impl Clock + 'static) -> LocalStore {
    let (clock, processes) = (Box::new(clock), Box::new(world.clone()));
    LocalStore::open_postgres_with(address, IfMissing::Create, clock, processes).unwrap()
}

/// A bench over a project of its own.
pub(crate) struct PostgresBench {
    _server: Arc<Server>,
    address: Address,
    world: World,
    store: LocalStore,
}

impl PostgresBench {
    /// A fresh store.
    pub(crate) fn new(server: &Arc<Server>) -> Self {
        let (address, world) = (quiet_project(server), World::new());
        let store = open(&address, &world, world.clone());
        Self { _server: Arc::clone(server), address, world, store }
    }
}

impl Bench for PostgresBench {
    fn store(&self) -> &dyn Store {
        &self.store
    }

    fn second(&self) -> Box<dyn Store> {
        Box::new(open(&self.address, &self.world, self.world.clone()))
    }

    fn world(&self) -> &dyn cotenant_conformance::World {
        &self.world
    }

    /// A server compresses what is long, and keeps its log.
    fn raw_bytes(&self) -> Option<Vec<u8>> {
        None
    }
}
