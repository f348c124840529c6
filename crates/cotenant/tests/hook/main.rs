//! The hooks of agents, run as agents run them: by real processes, through a shell, on a real
//! repository and store.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conversations;
mod edits;
mod faults;
mod governance;
mod presence;
mod stage;
mod waiting;
