//! What accepting an offer would move, before any of it does.

use cotenant_core::{
    Error, Result,
    claim::Mode,
    id::{TaskId, Tick},
    lease::Resource,
    offer::{OfferItem, OfferState},
};

use super::{Held, Kept, OfferRow, Terms, is_for, stands_for};
use crate::{
    holding::{self, LeaseRow, LeaseState},
    session::SessionRow,
    sql::corrupt,
    testing::mutant,
    tx::Tx,
};

pub(super) type Rows = Vec<(LeaseRow, SessionRow)>;

/// How a claim or a lease would become the acceptor's.
pub(super) struct Grant {
    pub(super) resource: Resource,
    pub(super) terms: Terms,
    pub(super) expires: Option<Tick>,
    /// What its giver, or who goes on for it, still has of it.
    pub(super) givers: Option<LeaseRow>,
    /// What the acceptor has of it already.
    pub(super) own: Option<LeaseRow>,
}

impl Grant {
    /// Whether the acceptor would have one more of its kind.
    pub(super) fn is_added(&self) -> bool {
        let counted_already =
            |row: &LeaseRow| row.automatic == self.terms.automatic && !mutant("held_is_counted");
        !self.own.as_ref().is_some_and(counted_already)
    }
}

/// What would become of an item of an offer.
pub(super) enum Planned {
    Task(TaskId),
    /// A claim or a lease, or who is in the way of it.
    Row(std::result::Result<Box<Grant>, Rows>),
}

/// A claim or a lease in an offer.
struct Looked {
    resource: Resource,
    taken: std::result::Result<Box<Grant>, Rows>,
    /// What the giver has that excludes it, but offers too.
    offered_too: Rows,
}

impl Looked {
    /// Whether something that excludes it is to move too, but stays.
    fn is_held_back(&self, stays: &[Resource]) -> bool {
        self.taken.is_ok() && self.offered_too.iter().any(|(row, _)| stays.contains(&row.resource))
    }
}

/// What would become of each item, in the order of the offer.
pub(super) fn plan(tx: &mut Tx<'_>, actor: &SessionRow, offer: &OfferRow) -> Result<Vec<Planned>> {
    let resource = |kept: &Kept| match Held::of(&kept.item) {
        Held::Row(resource) => Some(resource),
        Held::Task(_) => None,
    };
    let offered: Vec<Resource> = offer.items.iter().filter_map(resource).collect();
    let mut looked = Vec::with_capacity(offered.len());
    for (kept, resource) in
        offer.items.iter().filter_map(|kept| resource(kept).map(|found| (kept, found)))
    {
        looked.push(look(tx, actor, offer, kept, resource, &offered)?);
    }
    // A directory and a file in it move together: where one stays with its giver, so does the other.
    loop {
        let stays: Vec<Resource> = looked
            .iter()
            .filter(|item| item.taken.is_err())
            .map(|item| item.resource.clone())
            .collect();
        let Some(item) = looked.iter_mut().find(|item| item.is_held_back(&stays)) else { break };
        item.offered_too.retain(|(row, _)| stays.contains(&row.resource));
        item.taken = Err(std::mem::take(&mut item.offered_too));
    }
    let mut looked = looked.into_iter();
    let planned = offer.items.iter().filter_map(|kept| match Held::of(&kept.item) {
        Held::Task(id) => Some(Planned::Task(id)),
        Held::Row(_) => looked.next().map(|item| Planned::Row(item.taken)),
    });
    Ok(planned.collect())
}

/// Whether accepting an offer can add anything to what a session holds.
pub(super) fn can_accept(tx: &mut Tx<'_>, actor: &SessionRow, offer: &OfferRow) -> Result<bool> {
    Ok(offer.effective(tx.now) == OfferState::Open && is_for(tx, offer, actor)?)
}

