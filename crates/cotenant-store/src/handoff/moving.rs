//! Accepting: what an offer holds moves to the acceptor.

use cotenant_core::{
    Code, Error, Result,
    claim::{AUTOMATIC_MS, CLAIMS_MAX, Mode},
    id::{Seq, SessionId, TaskId},
    json::Json,
    lease::{LEASES_MAX, Resource},
    offer::{AcceptOffer, AcceptedOffer, MovedItem, NotMoved, OfferItem, OfferState},
    session::Relation,
};
use serde_json::json;

use super::{
    Held, Kept, OfferRow, SELECT_ONE, check_open, close, is_for, offer_row, own_offer, require,
    scope, stands_for,
};
use crate::{
    holding::{self, LeaseRow, LeaseState},
    lineage, params,
    session::SessionRow,
    sql::corrupt,
    task,
    testing::mutant,
    tx::Tx,
};

/// Fails if accepting would give the actor more than a session may hold.
pub(crate) fn check_quota(tx: &mut Tx<'_>, op: &AcceptOffer) -> Result<()> {
    let Some(row) = tx.sql.rows(SELECT_ONE, params![op.offer.0])?.pop() else { return Ok(()) };
    let row = offer_row(row)?;
    let count = |wanted: &dyn Fn(&Kept) -> bool| {
        row.items.iter().filter(|kept| wanted(kept)).count() as i64
    };
    let leases = count(&|kept| matches!(kept.item, OfferItem::Lease(_)));
    let is_automatic = |kept: &Kept| kept.terms.as_ref().is_some_and(|terms| terms.automatic);
    let claims = count(&|kept| matches!(kept.item, OfferItem::Claim(_)) && !is_automatic(kept));
    let actor = tx.actor()?.id.clone();
    let too_many = |what: &str, limit: i64| {
        Error::new(Code::Quota, format!("a session holds at most {limit} {what}"))
            .detail("limit", limit)
            .retry_after(1_000)
            .hint("give some back first")
    };
    if leases > 0 && holding::count_leases(tx, &actor, LeaseState::Held)? + leases > LEASES_MAX {
        return Err(too_many("leases", LEASES_MAX));
    }
    if claims > 0 && holding::count_claims(tx, &actor, false)? + claims > CLAIMS_MAX {
        return Err(too_many("claims", CLAIMS_MAX));
    }
    Ok(())
}

pub(crate) fn accept(tx: &mut Tx<'_>, op: &AcceptOffer) -> Result<AcceptedOffer> {
    let actor = tx.actor()?.clone();
    let row = require(tx, op.offer)?;
    if !is_for(tx, &row, &actor)? {
        if row.giver == actor.id {
            return Err(own_offer(&row));
        }
        return Err(Error::new(Code::Forbidden, format!("offer {} is for `{}`", row.id, row.to))
            .detail("offer", row.id)
            .hint("`cotenant handoff list --mine` shows those for you"));
    }
    check_open(tx, &row)?;
    let seq = tx.next_seq();
    let facts = json!({"offer": row.id, "from": row.giver, "session": actor.id,
        "items": row.items.iter().map(|kept| kept.item.to_string()).collect::<Vec<_>>()});
    tx.event("handoff.accepted", &scope(row.id), &Json::of(&facts))?;
    lineage::add_edge(tx, &row.giver, &actor.id, Relation::Handoff, Seq(seq), None)?;
    let (mut items, mut not_moved) = (Vec::new(), Vec::new());
    for kept in &row.items {
        let item = kept.item.to_string();
        let taken = match Held::of(&kept.item) {
            Held::Row(resource) => take_over(tx, &actor, &row, kept, &resource)?
                .map_err(|rows| (holding::views(tx, &rows), None)),
            Held::Task(id) => take_over_task(tx, &row, id)?
                .map_err(|left| (left.runner.into_iter().collect(), Some(left.state))),
        };
        match taken {
            Ok(moved) => items.push(moved),
            Err((holders, state)) => not_moved.push(NotMoved { item, holders, state }),
        }
    }
    close(tx, &row, OfferState::Accepted, Some(&actor.name))?;
    Ok(AcceptedOffer {
        offer: row.id,
        from: SessionId(row.giver),
        from_name: row.name,
        trust: row.trust,
        payload: row.payload,
        items,
        not_moved,
    })
}

type Rows = Vec<(LeaseRow, SessionRow)>;

