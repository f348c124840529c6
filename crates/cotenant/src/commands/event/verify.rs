//! `cotenant event verify`.

use cotenant_core::{
    Code, Result,
    event::Verify,
    render::{counted, for_terminal},
};

use crate::{context, context::Context, exit::Exit, output::Screen};

/// Check the hash chain of the log
///
/// Exits with 74 and names the first bad event if one was changed. With the cursor of an earlier
/// `event head`, kept elsewhere, it also finds events that were cut off.
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  cotenant event verify --head \"$(cat cursor-of-yesterday)\"")]
pub(crate) struct Args {
    /// A cursor that the log must still contain
    #[arg(long, value_name = "CURSOR")]
    head: Option<String>,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    let reply = context.ask(&Verify { head: args.head })?;
    let ok = context::decode::<Verify>(&reply)?.ok;
    screen.answer::<Verify>(&reply, |screen, verified| {
        if verified.ok {
            screen.line(format!("ok, {}", counted(verified.checked, "event")));
            return;
        }
        let at = verified.first_bad.map(|seq| format!(" from event {seq} on")).unwrap_or_default();
        let why = verified.why.as_deref().unwrap_or("the chain is broken");
        screen.line(format!("bad{at}: {}", for_terminal(why)));
    })?;
    Ok(if ok { Exit::SUCCESS } else { Exit::of(Code::StoreCorrupt) })
}
