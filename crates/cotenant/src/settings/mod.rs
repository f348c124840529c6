//! Installs cotenant into the settings files of agents, and takes it out again.
//!
//! The steps, in order: [`Plan::new`] says which entries belong in which files, [`read`] takes a
//! [`Snapshot`] of those files, [`install()`] edits the texts and notes what is needed to undo that,
//! [`unified_diff`] shows the edits, and [`write_all`] writes them. [`remove()`] is the way back.
//! Everything but [`read`], [`write_all`], [`write_atomic`] and [`remove_dirs`] is pure, and
//! nothing here looks at the environment.
//!
//! # Invariants
//!
//! - An edit adds, replaces or removes entries of ours; every other byte that is not layout
//!   between entries stays, comments included.
//! - Applying a plan to its own result changes nothing.
//! - A file that cannot be understood stops everything before the first byte is written.
//! - The record holds the bytes from before the first `init`, however often `init` runs.
//!
//! # On a crash
//!
//! Save the record before the files. A record of an edit that never reached the disk does no
//! harm: [`remove()`] sees that the file still has its original bytes and leaves it alone.

mod apply;
mod claude;
mod codex;
mod command;
mod config_toml;
mod delete;
mod diff;
mod document;
mod entries;
mod error;
mod file;
mod hooks;
mod install;
mod plan;
mod plugin;
mod record;
mod remove;
mod rollback;

#[cfg(test)]
mod property_source;
#[cfg(test)]
mod property_tests;

pub(crate) use apply::{FileChange, FileState, Snapshot, apply};
pub(crate) use diff::unified_diff;
pub(crate) use error::SettingsError;
pub(crate) use file::{read, write_atomic};
pub(crate) use install::{Installation, install, paths};
pub(crate) use plan::{Agent, Entry, Format, Inputs, Plan, PlannedFile, Program, Scope};
pub(crate) use record::{FileRecord, Record};
pub(crate) use remove::{Outcome, Removal, remove};
pub(crate) use rollback::{remove_dirs, write_all};
