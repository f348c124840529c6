use std::ffi::OsString;

use crate::{context::Context, exit::Exit, hook};

/// Answer an event of an agent; agents call this
///
/// Reads the agent's payload on standard input and prints what the agent shall know, or nothing.
/// It signs the session on, tells who else is here, claims a file at its first edit, and refuses
/// an edit of a file that another session holds in the same work tree. It always succeeds: what it
/// cannot know, it lets happen. `cotenant init` installs it.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The event, e.g. `PreToolUse`; the payload names it too
    event: Option<OsString>,
}

pub(crate) fn run(context: &Context, args: Args) -> Exit {
    let store = context.options().store.iter();
    let store = store.flat_map(|store| ["--store".into(), OsString::from(store)]);
    let arguments: Vec<OsString> = args.event.into_iter().chain(store).collect();
    hook::run(&arguments);
    Exit::SUCCESS
}
