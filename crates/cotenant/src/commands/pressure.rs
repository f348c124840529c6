//! `cotenant pressure`.

use cotenant_core::{
    Error, Result,
    metric::{SessionMetrics, ShowMetrics},
    name::SessionRef,
    pressure::{Level, Pressure, pressure},
    render::{counted, for_terminal},
};
use serde::Serialize;

use crate::{
    complete,
    config::{self, Limits},
    context::Context,
    exit::Exit,
    output::{Look, Screen},
};

/// Tell how full a session is
///
/// The score is the greatest of: the context in its window, tokens in the budget, messages, and failures among
/// the last ten calls of tools. normal < 30 % ≤ elevated < 50 % ≤ high < 70 % ≤ critical < 85 % ≤ dangerous.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant pressure                 of your own session
  cotenant pressure claude_1
  cotenant pressure --json | jq -r .data.level")]
pub(crate) struct Args {
    /// The session, by id or live name; your own unless said
    #[arg(value_name = "NAME", add = complete::sessions())]
    name: Option<String>,
}

/// The pressure of one session.
#[derive(Serialize)]
struct Told {
    session: String,
    name: String,
    /// The score in per cent, as text, so that its one digit is exact.
    percent: String,
    #[serde(flatten)]
    pressure: Pressure,
    messages: i64,
    complexity: i64,
}

/// How a level looks.
pub(super) const fn look(level: Level) -> Look {
    match level {
        Level::Normal => Look::Good,
        Level::Elevated => Look::Plain,
        Level::High | Level::Critical | Level::Dangerous => Look::Warning,
    }
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    let session = match args.name {
        Some(name) => SessionRef(name),
        None => match context.own_session()? {
            Some(own) => SessionRef(own.answer.session.session.0),
            None => {
                return Err(Error::invalid("you have no session here")
                    .hint("name one: `cotenant pressure NAME`"));
            }
        },
    };
    let found = context.call(&ShowMetrics { session: Some(session), all: true, by: None })?;
    let limits = config::limits(context.project()?);
    let told = found.answer.sessions.first().map(|session| tell(session, &limits));
    let told = told.ok_or_else(|| Error::internal("the session was not shown"))?;
    if screen.json() {
        screen.data(&told, found.seq, found.tick)?;
        return Ok(Exit::SUCCESS);
    }
    let Pressure { level, context_tokens, context_window, .. } = told.pressure;
    let words = screen.paint(look(level), level.word());
    screen.line(format!(
        "{}: {} % {words}, {context_tokens} of {context_window} tokens, {}, complexity {}",
        for_terminal(&told.name),
        told.percent,
        counted(told.messages.unsigned_abs(), "message"),
        told.complexity
    ));
    Ok(Exit::SUCCESS)
}

fn tell(session: &SessionMetrics, limits: &Limits) -> Told {
    let filling = limits.over(session.filling());
    let pressure = pressure(&filling, &limits.tokens);
    Told {
        session: session.session.clone(),
        name: session.name.clone(),
        percent: pressure.percent(),
        pressure,
        messages: filling.messages,
        complexity: session.complexity(),
    }
}
