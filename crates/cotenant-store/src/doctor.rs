//! The doctor: settles what has expired, checks what must hold, and says what to do.
//!
//! Safe at any time, and for any number at once. `deep` also replays the log and compares it with
//! the rows whose history is complete.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use cotenant_core::{Code, Error, Result, json::Json, store::Store};
use rusqlite::Connection;
use serde::Serialize;

use crate::{
    IfMissing, LocalStore, admin,
    draft::{self, Draft},
    gate,
    place::{Found, look},
    replay::Told,
    sqlite::{self, Sqlite},
};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// As it should be.
    Good,
    /// Worth knowing.
    Note,
    /// Something must be done.
    Bad,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: String,
    /// How it is.
    pub severity: Severity,
    /// What was found.
    pub found: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Finding {
    fn good(check: &str, found: impl Into<String>) -> Self {
        Self { check: check.into(), severity: Severity::Good, found: found.into(), hint: None }
    }

    fn bad(check: &str, found: impl Into<String>, hint: &str) -> Self {
        let (check, found) = (check.to_owned(), found.into());
        Self { check, severity: Severity::Bad, found, hint: Some(hint.to_owned()) }
    }
}

/// Looks at a store.
pub fn doctor(file: &Path, deep: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let path = match look(file) {
        Ok(Found::Store(path)) => path,
        Ok(Found::Nothing) => {
            findings.push(Finding::bad(
                "store",
                format!("there is none at `{}`", file.display()),
                "make one with `cotenant init`",
            ));
            findings.extend(drafts(file));
            return findings;
        }
        Err(error) => {
            findings.push(of_error("store", &error));
            findings.extend(drafts(file));
            return findings;
        }
    };
    findings.push(Finding::good("store", path.display().to_string()));
    findings.extend(drafts(&path));
    findings.extend(modes(&path));
    findings.push(writable(&path));
    findings.push(writer(&path));
    match settle(&path) {
        Ok(()) => findings.push(Finding::good("expired", "settled")),
        Err(error) => findings.push(of_error("expired", &error)),
    }
    match Sqlite::open(&path).and_then(|engine| {
        let checked = admin::check_structure(engine.connection());
        checked.map(|()| engine)
    }) {
        Ok(engine) => {
            findings.push(Finding::good("structure", "sound"));
            if deep {
                findings.extend(invariants(engine.connection()));
            }
        }
        Err(error) => findings.push(of_error("structure", &error)),
    }
    findings.push(chain(&path));
    findings
}

/// Removes what makers of the store left behind when they were killed. Answers what became of it.
pub fn fix(file: &Path) -> Vec<Finding> {
    let path = match look(file) {
        Ok(Found::Store(path)) => path,
        _ => file.to_path_buf(),
    };
    let given_up = draft::find(&path).into_iter().filter(Draft::is_given_up);
    let findings = given_up.map(|draft| match draft.remove() {
        Ok(()) => Finding::good("drafts", format!("`{}` is removed", draft.path.display())),
        Err(cause) => Finding::bad(
            "drafts",
            format!("`{}` cannot be removed: {cause}", draft.path.display()),
            "check the mode and owner of the directory that it lies in",
        ),
    });
    findings.collect()
}

fn of_error(check: &str, error: &Error) -> Finding {
    let hint = error.hint.as_deref().unwrap_or("see the message");
    Finding::bad(check, format!("{}: {}", error.code, error.message), hint)
}

/// Directories 0700, files 0600.
fn modes(path: &Path) -> Vec<Finding> {
    fn walk(path: &Path, wrong: &mut Vec<String>) {
        let Ok(entries) = fs::read_dir(path) else { return };
        for entry in entries.flatten() {
            let Ok(found) = entry.metadata() else { continue };
            if found.mode() & 0o077 != 0 {
                wrong.push(format!("{} ({:o})", entry.path().display(), found.mode() & 0o777));
            }
            if found.is_dir() {
                walk(&entry.path(), wrong);
            }
        }
    }
    let mut wrong = Vec::new();
    walk(&crate::directory(path), &mut wrong);
    if wrong.is_empty() {
        return vec![Finding::good("modes", "only this user can read the store")];
    }
    let hint = "chmod -R go-rwx the store's directory";
    vec![Finding::bad("modes", format!("others can read {}", wrong.join(", ")), hint)]
}

