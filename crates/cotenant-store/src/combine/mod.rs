//! Requests of many processes in one transaction.
//!
//! Processes post their requests in shared memory; one of them, the *combiner*, carries out all that
//! it finds in one transaction, with one flush of the disk, and posts the outcomes. The idea is flat
//! combining (Hendler, Incze, Shavit, Tzafrir, SPAA 2010), over processes instead of threads.
//!
//! - A process that has the store open for long, such as an agent's server, leads as long as it
//!   lives. A short command then opens no database at all, which is most of what it costs.
//! - Where none does, a writer that finds nobody leading leads for its own request and for what
//!   others post meanwhile, and hands over.
//!
//! Nothing depends on it. With a combiner of another version, one that died, is stopped or too slow,
//! a process opens the database itself and sends the same request under the same id, so that it takes
//! effect once whoever carried it out.

use std::{path::Path, sync::OnceLock};

use nix::time::ClockId;

mod client;
mod combiner;
mod message;
mod slot;
mod table;

pub use client::Posting;
pub use combiner::{Combiner, combine};

/// The atomics of a slot; a model of it has others.
mod sync {
    pub(super) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
}

/// How many words a message has at most: a slot is a page.
const WORDS: usize = 509;

/// Milliseconds since the machine was started.
fn now_ms() -> u64 {
    ClockId::CLOCK_BOOTTIME
        .now()
        .map_or(0, |now| (now.tv_sec() * 1_000 + now.tv_nsec() / 1_000_000).unsigned_abs())
}

/// Makes the table in the directory of a new store. Without it, processes go alone.
pub(crate) fn prepare(directory: &Path) {
    drop(table::Mapped::make(directory));
}

/// Whether processes find one another here: not without knowing in which name space they are.
fn is_possible() -> bool {
    !crate::host::namespace().is_empty()
}

/// Which combiners a process posts to: those of the same program in the same name space, where
/// process ids mean the same.
fn kin() -> u64 {
    const PROGRAM: u64 = slot::hash(
        slot::hash(0, env!("CARGO_PKG_VERSION").as_bytes()),
        crate::migrate::NEWEST.as_bytes(),
    );
    static KIN: OnceLock<u64> = OnceLock::new();
    *KIN.get_or_init(|| {
        let program = PROGRAM ^ u64::from(crate::testing::extra_migration());
        slot::hash(program, crate::host::namespace().as_bytes())
    })
}

/// Runs a test of a slot as it is; the model runs it on atomics of its own.
#[cfg(test)]
fn modelled(test: impl Fn()) {
    test();
}
