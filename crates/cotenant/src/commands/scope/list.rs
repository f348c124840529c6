//! `cotenant scope list`.

use cotenant_core::{
    Result,
    data::{ListScopes, PAGE_MAX},
    render::for_terminal,
};

use crate::{complete, context::Context, exit::Exit, output::Screen};

/// List the scopes that hold at least one key, one a line
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  cotenant scope list 'issue:*'")]
pub(crate) struct Args {
    /// Only those that match; `*` matches any run of characters
    #[arg(default_value = "*", add = complete::scopes())]
    pattern: String,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    let mut operation = ListScopes { pattern: args.pattern, after: None, limit: PAGE_MAX };
    let mut all = Vec::new();
    let last = loop {
        let mut page = context.call(&operation)?;
        all.append(&mut page.answer.scopes);
        operation.after.clone_from(&page.answer.next);
        if operation.after.is_none() {
            page.answer.scopes = all;
            break page;
        }
    };
    if screen.json() {
        screen.data(&last.answer, last.seq, last.tick)?;
    } else {
        last.answer.scopes.iter().for_each(|scope| screen.line(for_terminal(scope)));
    }
    Ok(Exit::SUCCESS)
}
