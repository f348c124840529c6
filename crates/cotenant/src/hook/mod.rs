//! The hooks of coding agents: `cotenant hook EVENT`, once for each event of an agent's session.
//!
//! A hook reads one payload, does at most one or two operations and exits. It never fails the
//! agent: whatever it cannot know or do, it lets happen. Claude Code and Codex call it alike.
//!
//! - `run`: from the call to the answer, one function per event
//! - `payload`: what the agent says; `answer`: what it is told
//! - `call`: what a call is about; `decide`, `member`: which session it acts for
//! - `transcript`, `measure`: what the session has used
//! - `edit`: files before an edit; `presence`: who else is here
//! - `waiting`: offers, messages and the session's own note
//! - `marks`: small files that spare the next hook work

mod answer;
mod call;
mod decide;
mod edit;
pub(crate) mod marks;
pub(crate) mod measure;
mod member;
mod payload;
mod presence;
mod run;
mod told;
mod transcript;
mod waiting;

pub(crate) use run::{is_called, run};
