//! Accepting: what an offer holds moves to the acceptor.

use cotenant_core::{
    Code, Error, Result,
    claim::{AUTOMATIC_MAX, CLAIMS_MAX},
    id::{Seq, SessionId, TaskId},
    json::Json,
    lease::{LEASES_MAX, Resource},
    offer::{AcceptOffer, AcceptedOffer, MovedItem, NotMoved, OfferItem, OfferState},
    session::Relation,
};
use serde_json::json;

use super::{
    OfferRow, SELECT_ONE, check_open, close, is_for, offer_row, own_offer,
    plan::{Grant, Planned, can_accept, plan},
    require, scope,
};
use crate::{
    bounds,
    holding::{self, LeaseRow, LeaseState},
    lineage, params,
    session::SessionRow,
    task,
    testing::mutant,
    tx::Tx,
};

/// Fails if accepting would give the actor more than a session may hold. What it holds already is not
/// counted, nor what somebody else has by now.
pub(crate) fn check_quota(tx: &mut Tx<'_>, op: &AcceptOffer) -> Result<()> {
    let actor = tx.actor()?.clone();
    let Some(row) = tx.sql.rows(SELECT_ONE, params![op.offer.0])?.pop() else { return Ok(()) };
    let row = offer_row(row)?;
    let asked = i64::try_from(row.items.len()).unwrap_or(i64::MAX);
    if bounds::has_at_most(tx, &actor.id, LEASES_MAX - asked)? || !can_accept(tx, &actor, &row)? {
        return Ok(());
    }
    let (mut leases, mut claims, mut automatic) = (0, 0, 0);
    for planned in plan(tx, &actor, &row)? {
        let Planned::Row(Ok(grant)) = planned else { continue };
        let count = match &grant.resource {
            Resource::Lease(_) => &mut leases,
            Resource::Claim(_) if grant.terms.automatic => &mut automatic,
            Resource::Claim(_) => &mut claims,
        };
        *count += i64::from(grant.is_added());
    }
    let too_many = |what: &str, limit: i64| {
        Error::new(Code::Quota, format!("a session holds at most {limit} {what}"))
            .detail("limit", limit)
            .retry_after(1_000)
            .hint("give some back first")
    };
    let actor = &actor.id;
    if leases > 0 && bounds::count_leases(tx, actor, LeaseState::Held)? + leases > LEASES_MAX {
        return Err(too_many("leases", LEASES_MAX));
    }
    if claims > 0 && bounds::count_claims(tx, actor, false)? + claims > CLAIMS_MAX {
        return Err(too_many("claims", CLAIMS_MAX));
    }
    if automatic > 0 && bounds::count_claims(tx, actor, true)? + automatic > AUTOMATIC_MAX {
        return Err(too_many("automatic claims", AUTOMATIC_MAX));
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
    let planned = plan(tx, &actor, &row)?;
    for (kept, planned) in row.items.iter().zip(planned) {
        let item = kept.item.to_string();
        let taken = match planned {
            Planned::Row(Ok(grant)) => Ok(take_over(tx, &actor, &row, &item, *grant)?),
            Planned::Row(Err(rows)) => Err((holding::views(tx, &rows), None)),
            Planned::Task(id) => take_over_task(tx, &row, id)?
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

/// Gives a claim or a lease to the acceptor, from the giver or, if that gave it up, from nobody.
fn take_over(
    tx: &mut Tx<'_>,
    actor: &SessionRow,
    offer: &OfferRow,
    item: &str,
    grant: Grant,
) -> Result<MovedItem> {
    let Grant { resource, terms, expires, givers, own } = grant;
    let before = givers.as_ref().map(|row| row.fence);
    if let Some(row) = givers.filter(|_| !mutant("giver_keeps_its_fence")) {
        holding::delete(tx, &row)?;
    }
    let row = LeaseRow {
        resource: resource.clone(),
        session: actor.id.clone(),
        state: LeaseState::Held,
        fence: tx.fence(),
        slots: terms.slots,
        mode: terms.mode,
        automatic: terms.automatic,
        ttl_ms: terms.ttl_ms,
        expires,
        lock_delay_ms: terms.lock_delay_ms,
        since: tx.now,
        since_ms: tx.wall_ms,
        note: terms.note,
    };
    holding::save(tx, &row)?;
    let noun = if matches!(resource, Resource::Lease(_)) { "lease" } else { "claim" };
    let facts = json!({
        "resource": resource.to_string(), "session": actor.id, "fence": row.fence,
        "from": offer.giver, "before": before, "replaces": own.map(|row| row.fence),
        "offer": offer.id, "mode": row.mode, "automatic": row.automatic, "note": row.note,
        "ttl_ms": row.ttl_ms, "slots": row.slots,
    });
    tx.event(&format!("{noun}.moved"), &holding::scope(&resource), &Json::of(&facts))?;
    Ok(MovedItem {
        item: item.to_owned(),
        resource: resource.to_string(),
        fence: row.fence,
        task: None,
    })
}
