//! `cotenant who`.

use cotenant_core::{
    Result,
    claim::{Item, ItemKind, Who},
    name::SessionRef,
    render::for_terminal,
};

use crate::{
    complete,
    context::Context,
    exit::Exit,
    output::{Look, Screen, holding_line, item_words},
};

/// Tell who holds an item and who waits for it
///
/// A path is looked up in every work tree, together with the directories above and below it.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant who                    all claims
  cotenant who issue:15
  cotenant who path:src/parser/lexer.rs
  cotenant who 'issue:*'
  cotenant who --by claude_1")]
pub(crate) struct Args {
    /// An item, or a pattern with `*`; all claims when absent
    #[arg(value_name = "ITEM", add = complete::claims())]
    item: Option<String>,
    /// Only what this session holds
    #[arg(long, value_name = "SESSION", add = complete::sessions())]
    by: Option<String>,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    context.store()?;
    let mut operation = Who { session: args.by.map(SessionRef), ..Who::default() };
    match &args.item {
        Some(pattern) if pattern.contains('*') => operation.pattern = Some(pattern.clone()),
        Some(item) => operation.item = Some(everywhere(context, item.parse()?)?),
        None => {}
    }
    let reply = context.ask(&operation)?;
    screen.answer::<Who>(&reply, |screen, found| {
        if found.holdings.is_empty() {
            screen.line(match &args.item {
                Some(item) => format!("nobody holds {}", for_terminal(item)),
                None => "nobody holds a claim".to_owned(),
            });
        }
        for holding in &found.holdings {
            let resource = screen.paint(Look::Strong, &item_words(holding));
            screen.line(format!("{resource}: {}", holding_line(holding)));
        }
    })?;
    Ok(Exit::SUCCESS)
}

/// A path of the working directory as the path of any tree.
fn everywhere(context: &Context, item: Item) -> Result<Item> {
    if item.kind != ItemKind::Path || item.tree.is_some() {
        return Ok(item);
    }
    Ok(Item { tree: None, ..context.place(item)? })
}
