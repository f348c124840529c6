//! Handoff: offers, what moves when one is accepted, and drafts.
//!
//! # Invariants
//! - An offer leaves `open` once: by acceptance, refusal, withdrawal or its time.
//! - Accepting moves every item that the giver still has, in one transaction; what was given up meanwhile
//!   goes to the acceptor if it is free.
//! - A further kind of item is a variant of `OfferItem`; [`Kept::of`] and [`take_over`] say how it moves.

use std::collections::BTreeSet;

use cotenant_core::{
    Code, Error, Result,
    claim::{AUTOMATIC_MS, CLAIMS_MAX, Item, ItemKind, Mode},
    clock::DAY,
    event::sha256_hex,
    id::{Fence, Seq, SessionId, Tick},
    json::{Json, merge_patch},
    lease::{LEASES_MAX, Resource},
    name::Addressee,
    offer::{
        AcceptOffer, AcceptedOffer, ClosedOffer, DeclineOffer, Draft, Drafted, ListOffers,
        MovedItem, NotMoved, OFFER_TTL_MS, OFFERS_MAX, Offer, OfferItem, OfferState, OfferView,
        Offered, Offers, PAYLOAD_BYTES_MAX, WithdrawOffer, with_members,
    },
    session::Relation,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    holding::{self, LeaseRow, LeaseState},
    lineage, message, params, progress,
    session::{self, SessionRow},
    sql::{Row, corrupt},
    testing::mutant,
    tx::Tx,
};

/// How long a closed offer is remembered.
const CLOSED_KEPT_MS: u64 = 7 * DAY;
/// Payloads up to this size stand in their event; of larger ones the digest does.
const INLINE_BYTES_MAX: usize = 4 * 1024;
/// Reports of progress in a draft.
const DRAFT_PROGRESS: i64 = 8;
/// How many rows one statement reads.
const PAGE: i64 = 200;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT state, id, giver, name, trust, addressee, to_session, payload, items, \
             expires_tick, at_ms, closed_by FROM offer WHERE ",
            $rest
        )
    };
}

const SELECT_ONE: &str =
    select!("state IN ('open', 'accepted', 'declined', 'withdrawn', 'expired') AND id = $1");
const SELECT_OPEN: &str = select!("state = 'open' AND id < $1 ORDER BY id DESC LIMIT $2");
const SELECT_ALL: &str = select!("state <> 'draft' AND id < $1 ORDER BY id DESC LIMIT $2");
const SELECT_DRAFT: &str = "SELECT payload, id FROM offer WHERE state = 'draft' AND giver = $1 AND expires_tick > $2 \
     ORDER BY id DESC LIMIT 1";
const DELETE_DRAFTS: &str = "DELETE FROM offer WHERE state = 'draft' AND giver = $1";
const PASS_DRAFTS: &str = "UPDATE offer SET giver = $1 WHERE state = 'draft' AND giver = $2";
const SELECT_EXPIRES: &str = "SELECT state, expires_tick FROM offer WHERE state IN ('open', \
     'accepted', 'declined', 'withdrawn', 'expired', 'draft') AND id = $1";
const DELETE_ONE: &str = "DELETE FROM offer WHERE state = $1 AND id = $2";
const SELECT_GIVERS: &str = "SELECT giver FROM offer WHERE state = 'open' AND expires_tick > $1";
const INSERT: &str = "INSERT INTO offer (state, id, giver, name, trust, addressee, to_session, payload, \
     items, expires_tick, at_ms, closed_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, NULL)";
const UPDATE_CLOSED: &str = "UPDATE offer SET state = $1, closed_by = $2, expires_tick = $3 \
     WHERE state = 'open' AND id = $4";

/// An item as it was when it was offered: enough to grant it anew.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kept {
    item: OfferItem,
    fence: Fence,
    mode: Mode,
    automatic: bool,
    ttl_ms: Option<u64>,
    slots: i64,
    lock_delay_ms: u64,
    note: Option<String>,
}

impl Kept {
    fn of(item: &OfferItem, row: LeaseRow) -> Self {
        Self {
            item: item.clone(),
            fence: row.fence,
            mode: row.mode,
            automatic: row.automatic,
            ttl_ms: row.ttl_ms,
            slots: row.slots,
            lock_delay_ms: row.lock_delay_ms,
            note: row.note,
        }
    }
}

