//! Backup and restore.
//!
//! A backup is a whole, checked database under its final name, or nothing. A restore replaces the
//! content of the store in one transaction, so that processes which have it open see either the old
//! store or the new one; the old content is kept in a file beside it.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use cotenant_core::{Code, Error, Result, event::hex, process::Processes, render::counted_are};
use rusqlite::{Connection, OpenFlags, backup::Backup};
use serde_json::json;

use crate::{
    IfMissing, LocalStore,
    create::{failed, put_without_replacing, remove_database, sync_directory, with_ending},
    draft,
    event::Chain,
    host::LocalProcesses,
    meta::{Intent, Meta},
    place::{Found, directory, look},
    session,
    sql::{Clock as _, Engine as _, Finish, Patience},
    sqlite::{self, BootClock, Sqlite, Statements},
    testing::{failpoint, mutant},
    tx::{Tx, random},
};

/// How long administration waits for the writer gate.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Events checked at a time.
const VERIFY_PAGE: i64 = 5_000;

/// What a backup holds.
#[derive(Debug, serde::Serialize)]
pub struct Copied {
    /// Where it lies.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// The newest event in it.
    pub seq: i64,
    /// How many events were checked.
    pub events_checked: u64,
}

/// What a restore did.
#[derive(Debug, serde::Serialize)]
pub struct Restored {
    /// The new history.
    pub history: String,
    /// Where the replaced content is kept.
    pub replaced: Option<PathBuf>,
    /// Sessions that were live in the backup and are lost now.
    pub sessions_lost: u64,
}

/// Copies a store while it is in use.
pub fn backup(file: &Path, target: &Path) -> Result<Copied> {
    let Found::Store(path) = look(file)? else {
        return Err(Error::new(
            Code::NotFound,
            format!("there is no store at `{}`", file.display()),
        )
        .hint("make one with `cotenant init`"));
    };
    backup_of(&path, target)
}

/// As [`backup`], of a path that was looked at.
pub(crate) fn backup_of(path: &Path, target: &Path) -> Result<Copied> {
    if target.exists() {
        return Err(exists(target));
    }
    let draft = draft::beside(target)?;
    let made = copy(path, &draft).and_then(|()| {
        failpoint("backup.copied")?;
        let (seq, events_checked) = check_database(&draft)?;
        failpoint("backup.verified")?;
        if !put_without_replacing(&draft, target)? {
            return Err(exists(target));
        }
        sync_directory(&directory(target))?;
        let bytes = fs::metadata(target).map_or(0, |found| found.len());
        Ok(Copied { path: target.to_path_buf(), bytes, seq, events_checked })
    });
    if made.is_err() {
        remove_database(&draft);
    }
    made
}

pub(crate) fn exists(target: &Path) -> Error {
    Error::new(Code::PathExists, format!("`{}` exists", target.display()))
        .hint("name a file that does not exist yet")
}

/// One consistent snapshot in one file, on disk.
fn copy(path: &Path, draft: &Path) -> Result<()> {
    let source = Sqlite::open(path)?;
    let name = draft
        .to_str()
        .ok_or_else(|| Error::invalid(format!("`{}` is not UTF-8", draft.display())))?;
    crate::place::make_file(draft).map_err(|cause| failed(draft, cause))?;
    source.connection().execute("VACUUM INTO ?1", [name]).map_err(sqlite::error)?;
    let file = fs::File::open(draft).map_err(|cause| failed(draft, cause))?;
    file.set_permissions(fs::Permissions::from_mode(0o600))
        .map_err(|cause| failed(draft, cause))?;
    file.sync_all().map_err(|cause| failed(draft, cause))
}

/// Checks structure and chain of a database file that nobody writes. Answers its head and how many
/// events were checked.
pub(crate) fn check_database(path: &Path) -> Result<(i64, u64)> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(sqlite::error)?;
    check_structure(&connection)?;
    let mut sql = Statements::of(&connection);
    let meta = Meta::load(&mut sql, Intent::Inspect)?;
    let mut chain = Chain::begin(&meta, None);
    loop {
        if let Some(verdict) = chain.step(&mut sql, &meta, VERIFY_PAGE)? {
            return match verdict.why {
                None => Ok((meta.seq, verdict.checked)),
                Some(why) => {
                    Err(Error::new(Code::StoreCorrupt, format!("the log is damaged: {why}"))
                        .detail("first_bad", verdict.first_bad))
                }
            };
        }
    }
}

/// Checks the structure of a database.
pub(crate) fn check_structure(connection: &Connection) -> Result<()> {
    let verdict: String = connection
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .map_err(sqlite::error)?;
    if verdict == "ok" {
        return Ok(());
    }
    Err(Error::new(Code::StoreCorrupt, format!("the database is damaged: {verdict}"))
        .hint("`cotenant restore BACKUP` goes back to a backup"))
}

/// Replaces the content of a store by that of a backup.
pub fn restore(file: &Path, source: &Path, confirmed: bool) -> Result<Restored> {
    if !source.exists() {
        return Err(Error::new(
            Code::NotFound,
            format!("there is no backup `{}`", source.display()),
        ));
    }
    check_database(source)?;
    let current = match look(file) {
        Ok(Found::Store(path)) => Some(path),
        Ok(Found::Nothing) => None,
        Err(error) if matches!(error.code, Code::StoreMissing | Code::StoreCorrupt) => None,
        Err(error) => return Err(error),
    };
    let old = current.as_deref().and_then(|path| Sqlite::open(path).ok());
    let old_meta = match &old {
        Some(engine) => Meta::load(&mut Statements::of(engine.connection()), Intent::Read).ok(),
        None => None,
    };
    if old_meta.is_some() && !confirmed {
        refuse_live(file)?;
    }
    if current.is_none() && !directory(file).exists() {
        LocalStore::open(file, IfMissing::Create)?;
    }
    let home = fs::canonicalize(directory(file)).map_err(|cause| failed(file, cause))?;
    let path = home.join(file.file_name().unwrap_or_default());
    let draft = draft::beside(&path)?;
    let made = prepare(source, &draft, old_meta.as_ref().map_or(0, |meta| meta.fence)).and_then(
        |(history, sessions_lost)| {
            let replaced =
                put_in_place(&path, &draft, old_meta.is_some().then_some(old).flatten())?;
            failpoint("restore.swapped")?;
            Ok(Restored { history, replaced, sessions_lost })
        },
    );
    remove_database(&draft);
    made
}

