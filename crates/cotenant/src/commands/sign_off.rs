//! `cotenant sign-off`.

use cotenant_core::{
    Code, Error, Result,
    render::counted,
    session::{SignOff, SignedOff, State},
};

use crate::{context::Context, exit::Exit, output::Screen};

/// What becomes of an offer whose giver has gone.
const TAKEN: &str = "whoever accepts gets what it holds, as far as it is still free";

/// End your session and give back all it holds
///
/// Leases and claims are free at once, keys that were bound to the session are deleted. Open offers
/// stand.
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  cotenant sign-off --outcome done --note 'merged as 1f3c'")]
pub(crate) struct Args {
    /// How it went, e.g. `done`
    #[arg(long, value_name = "WORD")]
    outcome: Option<String>,
    /// A last word
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    context.store()?;
    // Signing somebody on only to sign off would be silly, and the token of a session that has
    // ended is gone, so a repeat is answered here.
    match context.own_session()? {
        None => {
            return Err(Error::new(Code::NotFound, "you are not signed on")
                .hint("`cotenant session list` shows who is; `--session NAME` names another"));
        }
        Some(found) if found.answer.session.state == State::Ended => {
            let before = SignedOff { already: true, ..SignedOff::default() };
            if screen.json() {
                screen.data(&before, found.seq, found.tick)?;
            } else {
                screen.line("the session had ended before");
            }
            return Ok(Exit::SUCCESS);
        }
        Some(_) => {}
    }
    let reply = context.ask_sign_off(&SignOff { outcome: args.outcome, note: args.note })?;
    screen.answer::<SignOff>(&reply, |screen, done| {
        if done.already {
            screen.line("the session had ended before");
            return;
        }
        let tasks = match done.tasks {
            0 => String::new(),
            tasks => format!(", {}", counted(tasks, "task")),
        };
        screen.line(format!(
            "signed off; gave back {}, {}, {}{tasks}",
            counted(done.claims, "claim"),
            counted(done.leases, "lease"),
            counted(done.keys, "key")
        ));
        let numbers: Vec<String> = done.offers.iter().map(ToString::to_string).collect();
        match &numbers[..] {
            [] => {}
            [one] => screen.line(format!("offer {one} stands; {TAKEN}")),
            many => screen.line(format!("offers {} stand; {TAKEN}", many.join(", "))),
        }
    })?;
    Ok(Exit::SUCCESS)
}