/// What is held when an item is.
fn resource(item: &OfferItem) -> Resource {
    match item {
        OfferItem::Claim(item) => Resource::Claim(item.clone()),
        OfferItem::Lease(name) => Resource::Lease(name.clone()),
    }
}

/// A row of `offer`.
struct OfferRow {
    state: OfferState,
    id: Seq,
    giver: String,
    name: String,
    trust: String,
    to: Addressee,
    to_session: Option<String>,
    payload: Json,
    items: Vec<Kept>,
    expires: Tick,
    at_ms: i64,
    closed_by: Option<String>,
}

fn offer_row(mut row: Row) -> Result<OfferRow> {
    let word = row.text()?;
    let state = OfferState::of(&word)
        .ok_or_else(|| corrupt(format!("an offer has the unknown state `{word}`")))?;
    let (id, giver, name, trust) = (Seq(row.int()?), row.text()?, row.text()?, row.text()?);
    let (to, to_session) = (message::addressee(&row.text()?)?, row.optional_text()?);
    let payload = Json::stored(row.text()?);
    let items = serde_json::from_str(&row.text()?).map_err(|cause| {
        corrupt(format!("the items of offer {id} cannot be read")).caused_by(cause)
    })?;
    Ok(OfferRow {
        state,
        id,
        giver,
        name,
        trust,
        to,
        to_session,
        payload,
        items,
        expires: Tick(row.int()?),
        at_ms: row.int()?,
        closed_by: row.optional_text()?,
    })
}

impl OfferRow {
    /// Where it stands now, whether anybody has settled it or not.
    fn effective(&self, now: Tick) -> OfferState {
        match self.state {
            OfferState::Open if now >= self.expires => OfferState::Expired,
            state => state,
        }
    }

    fn view(self, tx: &mut Tx<'_>) -> Result<OfferView> {
        let giver = session::find(tx, &self.giver)?;
        let state = self.effective(tx.now);
        let is_open = state == OfferState::Open;
        Ok(OfferView {
            offer: self.id,
            state,
            from: SessionId(self.giver),
            from_name: self.name,
            from_is_live: giver.is_some_and(|giver| giver.effective(tx).is_live()),
            trust: self.trust,
            to: self.to,
            payload: self.payload,
            items: self.items.into_iter().map(|kept| kept.item).collect(),
            at: Tx::at(self.at_ms),
            expires_in_ms: is_open.then(|| self.expires.remaining(tx.now)),
            closed_by: self.closed_by,
        })
    }
}

/// Whether a session is another one, or goes on for it.
fn stands_for(tx: &mut Tx<'_>, session: &str, other: &str) -> Result<bool> {
    Ok(session == other || lineage::goes_on_for(tx, session, other)?)
}

/// Whether an offer is for a session. Its giver's it is not.
fn is_for(tx: &mut Tx<'_>, row: &OfferRow, session: &SessionRow) -> Result<bool> {
    if row.giver == session.id {
        return Ok(false);
    }
    match (&row.to, &row.to_session) {
        (Addressee::Label(label), _) => Ok(message::is_labelled(session, label)),
        (_, Some(to)) => stands_for(tx, &session.id, to),
        (_, None) => Ok(true),
    }
}

/// The scope under which events of an offer are logged.
fn scope(id: Seq) -> String {
    format!("handoff:{id}")
}

