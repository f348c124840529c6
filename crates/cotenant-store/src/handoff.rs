//! Handoff: offers, what moves when one is accepted, and drafts.
//!
//! Here are rows and what all of it shares; `handoff/offer.rs` makes offers, `handoff/plan.rs` says what
//! would move, `handoff/moving.rs` moves it, `handoff/closing.rs` ends an offer otherwise,
//! `handoff/show.rs` looks, `handoff/draft.rs` keeps the notes of sessions to themselves.
//!
//! # Invariants
//! - An offer leaves `open` once: by acceptance, refusal, withdrawal or its time.
//! - Accepting moves, in one transaction, what the giver holds of each item now, as it holds it now. Where
//!   it holds nothing any more, the acceptor gets the item as it was offered, if it is free.
//! - Nothing moves that would exclude, or be excluded by, what anybody else holds, the giver included.
//! - A further kind of item is a variant of `OfferItem`; [`Held::of`] says what has it, `plan.rs` and
//!   `moving.rs` how it moves.

mod closing;
mod draft;
mod moving;
mod offer;
mod plan;
mod show;

use cotenant_core::{
    Code, Error, Result,
    claim::Mode,
    clock::DAY,
    event::sha256_hex,
    id::{Fence, Seq, SessionId, TaskId, Tick},
    json::Json,
    lease::Resource,
    name::Addressee,
    offer::{OfferItem, OfferState, OfferView},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

pub(crate) use self::{
    closing::{decline, on_timer, withdraw},
    draft::{draft, draft_of, pass_on},
    moving::{accept, check_quota},
    offer::{check_offers, offer},
    show::{foreseen, givers, lines, list, of_issues, open_for, open_of, warnings},
};
use crate::{
    holding::LeaseRow,
    lineage, message, params,
    session::{self, SessionRow},
    sql::{Row, corrupt},
    testing::mutant,
    tx::Tx,
};

/// How long a closed offer is remembered.
const CLOSED_KEPT_MS: u64 = 7 * DAY;
/// Payloads up to this size stand in their event; of larger ones the digest does.
const INLINE_BYTES_MAX: usize = 4 * 1024;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT state, id, giver, name, trust, addressee, to_session, payload, items, \
             expires_tick, at_ms, closed_by FROM offer WHERE ",
            $rest
        )
    };
}
use select;

const SELECT_ONE: &str =
    select!("state IN ('open', 'accepted', 'declined', 'withdrawn', 'expired') AND id = $1");
const SELECT_OPEN: &str = select!("state = 'open' AND id < $1 ORDER BY id DESC LIMIT $2");
const INSERT: &str = "INSERT INTO offer (state, id, giver, name, trust, addressee, to_session, payload, \
     items, expires_tick, at_ms, closed_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, NULL)";
const UPDATE_CLOSED: &str = "UPDATE offer SET state = $1, closed_by = $2, expires_tick = $3 \
     WHERE state = 'open' AND id = $4";

/// An item as it was when it was offered.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kept {
    item: OfferItem,
    fence: Fence,
    /// Of a claim or a lease. A task has its terms in its own row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    terms: Option<Terms>,
}

/// Enough to grant a claim or a lease anew.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Terms {
    mode: Mode,
    automatic: bool,
    ttl_ms: Option<u64>,
    slots: i64,
    lock_delay_ms: u64,
    note: Option<String>,
}

impl Terms {
    fn of(row: &LeaseRow) -> Self {
        Self {
            mode: row.mode,
            automatic: row.automatic,
            ttl_ms: row.ttl_ms,
            slots: row.slots,
            lock_delay_ms: row.lock_delay_ms,
            note: row.note.clone(),
        }
    }

    /// For somebody who holds it already: that is not weakened.
    fn beside(self, own: &LeaseRow) -> Self {
        let exclusive = own.mode == Mode::Exclusive;
        Self {
            mode: if exclusive { Mode::Exclusive } else { self.mode },
            automatic: self.automatic && own.automatic,
            ttl_ms: self.ttl_ms.zip(own.ttl_ms).map(|(given, own)| given.max(own)),
            slots: own.slots,
            lock_delay_ms: self.lock_delay_ms.max(own.lock_delay_ms),
            note: self.note.or_else(|| own.note.clone()),
        }
    }
}

impl Kept {
    fn of(item: &OfferItem, row: &LeaseRow) -> Self {
        Self { item: item.clone(), fence: row.fence, terms: Some(Terms::of(row)) }
    }
}

/// What kind of thing an item is: held by a row of `lease`, or a task.
enum Held {
    Row(Resource),
    Task(TaskId),
}

impl Held {
    fn of(item: &OfferItem) -> Self {
        match item {
            OfferItem::Claim(item) => Self::Row(Resource::Claim(item.clone())),
            OfferItem::Lease(name) => Self::Row(Resource::Lease(name.clone())),
            OfferItem::Task(task) => Self::Task(*task),
        }
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
pub(crate) fn stands_for(tx: &mut Tx<'_>, session: &str, other: &str) -> Result<bool> {
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

/// A payload as its event carries it.
fn in_event(payload: &Json) -> Result<serde_json::Value> {
    if payload.text().len() <= INLINE_BYTES_MAX {
        return payload.value();
    }
    Ok(json!({"sha256": sha256_hex(payload.text()), "bytes": payload.text().len()}))
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

/// Finds an offer, or fails.
fn require(tx: &mut Tx<'_>, id: Seq) -> Result<OfferRow> {
    let row = tx.sql.rows(SELECT_ONE, params![id.0])?.pop();
    row.map(offer_row).transpose()?.ok_or_else(|| {
        Error::new(Code::NotFound, format!("there is no offer {id}"))
            .hint("`cotenant handoff list --all` shows those of the last days")
    })
}

/// The refusal of what a session can only do with an offer of somebody else.
fn own_offer(row: &OfferRow) -> Error {
    Error::new(Code::Forbidden, format!("offer {} is this session's own", row.id))
        .detail("offer", row.id)
        .hint(format!("take it back with `cotenant handoff withdraw {}`", row.id))
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
    let own = by.is_some() && tx.actor.as_ref().map(|actor| &actor.name) == by;
    let message = match by {
        Some(_) if own => format!("offer {} was {} by this session before", row.id, state.word()),
        Some(by) => format!("offer {} was {} by `{by}`", row.id, state.word()),
        None => format!("offer {} has {}", row.id, state.word()),
    };
    let hint = if own && state == OfferState::Accepted {
        "`cotenant session show` lists what you hold, `cotenant handoff list --all` what you were told"
    } else {
        "`cotenant handoff list` shows what is open"
    };
    Err(Error::new(Code::Gone, message)
        .detail("offer", row.id)
        .detail("state", state)
        .detail("by", by)
        .hint(hint))
}

fn close(tx: &mut Tx<'_>, row: &OfferRow, state: OfferState, by: Option<&str>) -> Result<()> {
    let kept_until = tx.now.after(CLOSED_KEPT_MS);
    tx.sql.run(UPDATE_CLOSED, params![state.word(), by, kept_until.0, row.id.0])?;
    tx.arm(kept_until, "offer", &row.id.to_string())
}
