//! The command line: options, commands and what becomes of their outcome.

use std::{ffi::OsString, mem::ManuallyDrop};

use clap::{Args, FromArgMatches as _, Subcommand as _, error::ErrorKind};
use cotenant_core::{Error, Result, store::Guard};

use crate::{
    commands::{self, Command},
    complete,
    context::{Context, Options},
    env,
    exit::Exit,
    output::{self, Screen},
};

const OVERVIEW: &str = "\
Many coding-agent sessions in one codebase: they see each other, share data that is never lost, \
and never take the same work twice.";

const EXAMPLES: &str = "\
Examples:
  cotenant status                          who is here, on what, holding what
  cotenant claim issue:15 path:src/parser  take work and files, all or none
  cotenant data set build color '\"green\"'  share a value
  cotenant lease run --lease deploy -- ./deploy.sh

COTENANT_SESSION and COTENANT_STORE stand for the options; `cotenant config show` tells the other settings.

Exit status: 0 done; 64 wrong arguments; 65 changed meanwhile; 66 not there; 69 missing or newer
program; 70 a bug; 73 held by another session; 74 the store cannot be used; 75 try again; 76 your
session or lease is over; 77 not allowed.";

/// The whole command line.
pub(crate) fn whole() -> clap::Command {
    let command = options()
        .version(env!("CARGO_PKG_VERSION"))
        .after_help(EXAMPLES)
        .disable_help_subcommand(true)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .max_term_width(100);
    // Behind them: they bring what they are for as a group.
    Command::augment_subcommands(command).about(OVERVIEW)
}

/// Reads a command line that is right and names a command that can be read alone: building the
/// whole description takes longer than a short command does. Its large frames are gone when the
/// command runs.
#[inline(never)]
fn alone(arguments: &[OsString]) -> Option<(Global, Command)> {
    let (position, names) = named(arguments)?;
    let without_names = |count| {
        let (before, rest) = arguments.split_at(position);
        [before, &rest[count..]].concat()
    };
    let (matches, command) = commands::alone(names, options(), without_names)?;
    let matches = ManuallyDrop::new(matches);
    Some((Global::from_arg_matches(&matches).ok()?, command))
}

/// Reads any command line.
#[inline(never)]
fn in_full(arguments: &[OsString]) -> clap::error::Result<(Global, Command)> {
    let matches = whole().try_get_matches_from(arguments)?;
    Ok((Global::from_arg_matches(&matches)?, Command::from_arg_matches(&matches)?))
}

/// Where the command stands in the arguments, its name and what stands behind it, if the options
/// before it leave no doubt.
fn named(arguments: &[OsString]) -> Option<(usize, [Option<&str>; 2])> {
    let mut position = 1;
    loop {
        match arguments.get(position)?.to_str()? {
            "--json" => position += 1,
            "--store" | "--session" | "--request-id" | "--guard" => position += 2,
            option if option.starts_with('-') => return None,
            name => {
                let next = arguments.get(position + 1).and_then(|next| next.to_str());
                return Some((position, [Some(name), next]));
            }
        }
    }
}

/// The command line without its commands.
fn options() -> clap::Command {
    Global::augment_args(clap::Command::new("cotenant"))
}

/// What every command takes.
#[derive(Args)]
struct Global {
    /// The store to use instead of the project's: a path, `sqlite:PATH` or `postgres://…`
    #[arg(long, global = true, value_name = "URL", help_heading = "Options of every command")]
    store: Option<String>,
    /// Act for this session, by id or live name
    #[arg(
        long,
        global = true,
        value_name = "SESSION",
        help_heading = "Options of every command",
        add = complete::sessions()
    )]
    session: Option<String>,
    /// Print the result envelope as JSON, of errors too
    #[arg(long, global = true, help_heading = "Options of every command")]
    json: bool,
    /// Make a repeat harmless: the same id returns the first result
    #[arg(long, global = true, value_name = "ID", help_heading = "Options of every command")]
    request_id: Option<String>,
    /// Do it only if this lease or claim is still held with this fence
    #[arg(
        long = "guard",
        global = true,
        value_name = "RESOURCE=FENCE",
        value_parser = guard,
        help_heading = "Options of every command"
    )]
    guards: Vec<Guard>,
}

fn guard(text: &str) -> std::result::Result<Guard, String> {
    text.parse().map_err(|error: Error| error.message)
}

