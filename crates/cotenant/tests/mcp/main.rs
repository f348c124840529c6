//! `cotenant mcp` as an agent sees it: the real program over stdio, in a real repository.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod data;
mod identity;
mod patterns;
mod waiting;
mod work;
mod world;
