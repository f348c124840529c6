//! The contract, run against a store in a local database.
#![allow(missing_docs)]

#[path = "bench/mod.rs"]
mod bench;

use cotenant_conformance::run_all;

#[test]
fn the_store_keeps_the_contract() {
    let report = run_all(&|| Box::new(bench::SqliteBench::new()));
    println!("{}", report.table());
    report.require();
}

#[test]
fn a_store_behind_a_combiner_keeps_it_too() {
    let report = run_all(&|| Box::new(bench::SqliteBench::combined()));
    println!("{}", report.table());
    report.require();
}
