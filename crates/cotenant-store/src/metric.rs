//! Metrics: report and show.
//!
//! What one source says of one conversation is one row, so that a report reads and writes one row and
//! sessions cannot meet in any. The thresholds that a session has crossed are marks. How much unfinished work
//! a session has is not kept: it is seen from the tasks when it is shown.

use std::collections::{BTreeMap, BTreeSet};

use cotenant_core::{
    Code, Error, Result,
    clock::rfc3339,
    id::Seq,
    json::Json,
    metric::{
        By, KEPT_MAX, Kept, Metrics, Numbers, ReportMetrics, Reported, SessionMetrics, ShowMetrics,
        Total, add,
        names::{DEPENDENCY_DEPTH, OPEN_TASKS},
    },
};
use serde_json::json;

use crate::{
    lease::{mark, set_mark},
    params,
    session::{self, SessionRow, session_columns},
    sql::{Row, corrupt},
    task::Unfinished,
    testing::mutant,
    tx::Tx,
};

/// The kind of mark that holds the event of a threshold that a session crossed.
const THRESHOLD: &str = "threshold";
const SELECT_ONE: &str = "SELECT kept FROM metric WHERE session = $1 AND native_id = $2 AND model = $3 \
     AND source = $4";
const UPSERT: &str = "INSERT INTO metric (session, native_id, model, source, kept, at_ms) \
     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (session, native_id, model, source) \
     DO UPDATE SET kept = excluded.kept, at_ms = excluded.at_ms";
const SELECT_OF_SESSION: &str =
    "SELECT native_id, model, kept, at_ms FROM metric WHERE session = $1 ORDER BY at_ms";
const SELECT_SESSIONS: &str = concat!(
    "SELECT ",
    session_columns!(),
    " FROM session s WHERE EXISTS (SELECT 1 FROM metric m WHERE m.session = s.id) ORDER BY s.id DESC"
);
const SELECT_CROSSED: &str =
    "SELECT name, value FROM mark WHERE kind = 'threshold' AND name > $1 AND name < $2";

fn kept(text: &str) -> Result<Kept> {
    serde_json::from_str(text)
        .map_err(|cause| corrupt("a session's metrics cannot be read").caused_by(cause))
}

pub(crate) fn report(tx: &mut Tx<'_>, op: &ReportMetrics) -> Result<Reported> {
    let actor = tx.actor()?.clone();
    let native = actor.native_id.clone().unwrap_or_default();
    let model = op.model.clone().unwrap_or_default();
    let owner = if mutant("sessions_share_metrics") { "" } else { &actor.id };
    let (wall, day) = (tx.wall_ms, rfc3339(tx.wall_ms));
    let found = tx.sql.rows(SELECT_ONE, params![owner, &native, &model, &op.source])?.pop();
    let mut row = match found {
        Some(mut row) => kept(&row.text()?)?,
        None => Kept::default(),
    };
    if mutant("counter_goes_down") {
        row.counters.clear();
    }
    if mutant("gauge_goes_back") {
        row.gauges.clear();
    }
    if row.take(op, &day[..10]) {
        if row.counters.len() + row.gauges.len() > KEPT_MAX {
            return Err(Error::new(
                Code::Quota,
                format!("source `{}` would keep more than {KEPT_MAX} numbers", op.source),
            )
            .hint("report fewer names"));
        }
        let text = Json::of(&row);
        tx.sql.run(UPSERT, params![owner, &native, &model, &op.source, text.text(), wall])?;
    }
    let mut crossed = Vec::new();
    for threshold in &op.thresholds {
        let counter = row.counters.get(&threshold.metric).copied();
        let number = counter.or_else(|| row.gauges.get(&threshold.metric).map(|gauge| gauge.1));
        let Some(number) = number.filter(|number| *number >= threshold.at_least) else { continue };
        let name = format!("{}/{}", actor.id, threshold.name);
        if mark(tx, THRESHOLD, &name)?.is_some() && !mutant("threshold_fires_twice") {
            continue;
        }
        let facts = json!({
            "threshold": threshold.name,
            "metric": threshold.metric,
            "value": number,
            "at_least": threshold.at_least,
        });
        let scope = format!("session:{}", actor.name);
        let seq = tx.event("budget.threshold", &scope, &Json::of(&facts))?;
        set_mark(tx, THRESHOLD, &name, seq.0)?;
        crossed.push(threshold.name.clone());
    }
    Ok(Reported { crossed, expires_in_ms: actor.ttl_ms })
}

