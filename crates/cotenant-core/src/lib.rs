//! The words and rules of cotenant, without any input or output.
//!
//! An operation is a value ([`operation`]), what it may do is decided here by pure functions, and
//! everything that can go wrong has a code ([`error::Code`]). Stores, servers and the command line
//! build on this crate and do not know each other.

pub mod barrier;
pub mod claim;
pub mod clock;
pub mod data;
pub mod error;
pub mod event;
pub mod id;
pub mod instruction;
pub mod json;
pub mod lease;
pub mod message;
pub mod metric;
pub mod name;
pub mod offer;
pub mod operation;
pub mod pressure;
pub mod process;
pub mod progress;
pub mod redact;
pub mod render;
pub mod retention;
pub mod schema;
pub mod session;
pub mod status;
pub mod store;
pub mod task;
pub mod wire;

pub use error::{Code, Error, Result};
pub use operation::{Op, Operation};
