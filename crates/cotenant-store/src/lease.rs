//! Leases: acquire, renew, release, check, admit, break.

use cotenant_core::{
    Code, Error, Result,
    claim::{HoldingState, Mode},
    data::glob,
    id::Fence,
    json::Json,
    lease::{
        Acquire, Admit, Admitted, Break, Broken, Check, Checked, Granted, Holdings, LEASES_MAX,
        ListLeases, Release, Released, Renew, Renewed, Resource, TICKETS_MAX,
    },
    render::counted,
    store::{Actor, Guard},
};
use serde_json::json;

use crate::{
    bounds::{self, Bounds},
    holding::{self, LeaseRow, LeaseState},
    params,
    session::{SessionRow, WAITER_WRITES_EVERY_MS},
    sql::Query,
    testing::mutant,
    tx::{Tx, Verdict},
};

const SELECT_MARK: &str = "SELECT value FROM mark WHERE kind = $1 AND name = $2";
const UPSERT_MARK: &str = "INSERT INTO mark (kind, name, value, seen_tick) VALUES ($1, $2, $3, $4) \
     ON CONFLICT (kind, name) DO UPDATE SET value = excluded.value, seen_tick = excluded.seen_tick";

/// A high-water mark.
pub(crate) fn mark(tx: &mut Tx<'_>, kind: &str, name: &str) -> Result<Option<i64>> {
    tx.sql.rows(SELECT_MARK, params![kind, name])?.pop().map(|mut row| row.int()).transpose()
}

/// The query for a high-water mark.
pub(crate) fn foreseen_mark(kind: &str, name: &str) -> Query {
    Query::new(SELECT_MARK, params![kind, name])
}

/// Raises a high-water mark.
pub(crate) fn set_mark(tx: &mut Tx<'_>, kind: &str, name: &str, value: i64) -> Result<()> {
    let now = tx.now.0;
    tx.sql.later(UPSERT_MARK, params![kind, name, value, now])
}

/// Fails with `FENCED` unless the actor holds the guarded resource with exactly that fence.
pub(crate) fn check_guard(tx: &mut Tx<'_>, guard: &Guard) -> Result<()> {
    if let Some(task) = cotenant_core::task::guarded(&guard.resource) {
        return crate::task::check_guard(tx, task, guard.fence);
    }
    let resource = Resource::parse(&guard.resource)?;
    let actor = tx.actor()?.id.clone();
    let row = holding::own(tx, &resource, &actor)?;
    let fits =
        |fence| guard.fence == fence || (mutant("guard_takes_old_fences") && guard.fence < fence);
    if row.is_some_and(|row| row.is_current(tx.now) && fits(row.fence)) {
        return Ok(());
    }
    Err(fenced(tx, &resource, guard.fence)?)
}

/// The error of an old fence, with who holds the resource now.
fn fenced(tx: &mut Tx<'_>, resource: &Resource, fence: Fence) -> Result<Error> {
    let (kind, name, _) = holding::key(resource);
    let rows = holding::around(tx, kind, name)?;
    let held: Vec<_> = rows.into_iter().filter(|(row, _)| row.resource == *resource).collect();
    let holders = holding::views(tx, &held);
    let now = holders.iter().find(|holder| holder.state == HoldingState::Held);
    let message = match now {
        Some(holder) => {
            format!("fence {fence} of `{resource}` is not current; `{}` holds it now", holder.name)
        }
        None => format!("fence {fence} of `{resource}` is not current; the grant has ended"),
    };
    Ok(Error::new(Code::Fenced, message)
        .detail("resource", resource.to_string())
        .detail("fence", fence)
        .detail("holders", &holders)
        .hint("stop this work; acquire the resource anew before you write again"))
}

/// Fails if the lease would be one more than a session may hold.
pub(crate) fn check_quota(tx: &mut Tx<'_>, op: &Acquire) -> Result<()> {
    let actor = tx.actor()?.id.clone();
    if bounds::has_at_most(tx, &actor, LEASES_MAX - 1)?
        || bounds::count_leases(tx, &actor, LeaseState::Held)? < LEASES_MAX
    {
        return Ok(());
    }
    let own = holding::own(tx, &Resource::Lease(op.resource.clone()), &actor)?;
    if own.is_some_and(|row| row.is_current(tx.now)) {
        return Ok(());
    }
    Err(Error::new(Code::Quota, format!("the session holds {LEASES_MAX} leases already"))
        .detail("limit", LEASES_MAX)
        .retry_after(1_000)
        .hint("release one first; `cotenant lease list` shows them"))
}

/// The queries that an acquisition will make.
pub(crate) fn foreseen(op: &Acquire, actor: Option<&Actor>, bounds: &Bounds) -> Vec<Query> {
    let count = |actor: &Actor| bounds::foreseen_count(&actor.session.0, LEASES_MAX - 1, bounds);
    let mut queries = vec![holding::foreseen(&Resource::Lease(op.resource.clone()))];
    queries.extend(actor.and_then(count));
    queries
}

