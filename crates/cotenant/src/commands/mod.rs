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

/// Commands that are run often, or that somebody waits for.
const VERBS: [(&str, Augment); 9] = [
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
const NOUNS: [(&str, Augment); 5] = [
    ("session", session::Command::augment_subcommands),
    ("lease", lease::Command::augment_subcommands),
    ("data", data::Command::augment_subcommands),
    ("scope", scope::Command::augment_subcommands),
    ("event", event::Command::augment_subcommands),
];

/// The command line with one command only; none for a command that can wait for all of it.
pub(crate) fn only(name: &str, line: clap::Command) -> Option<clap::Command> {
    let find =
        |table: &[(&'static str, Augment)]| table.iter().find(|(known, _)| *known == name).copied();
    if let Some((name, augment)) = find(&VERBS) {
        return Some(line.subcommand(augment(clap::Command::new(name))));
    }
    let (name, augment) = find(&NOUNS)?;
    let noun = clap::Command::new(name).subcommand_required(true).arg_required_else_help(true);
    Some(line.subcommand(augment(noun)))
}
