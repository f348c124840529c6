//! What rows and log must say of each other.

use std::collections::{BTreeMap, BTreeSet};

use cotenant_core::{
    Result,
    json::Json,
    render::counted,
    task::{
        OnDepFail, TaskState,
        rule::{Passage, passage},
    },
};

use super::{Finding, of_error};
use crate::{
    LocalStore,
    meta::{Intent, Meta},
    params,
    replay::Told,
    sql::{Row, Sql},
};

/// Events read at a time.
const PAGE: i64 = 5_000;

/// Looks for faults; each is a sentence.
type Check = fn(&mut dyn Sql) -> Result<Vec<String>>;

/// The invariants of the contract's section 15 that rows and log can show, on one snapshot.
pub(super) fn invariants(store: &LocalStore) -> Vec<Finding> {
    let checks: [(&str, Check); 12] = [
        ("fences", fences),
        ("holders", holders),
        ("slots", slots),
        ("data", data),
        ("holdings", holdings),
        ("sessions", sessions),
        ("tasks", tasks),
        ("offers", offers),
        ("messages", messages),
        ("progress", progress),
        ("instructions", instructions),
        ("thresholds", thresholds),
    ];
    let mut findings = Vec::new();
    let read = store.with_engine(|engine| {
        engine.read(&mut |sql| {
            findings.clear();
            for (name, check) in checks {
                findings.push(finding(name, check(sql)));
            }
            Ok(())
        })
    });
    if let Err(error) = read {
        findings.push(of_error("invariants", &error));
    }
    findings
}

fn finding(name: &str, faults: Result<Vec<String>>) -> Finding {
    match faults {
        Ok(faults) if faults.is_empty() => Finding::good(name, "as the log says"),
        Ok(faults) => {
            let shown = faults.iter().take(5).cloned().collect::<Vec<_>>().join("; ");
            Finding::bad(
                name,
                format!("{}: {shown}", counted(faults.len() as u64, "fault")),
                "please report this",
            )
        }
        Err(error) => of_error(name, &error),
    }
}

/// Reads the events of a query that takes the last one seen and how many to read, page by page.
fn fold(
    sql: &mut dyn Sql,
    query: &'static str,
    each: &mut dyn FnMut(i64, &mut Row) -> Result<()>,
) -> Result<()> {
    let mut last = 0;
    loop {
        let rows = sql.rows(query, params![last, PAGE])?;
        if rows.is_empty() {
            return Ok(());
        }
        for mut row in rows {
            last = row.int()?;
            each(last, &mut row)?;
        }
    }
}

/// Collects one text per row.
fn texts(sql: &mut dyn Sql, query: &'static str) -> Result<Vec<String>> {
    sql.rows(query, &[])?.into_iter().map(|mut row| row.text()).collect()
}

/// The facts of an event, if they are still there.
fn facts(payload: Option<String>) -> serde_json::Value {
    payload.and_then(|text| Json::stored(text).value().ok()).unwrap_or_default()
}

/// Every granted fence is greater than all before it.
fn fences(sql: &mut dyn Sql) -> Result<Vec<String>> {
    let (mut last, mut faults) = (-1, Vec::new());
    let query = "SELECT seq, payload FROM event WHERE seq > $1 AND kind IN ('lease.granted', \
         'claim.granted', 'lease.passed', 'claim.passed', 'lease.moved', 'claim.moved', 'task.taken', \
         'task.moved') ORDER BY seq LIMIT $2";
    fold(sql, query, &mut |seq, row| {
        if let Some(fence) = facts(row.optional_text()?)["fence"].as_i64() {
            if fence <= last {
                faults.push(format!("event {seq} granted fence {fence} after {last}"));
            }
            last = last.max(fence);
        }
        Ok(())
    })?;
    Ok(faults)
}

