//! What people see of the commands: the real binary, a real repository, no terminal.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agents;
mod carry;
mod claims;
mod client;
mod config;
mod data;
mod doctor;
mod env;
mod events;
mod governance;
mod init;
mod json;
mod leases;
mod plugin;
mod races;
mod rpc;
mod server;
mod sessions;
mod status;
mod tasks;
mod terminal;
mod usage;
mod work;

use env::TestEnv;