fn refuse_live(file: &Path) -> Result<()> {
    let store = LocalStore::open(file, IfMissing::Fail)?;
    let store: &dyn cotenant_core::store::Store = &store;
    let status =
        store.call(&cotenant_core::status::ShowStatus::default(), |request| request)?.answer;
    let live: Vec<&str> = status
        .sessions
        .iter()
        .filter(|session| session.process_alive != Some(false))
        .map(|session| session.name.as_str())
        .collect();
    if live.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        Code::LiveSessions,
        format!("{} live: {}", counted_are(live.len() as u64, "session"), live.join(", ")),
    )
    .detail("sessions", &live)
    .hint("let them sign off first, or confirm with `--yes`: they will be lost"))
}

/// A copy of the backup as the store shall be: a new history, nobody live, fences beyond all that
/// either store gave out.
fn prepare(source: &Path, draft: &Path, fence_before: i64) -> Result<(String, u64)> {
    copy_plain(source, draft)?;
    let mut nonce = [0u8; 8];
    random(&mut nonce)?;
    let history = hex(&nonce);
    let mut engine = Sqlite::open(draft)?;
    let mut lost = 0;
    engine.write(
        Patience::Until(Instant::now() + PATIENCE),
        crate::sql::Durability::Full,
        &mut |sql| {
            let mut meta = Meta::load(sql, Intent::Write)?;
            let clock = BootClock;
            let reading = clock.reading(sql)?;
            meta.history.clone_from(&history);
            let fence_before = if mutant("restore_forgets_fences") { 0 } else { fence_before };
            meta.fence = meta.fence.max(fence_before).max(clock.wall_ms());
            meta.stand_at(reading);
            let processes: &dyn Processes = &LocalProcesses;
            let mut tx = Tx::new(sql, meta, clock.wall_ms(), processes);
            lost = session::lose_all(&mut tx, "restore")?;
            let facts = json!({"history": history, "sessions_lost": lost});
            tx.event_of_store("store.restored", "store", &facts)?;
            tx.meta.save(tx.sql)?;
            tx.meta.save_history(tx.sql)?;
            Ok(Finish::Commit)
        },
    )?;
    engine
        .connection()
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .map_err(sqlite::error)?;
    drop(engine);
    Ok((history, lost))
}

fn copy_plain(source: &Path, draft: &Path) -> Result<()> {
    crate::place::make_file(draft).map_err(|cause| failed(draft, cause))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let from = Connection::open_with_flags(source, flags).map_err(sqlite::error)?;
    let mut to = Connection::open(draft).map_err(sqlite::error)?;
    Backup::new(&from, &mut to)
        .and_then(|run| run.run_to_completion(1_000, Duration::ZERO, None))
        .map_err(sqlite::error)?;
    to.pragma_update(None, "journal_mode", "WAL").map_err(sqlite::error)
}

/// Puts a prepared database in the place of the store. Answers where the old content is kept.
fn put_in_place(path: &Path, draft: &Path, old: Option<Sqlite>) -> Result<Option<PathBuf>> {
    let kept = path.with_extension(format!("replaced-{}.db", BootClock.wall_ms()));
    let replaced = match old {
        None => None,
        Some(mut old) => match replace(&mut old, draft, &kept) {
            // It can be opened, and no more.
            Err(error) if error.code == Code::StoreCorrupt => None,
            replaced => Some(replaced?),
        },
    };
    if replaced.is_some() {
        return Ok(Some(kept));
    }
    // What is there cannot be used: it is moved aside, with its log.
    remove_database(&kept);
    let mut moved = None;
    for ending in ["", "-wal", "-shm"] {
        let (from, to) = (with_ending(path, ending), with_ending(&kept, ending));
        if from.exists() {
            fs::rename(from, to).map_err(|cause| failed(path, cause))?;
            moved = Some(kept.clone());
        }
    }
    fs::rename(draft, path).map_err(|cause| failed(path, cause))?;
    sync_directory(&directory(path))?;
    Ok(moved)
}

/// Replaces the content of an open store, and keeps the old one.
fn replace(old: &mut Sqlite, draft: &Path, kept: &Path) -> Result<()> {
    let name = kept.to_str().ok_or_else(|| Error::invalid("the store's path is not UTF-8"))?;
    crate::place::make_file(kept).map_err(|cause| failed(kept, cause))?;
    match old.connection().execute("VACUUM INTO ?1", [name]).map_err(sqlite::error) {
        Err(error) if error.code == Code::StoreCorrupt => {
            // Page by page, damaged as it is.
            let mut to = Connection::open(kept).map_err(sqlite::error)?;
            Backup::new(old.connection(), &mut to)
                .and_then(|run| run.run_to_completion(1_000, Duration::ZERO, None))
                .map_err(sqlite::error)?;
        }
        vacuumed => drop(vacuumed?),
    }
    old.replace_content(draft, Patience::Until(Instant::now() + PATIENCE), &|_| Ok(()))
}
