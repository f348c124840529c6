//! `cargo xtask bench`: measurements against baselines in the same run.
//!
//! They are programs, not timed tests: every figure stands beside a baseline that was measured in
//! turns with it, and the ratio of the two is what counts. A machine that is busy with other work
//! makes both slower.
//!
//! - `run`: options, the order of the groups, the table, the exit
//! - `sample`: durations, quantiles, contenders in turns; `row`: a line of the table and its limits
//! - `setting`: what the groups share: sizes, programs; `build`: the programs that are measured
//! - `scene`: a repository with a store; `launch`: a whole process from start to end; `disk`: an
//!   fsync; `asked`: operations on a store in this process
//! - `shell`, `hook`, `mcp`, `takeover`: the shipped binary
//! - `uncontended`, `contention`, `watch`, `volume`: the store itself; `bare`: the same statements
//!   written by hand; `worker`: a process of this program that takes part

mod asked;
mod bare;
mod build;
mod contention;
mod disk;
mod hook;
mod launch;
mod mcp;
mod row;
mod run;
pub(crate) mod sample;
mod scene;
mod services;
mod setting;
mod shell;
mod sweep;
mod takeover;
mod uncontended;
mod volume;
mod watch;
mod worker;

pub(crate) use run::{ARGUMENTS, run};
