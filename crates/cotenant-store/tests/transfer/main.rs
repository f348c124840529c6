//! Whole stores are carried: into files, out of them, and to other places that take over.
#![allow(missing_docs)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod content;
mod file;
mod kills;
mod moving;
mod stage;

/// The shared server, or nothing more to test.
macro_rules! server {
    () => {
        match cotenant_testbed::Server::shared() {
            Some(server) => server,
            None => return,
        }
    };
}
pub(crate) use server;