/// The query for the actor's own grant.
pub(crate) fn foreseen_own(resource: &str, actor: Option<&Actor>) -> Option<Query> {
    let (resource, actor) = (Resource::parse(resource).ok()?, actor?);
    Some(holding::foreseen_own(&resource, &actor.session.0))
}

pub(crate) fn acquire(tx: &mut Tx<'_>, op: &Acquire) -> Result<Verdict<Granted>> {
    tx.check_ttl(op.ttl_ms)?;
    let actor = tx.actor()?.clone();
    let resource = Resource::Lease(op.resource.clone());
    let rows = holding::around_settled(tx, "lease", &op.resource)?;
    let own = rows.iter().find(|(row, _)| row.session == actor.id).map(|(row, _)| row.clone());

    if let Some(mine) = own.as_ref().filter(|row| row.is_current(tx.now)) {
        let row = LeaseRow {
            ttl_ms: Some(op.ttl_ms),
            expires: Some(tx.now.after(op.ttl_ms)),
            note: op.note.clone().or_else(|| mine.note.clone()),
            ..mine.clone()
        };
        holding::save(tx, &row)?;
        return Ok(Verdict::Done(granted(&row, true)));
    }
    let slots = i64::from(op.slots.unwrap_or(1));
    let others: Vec<_> = rows.into_iter().filter(|(row, _)| row.session != actor.id).collect();
    let held: Vec<_> = select(&others, |row| row.is_current(tx.now));
    if let Some((grant, _)) = held.iter().find(|(grant, _)| grant.slots != slots) {
        return Err(Error::new(
            Code::SlotsMismatch,
            format!(
                "`{}` is held with {}, not {slots}",
                op.resource,
                counted(grant.slots.unsigned_abs(), "slot")
            ),
        )
        .detail("slots", grant.slots)
        .hint(format!("ask with `--slots {}`", grant.slots)));
    }
    let cooling: Vec<_> = select(&others, |row| row.state == LeaseState::Cooling);
    let earlier: Vec<_> = select(&others, |row| {
        row.state == LeaseState::Waiting
            && !mutant("tickets_without_order")
            && own
                .as_ref()
                .is_none_or(|mine| mine.state != LeaseState::Waiting || row.fence < mine.fence)
    });
    let uncounted = usize::from(mutant("a_slot_too_many"));
    let taken = (held.len() + cooling.len()).saturating_sub(uncounted);
    // Whose heir may have it back must agree with the grants too.
    let differs = |(row, _): &(LeaseRow, SessionRow)| row.slots != slots;
    let free = if cooling.iter().any(differs) && !mutant("cooling_slots_differ") {
        0
    } else {
        usize::try_from(slots).unwrap_or(1).saturating_sub(taken)
    };
    if free == 0 || earlier.len() >= free {
        let in_the_way = match (held.is_empty(), cooling.is_empty()) {
            (false, _) => held,
            (true, false) => cooling,
            (true, true) => earlier,
        };
        let refusal = holding::refusal(tx, &in_the_way);
        return wait_or_refuse(tx, op, &actor, own, refusal);
    }
    let row = LeaseRow {
        resource,
        session: actor.id,
        state: LeaseState::Held,
        fence: tx.fence(),
        slots,
        mode: Mode::Exclusive,
        automatic: false,
        ttl_ms: Some(op.ttl_ms),
        expires: Some(tx.now.after(op.ttl_ms)),
        lock_delay_ms: op.lock_delay_ms.unwrap_or(tx.lock_delay_ms()),
        since: tx.now,
        since_ms: tx.wall_ms,
        note: op.note.clone(),
    };
    holding::save(tx, &row)?;
    holding::log(tx, &row, "granted")?;
    Ok(Verdict::Done(granted(&row, false)))
}

fn select(
    rows: &[(LeaseRow, SessionRow)],
    wanted: impl Fn(&LeaseRow) -> bool,
) -> Vec<(LeaseRow, SessionRow)> {
    rows.iter().filter(|(row, _)| wanted(row)).cloned().collect()
}

fn granted(row: &LeaseRow, already_held: bool) -> Granted {
    Granted {
        resource: row.resource.to_string(),
        fence: row.fence,
        expires_in_ms: row.ttl_ms.unwrap_or_default(),
        already_held,
    }
}

