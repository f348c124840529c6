//! `cotenant send`.

use cotenant_core::{
    Result,
    message::{SendMessage, Sent},
    name::Addressee,
    render::for_terminal,
};

use super::parse;
use crate::{
    complete,
    context::Context,
    exit::Exit,
    output::{Look, Screen},
};

/// Send a text to a session, to a label, or to everybody
///
/// An agent reads it in its current turn, after the tool that it is running. Whom it does not reach,
/// you are told; that is no failure, so the exit status is 0 (`--json` has `delivered` and `undelivered`).
/// A name that nobody ever had is refused with 66.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant send claude_2 'the tests of issue:15 pass'
  cotenant send label:reviewers 'branch feat/15 is ready'
  cotenant send everybody 'main is frozen until noon'")]
pub(crate) struct Args {
    /// A session, `label:WORD`, or `everybody`
    #[arg(value_parser = parse::addressee, add = complete::sessions())]
    to: Addressee,
    /// What to say
    text: String,
    /// How long it is kept, 1m to 30d; 7d when absent
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    ttl: Option<u64>,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    let operation = SendMessage { to: args.to, text: args.text, ttl_ms: args.ttl };
    let reply = context.ask(&operation)?;
    screen.answer::<SendMessage>(&reply, |screen, sent| print(screen, &operation.to, &sent))?;
    Ok(Exit::SUCCESS)
}

fn print(screen: &mut Screen, to: &Addressee, sent: &Sent) {
    let names: Vec<String> = sent.delivered.iter().map(|name| for_terminal(name)).collect();
    match (names.is_empty(), sent.undelivered.is_empty()) {
        (false, _) => screen.line(format!("message {} to {}", sent.message, names.join(", "))),
        (true, true) => {
            let warning = screen.paint(Look::Warning, "undelivered");
            screen.line(match to {
                Addressee::Label(label) => format!(
                    "{warning}: nobody else who is signed on has the label `{}`; \
                     `cotenant sign-on NAME --label WORD` gives one",
                    for_terminal(label)
                ),
                _ => format!("{warning}: nobody else is signed on"),
            });
        }
        (true, false) => {}
    }
    for missed in &sent.undelivered {
        let why = match missed.reason.as_str() {
            "lost" => "its session was lost",
            "ended" => "its session has ended",
            "full" => "it has 1,000 unread messages",
            other => other,
        };
        let warning = screen.paint(Look::Warning, "undelivered");
        screen.line(format!("{warning}: {}: {}", for_terminal(&missed.name), for_terminal(why)));
    }
}