/// What makers of the store left behind when they were killed, and what is being made.
fn drafts(path: &Path) -> Vec<Finding> {
    let (given_up, in_use): (Vec<_>, Vec<_>) =
        draft::find(path).into_iter().partition(Draft::is_given_up);
    if given_up.is_empty() && in_use.is_empty() {
        return vec![Finding::good("drafts", "none was left behind")];
    }
    let names = |drafts: &[Draft]| {
        let names = drafts.iter().map(|draft| format!("`{}`", draft.path.display()));
        names.collect::<Vec<_>>().join(", ")
    };
    let mut findings = Vec::new();
    if !in_use.is_empty() {
        findings.push(Finding::good("drafts", format!("somebody makes {}", names(&in_use))));
    }
    if !given_up.is_empty() {
        findings.push(Finding {
            check: "drafts".into(),
            severity: Severity::Note,
            found: format!("killed makers left behind {}", names(&given_up)),
            hint: Some("remove them with `cotenant doctor --fix`".into()),
        });
    }
    findings
}

/// Whether this user can write the database and the directory that its log lies in.
fn writable(path: &Path) -> Finding {
    use rustix::fs::{Access, access};
    let closed = [path.to_path_buf(), crate::directory(path)]
        .into_iter()
        .find(|path| access(path, Access::WRITE_OK).is_err());
    match closed {
        None => Finding::good("writable", "this user can write the store"),
        Some(path) => Finding::bad(
            "writable",
            format!("`{}` cannot be written", path.display()),
            "check its mode, its owner and whether its file system is mounted read-only",
        ),
    }
}

/// Who holds the write lock, if anybody does.
fn writer(path: &Path) -> Finding {
    let gate_path = crate::directory(path).join("gate");
    let mut gate = gate::Gate::new(gate_path.clone());
    match gate.take(crate::sql::Patience::Try) {
        Ok(_) => Finding::good("writer", "nobody holds the write lock"),
        Err(_) => {
            match gate::holder(&gate_path) {
                Some((pid, stat)) => {
                    let stopped = matches!(stat.state, 'T' | 't');
                    Finding {
                    check: "writer".into(),
                    severity: if stopped { Severity::Bad } else { Severity::Note },
                    found: format!(
                        "process {pid} (`{}`) holds the write lock{}",
                        cotenant_core::render::for_terminal(&stat.command),
                        if stopped { " and is stopped" } else { "" }
                    ),
                    hint: stopped.then(|| {
                        format!("continue it with `kill -CONT {pid}`, or end it with `kill -9 {pid}`")
                    }),
                }
                }
                None => Finding::good("writer", "the write lock changed hands just now"),
            }
        }
    }
}

