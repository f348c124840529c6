//! Closing an offer otherwise than by accepting it: refusal, withdrawal, its time.

use cotenant_core::{
    Code, Error, Result,
    id::{Seq, Tick},
    json::Json,
    offer::{ClosedOffer, DeclineOffer, OfferState, WithdrawOffer},
};
use serde_json::json;

use super::{check_open, close, is_for, own_offer, require, scope, stands_for};
use crate::{params, tx::Tx};

const SELECT_EXPIRES: &str = "SELECT state, expires_tick FROM offer WHERE state IN ('open', \
     'accepted', 'declined', 'withdrawn', 'expired', 'draft') AND id = $1";
const DELETE_ONE: &str = "DELETE FROM offer WHERE state = $1 AND id = $2";

pub(crate) fn decline(tx: &mut Tx<'_>, op: &DeclineOffer) -> Result<ClosedOffer> {
    let actor = tx.actor()?.clone();
    let row = require(tx, op.offer)?;
    if row.giver == actor.id {
        return Err(own_offer(&row));
    }
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
