//! The contract on every back end, in one report.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../../cotenant-store/tests/bench/mod.rs"]
#[allow(dead_code, reason = "a part of it is for the store's own tests")]
mod bench;
mod rpc;
#[path = "../../../cotenant-store/tests/server/mod.rs"]
#[allow(dead_code, reason = "most of it is for the store's own tests")]
mod server;

use cotenant_conformance::{Bench, Comparison, run_all};

use bench::SqliteBench;
use cotenant_testbed::Server;
use rpc::RpcBench;
use server::PostgresBench;

#[test]
fn every_back_end_keeps_the_contract() {
    let mut back_ends = Comparison::default();
    let mut run = |name: &str, make: &(dyn Fn() -> Box<dyn Bench> + Sync)| {
        let begun = std::time::Instant::now();
        back_ends.add(name, run_all(make));
        println!("{name}: {:.0} s", begun.elapsed().as_secs_f32());
    };
    run("SQLite", &|| Box::new(SqliteBench::new()));
    run("SQLite, combined", &|| Box::new(SqliteBench::combined()));
    run("SQLite through rpc", &|| Box::new(RpcBench::new()));
    if let Some(server) = Server::shared() {
        run("PostgreSQL", &|| Box::new(PostgresBench::new(&server)));
    }
    println!("\n{}", back_ends.table());
    if let Err(why) = back_ends.verdict() {
        panic!("{why}");
    }
}