/// Queues the actor with a ticket if it is willing to wait, else passes the refusal on.
fn wait_or_refuse(
    tx: &mut Tx<'_>,
    op: &Acquire,
    actor: &SessionRow,
    own: Option<LeaseRow>,
    refusal: Error,
) -> Result<Verdict<Granted>> {
    let Some(wait_ms) = op.wait_ms.filter(|wait| *wait > 0) else { return Err(refusal) };
    let ticket = own.filter(|row| row.state == LeaseState::Waiting);
    if tx.wait_over {
        if let Some(ticket) = ticket {
            holding::delete(tx, &ticket)?;
        }
        let holders = refusal.details.get("holders").cloned();
        return Ok(Verdict::Refused(
            Error::new(
                Code::Timeout,
                format!("waited {}: {}", cotenant_core::clock::in_words(wait_ms), refusal.message),
            )
            .detail("holders", holders)
            .hint("wait longer, or do something else first"),
        ));
    }
    if let Some(cycle) = cycle_of_waits(tx, &actor.id, &op.resource)? {
        if let Some(ticket) = ticket {
            holding::delete(tx, &ticket)?;
        }
        return Ok(Verdict::Refused(
            Error::new(
                Code::Deadlock,
                "waiting would close a cycle: each waits for what the next holds",
            )
            .detail("cycle", cycle)
            .hint("release what you hold, then acquire in one agreed order"),
        ));
    }
    if ticket.is_none() {
        if bounds::count_leases(tx, &actor.id, LeaseState::Waiting)? >= TICKETS_MAX {
            return Err(Error::new(
                Code::Quota,
                format!("the session waits for {TICKETS_MAX} leases already"),
            )
            .detail("limit", TICKETS_MAX)
            .retry_after(1_000));
        }
        let ticket = LeaseRow {
            resource: Resource::Lease(op.resource.clone()),
            session: actor.id.clone(),
            state: LeaseState::Waiting,
            fence: tx.fence(),
            slots: i64::from(op.slots.unwrap_or(1)),
            mode: Mode::Exclusive,
            automatic: false,
            ttl_ms: Some(op.ttl_ms),
            expires: Some(tx.now.after(wait_ms)),
            lock_delay_ms: op.lock_delay_ms.unwrap_or(tx.lock_delay_ms()),
            since: tx.now,
            since_ms: tx.wall_ms,
            note: op.note.clone(),
        };
        holding::save(tx, &ticket)?;
    }
    let retry_after_ms = refusal.retry_after_ms.unwrap_or(u64::MAX).min(WAITER_WRITES_EVERY_MS);
    Ok(Verdict::Wait { retry_after_ms })
}

/// Follows who waits for whom from the holders of a resource. Answers the names on a cycle back to
/// the session, if there is one.
fn cycle_of_waits(tx: &mut Tx<'_>, session: &str, resource: &str) -> Result<Option<Vec<String>>> {
    if mutant("deadlock_unnoticed") {
        return Ok(None);
    }
    let mut seen = std::collections::BTreeSet::new();
    let mut open = vec![(resource.to_owned(), Vec::<String>::new())];
    while let Some((name, path)) = open.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        for (grant, holder) in holding::around(tx, "lease", &name)? {
            if !grant.is_current(tx.now) || holding::is_dead(tx, &holder) {
                continue;
            }
            let mut path = path.clone();
            path.push(format!("{} holds {name}", holder.name));
            if holder.id == session {
                if path.len() > 1 {
                    return Ok(Some(path));
                }
                continue;
            }
            for waiting in holding::of_session(tx, &holder)? {
                if waiting.state == HoldingState::Waiting {
                    let mut path = path.clone();
                    path.push(format!("{} waits for {}", holder.name, waiting.resource));
                    open.push((waiting.resource, path));
                }
            }
        }
    }
    Ok(None)
}

pub(crate) fn renew(tx: &mut Tx<'_>, op: &Renew) -> Result<Renewed> {
    op.ttl_ms.map_or(Ok(()), |ttl| tx.check_ttl(ttl))?;
    let (resource, row) = current(tx, &op.resource, op.fence)?;
    let Some(row) = row else { return Err(fenced(tx, &resource, op.fence)?) };
    let Some(ttl_ms) = op.ttl_ms.or(row.ttl_ms) else {
        return Ok(Renewed { expires_in_ms: tx.actor()?.ttl_ms });
    };
    holding::save(
        tx,
        &LeaseRow {
            state: LeaseState::Held,
            ttl_ms: Some(ttl_ms),
            expires: Some(tx.now.after(ttl_ms)),
            ..row
        },
    )?;
    Ok(Renewed { expires_in_ms: ttl_ms })
}

/// The actor's unexpired grant of a resource with exactly this fence.
fn current(tx: &mut Tx<'_>, resource: &str, fence: Fence) -> Result<(Resource, Option<LeaseRow>)> {
    let resource = Resource::parse(resource)?;
    let actor = tx.actor()?.id.clone();
    let row = holding::own(tx, &resource, &actor)?;
    let current = |row: &LeaseRow| row.is_current(tx.now) || mutant("renewal_revives");
    let row = row.filter(|row| current(row) && row.fence == fence);
    Ok((resource, row))
}

