//! `cotenant progress show`.

use cotenant_core::{
    Result,
    data::PAGE_MAX,
    progress::{Progress, ShowProgress},
};

use crate::{
    context::Context,
    exit::Exit,
    output::{Look, Screen, Table, bar, since},
};

/// Show how far pieces of work are
///
/// `cotenant event watch --kind progress.set` follows it.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant progress show
  cotenant progress show 'issue:*'
  cotenant progress show issue:15 --json | jq '.data.progress[0].percent'")]
pub(crate) struct Args {
    /// A subject, or a pattern with `*`; all when absent
    subject: Option<String>,
    /// Go on behind this subject
    #[arg(long, value_name = "SUBJECT")]
    after: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = PAGE_MAX)]
    limit: u32,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    let none = match (&args.subject, &args.after) {
        (None, None) => "nobody has reported progress",
        (Some(_), None) => "nobody has reported progress of that",
        (_, Some(_)) => "nothing comes behind that",
    };
    let operation = ShowProgress { pattern: args.subject, after: args.after, limit: args.limit };
    let reply = context.ask(&operation)?;
    screen.answer::<ShowProgress>(&reply, |screen, found| {
        if found.progress.is_empty() {
            screen.line(none);
            return;
        }
        screen.table(&table(&found.progress));
        if let Some(next) = found.next {
            screen.line(format!(
                "and more; `cotenant progress show --after '{}'`",
                cotenant_core::render::for_terminal(&next)
            ));
        }
    })?;
    Ok(Exit::SUCCESS)
}

/// Progress as a table.
pub(in super::super) fn table(progress: &[Progress]) -> Table {
    let mut table = Table::new(["SUBJECT", "DONE", "PHASE", "BY", "UPDATED", "WHAT"]);
    for it in progress {
        let look = if it.percent == 100 { Look::Good } else { Look::Plain };
        table.styled_row([
            (Look::Strong, it.subject.clone()),
            (look, bar(it.percent)),
            (Look::Plain, it.phase.clone()),
            (Look::Plain, it.updated_by.clone()),
            (Look::Plain, since(&it.updated_at)),
            (Look::Plain, it.message.clone().unwrap_or_default()),
        ]);
    }
    table
}
