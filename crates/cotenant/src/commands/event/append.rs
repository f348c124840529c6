//! `cotenant event append`.

use cotenant_core::{Result, event::Append, json::Json};

use super::super::parse;
use crate::{complete, context::Context, exit::Exit, output::Screen};

/// Write an event of your own to the log
///
/// Prints its number. Kinds of your own begin with `user.`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant event append user.note issue:15 --message 'the lexer is done'
  cotenant event append user.test build '{\"passed\":812}'")]
pub(crate) struct Args {
    /// What happened, e.g. `user.note`
    kind: String,
    /// What it is about, e.g. `issue:15`
    #[arg(add = complete::scopes())]
    scope: String,
    /// The facts as JSON
    #[arg(allow_hyphen_values = true, required_unless_present = "message")]
    payload: Option<String>,
    /// The facts as a text
    #[arg(long, value_name = "TEXT", conflicts_with = "payload")]
    message: Option<String>,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    let payload = match (&args.payload, &args.message) {
        (_, Some(message)) => Json::of(&serde_json::json!({ "message": message })),
        (payload, None) => parse::json(payload.as_deref().unwrap_or("null"))?,
    };
    let reply = context.ask(&Append { kind: args.kind, scope: args.scope, payload })?;
    screen.answer::<Append>(&reply, |screen, appended| {
        screen.line(appended.seq.to_string());
    })?;
    Ok(Exit::SUCCESS)
}
