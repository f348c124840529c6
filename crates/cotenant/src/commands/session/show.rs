//! `cotenant session show`.

use cotenant_core::{
    Code, Error, Result,
    claim::HoldingState,
    clock::in_words,
    name::SessionRef,
    render::for_terminal,
    session::{ShowSession, ShownSession},
};

use crate::{
    complete,
    context::Context,
    exit::Exit,
    output::{Look, Screen, ago, item_words, since},
};

/// Show one session and what it holds; your own when none is named
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The session, by id or live name
    #[arg(value_name = "NAME", add = complete::sessions())]
    name: Option<String>,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    context.store()?;
    let shown = match args.name {
        Some(name) => context.call(&ShowSession { session: SessionRef(name) })?,
        None => context.own_session()?.ok_or_else(|| {
            Error::new(Code::NotFound, "you are not signed on")
                .hint("name a session; `cotenant session list` shows them")
        })?,
    };
    if screen.json() {
        screen.data(&shown.answer, shown.seq, shown.tick)?;
    } else {
        print(screen, &shown.answer);
    }
    Ok(Exit::SUCCESS)
}

fn print(screen: &mut Screen, shown: &ShownSession) {
    let session = &shown.session;
    screen.line(screen.paint(Look::Strong, &for_terminal(&session.name)));
    let process = session.process.as_ref().map(|process| {
        let state = match session.process_alive {
            Some(true) => "alive",
            Some(false) => "gone",
            None => "cannot be judged from here",
        };
        format!("{} ({state})", process.pid)
    });
    let parent = session.parent.as_ref().map(|parent| {
        let relation = session.relation.map_or("comes from", |relation| relation.word());
        format!("{parent} ({relation})")
    });
    let expires = session.state.is_live().then(|| in_words(session.expires_in_ms));
    let abandoned = if session.possibly_abandoned { ", possibly abandoned" } else { "" };
    for (label, text) in [
        ("id", Some(session.session.to_string())),
        ("kind", Some(session.kind.clone())),
        ("state", Some(format!("{}{abandoned}", session.state.word()))),
        ("user", Some(session.user.clone())),
        ("purpose", session.purpose.clone()),
        ("labels", (!session.labels.is_empty()).then(|| session.labels.join(", "))),
        ("native id", session.native_id.clone()),
        ("process", process),
        ("ns", Some(session.ns.clone())),
        ("since", Some(format!("{} ({})", session.since, since(&session.since)))),
        ("heard of", Some(ago(session.heartbeat_age_ms))),
        ("expires in", expires),
        ("parent", parent),
        ("outcome", session.outcome.clone()),
        ("reason", session.reason.clone()),
    ] {
        if let Some(text) = text {
            screen.line(format!("  {label:<11}{}", for_terminal(&text)));
        }
    }
    for holding in &shown.holds {
        let state = match holding.state {
            HoldingState::Held => "holds",
            HoldingState::Cooling => "cooling",
            HoldingState::Waiting => "waits for",
        };
        let resource = item_words(holding);
        screen.line(format!("  {state:<11}{resource} (fence {})", holding.fence));
    }
}
