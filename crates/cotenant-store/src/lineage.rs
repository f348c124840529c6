//! Edges between sessions.

use std::collections::{BTreeMap, BTreeSet};

use cotenant_core::{
    Code, Error, Result,
    id::{Seq, SessionId},
    session::{Direction, Edge, Lineage, LineageView, Relation},
};

use crate::{params, session, tx::Tx};

/// The deepest lineage that is followed.
const DEPTH_MAX: usize = 1_000;

const INSERT_EDGE: &str = "INSERT INTO edge (child, parent, relation, seq, purpose) \
     VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
const SELECT_PARENTS: &str =
    "SELECT parent, child, relation, seq, purpose FROM edge WHERE child = $1 ORDER BY seq";
const SELECT_CHILDREN: &str =
    "SELECT parent, child, relation, seq, purpose FROM edge WHERE parent = $1 ORDER BY seq";

const DELETE_EDGES: &str = "DELETE FROM edge WHERE child = $1";

/// Whether one session descends from another, so that an edge the other way would close a cycle.
pub(crate) fn comes_from(tx: &mut Tx<'_>, id: &str, ancestor: &str) -> Result<bool> {
    let above = walk(tx, id, SELECT_PARENTS, |edge| &edge.from)?;
    Ok(above.iter().any(|edge| edge.from.0 == ancestor))
}

/// Whether one session goes on for another: each resumes the one before.
pub(crate) fn goes_on_for(tx: &mut Tx<'_>, id: &str, earlier: &str) -> Result<bool> {
    let mut seen = BTreeSet::from([id.to_owned()]);
    let mut open = vec![id.to_owned()];
    while let Some(id) = open.pop() {
        for mut row in tx.sql.rows(SELECT_PARENTS, params![&id])? {
            let (from, _, word) = (row.text()?, row.text()?, row.text()?);
            if word != Relation::Resume.word() {
                continue;
            }
            if from == earlier {
                return Ok(true);
            }
            if seen.len() < DEPTH_MAX && seen.insert(from.clone()) {
                open.push(from);
            }
        }
    }
    Ok(false)
}

/// Adds an edge that closes no cycle.
pub(crate) fn add_edge(
    tx: &mut Tx<'_>,
    from: &str,
    to: &str,
    relation: Relation,
    seq: Seq,
    purpose: Option<&str>,
) -> Result<()> {
    tx.sql.later(INSERT_EDGE, params![to, from, relation.word(), seq.0, purpose])
}

/// The sessions that came from one.
pub(crate) fn children(tx: &mut Tx<'_>, id: &str) -> Result<Vec<String>> {
    let rows = tx.sql.rows(SELECT_CHILDREN, params![id])?;
    rows.into_iter()
        .map(|mut row| {
            let _parent = row.text()?;
            row.text()
        })
        .collect()
}

/// Forgets where a session came from.
pub(crate) fn forget(tx: &mut Tx<'_>, id: &str) -> Result<()> {
    tx.sql.run(DELETE_EDGES, params![id]).map(drop)
}

/// All edges reachable from a session in one direction, `handoff` edges not followed.
fn walk(
    tx: &mut Tx<'_>,
    start: &str,
    select: &'static str,
    next: fn(&Edge) -> &SessionId,
) -> Result<Vec<Edge>> {
    let mut seen = BTreeSet::from([start.to_owned()]);
    let mut layer = vec![start.to_owned()];
    let mut found = Vec::new();
    for _ in 0..DEPTH_MAX {
        let mut below = Vec::new();
        for id in layer {
            for mut row in tx.sql.rows(select, params![&id])? {
                let (from, to, word) = (row.text()?, row.text()?, row.text()?);
                let relation = Relation::of(&word).ok_or_else(|| {
                    Error::new(
                        Code::StoreCorrupt,
                        format!("an edge has the unknown relation `{word}`"),
                    )
                })?;
                let edge = Edge {
                    from: SessionId(from),
                    to: SessionId(to),
                    relation,
                    seq: Seq(row.int()?),
                    purpose: row.optional_text()?,
                };
                if relation != Relation::Handoff && seen.insert(next(&edge).0.clone()) {
                    below.push(next(&edge).0.clone());
                }
                found.push(edge);
            }
        }
        if below.is_empty() {
            break;
        }
        layer = below;
    }
    Ok(found)
}

pub(crate) fn show(tx: &mut Tx<'_>, op: &Lineage) -> Result<LineageView> {
    let start = session::require(tx, &op.session)?;
    let mut edges: BTreeMap<(i64, String, String), Edge> = BTreeMap::new();
    let mut keep = |found: Vec<Edge>| {
        for edge in found {
            edges.insert((edge.seq.0, edge.to.0.clone(), edge.from.0.clone()), edge);
        }
    };
    let up = |edge: &Edge| -> String { edge.from.0.clone() };
    match op.direction {
        Direction::Ancestors => keep(walk(tx, &start.id, SELECT_PARENTS, |edge| &edge.from)?),
        Direction::Descendants => keep(walk(tx, &start.id, SELECT_CHILDREN, |edge| &edge.to)?),
        Direction::Tree => {
            let above = walk(tx, &start.id, SELECT_PARENTS, |edge| &edge.from)?;
            let mut roots: BTreeSet<String> = above.iter().map(up).collect();
            roots.insert(start.id.clone());
            keep(above);
            for root in roots {
                keep(walk(tx, &root, SELECT_CHILDREN, |edge| &edge.to)?);
            }
        }
    }
    let mut ids = BTreeSet::from([start.id.clone()]);
    for edge in edges.values() {
        ids.insert(edge.from.0.clone());
        ids.insert(edge.to.0.clone());
    }
    let mut sessions = Vec::new();
    for id in ids {
        if let Some(row) = session::find(tx, &id)? {
            sessions.push(row.view(tx));
        }
    }
    Ok(LineageView { sessions, edges: edges.into_values().collect() })
}