/// Nothing is held by, owned by or waited for by a session that is over.
fn holders(sql: &mut dyn Sql) -> Result<Vec<String>> {
    let mut faults = texts(
        sql,
        "SELECT l.kind || ' ' || l.name || ' is ' || l.state || ' by ' || s.name || ', which is ' || s.state \
         FROM lease l JOIN session s ON s.id = l.session \
         WHERE l.state IN ('held', 'waiting') AND s.state NOT IN ('active', 'silent')",
    )?;
    faults.extend(texts(
        sql,
        "SELECT 'key ' || d.scope || ' ' || d.key || ' outlived its session ' || s.name \
         FROM data d JOIN session s ON s.id = d.owner WHERE s.state NOT IN ('active', 'silent')",
    )?);
    faults.extend(texts(
        sql,
        "SELECT 'task ' || CAST(t.id AS TEXT) || ' is running by ' || s.name || ', which is ' || s.state \
         FROM task t JOIN session s ON s.id = t.session \
         WHERE t.state = 'running' AND s.state NOT IN ('active', 'silent')",
    )?);
    faults.extend(texts(
        sql,
        "SELECT 'a row of ' || l.name || ' has no session' FROM lease l \
         WHERE NOT EXISTS (SELECT 1 FROM session s WHERE s.id = l.session)",
    )?);
    faults.extend(texts(
        sql,
        "SELECT s.name || ' waits at barrier ' || b.name || ' and is ' || s.state \
         FROM barrier b JOIN session s ON s.id = b.session \
         WHERE b.state = 'waiting' AND s.state NOT IN ('active', 'silent')",
    )?);
    Ok(faults)
}

/// At most `slots` grants of a resource.
fn slots(sql: &mut dyn Sql) -> Result<Vec<String>> {
    let mut faults = texts(
        sql,
        "SELECT name || ' is held ' || COUNT(*) || ' times with ' || MIN(slots) || ' slots' FROM lease \
         WHERE kind = 'lease' AND state = 'held' GROUP BY name HAVING COUNT(*) > MIN(slots)",
    )?;
    faults.extend(texts(
        sql,
        "SELECT kind || ' ' || name || ' is claimed by ' || COUNT(*) || ' sessions' FROM lease \
         WHERE kind <> 'lease' AND state IN ('held', 'cooling') AND mode = 'exclusive' \
         GROUP BY kind, name, tree HAVING COUNT(*) > 1",
    )?);
    Ok(faults)
}

fn is_complete(sql: &mut dyn Sql) -> Result<bool> {
    Ok(Meta::load(sql, Intent::Inspect)?.pruned_seq == 0)
}

/// Keys that are read at once; a value may be a megabyte.
const VALUES: i64 = 64;
const SELECT_VALUES: &str = "SELECT scope, key, rev, value FROM data WHERE (scope, key) > ($1, $2) \
     ORDER BY scope, key LIMIT $3";

/// Every key is as its events say, and every event of a key left its trace.
fn data(sql: &mut dyn Sql) -> Result<Vec<String>> {
    let complete = is_complete(sql)?;
    let mut expected: BTreeMap<(String, String), (i64, Told)> = BTreeMap::new();
    let query = "SELECT seq, kind, scope, payload FROM event WHERE seq > $1 \
         AND kind LIKE 'data.%' ORDER BY seq LIMIT $2";
    fold(sql, query, &mut |seq, row| {
        let (kind, scope) = (row.text()?, row.optional_text()?.unwrap_or_default());
        let facts = facts(row.optional_text()?);
        let Some(key) = facts["key"].as_str() else { return Ok(()) };
        let place = (scope, key.to_owned());
        if matches!(kind.as_str(), "data.put" | "data.updated") {
            let told = Told::after(expected.get(&place).map(|(_, told)| told), &facts);
            expected.insert(place, (seq, told));
        } else {
            expected.remove(&place);
        }
        Ok(())
    })?;
    let mut faults = Vec::new();
    let mut last = (String::new(), String::new());
    loop {
        let rows = sql.rows(SELECT_VALUES, params![&last.0, &last.1, VALUES])?;
        if rows.is_empty() {
            break;
        }
        for mut row in rows {
            let place = (row.text()?, row.text()?);
            let (rev, value) = (row.int()?, row.text()?);
            let name = format!("{} {}", place.0, place.1);
            match expected.remove(&place) {
                Some((seq, told)) if seq == rev && told.agrees_with(&value) => {}
                Some((seq, _)) if seq == rev => {
                    faults.push(format!("{name} is not what event {seq} wrote"));
                }
                Some((seq, _)) => faults.push(format!("{name} has rev {rev}, the log says {seq}")),
                None if complete => {
                    faults.push(format!("{name} has rev {rev}, the log says nothing"));
                }
                None => {}
            }
            last = place;
        }
    }
    faults.extend(
        expected
            .into_iter()
            .map(|((scope, key), (seq, _))| format!("{scope} {key} is gone, event {seq} wrote it")),
    );
    Ok(faults)
}

