//! Conventional keys as readable projections of the operations.
//!
//! Programs that keep sessions, claims and locks by hand do it in scopes and keys of fixed names. So
//! that they see what others do by operations, these keys can be read although nobody stored them.
//!
//! # Invariants
//! - What is stored wins: a projection is looked for only where nothing is stored.
//! - Only live sessions are seen holding something: what has ended, was lost or cools down tells nothing.
//!   Reports of progress and open offers outlive who made them, and are seen as long as they stand.
//! - Nothing is ever written here, and deleting such a key changes nothing.

use std::collections::BTreeSet;

use chrono::{DateTime, Local};
use cotenant_core::{
    Result,
    claim::{ItemKind, Mode},
    clock::parse_rfc3339,
    data::{Entry, Get, ListScopes, glob, glob_prefix},
    id::{MAX_INTEGER, Rev},
    json::Json,
    lease::Resource,
    name::NAME_BYTES_MAX,
    offer::HANDOFF_READY,
    session::State,
};
use serde_json::json;

use crate::{
    handoff,
    holding::{self, LeaseRow},
    progress,
    session::{self, SessionRow},
    testing::mutant,
    tx::Tx,
};

const SESSION: &str = "session:";
const ISSUE: &str = "issue:";
const LOCKS: &str = "locks:";

/// Keys that tell a time, in the zone of who reads them.
const TIMES: [&str; 4] = ["last_heartbeat", "claimed_at", "locked_at", "progress"];

