//! How far pieces of work are.

use cotenant_core::{
    Result,
    claim::{Item, ItemKind, Mode},
    data::glob,
    id::{SessionId, Tick},
    json::Json,
    lease::Resource,
    progress::{Progress, ProgressSet, Progresses, SetProgress, ShowProgress},
};
use serde_json::json;

use crate::{
    holding::{self, LeaseState},
    params,
    sql::Row,
    testing::mutant,
    tx::Tx,
};

/// How many rows one statement reads.
const PAGE: i64 = 1_000;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT subject, phase, percent, message, session, name, at_ms, tick FROM progress ",
            $rest
        )
    };
}

const SELECT_ONE: &str = select!("WHERE subject = $1");
const SELECT_PAGE: &str = select!("WHERE subject > $1 ORDER BY subject LIMIT $2");
// `;` is the sign behind `:`.
const SELECT_ISSUES: &str =
    "SELECT subject FROM progress WHERE subject > 'issue:' AND subject < 'issue;'";
const SELECT_UNDONE: &str = select!("WHERE percent < 100 ORDER BY seq DESC LIMIT $1");
const SELECT_OWN: &str = select!("WHERE session = $1 AND percent < 100 ORDER BY seq DESC LIMIT $2");
const UPSERT: &str = "INSERT INTO progress (subject, phase, percent, message, session, name, at_ms, tick, seq) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (subject) DO UPDATE SET \
     phase = excluded.phase, percent = excluded.percent, message = excluded.message, \
     session = excluded.session, name = excluded.name, at_ms = excluded.at_ms, \
     tick = excluded.tick, seq = excluded.seq";

fn progress(row: &mut Row, now: Tick) -> Result<Progress> {
    Ok(Progress {
        subject: row.text()?,
        phase: row.text()?,
        percent: u8::try_from(row.int()?).unwrap_or(100),
        message: row.optional_text()?,
        session: SessionId(row.text()?),
        updated_by: row.text()?,
        updated_at: Tx::at(row.int()?),
        age_ms: Tick(row.int()?).age(now),
    })
}

pub(crate) fn set(tx: &mut Tx<'_>, op: &SetProgress) -> Result<ProgressSet> {
    let actor = tx.actor()?.clone();
    if !mutant("progress_of_a_held_item") {
        check_holder(tx, &op.subject, &actor.id)?;
    }
    let now = tx.now;
    let found = tx.sql.rows(SELECT_ONE, params![&op.subject])?.pop();
    let before = found.map(|mut row| progress(&mut row, now)).transpose()?;
    let before = before.filter(|_| !mutant("progress_overwritten_silently"));
    let facts = json!({
        "subject": op.subject, "phase": op.phase, "percent": op.percent, "message": op.message,
        "before": before.as_ref().map(|it| json!({
            "phase": it.phase, "percent": it.percent, "updated_by": it.updated_by, "session": it.session})),
    });
    let seq = tx.event("progress.set", &op.subject, &Json::of(&facts))?;
    let (now, wall_ms) = (tx.now.0, tx.wall_ms);
    tx.sql.run(
        UPSERT,
        params![
            &op.subject,
            &op.phase,
            i64::from(op.percent),
            op.message.as_ref(),
            &actor.id,
            &actor.name,
            wall_ms,
            now,
            seq.0,
        ],
    )?;
    Ok(ProgressSet { subject: op.subject.clone(), before })
}

/// Fails if another session has claimed the item that the subject is. A path has a tree, which a
/// subject has not, so it is nobody's.
fn check_holder(tx: &mut Tx<'_>, subject: &str, actor: &str) -> Result<()> {
    let Ok(item) = subject.parse::<Item>() else { return Ok(()) };
    if item.kind == ItemKind::Path {
        return Ok(());
    }
    let resource = Resource::Claim(item.clone());
    let mut rows = holding::around_settled(tx, item.kind.word(), &item.name)?;
    rows.retain(|(row, _)| {
        row.resource == resource
            && row.session != actor
            && row.mode == Mode::Exclusive
            && row.state == LeaseState::Held
    });
    if rows.is_empty() {
        return Ok(());
    }
    Err(holding::refusal(tx, &rows)
        .hint("its holder says how far it is; report on something of your own, or ask the holder"))
}

pub(crate) fn show(tx: &mut Tx<'_>, op: &ShowProgress) -> Result<Progresses> {
    let now = tx.now;
    let limit = op.limit as usize;
    let mut found: Vec<Progress> = Vec::new();
    let mut last = op.after.clone().unwrap_or_default();
    loop {
        let rows = tx.sql.rows(SELECT_PAGE, params![&last, PAGE])?;
        let full = rows.len() as i64 == PAGE;
        for mut row in rows {
            let row = progress(&mut row, now)?;
            last.clone_from(&row.subject);
            if op.pattern.as_ref().is_none_or(|pattern| glob(pattern, &row.subject)) {
                if found.len() == limit {
                    let next = found.last().map(|last| last.subject.clone());
                    return Ok(Progresses { progress: found, next });
                }
                found.push(row);
            }
        }
        if !full {
            return Ok(Progresses { progress: found, next: None });
        }
    }
}

/// The report on a subject.
pub(crate) fn of_subject(tx: &mut Tx<'_>, subject: &str) -> Result<Option<Progress>> {
    let now = tx.now;
    let found = tx.sql.rows(SELECT_ONE, params![subject])?.pop();
    found.map(|mut row| progress(&mut row, now)).transpose()
}

/// The subjects that are issues.
pub(crate) fn issues(tx: &mut Tx<'_>) -> Result<Vec<String>> {
    let rows = tx.sql.rows(SELECT_ISSUES, params![])?;
    rows.into_iter().map(|mut row| row.text()).collect()
}

/// The newest reports on what is not done.
pub(crate) fn undone(tx: &mut Tx<'_>, most: i64) -> Result<Vec<Progress>> {
    let now = tx.now;
    let rows = tx.sql.rows(SELECT_UNDONE, params![most])?;
    rows.into_iter().map(|mut row| progress(&mut row, now)).collect()
}

/// The newest reports of a session on what is not done.
pub(crate) fn of_session(tx: &mut Tx<'_>, session: &str, most: i64) -> Result<Vec<Progress>> {
    let now = tx.now;
    let rows = tx.sql.rows(SELECT_OWN, params![session, most])?;
    rows.into_iter().map(|mut row| progress(&mut row, now)).collect()
}
