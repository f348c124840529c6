//! Looking at offers.

use std::collections::BTreeSet;

use cotenant_core::{
    Result,
    claim::{Item, ItemKind},
    id::Seq,
    name::paths_overlap,
    offer::{ListOffers, OfferItem, OfferLine, OfferState, OfferView, Offers},
};

use super::{OfferRow, SELECT_OPEN, is_for, offer_row, open_offers, select};
use crate::{
    params,
    session::{self, SessionRow},
    sql::Query,
    testing::mutant,
    tx::Tx,
};

/// How many rows one statement reads.
const PAGE: i64 = 200;

const SELECT_ALL: &str = select!("state <> 'draft' AND id < $1 ORDER BY id DESC LIMIT $2");
const SELECT_OF_STATE: &str = select!("state = $1 ORDER BY id DESC");
const SELECT_OPEN_OF: &str =
    "SELECT id FROM offer WHERE state = 'open' AND giver = $1 AND expires_tick > $2 ORDER BY id";
const SELECT_GIVERS: &str = "SELECT giver FROM offer WHERE state = 'open' AND expires_tick > $1";

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

/// The open offers, the newest first, each in a line.
pub(crate) fn lines(tx: &mut Tx<'_>, most: usize) -> Result<Vec<OfferLine>> {
    let mut rows = open_offers(tx)?;
    rows.truncate(most);
    let line = |row: OfferRow| {
        let giver = session::find(tx, &row.giver)?;
        Ok(OfferLine {
            offer: row.id,
            from_name: row.name,
            from_is_live: giver.is_some_and(|giver| giver.effective(tx).is_live()),
            to: row.to,
            items: row.items.into_iter().map(|kept| kept.item).collect(),
            expires_in_ms: row.expires.remaining(tx.now),
        })
    };
    rows.into_iter().map(line).collect()
}

/// The open offers of a session, the oldest first.
pub(crate) fn open_of(tx: &mut Tx<'_>, giver: &str) -> Result<Vec<Seq>> {
    let now = tx.now.0;
    let rows = tx.sql.rows(SELECT_OPEN_OF, params![giver, now])?;
    rows.into_iter().map(|mut row| row.int().map(Seq)).collect()
}

/// The query of [`warnings`].
pub(crate) fn foreseen() -> Query {
    Query::new(SELECT_OF_STATE, params![OfferState::Open.word()])
}

/// What whoever claims these items should know: that open offers hold them, or paths around them.
pub(crate) fn warnings(
    tx: &mut Tx<'_>,
    items: &[&Item],
    actor: &SessionRow,
) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    if items.is_empty() || mutant("offered_items_unmentioned") {
        return Ok(warnings);
    }
    for row in tx.sql.rows(SELECT_OF_STATE, params![OfferState::Open.word()])? {
        let row = offer_row(row)?;
        if row.effective(tx.now) != OfferState::Open {
            continue;
        }
        let touches = |offered: &Item| items.iter().any(|item| concerns(offered, item));
        let offered = row.items.iter().find_map(|kept| match &kept.item {
            OfferItem::Claim(item) if touches(item) => Some(item.to_string()),
            _ => None,
        });
        let Some(offered) = offered else { continue };
        warnings.push(if row.giver == actor.id {
            format!("`{offered}` is in offer {0} of yours: whoever accepts takes it", row.id)
        } else if is_for(tx, &row, actor)? {
            format!(
                "`{offered}` is in offer {0} of `{1}`: `cotenant handoff accept {0}` takes it over, with what its giver says of it",
                row.id, row.name
            )
        } else {
            format!("`{offered}` is in offer {} of `{}`, for `{}`", row.id, row.name, row.to)
        });
    }
    Ok(warnings)
}

/// Whether two items are the same, or one of two paths of a tree is above the other.
fn concerns(one: &Item, other: &Item) -> bool {
    let is_path = one.kind == ItemKind::Path && other.kind == ItemKind::Path;
    one == other || (is_path && one.tree == other.tree && paths_overlap(&one.name, &other.name))
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
