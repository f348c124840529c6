//! Making an offer.

use cotenant_core::{
    Code, Error, Result,
    id::{Fence, Seq},
    json::Json,
    offer::{OFFER_TTL_MS, OFFERS_MAX, Offer, OfferItem, OfferState, Offered, with_members},
};
use serde_json::json;

use super::{Held, Kept, OfferRow, in_event, insert, open_offers, scope, stands_for};
use crate::{holding, message, session::SessionRow, task, testing::mutant, tx::Tx};

/// Fails if the actor has as many open offers as a session may have.
pub(crate) fn check_offers(tx: &mut Tx<'_>) -> Result<()> {
    let actor = tx.actor()?.id.clone();
    let own = open_offers(tx)?.into_iter().filter(|row| row.giver == actor).count();
    if own < OFFERS_MAX {
        return Ok(());
    }
    Err(Error::new(Code::Quota, format!("the session has {OFFERS_MAX} open offers already"))
        .detail("limit", OFFERS_MAX)
        .retry_after(1_000)
        .hint("withdraw one first; `cotenant handoff list` shows them"))
}

pub(crate) fn offer(tx: &mut Tx<'_>, op: &Offer) -> Result<Offered> {
    let actor = tx.actor()?.clone();
    let (to, named) = message::resolve(tx, &op.to)?;
    if named.as_ref().is_some_and(|named| named.id == actor.id) {
        return Err(Error::invalid("the offer is for the session that makes it")
            .hint("note it for yourself with `cotenant handoff draft`"));
    }
    let mut kept = Vec::with_capacity(op.items.len());
    for item in &op.items {
        match own(tx, item, &actor)? {
            Some(own) => kept.push(own),
            None => return Err(not_owner(tx, item)?),
        }
    }
    check_not_offered(tx, &actor, &op.items)?;
    let payload = payload(tx, &actor, op.payload.as_ref())?;
    let ttl_ms = op.ttl_ms.unwrap_or(OFFER_TTL_MS);
    let id = Seq(tx.next_seq());
    let fences: Vec<Fence> = kept.iter().map(|kept| kept.fence).collect();
    let items: Vec<String> = op.items.iter().map(ToString::to_string).collect();
    let mut facts = json!({"to": to, "items": items, "fences": fences, "ttl_ms": ttl_ms,
        "session": actor.id, "to_session": named.as_ref().map(|named| &named.id)});
    facts["payload"] = in_event(&payload)?;
    tx.event("handoff.offered", &scope(id), &Json::of(&facts))?;
    let row = OfferRow {
        state: OfferState::Open,
        id,
        giver: actor.id,
        name: actor.name,
        trust: tx.trust().to_owned(),
        to,
        to_session: named.map(|named| named.id),
        payload,
        items: kept,
        expires: tx.now.after(ttl_ms),
        at_ms: tx.wall_ms,
        closed_by: None,
    };
    insert(tx, row.state.word(), &row)?;
    Ok(Offered { offer: id, expires_in_ms: ttl_ms })
}

/// The payload with the fields that say whose it is and since when, where it does not say so itself.
fn payload(tx: &Tx<'_>, actor: &SessionRow, given: Option<&Json>) -> Result<Json> {
    let empty = Json::stored("{}".to_owned());
    let given = given.unwrap_or(&empty);
    let known = given.value()?;
    let mut members = Vec::new();
    for (name, value) in [("from_session", actor.name.clone()), ("handoff_at", Tx::at(tx.wall_ms))]
    {
        if known.get(name).is_none() {
            members.push((name, json!(value)));
        }
    }
    Ok(with_members(given, &members))
}

/// What the actor has of an item.
fn own(tx: &mut Tx<'_>, item: &OfferItem, actor: &SessionRow) -> Result<Option<Kept>> {
    match Held::of(item) {
        Held::Row(resource) => {
            let own = holding::own(tx, &resource, &actor.id)?;
            Ok(own.filter(|row| row.is_current(tx.now)).map(|row| Kept::of(item, &row)))
        }
        Held::Task(id) => {
            let fence = task::fence_of(tx, id, &actor.id)?;
            Ok(fence.map(|fence| Kept { item: item.clone(), fence, terms: None }))
        }
    }
}

/// The refusal to hand over what one does not hold.
fn not_owner(tx: &mut Tx<'_>, item: &OfferItem) -> Result<Error> {
    let (mut holders, mut state) = (Vec::new(), None);
    match Held::of(item) {
        Held::Row(resource) => {
            let (kind, name, _) = holding::key(&resource);
            let mut rows = holding::around(tx, kind, name)?;
            rows.retain(|(row, _)| row.resource == resource);
            holders = holding::views(tx, &rows);
        }
        Held::Task(id) => {
            if let Some(found) = task::stand(tx, id)? {
                (holders, state) = (found.runner.into_iter().collect(), Some(found.state));
            }
        }
    }
    let error = match item {
        OfferItem::Task(_) => {
            Error::new(Code::NotOwner, format!("this session does not work on `{item}`"))
                .hint("hand over what you work on; `cotenant task list --by NAME` lists it")
        }
        _ => Error::new(Code::NotOwner, format!("`{item}` is not held by this session"))
            .hint("hand over what you hold; `cotenant session show` lists it"),
    };
    let error = error.detail("item", item.to_string()).detail("holders", &holders);
    Ok(match state {
        Some(state) => error.detail("state", state),
        None => error,
    })
}

/// Fails if an item is in another open offer of the actor, or of whom it goes on for.
fn check_not_offered(tx: &mut Tx<'_>, actor: &SessionRow, items: &[OfferItem]) -> Result<()> {
    if items.is_empty() || mutant("offered_twice") {
        return Ok(());
    }
    for row in open_offers(tx)? {
        let Some(kept) = row.items.iter().find(|kept| items.contains(&kept.item)) else { continue };
        if stands_for(tx, &actor.id, &row.giver)? {
            return Err(Error::new(
                Code::Offered,
                format!("`{}` is in offer {} already", kept.item, row.id),
            )
            .detail("item", kept.item.to_string())
            .detail("offer", row.id)
            .detail("holder", &row.name)
            .hint(format!("withdraw it first: `cotenant handoff withdraw {}`", row.id)));
        }
    }
    Ok(())
}
