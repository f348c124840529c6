//! Drafts: a session's note to itself.

use cotenant_core::{
    Code, Error, Result,
    id::Seq,
    json::{Json, merge_patch},
    name::Addressee,
    offer::{Draft, Drafted, OFFER_TTL_MS, OfferItem, OfferState, PAYLOAD_BYTES_MAX},
};
use serde_json::json;

use super::{OfferRow, in_event, insert};
use crate::{holding, params, progress, session::SessionRow, task, tx::Tx};

/// Reports of progress in a draft.
const DRAFT_PROGRESS: i64 = 8;

const SELECT_DRAFT: &str = "SELECT payload, id FROM offer WHERE state = 'draft' AND giver = $1 AND expires_tick > $2 \
     ORDER BY id DESC LIMIT 1";
const DELETE_DRAFTS: &str = "DELETE FROM offer WHERE state = 'draft' AND giver = $1";
const PASS_DRAFTS: &str = "UPDATE offer SET giver = $1 WHERE state = 'draft' AND giver = $2";

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
    let mut holds: Vec<String> = holding::of_session(tx, &actor)?
        .into_iter()
        .map(|holding| match holding.resource.parse::<cotenant_core::claim::Item>() {
            Ok(_) => holding.resource,
            Err(_) => format!("lease:{}", holding.resource),
        })
        .collect();
    let tasks = task::run_by(tx, &actor.id)?;
    holds.extend(tasks.into_iter().map(|task| OfferItem::Task(task).to_string()));
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