fn look(
    tx: &mut Tx<'_>,
    actor: &SessionRow,
    offer: &OfferRow,
    kept: &Kept,
    resource: Resource,
    offered: &[Resource],
) -> Result<Looked> {
    let saved = kept.terms.as_ref().ok_or_else(|| unknown_terms(offer, &kept.item))?;
    let (kind, name, _) = holding::key(&resource);
    let (mut givers, mut own, mut others) = (None, None, Rows::new());
    for (row, holder) in holding::around_settled(tx, kind, name)? {
        let same = row.resource == resource;
        if row.session == actor.id {
            if same && row.is_current(tx.now) {
                own = Some(row);
            }
        } else if same
            && matches!(row.state, LeaseState::Held | LeaseState::Cooling)
            && stands_for(tx, &row.session, &offer.giver)?
        {
            // Several may go on for one giver, each with a slot of its own: one of them moves.
            let first = givers.is_none() || row.session == offer.giver;
            let other = if first { givers.replace((row, holder)) } else { Some((row, holder)) };
            others.extend(other);
        } else {
            others.push((row, holder));
        }
    }
    let givers = givers.map(|(row, _)| row);
    let as_held = givers.as_ref().filter(|_| !mutant("moved_as_offered")).map(Terms::of);
    let terms = as_held.unwrap_or_else(|| saved.clone());
    let others = match &resource {
        Resource::Lease(_) => without_slot(&terms, givers.as_ref(), own.as_ref(), others),
        Resource::Claim(_) => {
            others.retain(|(row, _)| excludes(&kept.item, terms.mode, row));
            others
        }
    };
    let (mut in_the_way, mut offered_too) = (Rows::new(), Rows::new());
    for (row, holder) in others {
        let too = offered.contains(&row.resource)
            && row.resource != resource
            && stands_for(tx, &row.session, &offer.giver)?;
        if too { offered_too.push((row, holder)) } else { in_the_way.push((row, holder)) }
    }
    let taken = if in_the_way.is_empty() {
        let mut expires = terms.ttl_ms.map(|ms| tx.now.after(ms));
        let mut terms = terms;
        if let Some(own) = own.as_ref().filter(|_| !mutant("own_term_is_lost")) {
            expires = expires.zip(own.expires).map(|(given, own)| given.max(own));
            terms = terms.beside(own);
        }
        Ok(Box::new(Grant { resource: resource.clone(), terms, expires, givers, own }))
    } else {
        Err(in_the_way)
    };
    Ok(Looked { resource, taken, offered_too })
}

fn unknown_terms(offer: &OfferRow, item: &OfferItem) -> Error {
    corrupt(format!("offer {} does not say how `{item}` was held", offer.id))
}

/// Who keeps a lease from being granted to the acceptor. A grant that goes on, the giver's or its own,
/// takes nobody's slot.
fn without_slot(
    terms: &Terms,
    givers: Option<&LeaseRow>,
    own: Option<&LeaseRow>,
    mut others: Rows,
) -> Rows {
    if own.is_some() || givers.is_some_and(|row| row.state == LeaseState::Held) {
        return Rows::new();
    }
    // Whoever waits is behind the heir of what cools down, but before one of what is free.
    others.retain(|(row, _)| givers.is_none() || row.state != LeaseState::Waiting);
    let differs = |row: &LeaseRow| row.state != LeaseState::Waiting && row.slots != terms.slots;
    let full = i64::try_from(others.len()).unwrap_or(i64::MAX) >= terms.slots;
    let differ = others.iter().any(|(row, _)| differs(row)) && !mutant("offered_slots_win");
    if full || differ { others } else { Rows::new() }
}

/// Whether somebody else's row excludes a claim. Paths exclude each other in one tree only.
fn excludes(item: &OfferItem, mode: Mode, row: &LeaseRow) -> bool {
    match (item, &row.resource) {
        (OfferItem::Claim(item), Resource::Claim(held)) => {
            let in_one_tree = item.tree == held.tree || mutant("offered_path_of_any_tree");
            mode == Mode::Exclusive && row.mode == Mode::Exclusive && in_one_tree
        }
        _ => false,
    }
}
