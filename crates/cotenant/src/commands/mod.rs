//! The commands, one file each: they parse, call and print, and decide nothing.

mod backup;
mod claim;
mod completions;
mod config;
mod data;
mod demo;
mod doctor;
mod event;
mod heartbeat;
mod hook;
mod init;
mod lease;
mod mcp;
mod parse;
mod restore;
mod rpc;
mod scope;
mod session;
mod sign_off;
mod sign_on;
mod status;
mod unclaim;
mod uninit;
mod who;

use clap::{Args as _, Subcommand};
use cotenant_core::Result;

use crate::{context::Context, exit::Exit, output::Screen};

/// Every command.
#[derive(Subcommand)]
pub(crate) enum Command {
    Init(init::Args),
    Uninit(uninit::Args),
    Status(status::Args),
    SignOn(sign_on::Args),
    SignOff(sign_off::Args),
    Heartbeat(heartbeat::Args),
    #[command(subcommand)]
    Session(session::Command),
    Claim(claim::Args),
    Unclaim(unclaim::Args),
    Who(who::Args),
    #[command(subcommand)]
    Lease(lease::Command),
    #[command(subcommand)]
    Data(data::Command),
    #[command(subcommand)]
    Scope(scope::Command),
    #[command(subcommand)]
    Event(event::Command),
    #[command(subcommand)]
    Config(config::Command),
    Doctor(doctor::Args),
    Backup(backup::Args),
    Restore(restore::Args),
    Demo(demo::Args),
    #[command(hide = true)]
    DemoPlayer(demo::PlayerArgs),
    Hook(hook::Args),
    Mcp(mcp::Args),
    Completions(completions::Args),
    Rpc(rpc::Args),
}

impl Command {
    /// Runs the command.
    pub(crate) fn run(self, context: &Context, screen: &mut Screen) -> Result<Exit> {
        match self {
            Self::Init(args) => init::run(context, screen, &args),
            Self::Uninit(args) => uninit::run(context, screen, &args),
            Self::Status(args) => status::run(context, screen, &args),
            Self::SignOn(args) => sign_on::run(context, screen, args),
            Self::SignOff(args) => sign_off::run(context, screen, args),
            Self::Heartbeat(args) => heartbeat::run(context, screen, &args),
            Self::Session(command) => command.run(context, screen),
            Self::Claim(args) => claim::run(context, screen, args),
            Self::Unclaim(args) => unclaim::run(context, screen, args),
            Self::Who(args) => who::run(context, screen, args),
            Self::Lease(command) => command.run(context, screen),
            Self::Data(command) => command.run(context, screen),
            Self::Scope(command) => command.run(context, screen),
            Self::Event(command) => command.run(context, screen),
            Self::Config(command) => command.run(context, screen),
            Self::Doctor(args) => doctor::run(context, screen, &args),
            Self::Backup(args) => backup::run(context, screen, &args),
            Self::Restore(args) => restore::run(context, screen, &args),
            Self::Demo(args) => demo::run(context, screen, &args),
            Self::DemoPlayer(args) => demo::play(&args).map(|()| Exit::SUCCESS),
            Self::Hook(args) => Ok(hook::run(context, args)),
            Self::Mcp(mcp::Args {}) => mcp::run(context.options()).map(|()| Exit::SUCCESS),
            Self::Completions(args) => completions::run(context, screen, &args),
            Self::Rpc(args) => rpc::run(context, screen, &args),
        }
    }
}

/// Adds the arguments or the subcommands of a command.
type Augment = fn(clap::Command) -> clap::Command;
/// A command without subcommands: its name and what it takes.
type Verb = (&'static str, Augment);
/// A command with subcommands.
type Noun = (&'static str, Augment, &'static [Verb]);

/// Commands that are run often, or that somebody waits for.
const VERBS: &[Verb] = &[
    ("status", status::Args::augment_args),
    ("sign-on", sign_on::Args::augment_args),
    ("sign-off", sign_off::Args::augment_args),
    ("heartbeat", heartbeat::Args::augment_args),
    ("claim", claim::Args::augment_args),
    ("unclaim", unclaim::Args::augment_args),
    ("who", who::Args::augment_args),
    ("mcp", mcp::Args::augment_args),
    ("rpc", rpc::Args::augment_args),
];

/// The same, with subcommands.
const NOUNS: &[Noun] = &[
    ("session", session::Command::augment_subcommands, session::VERBS),
    ("lease", lease::Command::augment_subcommands, lease::VERBS),
    ("data", data::Command::augment_subcommands, data::VERBS),
    ("scope", scope::Command::augment_subcommands, scope::VERBS),
    ("event", event::Command::augment_subcommands, event::VERBS),
];

/// The command line with one command only, and of that only the verb that comes next; none for a
/// command that can wait for all of it.
pub(crate) fn only(name: &str, next: Option<&str>, line: clap::Command) -> Option<clap::Command> {
    let find = |verbs: &[Verb], wanted| verbs.iter().find(|(name, _)| *name == wanted).copied();
    if let Some((name, augment)) = find(VERBS, name) {
        return Some(line.subcommand(augment(clap::Command::new(name))));
    }
    let (name, augment, verbs) = NOUNS.iter().find(|(noun, ..)| *noun == name)?;
    let noun = clap::Command::new(name).subcommand_required(true).arg_required_else_help(true);
    Some(line.subcommand(match next.and_then(|next| find(verbs, next)) {
        Some((verb, augment)) => noun.subcommand(augment(clap::Command::new(verb))),
        None => augment(noun),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_of_a_noun_can_be_built_alone() {
        for (name, augment, verbs) in NOUNS {
            let whole = augment(clap::Command::new(name));
            let expected: Vec<_> = whole.get_subcommands().map(clap::Command::get_name).collect();
            let found: Vec<_> = verbs.iter().map(|(verb, _)| *verb).collect();
            assert_eq!(found, expected, "{name}");
        }
    }
}