/// Every grant and claim is as its events say.
fn holdings(sql: &mut dyn Sql) -> Result<Vec<String>> {
    let complete = is_complete(sql)?;
    let mut expected: BTreeSet<i64> = BTreeSet::new();
    let query = "SELECT seq, kind, payload FROM event WHERE seq > $1 \
         AND (kind LIKE 'lease.%' OR kind LIKE 'claim.%') ORDER BY seq LIMIT $2";
    fold(sql, query, &mut |_, row| {
        let kind = row.text()?;
        let facts = facts(row.optional_text()?);
        let Some(fence) = facts["fence"].as_i64() else { return Ok(()) };
        match kind.rsplit_once('.').map_or("", |(_, what)| what) {
            "granted" | "passed" => {
                expected.insert(fence);
            }
            "moved" => {
                for void in ["before", "replaces"] {
                    expected.remove(&facts[void].as_i64().unwrap_or(-1));
                }
                expected.insert(fence);
            }
            "released" | "expired" | "lost" | "broken" => {
                expected.remove(&fence);
            }
            _ => {}
        }
        Ok(())
    })?;
    let mut faults = Vec::new();
    for mut row in sql.rows("SELECT kind, name, fence FROM lease WHERE state = 'held'", &[])? {
        let (kind, name, fence) = (row.text()?, row.text()?, row.int()?);
        if !expected.remove(&fence) && complete {
            faults.push(format!("{kind} {name} is held with fence {fence}, the log says nothing"));
        }
    }
    faults.extend(
        expected.into_iter().map(|fence| format!("fence {fence} was granted and nobody holds it")),
    );
    Ok(faults)
}

/// Every session that signed on is there, unless it was forgotten, and nobody else.
fn sessions(sql: &mut dyn Sql) -> Result<Vec<String>> {
    let complete = is_complete(sql)?;
    let mut expected: BTreeSet<String> = BTreeSet::new();
    let mut forgot_somebody = false;
    let query = "SELECT seq, kind, session, payload FROM event WHERE seq > $1 \
         AND kind IN ('session.on', 'session.forgotten') ORDER BY seq LIMIT $2";
    fold(sql, query, &mut |_, row| {
        let (kind, session) = (row.text()?, row.text()?);
        if kind == "session.on" {
            expected.insert(session);
        } else if let Some(session) = facts(row.optional_text()?)["session"].as_str() {
            expected.remove(session);
        } else {
            // Who that was has been erased.
            forgot_somebody = true;
        }
        Ok(())
    })?;
    let mut faults = Vec::new();
    for session in texts(sql, "SELECT id FROM session ORDER BY id")? {
        if !expected.remove(&session) && complete {
            faults.push(format!("session {session} is there, the log says nothing of it"));
        }
    }
    if !forgot_somebody {
        faults.extend(expected.into_iter().map(|session| format!("session {session} is gone")));
    }
    Ok(faults)
}

/// How a task stands: state, attempts, fence.
type Stand = (String, i64, Option<i64>);

const SELECT_TASKS: &str = "SELECT id, state, attempts, fence, max_attempts FROM task \
     WHERE id > $1 ORDER BY id LIMIT $2";
const SELECT_BLOCKED: &str = "SELECT id, needs, on_dep_fail FROM task \
     WHERE state = 'blocked' AND id > $1 ORDER BY id LIMIT $2";
const SELECT_WITHOUT_TIMER: &str = "SELECT 'task ' || CAST(t.id AS TEXT) || ' is ' || t.state || ' without a timer' \
     FROM task t WHERE t.state IN ('running', 'failed', 'delayed') AND NOT EXISTS \
     (SELECT 1 FROM timer w WHERE w.tick = COALESCE(t.due_tick, 4503599627370496 + t.not_before_ms) \
     AND w.kind = 'task' AND w.id = CAST(t.id AS TEXT))";

