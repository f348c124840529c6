//! `cotenant inbox`.

use cotenant_core::{
    Code, Error, Result,
    data::PAGE_MAX,
    id::Seq,
    message::{Acknowledge, Inbox, ListMessages, Message, MessageState},
    name::{Addressee, SessionRef},
    render::for_terminal,
};

use super::parse;
use crate::{
    context::{Context, decode},
    exit::Exit,
    output::{Look, Screen, since},
};

/// Read the messages to you, each once
///
/// `--all` looks at those that were read before, and reads none. With `--wait` it exits with 75 if none came.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant inbox
  cotenant inbox --wait 10m            waits for the first
  cotenant inbox --ack 214 --ack 215   tells their senders that you acted on them
  cotenant inbox --all

Exit status: 0 also without a message; 66 a message to acknowledge is none of yours; 75 none came while it waited.")]
pub(crate) struct Args {
    /// Wait so long for the first
    #[arg(long, value_name = "DURATION", value_parser = parse::duration, conflicts_with_all = ["all", "ack"])]
    wait: Option<u64>,
    /// Show those that were read too, and read none
    #[arg(long, conflicts_with = "ack")]
    all: bool,
    /// Say that you acted on a message
    #[arg(long, value_name = "MESSAGE")]
    ack: Vec<Seq>,
    /// At most so many at once, 1 to 128
    #[arg(long, value_name = "N", default_value_t = 128)]
    limit: u32,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    if !args.ack.is_empty() {
        return acknowledge(context, screen, args.ack);
    }
    if args.all {
        let own = context.own_session()?.ok_or_else(|| {
            Error::new(Code::NotFound, "you are not signed on")
                .hint("`cotenant session list` shows who is; `--session NAME` names another")
        })?;
        let session = SessionRef(own.answer.session.session.0);
        let operation = ListMessages { session, all: true, after: None, limit: PAGE_MAX };
        let reply = context.ask(&operation)?;
        screen
            .answer::<ListMessages>(&reply, |screen, found| print(screen, &found.messages, true))?;
        return Ok(Exit::SUCCESS);
    }
    let reply = context.ask(&Inbox { limit: args.limit, bytes: None, wait_ms: args.wait })?;
    let none_came = args.wait.is_some() && decode::<Inbox>(&reply)?.messages.is_empty();
    screen.answer::<Inbox>(&reply, |screen, handed| {
        print(screen, &handed.messages, false);
        if handed.more {
            screen.line("and more; `cotenant inbox` reads on");
        }
    })?;
    Ok(if none_came { Exit::of(Code::Timeout) } else { Exit::SUCCESS })
}

/// Acknowledges messages. What is none of the caller's is refused; the others are acknowledged all the same.
fn acknowledge(context: &Context, screen: &mut Screen, messages: Vec<Seq>) -> Result<Exit> {
    let reply = context.ask(&Acknowledge { messages })?;
    let done = decode::<Acknowledge>(&reply)?;
    if done.unknown.is_empty() && screen.json() {
        screen.envelope(&reply);
        return Ok(Exit::SUCCESS);
    }
    let words = [("acknowledged", &done.acknowledged), ("acknowledged before", &done.already)];
    for (word, messages) in words {
        for message in messages {
            screen.line(format!("{word}: {message}"));
        }
    }
    if done.unknown.is_empty() {
        return Ok(Exit::SUCCESS);
    }
    let unknown: Vec<String> = done.unknown.iter().map(ToString::to_string).collect();
    let message = match &unknown[..] {
        [one] => format!("there is no message {one} to you"),
        many => format!("there are no messages {} to you", many.join(", ")),
    };
    Err(Error::new(Code::NotFound, message)
        .detail("unknown", &done.unknown)
        .detail("acknowledged", &done.acknowledged)
        .detail("already", &done.already)
        .hint("`cotenant inbox --all` shows the messages to you, with their numbers"))
}

fn print(screen: &mut Screen, messages: &[Message], all: bool) {
    if messages.is_empty() {
        screen.line(if all { "no messages" } else { "no unread messages" });
    }
    for message in messages {
        let from = screen.paint(Look::Strong, &for_terminal(&message.from_name));
        let to = match &message.to {
            Addressee::Session(_) => String::new(),
            to => format!(" to {}", for_terminal(&to.to_string())),
        };
        let state = match message.state {
            MessageState::Unread => ", unread",
            MessageState::Read => "",
            MessageState::Acknowledged => ", acknowledged",
        };
        screen.line(format!(
            "{} from {from}{to}, {}{state}: {}",
            message.message,
            since(&message.at),
            for_terminal(&message.text)
        ));
    }
}
