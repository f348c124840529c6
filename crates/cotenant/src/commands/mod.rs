//! The commands, one file each: they parse, call and print, and decide nothing.

mod backup;
mod barrier;
mod carry;
mod claim;
mod completions;
mod config;
mod data;
mod demo;
mod doctor;
mod event;
mod export;
mod gc;
mod handoff;
mod heartbeat;
mod hook;
mod import;
mod inbox;
mod init;
mod instruction;
mod lease;
mod mcp;
mod metrics;
mod move_;
mod parse;
mod pressure;
mod progress;
mod restore;
mod rpc;
mod scope;
mod send;
mod session;
mod sign_off;
mod sign_on;
mod status;
mod statusline;
mod task;
mod unclaim;
mod uninit;
mod who;

use std::{ffi::OsString, mem::ManuallyDrop};

use clap::{ArgMatches, Subcommand};
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
    Progress(progress::Command),
    #[command(subcommand)]
    Handoff(handoff::Command),
    Send(send::Args),
    Inbox(inbox::Args),
    Barrier(barrier::Args),
    #[command(subcommand)]
    Lease(lease::Command),
    #[command(subcommand)]
    Task(task::Command),
    #[command(subcommand)]
    Data(data::Command),
    #[command(subcommand)]
    Scope(scope::Command),
    #[command(subcommand)]
    Event(event::Command),
    #[command(subcommand)]
    Instruction(instruction::Command),
    #[command(subcommand)]
    Metrics(metrics::Command),
    Pressure(pressure::Args),
    Statusline(statusline::Args),
    #[command(subcommand)]
    Config(config::Command),
    Doctor(doctor::Args),
    Backup(backup::Args),
    Restore(restore::Args),
    Export(export::Args),
    Import(import::Args),
    Move(move_::Args),
    Gc(gc::Args),
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
            Self::Progress(command) => command.run(context, screen),
            Self::Handoff(command) => command.run(context, screen),
            Self::Send(args) => send::run(context, screen, args),
            Self::Inbox(args) => inbox::run(context, screen, args),
            Self::Barrier(args) => barrier::run(context, screen, args),
            Self::Lease(command) => command.run(context, screen),
            Self::Task(command) => command.run(context, screen),
            Self::Data(command) => command.run(context, screen),
            Self::Scope(command) => command.run(context, screen),
            Self::Event(command) => command.run(context, screen),
            Self::Instruction(command) => command.run(context, screen),
            Self::Metrics(command) => command.run(context, screen),
            Self::Pressure(args) => pressure::run(context, screen, args),
            Self::Statusline(statusline::Args {}) => Ok(statusline::run(context, screen)),
            Self::Config(command) => command.run(context, screen),
            Self::Doctor(args) => doctor::run(context, screen, &args),
            Self::Backup(args) => backup::run(context, screen, &args),
            Self::Restore(args) => restore::run(context, screen, &args),
            Self::Export(args) => export::run(context, screen, &args),
            Self::Import(args) => import::run(context, screen, &args),
            Self::Move(args) => move_::run(context, screen, &args),
            Self::Gc(args) => gc::run(context, screen, &args),
            Self::Demo(args) => demo::run(context, screen, &args),
            Self::DemoPlayer(args) => demo::play(&args).map(|()| Exit::SUCCESS),
            Self::Hook(args) => Ok(hook::run(context, args)),
            Self::Mcp(mcp::Args {}) => mcp::run(context.options()).map(|()| Exit::SUCCESS),
            Self::Completions(args) => completions::run(context, screen, &args),
            Self::Rpc(args) => rpc::run(context, screen, &args),
        }
    }
}

/// A command that can be read alone, without the description of all others.
struct Verb<C> {
    name: &'static str,
    augment: fn(clap::Command) -> clap::Command,
    read: fn(&ArgMatches) -> clap::error::Result<C>,
}

macro_rules! verb {
    ($name:literal, $args:ty, $variant:path) => {
        $crate::commands::Verb {
            name: $name,
            augment: <$args as clap::Args>::augment_args,
            read: |matches| {
                <$args as clap::FromArgMatches>::from_arg_matches(matches).map($variant)
            },
        }
    };
}
use verb;

/// Commands that are run often, or that somebody waits for.
const VERBS: &[Verb<Command>] = &[
    verb!("status", status::Args, Command::Status),
    verb!("sign-on", sign_on::Args, Command::SignOn),
    verb!("sign-off", sign_off::Args, Command::SignOff),
    verb!("heartbeat", heartbeat::Args, Command::Heartbeat),
    verb!("claim", claim::Args, Command::Claim),
    verb!("unclaim", unclaim::Args, Command::Unclaim),
    verb!("who", who::Args, Command::Who),
    verb!("send", send::Args, Command::Send),
    verb!("inbox", inbox::Args, Command::Inbox),
    verb!("barrier", barrier::Args, Command::Barrier),
    verb!("rpc", rpc::Args, Command::Rpc),
    verb!("pressure", pressure::Args, Command::Pressure),
    verb!("statusline", statusline::Args, Command::Statusline),
];

/// Reads a command from what stands behind its name, if it can be read alone: `line` is the command
/// line without commands, `arguments` begin with the program. Whatever is not right is left to the
/// whole command line, which knows what to say.
pub(crate) fn alone(
    [name, next]: [Option<&str>; 2],
    line: clap::Command,
    arguments: impl Fn(usize) -> Vec<OsString>,
) -> Option<(ArgMatches, Command)> {
    fn find<'a, C>(verbs: &'a [Verb<C>], name: Option<&str>) -> Option<&'a Verb<C>> {
        verbs.iter().find(|verb| Some(verb.name) == name)
    }
    let matches = |augment: fn(clap::Command) -> clap::Command, names| {
        // The process ends after this command; taking its description apart would take time.
        let mut line = ManuallyDrop::new(augment(line));
        line.try_get_matches_from_mut(arguments(names)).ok()
    };
    macro_rules! noun {
        ($module:ident, $variant:path) => {{
            let verb = find($module::VERBS, next)?;
            let matches = matches(verb.augment, 2)?;
            let command = (verb.read)(&matches).ok()?;
            Some((matches, $variant(command)))
        }};
    }
    match name? {
        "session" => noun!(session, Command::Session),
        "lease" => noun!(lease, Command::Lease),
        "task" => noun!(task, Command::Task),
        "data" => noun!(data, Command::Data),
        "scope" => noun!(scope, Command::Scope),
        "event" => noun!(event, Command::Event),
        "progress" => noun!(progress, Command::Progress),
        "handoff" => noun!(handoff, Command::Handoff),
        "instruction" => noun!(instruction, Command::Instruction),
        "metrics" => noun!(metrics, Command::Metrics),
        _ => {
            let verb = find(VERBS, name)?;
            let matches = matches(verb.augment, 1)?;
            let command = (verb.read)(&matches).ok()?;
            Some((matches, command))
        }
    }
}