/// Every task is as the last of its events says, within its attempts, and nobody waits for what is done.
fn tasks(sql: &mut dyn Sql) -> Result<Vec<String>> {
    let complete = is_complete(sql)?;
    let mut expected: BTreeMap<i64, Stand> = BTreeMap::new();
    let query = "SELECT seq, payload FROM event WHERE seq > $1 AND kind LIKE 'task.%' \
         ORDER BY seq LIMIT $2";
    fold(sql, query, &mut |_, row| {
        let facts = facts(row.optional_text()?);
        if let (Some(task), Some(state), Some(attempts)) =
            (facts["task"].as_i64(), facts["state"].as_str(), facts["attempts"].as_i64())
        {
            expected.insert(task, (state.to_owned(), attempts, facts["fence"].as_i64()));
        }
        Ok(())
    })?;
    let mut states: BTreeMap<i64, TaskState> = BTreeMap::new();
    let mut faults = Vec::new();
    fold(sql, SELECT_TASKS, &mut |id, row| {
        let stand: Stand = (row.text()?, row.int()?, row.optional_int()?);
        let most = row.int()?;
        states.extend(TaskState::of(&stand.0).map(|state| (id, state)));
        if stand.1 > most {
            faults
                .push(format!("task {id} was tried {} times, at most {most} are allowed", stand.1));
        }
        match expected.remove(&id) {
            Some(told) if told == stand => {}
            Some(told) => faults.push(format!("task {id} is {stand:?}, the log says {told:?}")),
            None if complete => faults.push(format!("task {id} is there, the log says nothing")),
            None => {}
        }
        Ok(())
    })?;
    faults.extend(
        expected.into_keys().map(|id| format!("task {id} is gone, the log says it is there")),
    );
    fold(sql, SELECT_BLOCKED, &mut |id, row| {
        let (needs, policy) = (row.text()?, OnDepFail::of(&row.text()?).unwrap_or_default());
        let needs: Vec<i64> = serde_json::from_str(&needs).unwrap_or_default();
        let opens = |needed: &i64| {
            states.get(needed).is_none_or(|state| passage(*state, policy) == Passage::Open)
        };
        if needs.iter().all(opens) {
            faults.push(format!("task {id} is blocked by nothing"));
        }
        Ok(())
    })?;
    faults.extend(texts(sql, SELECT_WITHOUT_TIMER)?);
    Ok(faults)
}

/// Every offer stands as its events say, and left `open` once.
fn offers(sql: &mut dyn Sql) -> Result<Vec<String>> {
    let complete = is_complete(sql)?;
    let mut expected: BTreeMap<i64, &'static str> = BTreeMap::new();
    let mut faults = Vec::new();
    let query = "SELECT seq, kind, payload FROM event WHERE seq > $1 \
         AND kind LIKE 'handoff.%' ORDER BY seq LIMIT $2";
    fold(sql, query, &mut |seq, row| {
        let (kind, facts) = (row.text()?, facts(row.optional_text()?));
        let state = match kind.as_str() {
            "handoff.offered" => {
                expected.insert(seq, "open");
                return Ok(());
            }
            "handoff.accepted" => "accepted",
            "handoff.declined" => "declined",
            "handoff.withdrawn" => "withdrawn",
            "handoff.expired" => "expired",
            _ => return Ok(()),
        };
        let Some(offer) = facts["offer"].as_i64() else { return Ok(()) };
        match expected.insert(offer, state) {
            None | Some("open") => {}
            Some(before) => faults.push(format!("offer {offer} was {before}, then {state}")),
        }
        Ok(())
    })?;
    for mut row in sql.rows("SELECT id, state FROM offer WHERE state <> 'draft'", &[])? {
        let (id, state) = (row.int()?, row.text()?);
        match expected.remove(&id) {
            Some(told) if told == state => {}
            Some(told) => faults.push(format!("offer {id} is {state}, the log says {told}")),
            None if complete => faults.push(format!("offer {id} is {state}, the log says nothing")),
            None => {}
        }
    }
    // A closed one is forgotten after some days.
    let open = expected.into_iter().filter(|(_, told)| *told == "open");
    faults.extend(open.map(|(id, _)| format!("offer {id} is gone, the log says that it is open")));
    Ok(faults)
}

/// Every message that was handed out had been sent, and is not waiting to be handed out again.
fn messages(sql: &mut dyn Sql) -> Result<Vec<String>> {
    let mut read: BTreeSet<(String, i64)> = BTreeSet::new();
    let mut faults = Vec::new();
    let query = "SELECT seq, session, payload FROM event WHERE seq > $1 \
         AND kind = 'message.read' ORDER BY seq LIMIT $2";
    fold(sql, query, &mut |seq, row| {
        let (session, facts) = (row.text()?, facts(row.optional_text()?));
        for id in
            facts["messages"].as_array().into_iter().flatten().filter_map(serde_json::Value::as_i64)
        {
            if !read.insert((session.clone(), id)) {
                faults.push(format!("event {seq} handed message {id} out a second time"));
            }
        }
        Ok(())
    })?;
    for mut row in sql.rows("SELECT recipient, id FROM message WHERE state = 'unread'", &[])? {
        let (recipient, id) = (row.text()?, row.int()?);
        if read.contains(&(recipient, id)) {
            faults.push(format!("message {id} was handed out and is unread"));
        }
    }
    Ok(faults)
}

