//! `cotenant session tree`.

use std::collections::{BTreeMap, HashSet};

use cotenant_core::{
    Code, Error, Result,
    id::SessionId,
    name::SessionRef,
    render::for_terminal,
    session::{Direction, Edge, Lineage, LineageView, SessionView},
};

use crate::{
    complete,
    context::Context,
    exit::Exit,
    output::{Screen, ago},
};

/// Show where a session comes from and what came from it
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The session, by id or live name; your own when absent
    #[arg(value_name = "NAME", add = complete::sessions())]
    name: Option<String>,
    /// Only where it comes from
    #[arg(long, conflicts_with = "descendants")]
    ancestors: bool,
    /// Only what came from it
    #[arg(long)]
    descendants: bool,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    context.store()?;
    let session = match args.name {
        Some(name) => SessionRef(name),
        None => match context.own_session()? {
            Some(found) => SessionRef(found.answer.session.session.0),
            None => {
                return Err(
                    Error::new(Code::NotFound, "you are not signed on").hint("name a session")
                );
            }
        },
    };
    let direction = match (args.ancestors, args.descendants) {
        (true, _) => Direction::Ancestors,
        (_, true) => Direction::Descendants,
        _ => Direction::Tree,
    };
    let reply = context.ask(&Lineage { session, direction })?;
    screen.answer::<Lineage>(&reply, |screen, view| Drawing::new(&view).draw(screen))?;
    Ok(Exit::SUCCESS)
}

/// A lineage on its way to the screen. Every session is drawn once, below its parent; further
/// edges are told beside it.
struct Drawing<'a> {
    view: &'a LineageView,
    children: BTreeMap<&'a SessionId, Vec<(&'a Edge, &'a SessionView)>>,
    parent: BTreeMap<&'a SessionId, &'a Edge>,
}

impl<'a> Drawing<'a> {
    fn new(view: &'a LineageView) -> Self {
        let sessions: BTreeMap<&SessionId, &SessionView> =
            view.sessions.iter().map(|session| (&session.session, session)).collect();
        let mut parent: BTreeMap<&SessionId, &Edge> = BTreeMap::new();
        for edge in view.edges.iter().filter(|edge| edge.relation.is_parent()) {
            if sessions.contains_key(&edge.from) {
                parent.entry(&edge.to).or_insert(edge);
            }
        }
        let mut children: BTreeMap<&SessionId, Vec<(&Edge, &SessionView)>> = BTreeMap::new();
        for (to, edge) in &parent {
            if let Some(session) = sessions.get(to) {
                children.entry(&edge.from).or_default().push((edge, session));
            }
        }
        Self { view, children, parent }
    }

    fn draw(&self, screen: &mut Screen) {
        let mut drawn = HashSet::new();
        for session in &self.view.sessions {
            if !self.parent.contains_key(&session.session) {
                self.draw_below(screen, session, "", "", None, &mut drawn);
            }
        }
        for edge in
            self.view.edges.iter().filter(|edge| {
                self.parent.get(&edge.to).is_none_or(|parent| parent.seq != edge.seq)
            })
        {
            let name = |id: &SessionId| {
                let found = self.view.sessions.iter().find(|session| session.session == *id);
                found.map_or_else(|| id.to_string(), |session| for_terminal(&session.name))
            };
            screen.line(format!(
                "{}: {} → {}",
                edge.relation.word(),
                name(&edge.from),
                name(&edge.to)
            ));
        }
    }

    fn draw_below(
        &self,
        screen: &mut Screen,
        session: &'a SessionView,
        branch: &str,
        indent: &str,
        edge: Option<&Edge>,
        drawn: &mut HashSet<&'a SessionId>,
    ) {
        if !drawn.insert(&session.session) {
            return;
        }
        let relation = edge.map(|edge| format!("{}: ", edge.relation.word())).unwrap_or_default();
        let purpose = session.purpose.as_deref().map(|text| format!(", {}", for_terminal(text)));
        screen.line(format!(
            "{branch}{relation}{} ({}, {}, heard of {}{})",
            for_terminal(&session.name),
            for_terminal(&session.kind),
            session.state.word(),
            ago(session.heartbeat_age_ms),
            purpose.unwrap_or_default(),
        ));
        let children = self.children.get(&session.session).map_or(&[][..], Vec::as_slice);
        for (index, (edge, child)) in children.iter().enumerate() {
            let last = index + 1 == children.len();
            let branch = format!("{indent}{}", if last { "└─ " } else { "├─ " });
            let indent = format!("{indent}{}", if last { "   " } else { "│  " });
            self.draw_below(screen, child, &branch, &indent, Some(edge), drawn);
        }
    }
}
