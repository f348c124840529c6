//! Claims on issues, paths and branches.

use cotenant_core::{
    Code, Error, Result,
    claim::{
        AUTOMATIC_MAX, AUTOMATIC_MS, CLAIMS_MAX, Claim, Claimed, ClaimedItem, Holding, Item,
        ItemKind, Mode, Unclaim, Unclaimed, Who,
    },
    data::glob,
    lease::{Holdings, Resource},
    store::Actor,
};

use crate::{
    bounds::{self, Bounds},
    data, handoff, holding,
    holding::{LeaseRow, LeaseState},
    session::{self, SessionRow},
    sql::Query,
    task,
    testing::mutant,
    tx::Tx,
};

/// The kinds of claims, for those who look at all of them.
const KINDS: [&str; 4] = ["issue", "path", "branch", "other"];

/// The queries that a claim will make.
pub(crate) fn foreseen(op: &Claim, actor: Option<&Actor>, bounds: &Bounds) -> Vec<Query> {
    let rows = rows_without_limit(op);
    let count = |actor: &Actor| bounds::foreseen_count(&actor.session.0, rows, bounds);
    let mut queries: Vec<Query> = actor.and_then(count).into_iter().collect();
    for item in &op.items {
        queries.push(holding::foreseen(&Resource::Claim(item.clone())));
        if item.kind == ItemKind::Issue && !op.automatic {
            queries.push(data::foreseen(&item.to_string(), "claimed_by"));
        }
    }
    if !op.automatic {
        queries.push(handoff::foreseen());
    }
    queries
}

pub(crate) fn claim(tx: &mut Tx<'_>, op: &Claim) -> Result<Claimed> {
    op.ttl_ms.map_or(Ok(()), |ttl| tx.check_ttl(ttl))?;
    let actor = tx.actor()?.clone();
    if op.any && !mutant("any_takes_all") {
        return claim_one(tx, op, &actor);
    }
    let found = look(tx, op, &actor, &op.items)?;
    let in_part = mutant("claims_one_by_one") && found.conflicts.len() < op.items.len();
    if !found.conflicts.is_empty() && !in_part {
        return Err(refusal(tx, op, &found.conflicts)?);
    }
    let taken = |resource| found.conflicts.iter().any(|(row, _)| row.resource == resource);
    let free = |item: &Item| !in_part || !taken(Resource::Claim(item.clone()));
    let (items, own): (Vec<Item>, Vec<_>) = op
        .items
        .iter()
        .cloned()
        .zip(found.own.iter().cloned())
        .filter(|(item, _)| free(item))
        .unzip();
    grant(tx, op, &actor, &items, own, &found.overlaps)
}

/// Claims the first item that is free.
fn claim_one(tx: &mut Tx<'_>, op: &Claim, actor: &SessionRow) -> Result<Claimed> {
    let mut conflicts = Held::new();
    for item in &op.items {
        let items = std::slice::from_ref(item);
        let found = look(tx, op, actor, items)?;
        if found.conflicts.is_empty() {
            return grant(tx, op, actor, items, found.own, &found.overlaps);
        }
        for (row, holder) in found.conflicts {
            add(&mut conflicts, row, holder);
        }
    }
    Err(refusal(tx, op, &conflicts)?)
}

type Held = Vec<(LeaseRow, SessionRow)>;

/// What is held around items.
struct Found {
    /// What the actor has of each.
    own: Vec<Option<LeaseRow>>,
    /// What others have that excludes a claim.
    conflicts: Held,
    /// What others have that only informs.
    overlaps: Held,
}

fn add(list: &mut Held, row: LeaseRow, holder: SessionRow) {
    let known =
        list.iter().any(|(seen, _)| seen.resource == row.resource && seen.session == row.session);
    if !known {
        list.push((row, holder));
    }
}

