//! The program with real Claude Code processes, against a scripted model.
//!
//! - [`cases`]: what is shown of the program; [`selftest`]: what those cases rely on.
//! - [`mod@run`]: the command; [`stage`]: what a case is given.
//! - [`api`]: a Messages API on loopback that plays the script found in the prompt and records
//!   what it was sent; [`http`], [`answer`]: the wire below it.
//! - [`script`]: the language of those scripts.
//! - [`recorded`]: a recorded request, and what reached the model in it.
//! - [`install`]: one version of the client, from npm into a cache folder.
//! - [`home`]: a scratch `HOME` and the environment a client starts in.
//! - [`claude`]: the client, run once, kept running ([`stream`]) or in a terminal ([`terminal`]).

mod answer;
mod api;
mod cases;
mod claude;
mod home;
mod http;
mod install;
mod recorded;
mod run;
mod script;
mod selftest;
mod stage;
mod stream;
mod terminal;

pub(crate) use run::{ARGUMENTS, all, run};