/// What one source says of one conversation with one model.
struct MetricRow {
    native_id: String,
    model: String,
    kept: Kept,
}

fn metric(mut row: Row) -> Result<MetricRow> {
    Ok(MetricRow { native_id: row.text()?, model: row.text()?, kept: kept(&row.text()?)? })
}

pub(crate) fn show(tx: &mut Tx<'_>, op: &ShowMetrics) -> Result<Metrics> {
    let mut sessions: Vec<SessionRow> = if let Some(reference) = &op.session {
        vec![session::require(tx, reference)?]
    } else {
        let rows = tx.sql.rows(SELECT_SESSIONS, &[])?;
        rows.into_iter().map(|mut row| session::session(&mut row)).collect::<Result<_>>()?
    };
    if op.session.is_none() && !op.all {
        sessions.retain(|row| row.effective(tx).is_live());
    }
    let mut shown = Vec::with_capacity(sessions.len());
    let mut groups: BTreeMap<String, (BTreeSet<String>, Numbers)> = BTreeMap::new();
    let mut unfinished = Unfinished::look(tx)?;
    for session in sessions {
        let owner = if mutant("sessions_share_metrics") { "" } else { &session.id };
        let rows = tx.sql.rows(SELECT_OF_SESSION, params![owner])?;
        let rows = rows.into_iter().map(metric).collect::<Result<Vec<_>>>()?;
        for (of, numbers) in op.by.iter().flat_map(|by| shares(*by, &session, &rows)) {
            let (members, sum) = groups.entry(of).or_default();
            members.insert(session.id.clone());
            add(sum, &numbers);
        }
        let mut view = view(tx, &session, &rows)?;
        let (open_tasks, depth) = unfinished.of(tx, &session)?;
        // What somebody counts otherwise and reports stands.
        for (name, number) in [(OPEN_TASKS, open_tasks), (DEPENDENCY_DEPTH, depth)] {
            if number > 0 {
                view.gauges.entry(name.to_owned()).or_insert(number);
            }
        }
        shown.push(view);
    }
    let total = |(of, (members, counters)): (String, (BTreeSet<String>, Numbers))| Total {
        of,
        sessions: members.len() as u64,
        counters,
    };
    Ok(Metrics { sessions: shown, totals: groups.into_iter().map(total).collect() })
}

/// What a session adds to which totals.
fn shares(by: By, session: &SessionRow, rows: &[MetricRow]) -> Vec<(String, Numbers)> {
    let all = |of: &str| {
        rows.iter().map(|row| (of.to_owned(), row.kept.counters.clone())).collect::<Vec<_>>()
    };
    match by {
        By::User => all(&session.user),
        By::Model => {
            rows.iter().map(|row| (row.model.clone(), row.kept.counters.clone())).collect()
        }
        By::Day => rows
            .iter()
            .flat_map(|row| row.kept.by_day())
            .map(|(day, numbers)| (day.to_owned(), numbers))
            .collect(),
        By::Label => {
            let labels: Vec<String> = serde_json::from_str(&session.labels).unwrap_or_default();
            if labels.is_empty() { all("") } else { labels.iter().flat_map(|it| all(it)).collect() }
        }
    }
}

/// A session by itself. The rows come in the order in which they were written.
fn view(tx: &mut Tx<'_>, session: &SessionRow, rows: &[MetricRow]) -> Result<SessionMetrics> {
    let mut view = SessionMetrics {
        session: session.id.clone(),
        name: session.name.clone(),
        user: session.user.clone(),
        since: Tx::at(session.since_ms),
        ..SessionMetrics::default()
    };
    let present = session.native_id.clone().unwrap_or_default();
    for row in rows {
        add(&mut view.counters, &row.kept.counters);
        if !row.model.is_empty() {
            view.model = Some(row.model.clone());
        }
        if row.native_id == present {
            add(&mut view.conversation, &row.kept.counters);
            let gauges = row.kept.gauges.iter().map(|(name, (_, number))| (name.clone(), *number));
            view.gauges.extend(gauges);
        }
    }
    let (first, end) = (format!("{}/", session.id), format!("{}0", session.id));
    for mut row in tx.sql.rows(SELECT_CROSSED, params![&first, &end])? {
        let (name, seq) = (row.text()?, row.int()?);
        view.crossed.insert(name[first.len()..].to_owned(), Seq(seq));
    }
    Ok(view)
}