fn look(tx: &mut Tx<'_>, op: &Claim, actor: &SessionRow, items: &[Item]) -> Result<Found> {
    let mut found = Found { own: Vec::new(), conflicts: Held::new(), overlaps: Held::new() };
    for item in items {
        let resource = Resource::Claim(item.clone());
        let rows = holding::around_settled(tx, item.kind.word(), &item.name)?;
        let (mine, others): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|(row, _)| row.session == actor.id);
        found.own.push(
            mine.into_iter()
                .map(|(row, _)| row)
                .find(|row| row.resource == resource && row.is_current(tx.now)),
        );
        for (row, holder) in others {
            let exclusive = op.mode == Mode::Exclusive && row.mode == Mode::Exclusive;
            if exclusive && in_one_tree(&row.resource, item) {
                add(&mut found.conflicts, row, holder);
            } else if row.state == LeaseState::Held {
                add(&mut found.overlaps, row, holder);
            }
        }
    }
    Ok(found)
}

fn grant(
    tx: &mut Tx<'_>,
    op: &Claim,
    actor: &SessionRow,
    items: &[Item],
    own: Vec<Option<LeaseRow>>,
    overlaps: &Held,
) -> Result<Claimed> {
    let mut granted = Vec::with_capacity(items.len());
    for (item, own) in items.iter().zip(own) {
        granted.push(take(tx, op, actor, item, own)?);
    }
    let mut warnings = Vec::new();
    if !op.automatic {
        warnings = kept_by_hand(tx, items, actor)?;
        let new = items.iter().zip(&granted).filter(|(_, granted)| !granted.already_held);
        let new: Vec<&Item> = new.map(|(item, _)| item).collect();
        warnings.extend(handoff::warnings(tx, &new, actor)?);
    }
    Ok(Claimed { items: granted, overlaps: holding::views(tx, overlaps), warnings })
}

/// The refusal, with a few tasks that can be done instead. An edit is about this file and no other.
fn refusal(tx: &mut Tx<'_>, op: &Claim, conflicts: &Held) -> Result<Error> {
    let error = holding::refusal(tx, conflicts);
    if op.automatic {
        return Ok(error);
    }
    let ready = task::ready(tx)?;
    if ready.is_empty() {
        return Ok(error);
    }
    let hint = error.hint.clone().unwrap_or_default();
    Ok(error
        .detail("ready_tasks", ready)
        .hint(format!("{hint}; or take a task that is ready: `cotenant task next`")))
}

/// Paths exclude each other within one tree only; across trees git merges them.
fn in_one_tree(held: &Resource, item: &Item) -> bool {
    let Resource::Claim(held) = held else { return false };
    item.kind != ItemKind::Path || held.tree == item.tree || mutant("deny_in_another_tree")
}

/// Fails if the claims would be more than a session may have.
fn limit(op: &Claim) -> i64 {
    if op.automatic { AUTOMATIC_MAX } else { CLAIMS_MAX }
}

/// How many items a claim can add.
fn asked(op: &Claim) -> i64 {
    if op.any { 1 } else { i64::try_from(op.items.len()).unwrap_or(i64::MAX) }
}

/// With at most so many rows of any kind, no session can reach the limit.
fn rows_without_limit(op: &Claim) -> i64 {
    limit(op) - asked(op)
}

pub(crate) fn check_quota(tx: &mut Tx<'_>, op: &Claim) -> Result<()> {
    let actor = tx.actor()?.id.clone();
    if bounds::has_at_most(tx, &actor, rows_without_limit(op))? {
        return Ok(());
    }
    let (limit, asked) = (limit(op), asked(op));
    let held = bounds::count_claims(tx, &actor, op.automatic)?;
    if held + asked <= limit {
        return Ok(());
    }
    let mut added = 0;
    for item in &op.items {
        let own = holding::own(tx, &Resource::Claim(item.clone()), &actor)?;
        added += i64::from(
            own.is_none_or(|row| !row.is_current(tx.now) || row.automatic != op.automatic),
        );
    }
    let added = added.min(asked);
    if added == 0 || held + added <= limit {
        return Ok(());
    }
    Err(Error::new(Code::Quota, format!("a session holds at most {limit} claims"))
        .detail("limit", limit)
        .retry_after(1_000)
        .hint("give some back with `cotenant unclaim`; claim a directory instead of its files"))
}