fn open_offers(tx: &mut Tx<'_>) -> Result<Vec<OfferRow>> {
    let rows = tx.sql.rows(SELECT_OPEN, params![i64::MAX, i64::MAX])?;
    let rows: Vec<OfferRow> = rows.into_iter().map(offer_row).collect::<Result<_>>()?;
    let now = tx.now;
    Ok(rows.into_iter().filter(|row| row.effective(now) == OfferState::Open).collect())
}

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
        let resource = resource(item);
        let own = holding::own(tx, &resource, &actor.id)?.filter(|row| row.is_current(tx.now));
        match own {
            Some(row) => kept.push(Kept::of(item, row)),
            None => return Err(not_owner(tx, item, &resource)?),
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

/// A payload as its event carries it.
fn in_event(payload: &Json) -> Result<serde_json::Value> {
    if payload.text().len() <= INLINE_BYTES_MAX {
        return payload.value();
    }
    Ok(json!({"sha256": sha256_hex(payload.text()), "bytes": payload.text().len()}))
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

fn insert(tx: &mut Tx<'_>, state: &str, row: &OfferRow) -> Result<()> {
    let (to, items) = (Json::of(&row.to), Json::of(&row.items));
    tx.sql.run(
        INSERT,
        params![
            state,
            row.id.0,
            &row.giver,
            &row.name,
            &row.trust,
            to.text(),
            row.to_session.as_ref(),
            row.payload.text(),
            items.text(),
            row.expires.0,
            row.at_ms,
        ],
    )?;
    tx.arm(row.expires, "offer", &row.id.to_string())
}

/// The refusal to hand over what one does not hold.
fn not_owner(tx: &mut Tx<'_>, item: &OfferItem, resource: &Resource) -> Result<Error> {
    let (kind, name, _) = holding::key(resource);
    let mut rows = holding::around(tx, kind, name)?;
    rows.retain(|(row, _)| row.resource == *resource);
    let holders = holding::views(tx, &rows);
    Ok(Error::new(Code::NotOwner, format!("`{item}` is not held by this session"))
        .detail("item", item.to_string())
        .detail("holders", &holders)
        .hint("hand over what you hold; `cotenant session show` lists it"))
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

/// Finds an offer, or fails.
fn require(tx: &mut Tx<'_>, id: Seq) -> Result<OfferRow> {
    let row = tx.sql.rows(SELECT_ONE, params![id.0])?.pop();
    row.map(offer_row).transpose()?.ok_or_else(|| {
        Error::new(Code::NotFound, format!("there is no offer {id}"))
            .hint("`cotenant handoff list --all` shows those of the last days")
    })
}

/// Fails unless an offer is open.
fn check_open(tx: &Tx<'_>, row: &OfferRow) -> Result<()> {
    let state = row.effective(tx.now);
    let planted = match state {
        OfferState::Accepted => mutant("offer_accepted_twice"),
        OfferState::Expired => mutant("expired_offer_accepted"),
        _ => false,
    };
    if state == OfferState::Open || planted {
        return Ok(());
    }
    let by = row.closed_by.as_ref();
    let message = match by {
        Some(by) => format!("offer {} was {} by `{by}`", row.id, state.word()),
        None => format!("offer {} has {}", row.id, state.word()),
    };
    Err(Error::new(Code::Gone, message)
        .detail("offer", row.id)
        .detail("state", state)
        .detail("by", by)
        .hint("`cotenant handoff list` shows what is open"))
}

fn close(tx: &mut Tx<'_>, row: &OfferRow, state: OfferState, by: Option<&str>) -> Result<()> {
    let kept_until = tx.now.after(CLOSED_KEPT_MS);
    tx.sql.run(UPDATE_CLOSED, params![state.word(), by, kept_until.0, row.id.0])?;
    tx.arm(kept_until, "offer", &row.id.to_string())
}

/// Fails if accepting would give the actor more than a session may hold.
pub(crate) fn check_quota(tx: &mut Tx<'_>, op: &AcceptOffer) -> Result<()> {
    let Some(row) = tx.sql.rows(SELECT_ONE, params![op.offer.0])?.pop() else { return Ok(()) };
    let row = offer_row(row)?;
    let count =
        |wanted: fn(&Kept) -> bool| row.items.iter().filter(|kept| wanted(kept)).count() as i64;
    let leases = count(|kept| matches!(kept.item, OfferItem::Lease(_)));
    let claims = count(|kept| matches!(kept.item, OfferItem::Claim(_)) && !kept.automatic);
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
        let own = row.giver == actor.id;
        let whose = if own { "this session's own".to_owned() } else { format!("for `{}`", row.to) };
        return Err(Error::new(Code::Forbidden, format!("offer {} is {whose}", row.id))
            .detail("offer", row.id)
            .hint(if own {
                "take it back with `cotenant handoff withdraw`"
            } else {
                "`cotenant handoff list` shows those for you"
            }));
    }
    check_open(tx, &row)?;
    let seq = tx.next_seq();
    let facts = json!({"offer": row.id, "from": row.giver, "session": actor.id,
        "items": row.items.iter().map(|kept| kept.item.to_string()).collect::<Vec<_>>()});
    tx.event("handoff.accepted", &scope(row.id), &Json::of(&facts))?;
    lineage::add_edge(tx, &row.giver, &actor.id, Relation::Handoff, Seq(seq), None)?;
    let (mut items, mut not_moved) = (Vec::new(), Vec::new());
    for kept in &row.items {
        match take_over(tx, &actor, &row, kept)? {
            Ok(moved) => items.push(moved),
            Err(rows) => not_moved
                .push(NotMoved { item: kept.item.to_string(), holders: holding::views(tx, &rows) }),
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

/// Gives an item to the acceptor, from the giver or, if that gave it up, from nobody. Else answers who is in
/// the way.
fn take_over(
    tx: &mut Tx<'_>,
    actor: &SessionRow,
    offer: &OfferRow,
    kept: &Kept,
) -> Result<std::result::Result<MovedItem, Rows>> {
    let resource = resource(&kept.item);
    let (kind, name, _) = holding::key(&resource);
    let rows = holding::around_settled(tx, kind, name)?;
    let (mut givers, mut own, mut others) = (None, None, Rows::new());
    for (row, holder) in rows {
        let same = row.resource == resource;
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
        others.retain(|(row, _)| is_in_the_way(kept, row));
        let slots = usize::try_from(kept.slots).unwrap_or(1);
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
        _ if kept.automatic => Some(AUTOMATIC_MS),
        _ => kept.ttl_ms,
    };
    let mode = match &own {
        Some(row) if row.mode == Mode::Exclusive => Mode::Exclusive,
        _ => kept.mode,
    };
    let row = LeaseRow {
        resource: resource.clone(),
        session: actor.id.clone(),
        state: LeaseState::Held,
        fence: tx.fence(),
        slots: kept.slots,
        mode,
        automatic: kept.automatic && own.as_ref().is_none_or(|row| row.automatic),
        ttl_ms: lifetime,
        expires: lifetime.map(|ms| tx.now.after(ms)),
        lock_delay_ms: kept.lock_delay_ms,
        since: tx.now,
        since_ms: tx.wall_ms,
        note: kept.note.clone(),
    };
    holding::save(tx, &row)?;
    let noun = if kind == "lease" { "lease" } else { "claim" };
    let facts = json!({
        "resource": resource.to_string(), "session": actor.id, "fence": row.fence,
        "from": offer.giver, "before": before, "replaces": own.map(|row| row.fence),
        "offer": offer.id, "mode": row.mode, "automatic": row.automatic, "note": row.note,
        "ttl_ms": row.ttl_ms, "slots": row.slots,
    });
    tx.event(&format!("{noun}.moved"), &holding::scope(&resource), &Json::of(&facts))?;
    Ok(Ok(MovedItem {
        item: kept.item.to_string(),
        resource: resource.to_string(),
        fence: row.fence,
    }))
}

/// Whether somebody else's row keeps an item from being granted that its giver gave up.
fn is_in_the_way(kept: &Kept, row: &LeaseRow) -> bool {
    match (&kept.item, &row.resource) {
        (OfferItem::Claim(item), Resource::Claim(held)) => {
            kept.mode == Mode::Exclusive && row.mode == Mode::Exclusive && item.tree == held.tree
        }
        _ => row.state != LeaseState::Released,
    }
}

pub(crate) fn decline(tx: &mut Tx<'_>, op: &DeclineOffer) -> Result<ClosedOffer> {
    let actor = tx.actor()?.clone();
    let row = require(tx, op.offer)?;
    let addressed = row.to_session.is_some() && is_for(tx, &row, &actor)?;
    if !addressed {
        return Err(Error::new(
            Code::Forbidden,
            format!("offer {} was not made to this session alone", row.id),
        )
        .detail("offer", row.id)
        .hint("leave it to others, who may still want it"));
    }
    let already = row.effective(tx.now) == OfferState::Declined;
    if !already {
        check_open(tx, &row)?;
        let facts =
            json!({"offer": row.id, "from": row.giver, "session": actor.id, "reason": op.reason});
        tx.event("handoff.declined", &scope(row.id), &Json::of(&facts))?;
        close(tx, &row, OfferState::Declined, Some(&actor.name))?;
    }
    Ok(ClosedOffer { offer: row.id, already })
}

pub(crate) fn withdraw(tx: &mut Tx<'_>, op: &WithdrawOffer) -> Result<ClosedOffer> {
    let actor = tx.actor()?.clone();
    let row = require(tx, op.offer)?;
    if actor.kind != "human" && !stands_for(tx, &actor.id, &row.giver)? {
        return Err(Error::new(
            Code::Forbidden,
            format!("offer {} is that of `{}`", row.id, row.name),
        )
        .detail("offer", row.id)
        .hint("only its giver or a person may take it back"));
    }
    let already = row.effective(tx.now) == OfferState::Withdrawn;
    if !already {
        check_open(tx, &row)?;
        let facts = json!({"offer": row.id, "from": row.giver, "session": actor.id});
        tx.event("handoff.withdrawn", &scope(row.id), &Json::of(&facts))?;
        close(tx, &row, OfferState::Withdrawn, Some(&actor.name))?;
    }
    Ok(ClosedOffer { offer: row.id, already })
}

pub(crate) fn list(tx: &mut Tx<'_>, op: &ListOffers) -> Result<Offers> {
    let from = op.from.as_ref().map(|from| session::require(tx, from)).transpose()?;
    let acceptor = op.acceptor.as_ref().map(|it| session::require(tx, it)).transpose()?;
    let select = if op.all { SELECT_ALL } else { SELECT_OPEN };
    let limit = op.limit as usize;
    let mut below = op.after.map_or(i64::MAX, |after| after.0);
    let mut offers: Vec<OfferView> = Vec::new();
    loop {
        let rows = tx.sql.rows(select, params![below, PAGE])?;
        let full = rows.len() as i64 == PAGE;
        for row in rows {
            let row = offer_row(row)?;
            below = row.id.0;
            let wanted = (op.all || row.effective(tx.now) == OfferState::Open)
                && from.as_ref().is_none_or(|from| from.id == row.giver)
                && match &acceptor {
                    Some(acceptor) => is_for(tx, &row, acceptor)?,
                    None => true,
                };
            if wanted {
                if offers.len() == limit {
                    let next = offers.last().map(|last| last.offer);
                    return Ok(Offers { offers, next });
                }
                offers.push(row.view(tx)?);
            }
        }
        if !full {
            return Ok(Offers { offers, next: None });
        }
    }
}

/// The open offers that a session may accept, the newest first.
pub(crate) fn open_for(
    tx: &mut Tx<'_>,
    session: &SessionRow,
    most: usize,
) -> Result<Vec<OfferView>> {
    let mut views = Vec::new();
    for row in open_offers(tx)? {
        if views.len() < most && is_for(tx, &row, session)? {
            views.push(row.view(tx)?);
        }
    }
    Ok(views)
}

/// The sessions that have an open offer.
pub(crate) fn givers(tx: &mut Tx<'_>) -> Result<BTreeSet<String>> {
    let now = tx.now.0;
    let rows = tx.sql.rows(SELECT_GIVERS, params![now])?;
    rows.into_iter().map(|mut row| row.text()).collect()
}

/// The open offers that are about issues, newest first, each with the names of those: what it holds, and what
/// its payload calls `issue`.
pub(crate) fn of_issues(tx: &mut Tx<'_>) -> Result<Vec<(BTreeSet<String>, OfferView)>> {
    let mut found = Vec::new();
    for row in open_offers(tx)? {
        let mut issues: BTreeSet<String> =
            row.items.iter().filter_map(|kept| issue_held(&kept.item)).collect();
        issues.extend(issue_named(&row.payload.value()?));
        if !issues.is_empty() {
            found.push((issues, row.view(tx)?));
        }
    }
    Ok(found)
}

fn issue_held(item: &OfferItem) -> Option<String> {
    match item {
        OfferItem::Claim(item) if item.kind == ItemKind::Issue => Some(item.name.clone()),
        _ => None,
    }
}

/// The issue that a payload is about: `15`, `"15"` or `"issue:15"`.
fn issue_named(payload: &serde_json::Value) -> Option<String> {
    let text = match payload.get("issue")? {
        serde_json::Value::Number(number) => number.to_string(),
        serde_json::Value::String(text) => text.clone(),
        _ => return None,
    };
    let name = text.strip_prefix("issue:").unwrap_or(&text);
    let mut item = format!("issue:{name}").parse::<Item>().ok()?;
    item.check().ok()?;
    issue_held(&OfferItem::Claim(item))
}

/// A session's note to itself.
pub(crate) fn draft_of(tx: &mut Tx<'_>, session: &str) -> Result<Option<Json>> {
    let now = tx.now.0;
    let found = tx.sql.rows(SELECT_DRAFT, params![session, now])?.pop();
    found.map(|mut row| row.text().map(Json::stored)).transpose()
}

pub(crate) fn draft(tx: &mut Tx<'_>, op: &Draft) -> Result<Drafted> {
    let actor = tx.actor()?.clone();
    let before = draft_of(tx, &actor.id)?;
    let mut text = before.map_or_else(|| "{}".to_owned(), |before| before.text().to_owned());
    if let Some(payload) = &op.payload {
        text = merge_patch(&text, payload.text())?;
    }
    let holds: Vec<String> = holding::of_session(tx, &actor)?
        .into_iter()
        .map(|holding| match holding.resource.parse::<cotenant_core::claim::Item>() {
            Ok(_) => holding.resource,
            Err(_) => format!("lease:{}", holding.resource),
        })
        .collect();
    let progress: Vec<serde_json::Value> = progress::of_session(tx, &actor.id, DRAFT_PROGRESS)?
        .into_iter()
        .map(|it| json!({"subject": it.subject, "phase": it.phase, "percent": it.percent, "message": it.message}))
        .collect();
    let seen = json!({"holds": holds, "progress": progress, "purpose": actor.purpose,
        "drafted_at": Tx::at(tx.wall_ms)});
    let payload = Json::stored(merge_patch(&text, &seen.to_string())?);
    if payload.text().len() > PAYLOAD_BYTES_MAX {
        return Err(Error::new(
            Code::TooLarge,
            format!(
                "the draft has {} bytes; at most {PAYLOAD_BYTES_MAX} are kept",
                payload.text().len()
            ),
        )
        .hint("a field that is set to null is dropped"));
    }
    let id = Seq(tx.next_seq());
    let mut facts = json!({"session": actor.id});
    facts["payload"] = in_event(&payload)?;
    tx.event("handoff.drafted", &format!("session:{}", actor.name), &Json::of(&facts))?;
    tx.sql.run(DELETE_DRAFTS, params![&actor.id])?;
    let row = OfferRow {
        state: OfferState::Open,
        id,
        giver: actor.id,
        name: actor.name,
        trust: tx.trust().to_owned(),
        to: Addressee::Everybody,
        to_session: None,
        payload,
        items: Vec::new(),
        expires: tx.now.after(OFFER_TTL_MS),
        at_ms: tx.wall_ms,
        closed_by: None,
    };
    insert(tx, "draft", &row)?;
    Ok(Drafted { payload: row.payload })
}

/// The next incarnation goes on from its earlier one's note.
pub(crate) fn pass_on(tx: &mut Tx<'_>, from: &SessionRow, to: &SessionRow) -> Result<()> {
    tx.sql.run(PASS_DRAFTS, params![&to.id, &from.id]).map(drop)
}

/// What a timer of an offer does when it rings: an open one expires, what is closed or a draft goes.
pub(crate) fn on_timer(tx: &mut Tx<'_>, id: &str) -> Result<()> {
    let Ok(number) = id.parse::<i64>() else { return Ok(()) };
    for mut row in tx.sql.rows(SELECT_EXPIRES, params![number])? {
        let (state, expires) = (row.text()?, Tick(row.int()?));
        if tx.now < expires {
            tx.arm(expires, "offer", id)?;
            continue;
        }
        tx.settled = true;
        if state == OfferState::Open.word() {
            let row = require(tx, Seq(number))?;
            let facts = json!({"offer": row.id, "from": row.giver});
            tx.event_of_store("handoff.expired", &scope(row.id), &facts)?;
            close(tx, &row, OfferState::Expired, None)?;
        } else {
            tx.sql.run(DELETE_ONE, params![&state, number])?;
        }
    }
    Ok(())
}
