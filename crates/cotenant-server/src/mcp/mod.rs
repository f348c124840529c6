//! The MCP server: the operations as tools for an agent.
//!
//! One process serves one agent over stdin and stdout, one JSON message a line. It answers
//! handshake clients (2024-11-05 to 2025-11-25) and stateless ones (2026-07-28).
//!
//! # Invariants
//! - Nothing that matters lives in the process: a client respawns it at will. Who is calling is
//!   found anew for each call, by the [`Host`].
//! - `initialize` is answered before anything is opened or looked up.
//! - Arguments reach the store byte for byte, and stored values come back so: numbers of any
//!   length, member order, spelling.
//! - Calls take effect in the order in which they arrive. One that waits for something to happen is tried
//!   in its turn, and again each time something may have happened; in between it holds up nobody.
//! - A call that was called off, or whose client has left, takes nothing.

mod answer;
mod call;
mod heartbeat;
mod host;
mod patience;
mod schema;
mod server;
mod tools;
mod transport;

pub use host::{Caller, Host};
pub use server::{INSTRUCTIONS, serve};
