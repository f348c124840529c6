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

Exit status: 0 done; 64 wrong arguments; 65 changed meanwhile; 66 not there; 69 missing or newer
program; 70 a bug; 73 held by another session; 74 the store cannot be used; 75 try again; 76 your
session or lease is over; 77 not allowed.";

/// The whole command line.
pub(crate) fn whole() -> clap::Command {
    Command::augment_subcommands(options())
}

/// The command line with as much of it as the arguments need: building all of it takes longer than
/// a short command does.
fn needed(arguments: &[OsString]) -> clap::Command {
    let (name, next) = named(arguments);
    name.and_then(|name| commands::only(name, next, options())).unwrap_or_else(whole)
}

/// The command that the arguments name, if the options before it leave no doubt, and what stands
/// behind it.
fn named(arguments: &[OsString]) -> (Option<&str>, Option<&str>) {
    let mut rest = arguments.iter().skip(1).map(|argument| argument.to_str());
    loop {
        match rest.next().flatten() {
            Some("--json") => {}
            Some("--store" | "--session" | "--request-id" | "--guard") => {
                rest.next();
            }
            Some(name) if !name.starts_with('-') => return (Some(name), rest.next().flatten()),
            _ => return (None, None),
        }
    }
}

/// The command line without its commands.
fn options() -> clap::Command {
    let command = clap::Command::new("cotenant")
        .version(env!("CARGO_PKG_VERSION"))
        .about(OVERVIEW)
        .after_help(EXAMPLES)
        .disable_help_subcommand(true)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .max_term_width(100);
    Global::augment_args(command)
}

/// What every command takes.
#[derive(Args)]
struct Global {
    /// The store to use instead of the project's: a path or `sqlite:PATH`
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
    // The process ends after this command; taking its description apart would only take time.
    let mut line = ManuallyDrop::new(needed(arguments));
    let parsed = line.try_get_matches_from_mut(arguments).map(ManuallyDrop::new);
    let parsed = parsed.and_then(|matches| {
        Ok((Global::from_arg_matches(&matches)?, Command::from_arg_matches(&matches)?))
    });
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
    let context = Box::leak(Box::new(Context::new(options, directory)));
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
    }

    #[test]
    fn what_is_built_alone_is_as_in_the_whole() {
        let mut whole = whole();
        whole.build();
        let mut alone = 0;
        for expected in whole.get_subcommands() {
            let Some(mut command) = commands::only(expected.get_name(), None, options()) else {
                continue;
            };
            command.build();
            let found: Vec<_> = command.get_subcommands().collect();
            let [found] = found[..] else { panic!("{}", expected.get_name()) };
            assert_same(expected, found);
            for verb in expected.get_subcommands() {
                let next = Some(verb.get_name());
                let mut command = commands::only(expected.get_name(), next, options()).unwrap();
                command.build();
                let found = command.find_subcommand(expected.get_name()).unwrap();
                assert_same(verb, found.find_subcommand(verb.get_name()).unwrap());
            }
            alone += 1;
        }
        assert!(alone >= 12, "{alone}");
    }

    fn assert_same(expected: &clap::Command, found: &clap::Command) {
        let help = |command: &clap::Command| command.clone().render_long_help().to_string();
        assert_eq!(help(expected), help(found));
        assert_eq!(expected.is_subcommand_required_set(), found.is_subcommand_required_set());
        assert_eq!(expected.is_arg_required_else_help_set(), found.is_arg_required_else_help_set());
        let inner = expected.get_subcommands().zip(found.get_subcommands());
        inner.for_each(|(expected, found)| assert_same(expected, found));
    }

    #[test]
    fn the_command_is_found_behind_the_options() {
        let named = |line: &str| {
            let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let (name, next) = super::named(&arguments);
            [name, next].map(|word| word.unwrap_or_default().to_owned())
        };
        assert_eq!(named("cotenant --json --session a data get"), ["data", "get"]);
        assert_eq!(named("cotenant claim --json"), ["claim", "--json"]);
        assert_eq!(named("cotenant --session=a data"), ["", ""]);
        assert_eq!(named("cotenant --help"), ["", ""]);
        assert_eq!(named("cotenant"), ["", ""]);
    }
}