/// Any write settles what has expired; declaring lost a session that does not exist is one.
fn settle(path: &Path) -> Result<()> {
    let store = LocalStore::open(path, IfMissing::Fail)?;
    if store.is_erasing()? {
        store.finish_erasing()?;
    }
    let store: &dyn Store = &store;
    let reap = cotenant_core::session::Reap {
        session: cotenant_core::name::SessionRef("doctor/nobody".to_owned()),
        force: false,
    };
    match store.call(&reap, |request| request) {
        Err(error) if error.code != Code::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn chain(path: &Path) -> Finding {
    let verified = LocalStore::open(path, IfMissing::Fail).and_then(|store| {
        let store: &dyn Store = &store;
        store.call(&cotenant_core::event::Verify::default(), |request| request)
    });
    match verified {
        Ok(verified) => match (verified.answer.first_bad, verified.answer.why) {
            (Some(seq), Some(why)) => Finding::bad(
                "log",
                format!("event {seq}: {why}"),
                "`cotenant restore BACKUP` goes back to a backup; keep this file as evidence",
            ),
            _ => Finding::good(
                "log",
                format!("{} events, the chain is whole", verified.answer.checked),
            ),
        },
        Err(error) => of_error("log", &error),
    }
}

/// Looks for faults; each is a sentence.
type Check = fn(&Connection) -> Result<Vec<String>>;

/// The invariants of the contract's section 15 that rows and log can show.
fn invariants(connection: &Connection) -> Vec<Finding> {
    let checks: [(&str, Check); 5] = [
        ("fences", fences),
        ("holders", holders),
        ("slots", slots),
        ("data", data),
        ("holdings", holdings),
    ];
    // One snapshot for all of them.
    let begun = connection.execute_batch("BEGIN");
    let findings = checks
        .iter()
        .map(|(name, check)| match check(connection) {
            Ok(faults) if faults.is_empty() => Finding::good(name, "as the log says"),
            Ok(faults) => {
                let shown = faults.iter().take(5).cloned().collect::<Vec<_>>().join("; ");
                Finding::bad(
                    name,
                    format!("{} faults: {shown}", faults.len()),
                    "please report this",
                )
            }
            Err(error) => of_error(name, &error),
        })
        .collect();
    if begun.is_ok() {
        let _ = connection.execute_batch("COMMIT");
    }
    findings
}

/// Runs a query and folds its rows.
fn fold(
    connection: &Connection,
    sql: &str,
    each: &mut dyn FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<()>,
) -> Result<()> {
    let mut statement = connection.prepare(sql).map_err(sqlite::error)?;
    let mut rows = statement.query([]).map_err(sqlite::error)?;
    while let Some(row) = rows.next().map_err(sqlite::error)? {
        each(row).map_err(sqlite::error)?;
    }
    Ok(())
}

/// Collects one text per row.
fn texts(connection: &Connection, sql: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    fold(connection, sql, &mut |row| {
        found.push(row.get(0)?);
        Ok(())
    })?;
    Ok(found)
}

/// The facts of an event, if they are still there.
fn facts(payload: Option<String>) -> serde_json::Value {
    payload.and_then(|text| Json::stored(text).value().ok()).unwrap_or_default()
}

/// Every granted fence is greater than all before it.
fn fences(connection: &Connection) -> Result<Vec<String>> {
    let (mut last, mut faults) = (-1, Vec::new());
    let sql = "SELECT seq, payload FROM event WHERE kind IN ('lease.granted', 'claim.granted', \
         'lease.passed', 'claim.passed') ORDER BY seq";
    fold(connection, sql, &mut |row| {
        let seq: i64 = row.get(0)?;
        if let Some(fence) = facts(row.get(1)?)["fence"].as_i64() {
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
fn holders(connection: &Connection) -> Result<Vec<String>> {
    let mut faults = texts(
        connection,
        "SELECT l.kind || ' ' || l.name || ' is ' || l.state || ' by ' || s.name || ', which is ' || s.state \
         FROM lease l JOIN session s ON s.id = l.session \
         WHERE l.state IN ('held', 'waiting') AND s.state NOT IN ('active', 'silent')",
    )?;
    faults.extend(texts(
        connection,
        "SELECT 'key ' || d.scope || ' ' || d.key || ' outlived its session ' || s.name \
         FROM data d JOIN session s ON s.id = d.owner WHERE s.state NOT IN ('active', 'silent')",
    )?);
    faults.extend(texts(
        connection,
        "SELECT 'a row of ' || l.name || ' has no session' FROM lease l \
         WHERE NOT EXISTS (SELECT 1 FROM session s WHERE s.id = l.session)",
    )?);
    Ok(faults)
}

/// At most `slots` grants of a resource.
fn slots(connection: &Connection) -> Result<Vec<String>> {
    let mut faults = texts(
        connection,
        "SELECT name || ' is held ' || COUNT(*) || ' times with ' || MIN(slots) || ' slots' FROM lease \
         WHERE kind = 'lease' AND state = 'held' GROUP BY name HAVING COUNT(*) > MIN(slots)",
    )?;
    faults.extend(texts(
        connection,
        "SELECT kind || ' ' || name || ' is claimed by ' || COUNT(*) || ' sessions' FROM lease \
         WHERE kind <> 'lease' AND state IN ('held', 'cooling') AND mode = 'exclusive' \
         GROUP BY kind, name, tree HAVING COUNT(*) > 1",
    )?);
    Ok(faults)
}

fn pruned(connection: &Connection) -> Result<i64> {
    connection
        .query_row("SELECT pruned_seq FROM meta WHERE id = 1", [], |row| row.get(0))
        .map_err(sqlite::error)
}

/// Every key is as its events say, and every event of a key left its trace.
fn data(connection: &Connection) -> Result<Vec<String>> {
    let complete = pruned(connection)? == 0;
    let mut expected: BTreeMap<(String, String), (i64, Told)> = BTreeMap::new();
    let sql = "SELECT seq, kind, scope, payload FROM event WHERE kind LIKE 'data.%' ORDER BY seq";
    fold(connection, sql, &mut |row| {
        let (seq, kind, scope): (i64, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let facts = facts(row.get(3)?);
        let Some(key) = facts["key"].as_str() else { return Ok(()) };
        let place = (scope, key.to_owned());
        if matches!(kind.as_str(), "data.put" | "data.updated") {
            let before = expected.get(&place).map(|(_, told)| told);
            let told = Told::after(before, &facts);
            expected.insert(place, (seq, told));
        } else {
            expected.remove(&place);
        }
        Ok(())
    })?;
    let mut faults = Vec::new();
    fold(connection, "SELECT scope, key, rev, value FROM data", &mut |row| {
        let place: (String, String) = (row.get(0)?, row.get(1)?);
        let rev: i64 = row.get(2)?;
        match expected.remove(&place) {
            Some((seq, told)) if seq == rev => {
                let value: String = row.get(3)?;
                if !told.agrees_with(&value) {
                    faults.push(format!("{} {} is not what event {seq} wrote", place.0, place.1));
                }
            }
            Some((seq, _)) => {
                faults.push(format!("{} {} has rev {rev}, the log says {seq}", place.0, place.1));
            }
            None if complete => {
                faults.push(format!("{} {} has rev {rev}, the log says nothing", place.0, place.1));
            }
            None => {}
        }
        Ok(())
    })?;
    faults.extend(
        expected
            .into_iter()
            .map(|((scope, key), (seq, _))| format!("{scope} {key} is gone, event {seq} wrote it")),
    );
    Ok(faults)
}

/// Every grant and claim is as its events say.
fn holdings(connection: &Connection) -> Result<Vec<String>> {
    let complete = pruned(connection)? == 0;
    let mut expected: BTreeSet<i64> = BTreeSet::new();
    let sql = "SELECT kind, payload FROM event WHERE kind LIKE 'lease.%' OR kind LIKE 'claim.%' ORDER BY seq";
    fold(connection, sql, &mut |row| {
        let kind: String = row.get(0)?;
        let Some(fence) = facts(row.get(1)?)["fence"].as_i64() else { return Ok(()) };
        match kind.rsplit_once('.').map_or("", |(_, what)| what) {
            "granted" | "passed" => {
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
    fold(connection, "SELECT kind, name, fence FROM lease WHERE state = 'held'", &mut |row| {
        let (kind, name, fence): (String, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if !expected.remove(&fence) && complete {
            faults.push(format!("{kind} {name} is held with fence {fence}, the log says nothing"));
        }
        Ok(())
    })?;
    faults.extend(
        expected.into_iter().map(|fence| format!("fence {fence} was granted and nobody holds it")),
    );
    Ok(faults)
}