/// What a conventional scope is about.
#[derive(Clone, Copy)]
enum Place<'a> {
    Session(&'a str),
    Issue(&'a str),
    Lock(&'a str),
}

impl<'a> Place<'a> {
    fn of(scope: &'a str) -> Option<Self> {
        if let Some(name) = scope.strip_prefix(SESSION) {
            Some(Self::Session(name))
        } else if let Some(name) = scope.strip_prefix(ISSUE) {
            Some(Self::Issue(name))
        } else {
            scope.strip_prefix(LOCKS).map(Self::Lock)
        }
    }

    /// The key that is there whenever any is.
    fn principal_key(self) -> &'static str {
        match self {
            Self::Session(_) => "status",
            Self::Issue(_) => "claimed_by",
            Self::Lock(_) => "locked_by",
        }
    }
}

/// What an operation says in the place of a key.
struct Fact {
    value: Json,
    /// The name of whose doing it is.
    writer: String,
    /// How far that one is trusted.
    trust: String,
    /// Whether that one holds something by it.
    is_held: bool,
    /// Wall time of that.
    at: String,
}

impl Fact {
    fn of(value: Json, holder: SessionRow, at_ms: i64) -> Self {
        let trust = trust(&holder);
        Self { value, writer: holder.name, trust, is_held: true, at: Tx::at(at_ms) }
    }
}

fn trust(session: &SessionRow) -> String {
    if session.kind == "human" { "human" } else { "agent" }.to_owned()
}

/// A key that nobody stored, if an operation answers for it.
pub(crate) fn entry(tx: &mut Tx<'_>, scope: &str, key: &str) -> Result<Option<Entry>> {
    let Some(fact) = find(tx, scope, key)? else { return Ok(None) };
    Ok(Some(Entry {
        scope: scope.to_owned(),
        key: key.to_owned(),
        value: fact.value,
        rev: Rev(0),
        ver: 0,
        writer: fact.writer,
        trust: fact.trust,
        at: fact.at,
        expires_in_ms: None,
        ephemeral: false,
        projected: true,
    }))
}

/// Who holds what a key tells of, or any key of a scope, without anybody having stored it.
pub(crate) fn holder(tx: &mut Tx<'_>, scope: &str, key: Option<&str>) -> Result<Option<String>> {
    let Some(place) = Place::of(scope) else { return Ok(None) };
    let fact = find(tx, scope, key.unwrap_or(place.principal_key()))?;
    Ok(fact.filter(|fact| fact.is_held).map(|fact| fact.writer))
}

/// Whether a read must be carried out by the process that asks, whose time zone it answers in.
pub(crate) fn is_of_reader(op: &Get) -> bool {
    TIMES.contains(&&*op.key) && Place::of(&op.scope).is_some()
}

/// The one place that knows which operation answers for which key.
fn find(tx: &mut Tx<'_>, scope: &str, key: &str) -> Result<Option<Fact>> {
    match Place::of(scope) {
        Some(Place::Session(name)) => of_session(tx, name, key),
        Some(Place::Issue(name)) => of_issue(tx, name, key),
        Some(Place::Lock(name)) => of_lock(tx, name, key),
        None => Ok(None),
    }
}

fn of_session(tx: &mut Tx<'_>, name: &str, key: &str) -> Result<Option<Fact>> {
    if !matches!(key, "status" | "current_issue" | "last_heartbeat") {
        return Ok(None);
    }
    let Some(row) = session::by_alias(tx, &session::name_key(name))? else { return Ok(None) };
    let heartbeat_ms = row.heartbeat_ms;
    if !is_seen(tx, &row) {
        let ready = key == "status" && has_left_an_offer(&row, &handoff::givers(tx)?);
        return Ok(ready.then(|| Fact {
            is_held: false,
            ..Fact::of(Json::of(&HANDOFF_READY), row, heartbeat_ms)
        }));
    }
    Ok(match key {
        "status" => Some(Fact::of(Json::of(&row.effective(tx).word()), row, heartbeat_ms)),
        "last_heartbeat" => Some(Fact::of(Json::of(&local_time(heartbeat_ms)), row, heartbeat_ms)),
        _ => {
            let claims = holding::held_by(tx, &row.id, ItemKind::Issue.word())?;
            let claims = claims.into_iter().filter(|claim| is_taken(tx, claim));
            let newest = claims.max_by_key(|claim| claim.fence);
            newest.map(|claim| {
                Fact::of(number_or_name(holding::key(&claim.resource).1), row, claim.since_ms)
            })
        }
    })
}

/// Whether a session signed off and left something to be taken over.
fn has_left_an_offer(row: &SessionRow, givers: &BTreeSet<String>) -> bool {
    row.state == State::Ended
        && row.outcome.as_deref() == Some(HANDOFF_READY)
        && (givers.contains(&row.id) || mutant("projects_what_was_taken_over"))
}

fn of_issue(tx: &mut Tx<'_>, name: &str, key: &str) -> Result<Option<Fact>> {
    match key {
        "claimed_by" | "claimed_at" | "current_session" => {
            let rows = holding::around(tx, ItemKind::Issue.word(), name)?;
            let claim =
                rows.into_iter().find(|(claim, holder)| is_taken(tx, claim) && is_seen(tx, holder));
            Ok(claim.map(|(claim, holder)| told(key == "claimed_at", &claim, holder)))
        }
        "progress" => progress_of(tx, name),
        "handoff" => handoff_of(tx, name),
        _ => Ok(None),
    }
}

/// The last report on an issue, as it is kept by hand.
fn progress_of(tx: &mut Tx<'_>, name: &str) -> Result<Option<Fact>> {
    let Some(report) = progress::of_subject(tx, &[ISSUE, name].concat())? else { return Ok(None) };
    let writer = session::find(tx, &report.session.0)?;
    let value = json!({
        "phase": report.phase,
        "percent": report.percent,
        "message": report.message,
        "updated_at": local_time(parse_rfc3339(&report.updated_at)?),
        "updated_by": report.updated_by,
    });
    Ok(Some(Fact {
        value: Json::of(&value),
        writer: report.updated_by,
        trust: writer.as_ref().map_or_else(|| "agent".to_owned(), trust),
        is_held: false,
        at: report.updated_at,
    }))
}

/// What the newest open offer of an issue says.
fn handoff_of(tx: &mut Tx<'_>, name: &str) -> Result<Option<Fact>> {
    let offers = handoff::of_issues(tx)?;
    let newest = offers.into_iter().find(|(issues, _)| issues.contains(name));
    Ok(newest.map(|(_, offer)| Fact {
        value: offer.payload,
        writer: offer.from_name,
        trust: offer.trust,
        is_held: false,
        at: offer.at,
    }))
}

fn of_lock(tx: &mut Tx<'_>, name: &str, key: &str) -> Result<Option<Fact>> {
    if !matches!(key, "locked_by" | "locked_at") {
        return Ok(None);
    }
    // A lease may be called by the whole name of its scope.
    for resource in [name, &[LOCKS, name].concat()] {
        let rows = holding::around(tx, "lease", resource)?;
        let grants = rows
            .into_iter()
            .filter(|(grant, holder)| grant.is_current(tx.now) && is_seen(tx, holder));
        if let Some((grant, holder)) = locking(grants.collect()) {
            return Ok(Some(told(key == "locked_at", &grant, holder)));
        }
    }
    Ok(None)
}

/// The first grant of a resource, if no slot of it is free.
fn locking(mut grants: Vec<(LeaseRow, SessionRow)>) -> Option<(LeaseRow, SessionRow)> {
    grants.sort_by_key(|(grant, _)| grant.fence);
    let slots = grants.first()?.0.slots;
    let full = grants.len() as i64 >= slots || mutant("projects_free_slots");
    full.then(|| grants.swap_remove(0))
}

/// By whom, or when, something was taken.
fn told(when: bool, row: &LeaseRow, holder: SessionRow) -> Fact {
    let since_ms = row.since_ms;
    let text = if when { local_time(since_ms) } else { holder.name.clone() };
    Fact::of(Json::of(&text), holder, since_ms)
}

/// Whether a claim keeps others out.
fn is_taken(tx: &Tx<'_>, claim: &LeaseRow) -> bool {
    claim.mode == Mode::Exclusive && claim.is_current(tx.now)
}

fn is_seen(tx: &Tx<'_>, holder: &SessionRow) -> bool {
    holder.effective(tx).is_live() || mutant("projects_the_dead")
}

/// The scopes behind one that match a pattern and hold a projected key, in order.
///
/// Only a pattern that begins like a convention asks for them: all others are about what is stored.
pub(crate) fn scopes(tx: &mut Tx<'_>, op: &ListScopes) -> Result<BTreeSet<String>> {
    let prefix = glob_prefix(&op.pattern);
    let found = if prefix.starts_with(SESSION) {
        sessions(tx)?
    } else if prefix.starts_with(ISSUE) {
        issues(tx)?
    } else if prefix.starts_with(LOCKS) {
        locks(tx)?
    } else {
        BTreeSet::new()
    };
    let after = op.after.as_deref().unwrap_or_default();
    let wanted = |scope: &String| {
        **scope > *after && scope.len() <= NAME_BYTES_MAX && glob(&op.pattern, scope)
    };
    Ok(found.into_iter().filter(wanted).collect())
}

fn sessions(tx: &mut Tx<'_>) -> Result<BTreeSet<String>> {
    let mut found = session::all_live(tx)?;
    let givers = handoff::givers(tx)?;
    for giver in &givers {
        let Some(row) = session::find(tx, giver)? else { continue };
        // Its name may be another session's by now.
        let named = session::by_alias(tx, &session::name_key(&row.name))?;
        if named.is_some_and(|named| named.id == row.id) && has_left_an_offer(&row, &givers) {
            found.push(row);
        }
    }
    Ok(found.into_iter().map(|row| [SESSION, &row.name].concat()).collect())
}

fn issues(tx: &mut Tx<'_>) -> Result<BTreeSet<String>> {
    let claims = taken(tx, ItemKind::Issue.word())?;
    let claims = claims.into_iter().filter(|(claim, _)| is_taken(tx, claim));
    let mut found: BTreeSet<String> =
        claims.map(|(claim, _)| holding::scope(&claim.resource)).collect();
    found.extend(progress::issues(tx)?);
    for (issues, _) in handoff::of_issues(tx)? {
        found.extend(issues.iter().map(|name| [ISSUE, name].concat()));
    }
    Ok(found)
}

/// What live sessions hold of a kind, by its name.
fn taken(tx: &mut Tx<'_>, kind: &'static str) -> Result<Vec<(LeaseRow, SessionRow)>> {
    let rows = holding::rows_of_kind(tx, kind)?;
    let held =
        |(row, holder): &(LeaseRow, SessionRow)| row.is_current(tx.now) && is_seen(tx, holder);
    Ok(rows.into_iter().filter(held).collect())
}

fn locks(tx: &mut Tx<'_>) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let grants = taken(tx, "lease")?;
    for of_one in grants.chunk_by(|(one, _), (next, _)| one.resource == next.resource) {
        let Some((grant, _)) = locking(of_one.to_vec()) else { continue };
        if let Resource::Lease(name) = grant.resource {
            found.insert(if name.starts_with(LOCKS) { name } else { [LOCKS, &name].concat() });
        }
    }
    Ok(found)
}

/// The number of an issue as a number, as it would be stored by hand; another name as text.
fn number_or_name(name: &str) -> Json {
    match name.parse::<i64>() {
        Ok(number) if (0..=MAX_INTEGER).contains(&number) && number.to_string() == name => {
            Json::of(&number)
        }
        _ => Json::of(&name),
    }
}

/// Wall time of this process's zone without naming it, as programs write and compare it by hand.
fn local_time(unix_ms: i64) -> String {
    let time = DateTime::from_timestamp_millis(unix_ms).unwrap_or_default();
    time.with_timezone(&Local).format("%Y-%m-%dT%H:%M:%S%.3f").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_an_issue_is_a_number() {
        for (name, value) in [
            ("15", "15"),
            ("0", "0"),
            ("007", "\"007\""),
            ("-1", "\"-1\""),
            ("+1", "\"+1\""),
            ("JIRA-15", "\"JIRA-15\""),
            ("9007199254740991", "9007199254740991"),
            ("9007199254740992", "\"9007199254740992\""),
        ] {
            assert_eq!(number_or_name(name).text(), value);
        }
    }

    #[test]
    fn only_times_depend_on_who_reads_them() {
        let reads =
            |scope: &str, key: &str| is_of_reader(&Get { scope: scope.into(), key: key.into() });
        assert!(reads("session:a", "last_heartbeat"));
        assert!(reads("issue:15", "claimed_at"));
        assert!(reads("locks:x", "locked_at"));
        assert!(reads("issue:15", "progress"));
        assert!(!reads("issue:15", "handoff"));
        assert!(!reads("issue:15", "claimed_by"));
        assert!(!reads("build", "claimed_at"));
    }
}