/// Every subject is as far as its last event says.
fn progress(sql: &mut dyn Sql) -> Result<Vec<String>> {
    let complete = is_complete(sql)?;
    let mut expected: BTreeMap<String, (i64, Option<i64>)> = BTreeMap::new();
    let query = "SELECT seq, scope, payload FROM event WHERE seq > $1 \
         AND kind = 'progress.set' ORDER BY seq LIMIT $2";
    fold(sql, query, &mut |seq, row| {
        let subject = row.text()?;
        expected.insert(subject, (seq, facts(row.optional_text()?)["percent"].as_i64()));
        Ok(())
    })?;
    let mut faults = Vec::new();
    for mut row in sql.rows("SELECT subject, seq, percent FROM progress", &[])? {
        let (subject, seq, percent) = (row.text()?, row.int()?, row.int()?);
        match expected.remove(&subject) {
            Some((told, is)) if told == seq && is.is_none_or(|is| is == percent) => {}
            Some((told, _)) => {
                faults.push(format!("progress of {subject} is not as event {told} says"));
            }
            None if complete => faults.push(format!("progress of {subject} has no event")),
            None => {}
        }
    }
    faults.extend(expected.into_keys().map(|subject| format!("progress of {subject} is gone")));
    Ok(faults)
}

/// What the log says of an instruction.
#[derive(Default)]
struct Entry {
    text: Option<String>,
    superseded_by: Option<i64>,
    approved: bool,
    revoked: bool,
}

const SELECT_INSTRUCTIONS: &str = "SELECT id, text, superseded_by, \
     CASE WHEN approved_by IS NULL THEN 0 ELSE 1 END, CASE WHEN revoked_by IS NULL THEN 0 ELSE 1 END \
     FROM instruction WHERE id > $1 ORDER BY id LIMIT $2";

/// Every instruction is as its events say, and none is gone.
fn instructions(sql: &mut dyn Sql) -> Result<Vec<String>> {
    let complete = is_complete(sql)?;
    let mut expected: BTreeMap<i64, Entry> = BTreeMap::new();
    let query = "SELECT seq, kind, payload FROM event WHERE seq > $1 \
         AND kind LIKE 'instruction.%' ORDER BY seq LIMIT $2";
    fold(sql, query, &mut |seq, row| {
        let kind = row.text()?;
        let facts = facts(row.optional_text()?);
        let about = facts["id"].as_i64();
        match kind.as_str() {
            "instruction.added" => {
                expected.entry(seq).or_default().text = facts["text"].as_str().map(str::to_owned);
                if let Some(before) = facts["supersedes"].as_i64() {
                    expected.entry(before).or_default().superseded_by.get_or_insert(seq);
                }
            }
            "instruction.approved" => {
                expected.entry(about.unwrap_or(0)).or_default().approved = true;
            }
            "instruction.revoked" => expected.entry(about.unwrap_or(0)).or_default().revoked = true,
            _ => {}
        }
        Ok(())
    })?;
    let mut faults = Vec::new();
    fold(sql, SELECT_INSTRUCTIONS, &mut |id, row| {
        let (text, superseded_by) = (row.text()?, row.optional_int()?);
        let (approved, revoked) = (row.int()? != 0, row.int()? != 0);
        match expected.remove(&id) {
            Some(entry) => {
                if entry.text.is_some_and(|told| told != text) {
                    faults.push(format!("instruction {id} is not what its event added"));
                }
                if complete
                    && (entry.superseded_by, entry.approved, entry.revoked)
                        != (superseded_by, approved, revoked)
                {
                    faults.push(format!("instruction {id} does not stand as the log says"));
                }
            }
            None if complete => faults.push(format!("the log says nothing of instruction {id}")),
            None => {}
        }
        Ok(())
    })?;
    faults.extend(expected.into_keys().map(|id| format!("instruction {id} is gone")));
    Ok(faults)
}

/// Every threshold that a session has crossed has one event, and the other way round.
fn thresholds(sql: &mut dyn Sql) -> Result<Vec<String>> {
    let complete = is_complete(sql)?;
    let mut events: BTreeSet<i64> = BTreeSet::new();
    let query = "SELECT seq FROM event WHERE seq > $1 AND kind = 'budget.threshold' \
         ORDER BY seq LIMIT $2";
    fold(sql, query, &mut |seq, _| {
        events.insert(seq);
        Ok(())
    })?;
    let mut faults = Vec::new();
    for mut row in sql.rows("SELECT name, value FROM mark WHERE kind = 'threshold'", &[])? {
        let (name, seq) = (row.text()?, row.int()?);
        if !events.remove(&seq) && complete {
            faults.push(format!("threshold {name} has no event"));
        }
    }
    faults.extend(events.into_iter().map(|seq| format!("event {seq} crossed no threshold")));
    Ok(faults)
}