pub(crate) fn release(tx: &mut Tx<'_>, op: &Release) -> Result<Released> {
    let resource = Resource::parse(&op.resource)?;
    let actor = tx.actor()?.id.clone();
    let holder = if mutant("release_by_anybody") { holder_of(tx, &resource)? } else { None };
    let holder = holder.as_ref().unwrap_or(&actor);
    let row = holding::own(tx, &resource, holder)?.filter(|row| row.fence == op.fence);
    match row {
        Some(row) if row.state == LeaseState::Released => Ok(Released { already: true }),
        Some(row) if row.is_current(tx.now) => {
            holding::log(tx, &row, "released")?;
            holding::save(tx, &LeaseRow { state: LeaseState::Released, expires: None, ..row })?;
            Ok(Released { already: false })
        }
        // A later grant or ticket has the row now, or nothing has; the log still tells.
        None if holding::was_released(tx, &resource, &actor, op.fence)? => {
            Ok(Released { already: true })
        }
        _ => Err(fenced(tx, &resource, op.fence)?),
    }
}

/// The planted bug: a fence is given back for whoever holds the resource.
fn holder_of(tx: &mut Tx<'_>, resource: &Resource) -> Result<Option<String>> {
    let (kind, name, _) = holding::key(resource);
    let rows = holding::around(tx, kind, name)?;
    Ok(rows.into_iter().find(|(row, _)| row.resource == *resource).map(|(row, _)| row.session))
}

pub(crate) fn check(tx: &mut Tx<'_>, op: &Check) -> Result<Checked> {
    let resource = Resource::parse(&op.resource)?;
    let (kind, name, _) = holding::key(&resource);
    let rows = holding::around(tx, kind, name)?;
    let found = rows.into_iter().find(|(row, holder)| {
        row.resource == resource
            && row.fence == op.fence
            && row.is_current(tx.now)
            && holder.effective(tx).is_live()
    });
    Ok(match found {
        Some((row, _)) => Checked {
            valid: true,
            expires_in_ms: row.expires.map(|expires| expires.remaining(tx.now)),
        },
        None => Checked { valid: false, expires_in_ms: None },
    })
}

pub(crate) fn admit(tx: &mut Tx<'_>, op: &Admit) -> Result<Admitted> {
    // One resource, one mark, however it is written.
    let resource = Resource::parse(&op.resource)?.to_string();
    let highest = mark(tx, "admitted", &resource)?;
    let stale = |highest: &i64| op.fence.0 < *highest && !mutant("admission_falls");
    if let Some(highest) = highest.filter(stale) {
        return Err(Error::new(
            Code::Fenced,
            format!(
                "fence {} of `{}` is older than {highest}, which was admitted",
                op.fence, op.resource
            ),
        )
        .detail("resource", &op.resource)
        .detail("fence", op.fence)
        .detail("highest", highest)
        .hint("stop this work; a later holder has been here"));
    }
    if highest != Some(op.fence.0) {
        set_mark(tx, "admitted", &resource, op.fence.0)?;
        let facts =
            Json::of(&json!({"resource": op.resource, "fence": op.fence, "before": highest}));
        tx.event("lease.admitted", &format!("lease:{}", op.resource), &facts)?;
    }
    Ok(Admitted { highest: op.fence })
}

pub(crate) fn break_grants(tx: &mut Tx<'_>, op: &Break) -> Result<Broken> {
    let resource = Resource::parse(&op.resource)?;
    let (kind, name, _) = holding::key(&resource);
    let rows = holding::around_settled(tx, kind, name)?;
    let held: Vec<_> = select(&rows, |row| row.resource == resource && row.is_current(tx.now));
    if held.is_empty() {
        return Err(Error::new(Code::NotFound, format!("nobody holds `{}`", op.resource)));
    }
    let (mut holders, mut free_in_ms) = (Vec::new(), 0);
    for (row, holder) in held {
        let facts = Json::of(
            &json!({"resource": op.resource, "session": row.session, "fence": row.fence, "reason": op.reason}),
        );
        tx.event("lease.broken", &holding::scope(&resource), &facts)?;
        free_in_ms = free_in_ms.max(row.lock_delay_ms);
        let cooled = tx.now.after(row.lock_delay_ms);
        holding::save(tx, &LeaseRow { state: LeaseState::Cooling, expires: Some(cooled), ..row })?;
        holders.push(holder.name);
    }
    Ok(Broken { holders, free_in_ms })
}

pub(crate) fn list(tx: &mut Tx<'_>, op: &ListLeases) -> Result<Holdings> {
    let mut holdings = holding::of_kind(tx, "lease")?;
    if let Some(pattern) = &op.pattern {
        holdings.retain(|holding| glob(pattern, &holding.resource));
    }
    Ok(Holdings { holdings })
}