/// Runs a command line and answers its exit status.
pub(crate) fn run(arguments: &[OsString]) -> Exit {
    if env::is_set(env::COMPLETE) {
        return complete::answer(whole);
    }
    let parsed = alone(arguments).map_or_else(|| in_full(arguments), Ok);
    let (global, command) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return refuse(&error, arguments),
    };
    let json = global.json;
    let mut screen = Screen::new(json);
    let outcome =
        execute(global, command, &mut screen).and_then(|exit| screen.flush().map(|_| exit));
    outcome.unwrap_or_else(|error| {
        // What was printed before the failure belongs to the answer, unless that must be one
        // envelope.
        if !json {
            let _ = screen.flush();
        }
        output::report(&error, json);
        Exit::of(error.code)
    })
}

fn execute(global: Global, command: Command, screen: &mut Screen) -> Result<Exit> {
    let directory = env::working_directory().map_err(|error| {
        Error::invalid(format!("the working directory is not there: {error}")).caused_by(error)
    })?;
    let Global { store, session, json, request_id, guards } = global;
    let options = Options { store, session, request_id, guards, quiet: json };
    // The process ends after this command; closing the database in order would only take time.
    let mut context = Context::new(options, directory);
    if matches!(command, Command::Rpc(_)) {
        context = context.that_serves_many();
    }
    let context = Box::leak(Box::new(context));
    command.run(context, screen)
}

/// Reports a usage error, with the status of `INVALID`; help and version are no errors.
fn refuse(error: &clap::Error, arguments: &[OsString]) -> Exit {
    let json = arguments.iter().take_while(|argument| *argument != "--").any(|a| a == "--json");
    let helps = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if json && !helps {
        let text = error.render().to_string();
        let (first, rest) = text.split_once("\n\n").unwrap_or((&text, ""));
        let message = first.trim_start_matches("error: ").replace('\n', " ");
        output::report(&Error::invalid(message).hint(rest.trim().to_owned()), true);
    } else {
        // As with every answer: a reader that left is no failure.
        let _ = error.print();
    }
    if helps { Exit::SUCCESS } else { Exit::of(cotenant_core::Code::Invalid) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        whole().debug_assert();
        let help = whole().render_help().to_string();
        assert!(help.starts_with("Many coding-agent sessions"), "{help}");
    }

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    /// A value for every argument that must be given.
    fn required(command: &clap::Command) -> String {
        let positional = command.get_positionals().filter(|argument| argument.is_required_set());
        positional.map(|_| " 1").collect()
    }

    #[test]
    fn what_is_read_alone_is_read_by_the_whole_too() {
        let mut whole = whole();
        whole.build();
        let mut alone = 0;
        for command in whole.get_subcommands() {
            let name = command.get_name();
            let lines: Vec<_> = if command.has_subcommands() {
                let verbs = command.get_subcommands().filter(|verb| verb.get_name() != "help");
                verbs.map(|verb| format!("{name} {}{}", verb.get_name(), required(verb))).collect()
            } else {
                vec![format!("{name}{}", required(command))]
            };
            for line in lines {
                for line in [
                    format!("cotenant {line}"),
                    format!("cotenant --session a --json {line} --request-id b"),
                ] {
                    if super::alone(&words(&line)).is_some() {
                        super::whole().try_get_matches_from(words(&line)).unwrap();
                        alone += 1;
                    }
                }
            }
        }
        // Most verbs need no more than their positional arguments.
        assert!(alone >= 50, "{alone}");
    }

    #[test]
    fn what_is_not_right_is_left_to_the_whole() {
        for line in [
            "cotenant data get --help",
            "cotenant data get a",
            "cotenant data get a b c",
            "cotenant data got a b",
            "cotenant data",
            "cotenant --version",
            "cotenant claim --no-such-option",
            "cotenant --store",
            "cotenant --json",
        ] {
            assert!(alone(&words(line)).is_none(), "{line}");
        }
    }

    #[test]
    fn options_may_stand_anywhere() {
        let line = "cotenant --session x data --json get a b --guard lease:l=1";
        assert!(alone(&words(line)).is_none());
        let line = "cotenant --session x data get --json a b --guard lease:l=1 --raw";
        let (global, command) = alone(&words(line)).unwrap();
        assert_eq!(global.session.as_deref(), Some("x"));
        assert!(global.json);
        assert_eq!(global.guards.len(), 1);
        assert!(matches!(command, Command::Data(_)));
    }
}
