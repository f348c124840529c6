//! The store of cotenant behind a connection: the same [`cotenant_core::store::Store`], carried out
//! by another process.

mod lines;

pub use lines::{Lines, Tokens};