/// Gives a task to the acceptor, or answers how it stands.
fn take_over_task(
    tx: &mut Tx<'_>,
    offer: &OfferRow,
    id: TaskId,
) -> Result<std::result::Result<MovedItem, task::Left>> {
    let item = OfferItem::Task(id).to_string();
    Ok(task::hand_over(tx, id, offer.id, &offer.giver)?.map(|taken| MovedItem {
        resource: item.clone(),
        item,
        fence: taken.fence,
        task: Some(taken),
    }))
}

/// Gives a claim or a lease to the acceptor, from the giver or, if that gave it up, from nobody. Else
/// answers who is in the way.
fn take_over(
    tx: &mut Tx<'_>,
    actor: &SessionRow,
    offer: &OfferRow,
    kept: &Kept,
    resource: &Resource,
) -> Result<std::result::Result<MovedItem, Rows>> {
    let terms = kept.terms.as_ref().ok_or_else(|| {
        corrupt(format!("offer {} does not say how `{}` was held", offer.id, kept.item))
    })?;
    let (kind, name, _) = holding::key(resource);
    let rows = holding::around_settled(tx, kind, name)?;
    let (mut givers, mut own, mut others) = (None, None, Rows::new());
    for (row, holder) in rows {
        let same = row.resource == *resource;
        if same && row.session == actor.id && row.is_current(tx.now) {
            own = Some(row);
        } else if same
            && matches!(row.state, LeaseState::Held | LeaseState::Cooling)
            && stands_for(tx, &row.session, &offer.giver)?
        {
            givers = Some(row);
        } else if row.session != actor.id {
            others.push((row, holder));
        }
    }
    if givers.is_none() {
        others.retain(|(row, _)| is_in_the_way(&kept.item, terms.mode, row));
        let slots = usize::try_from(terms.slots).unwrap_or(1);
        let taken = others.len() + usize::from(own.is_some());
        if !others.is_empty() && (kind != "lease" || taken >= slots) {
            return Ok(Err(others));
        }
    }
    let before = givers.as_ref().map(|row| row.fence);
    if let Some(row) = givers.filter(|_| !mutant("giver_keeps_its_fence")) {
        holding::delete(tx, &row)?;
    }
    // What the acceptor holds already is not weakened.
    let lifetime = match &own {
        Some(row) if row.ttl_ms.is_none() => None,
        _ if terms.automatic => Some(AUTOMATIC_MS),
        _ => terms.ttl_ms,
    };
    let mode = match &own {
        Some(row) if row.mode == Mode::Exclusive => Mode::Exclusive,
        _ => terms.mode,
    };
    let row = LeaseRow {
        resource: resource.clone(),
        session: actor.id.clone(),
        state: LeaseState::Held,
        fence: tx.fence(),
        slots: terms.slots,
        mode,
        automatic: terms.automatic && own.as_ref().is_none_or(|row| row.automatic),
        ttl_ms: lifetime,
        expires: lifetime.map(|ms| tx.now.after(ms)),
        lock_delay_ms: terms.lock_delay_ms,
        since: tx.now,
        since_ms: tx.wall_ms,
        note: terms.note.clone(),
    };
    holding::save(tx, &row)?;
    let noun = if kind == "lease" { "lease" } else { "claim" };
    let facts = json!({
        "resource": resource.to_string(), "session": actor.id, "fence": row.fence,
        "from": offer.giver, "before": before, "replaces": own.map(|row| row.fence),
        "offer": offer.id, "mode": row.mode, "automatic": row.automatic, "note": row.note,
        "ttl_ms": row.ttl_ms, "slots": row.slots,
    });
    tx.event(&format!("{noun}.moved"), &holding::scope(resource), &Json::of(&facts))?;
    Ok(Ok(MovedItem {
        item: kept.item.to_string(),
        resource: resource.to_string(),
        fence: row.fence,
        task: None,
    }))
}

/// Whether somebody else's row keeps an item from being granted that its giver gave up. Paths are in each
/// other's way in one tree only.
fn is_in_the_way(item: &OfferItem, mode: Mode, row: &LeaseRow) -> bool {
    match (item, &row.resource) {
        (OfferItem::Claim(item), Resource::Claim(held)) => {
            let in_one_tree = item.tree == held.tree || mutant("offered_path_of_any_tree");
            mode == Mode::Exclusive && row.mode == Mode::Exclusive && in_one_tree
        }
        _ => row.state != LeaseState::Released,
    }
}
