//! The `PostgreSQL` engine: a schema a project, one connection, a row lock as the writer's turn.
//!
//! # Invariants
//! - Every write first locks the project's row of `meta`, so writers come one at a time and the row
//!   read later is current. Whoever waits for longer than `lock_timeout` is told `BUSY`.
//! - The clock is the server's: read after the lock was got, and before a snapshot is taken.
//! - Nothing is set for the connection, only for the transaction (`SET LOCAL`), and no statement
//!   outlives it: a transaction pooler may stand in between.
//! - A connection that breaks before anything was begun is replaced unseen. Later its request fails with
//!   `STORE_IO`, and whoever repeats it with the same request id gets it done once.
//! - A server that says nothing more holds nobody up for longer than the address allows: a thread waits
//!   for it instead. Only processes that use a server have that thread.
//! - What passes over a network is encrypted, and the server's certificate and name are checked, unless
//!   the address says `sslmode=disable`. There is no mode that encrypts without checking.
//! - What tells waiters is a hint: they look themselves as well.
//!
//! # Rights
//! A project needs a role that may connect and that owns the schema `cotenant_PROJECT`; the schema's
//! tables belong to the role that made them. To make the schema, the role needs `CREATE` on the
//! database, or somebody who has it runs `CREATE SCHEMA "cotenant_PROJECT" AUTHORIZATION ROLE`.
//! Nothing else is asked for: no superuser, no extension.
//!
//! # What cannot be promised
//! An erased payload is gone from the table's file; the server's log, its replicas and its backups keep
//! what they have.
//!
//! A process that uses `SQLite` runs none of this: nothing here is built, opened or started before an
//! address is.

mod address;
mod admin;
mod ahead;
mod client;
mod create;
mod engine;
mod error;
mod line;
mod org;
mod shape;
mod tls;
mod wake;

pub use address::Address;
pub(crate) use admin::{Server, ask, migrate};
pub(crate) use create::{AFTER_FILLING, EMPTY, find, make};
pub(crate) use engine::ServerClock;
pub use org::Sharing;
