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
    context::Context,
    exit::Exit,
    output::{Look, Screen, since},
};

/// Read the messages to you, each once
///
/// `--all` looks at those that were read before, and reads none.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant inbox
  cotenant inbox --wait 10m            waits for the first
  cotenant inbox --ack 214 --ack 215   tells their senders that you acted on them
  cotenant inbox --all")]
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
        let reply = context.ask(&Acknowledge { messages: args.ack })?;
        screen.answer::<Acknowledge>(&reply, |screen, done| {
            let words = [
                ("acknowledged", &done.acknowledged),
                ("acknowledged before", &done.already),
                ("not to you", &done.unknown),
            ];
            for (word, messages) in words {
                for message in messages {
                    screen.line(format!("{word}: {message}"));
                }
            }
        })?;
        return Ok(Exit::SUCCESS);
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
    screen.answer::<Inbox>(&reply, |screen, handed| {
        print(screen, &handed.messages, false);
        if handed.more {
            screen.line("and more; `cotenant inbox` reads on");
        }
    })?;
    Ok(Exit::SUCCESS)
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