fn take(
    tx: &mut Tx<'_>,
    op: &Claim,
    actor: &SessionRow,
    item: &Item,
    own: Option<LeaseRow>,
) -> Result<ClaimedItem> {
    let lifetime = op.ttl_ms.or(op.automatic.then_some(AUTOMATIC_MS));
    let resource = Resource::Claim(item.clone());
    let already_held = own.is_some();
    let row = match own {
        // An edit does not weaken what was claimed by decision.
        Some(row) if op.automatic && !row.automatic => row,
        Some(row) => {
            let strengthened = row.automatic != op.automatic || row.mode != op.mode;
            let row = LeaseRow {
                automatic: op.automatic,
                mode: op.mode,
                ttl_ms: lifetime,
                expires: lifetime.map(|ms| tx.now.after(ms)),
                note: op.intent.clone().or_else(|| row.note.clone()),
                ..row
            };
            holding::save(tx, &row)?;
            if strengthened {
                holding::log(tx, &row, "changed")?;
            }
            row
        }
        None => {
            let row = LeaseRow {
                resource: resource.clone(),
                session: actor.id.clone(),
                state: LeaseState::Held,
                fence: tx.fence(),
                slots: 1,
                mode: op.mode,
                automatic: op.automatic,
                ttl_ms: lifetime,
                expires: lifetime.map(|ms| tx.now.after(ms)),
                lock_delay_ms: tx.lock_delay_ms(),
                since: tx.now,
                since_ms: tx.wall_ms,
                note: op.intent.clone(),
            };
            holding::save(tx, &row)?;
            holding::log(tx, &row, "granted")?;
            row
        }
    };
    Ok(ClaimedItem {
        item: item.to_string(),
        resource: resource.to_string(),
        fence: row.fence,
        already_held,
    })
}

/// Claims that live sessions keep by hand under the seed's conventional key.
fn kept_by_hand(tx: &mut Tx<'_>, items: &[Item], actor: &SessionRow) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    for item in items.iter().filter(|item| item.kind == ItemKind::Issue) {
        let scope = item.to_string();
        let Some(value) = data::value(tx, &scope, "claimed_by")? else { continue };
        let Ok(serde_json::Value::String(name)) = serde_json::from_str(&value) else { continue };
        if name == actor.name {
            continue;
        }
        let holder = session::find(tx, &name)?;
        if holder.is_some_and(|row| row.effective(tx).is_live()) {
            warnings.push(format!(
                "`{}` says in data `{scope}` `claimed_by` that it works on `{item}`, without having claimed it",
                cotenant_core::render::for_terminal(&name)
            ));
        }
    }
    Ok(warnings)
}

pub(crate) fn unclaim(tx: &mut Tx<'_>, op: &Unclaim) -> Result<Unclaimed> {
    let actor = tx.actor()?.clone();
    let items = if op.all { holding::claimed_by(tx, &actor.id)? } else { op.items.clone() };
    let (mut released, mut not_held) = (Vec::new(), Vec::new());
    for item in items {
        let own = holding::own(tx, &Resource::Claim(item.clone()), &actor.id)?;
        match own.filter(|row| row.is_current(tx.now)) {
            Some(row) => {
                holding::delete(tx, &row)?;
                holding::log(tx, &row, "released")?;
                released.push(item.to_string());
            }
            None => not_held.push(item.to_string()),
        }
    }
    Ok(Unclaimed { released, not_held })
}

pub(crate) fn who(tx: &mut Tx<'_>, op: &Who) -> Result<Holdings> {
    let mut holdings: Vec<Holding> = if let Some(item) = &op.item {
        let rows = holding::around(tx, item.kind.word(), &item.name)?;
        let wanted = rows.into_iter().filter(|(row, _)| match (&row.resource, &item.tree) {
            (Resource::Claim(held), Some(tree)) => held.tree.as_ref() == Some(tree),
            _ => true,
        });
        let wanted: Vec<_> = wanted.collect();
        holding::views(tx, &wanted)
    } else {
        let mut all = Vec::new();
        for kind in KINDS {
            all.extend(holding::of_kind(tx, kind)?);
        }
        all
    };
    if let Some(pattern) = &op.pattern {
        holdings.retain(|holding| glob(pattern, &holding.resource));
    }
    if let Some(reference) = &op.session {
        let wanted = session::require(tx, reference)?.id;
        holdings.retain(|holding| holding.session.0 == wanted);
    }
    Ok(Holdings { holdings })
}
