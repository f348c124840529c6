//! Making a store: complete under another name first, then moved into place, so that a crash
//! leaves either no store or a whole one, and of two makers one wins.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use cotenant_core::{Code, Error, Result, clock::rfc3339, event::hex};
use rusqlite::{Connection, OpenFlags};

use crate::{
    draft,
    meta::{APPLICATION_ID, SCHEMA},
    migrate,
    place::{check_file_system, directory, make_directory, make_file},
    sql::{Clock, Param, Row, Sql},
    sqlite::{self, BootClock, Statements},
    tx::random,
};

/// What is appended to the name of a database for the files beside it; the first is its own.
pub(crate) const DATABASE_ENDINGS: [&str; 4] = ["", "-wal", "-shm", "-journal"];

/// The row of a new store: its schema, history, the hash before the first event, its clock's source and
/// value, its migrations and when it was made.
pub(crate) const INSERT_META: &str = "INSERT INTO meta (id, app, schema, min_reader, min_writer, \
     history, seq, hash, pruned_seq, pruned_hash, tick, source, source_value, sources_replaced, fence, \
     sessions, erasing, migrations, created_at) VALUES (1, 'cotenant', $1, $1, $1, $2, 0, $3, 0, $3, 0, \
     $4, $5, '', 0, 0, 0, $6, $7)";

/// Makes a store at this path. If another process was faster, its store stays.
pub(crate) fn create(file: &Path) -> Result<()> {
    make(file, &mut |_| Ok(())).map(drop)
}

/// As [`create`], with the rows that a body writes. Answers whether this store was made, and not another
/// process's.
pub(crate) fn make(file: &Path, rows: &mut Rows<'_>) -> Result<bool> {
    let home = directory(file);
    // Nothing is made where it would be refused.
    let standing = home.ancestors().find(|above| above.exists()).unwrap_or(Path::new("."));
    check_file_system(standing)?;
    if home.exists() {
        let draft = draft::beside(file)?;
        // Of two makers one wins; the other's draft is dropped.
        let made = draft_database(&draft, rows).and_then(|()| put_without_replacing(&draft, file));
        remove_database(&draft);
        let made = made?;
        // The gate without the database would be a store that was lost. Whoever made the directory
        // may have done so just now.
        sync_directory(&home)?;
        if let Some(above) = home.parent() {
            sync_directory(above)?;
        }
        make_file(&home.join("gate")).map_err(|cause| failed(file, cause))?;
        return Ok(made);
    }
    let draft = draft::beside(&home)?;
    make_directory(&draft).map_err(|cause| failed(&home, cause))?;
    let name = file.file_name().unwrap_or_default();
    let made = draft_database(&draft.join(name), rows).and_then(|()| {
        make_file(&draft.join("gate")).map_err(|cause| failed(&home, cause))?;
        crate::combine::prepare(&draft);
        sync_directory(&draft)?;
        match fs::rename(&draft, &home) {
            // The other maker's directory is there and not empty.
            Err(_) if home.join(name).exists() => Ok(false),
            Err(cause) => Err(failed(&home, cause)),
            Ok(()) => Ok(true),
        }
    });
    if draft.exists() {
        let _ = fs::remove_dir_all(&draft);
    }
    let made = made?;
    if let Some(above) = home.parent() {
        sync_directory(above)?;
    }
    Ok(made)
}

/// Gives a file its name unless something has that name. Answers whether it did.
///
/// One step, so that a crash leaves no second link to a database, which would be refused.
pub(crate) fn put_without_replacing(draft: &Path, target: &Path) -> Result<bool> {
    use rustix::{
        fs::{CWD, RenameFlags, renameat_with},
        io::Errno,
    };
    match renameat_with(CWD, draft, CWD, target, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        // File systems without that flag: the check and the rename are two steps there.
        Err(Errno::INVAL | Errno::NOSYS) if target.exists() => Ok(false),
        Err(Errno::INVAL | Errno::NOSYS) => {
            fs::rename(draft, target).map(|()| true).map_err(|cause| failed(target, cause))
        }
        Err(errno) => Err(failed(target, errno.into())),
    }
}

/// An error of the file system as one of the store.
pub(crate) fn failed(path: &Path, cause: io::Error) -> Error {
    let code = match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Code::StoreFull,
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Code::StoreReadonly,
        _ => Code::StoreIo,
    };
    let hint = match code {
        Code::StoreFull => "free some space and repeat",
        Code::StoreReadonly => "name a store in a directory that you can write with `--store`",
        _ => "check that the directory above it exists and can be written",
    };
    Error::new(code, format!("no store can be made at `{}`", path.display()))
        .detail("path", path.display().to_string())
        .hint(hint)
        .caused_by(cause)
}

/// Makes the names in a directory survive power loss.
pub(crate) fn sync_directory(path: &Path) -> Result<()> {
    // An empty path is the working directory.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let flushed = fs::File::open(path).and_then(|directory| directory.sync_all());
    match flushed {
        // Some file systems keep no names that could be flushed; some directories may not be read.
        Err(cause)
            if matches!(
                cause.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::PermissionDenied
            ) =>
        {
            Ok(())
        }
        Err(cause) => Err(Error::new(
            Code::StoreIo,
            format!("the names in `{}` cannot be flushed to the disk", path.display()),
        )
        .hint("check the disk, then repeat")
        .caused_by(cause)),
        Ok(()) => Ok(()),
    }
}

/// A path with something appended to its name.
pub(crate) fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Removes a database file and what lies beside it.
pub(crate) fn remove_database(path: &Path) {
    for ending in DATABASE_ENDINGS {
        let _ = fs::remove_file(with_ending(path, ending));
    }
}

/// What writes rows into a new store.
pub(crate) type Rows<'a> = dyn FnMut(&mut dyn Sql) -> Result<()> + 'a;

/// Writes a whole database and closes it, so that it is one file.
pub(crate) fn draft_database(path: &Path, rows: &mut Rows<'_>) -> Result<()> {
    make_file(path).map_err(|cause| failed(path, cause))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(sqlite::error)?;
    let mut history = [0u8; 8];
    random(&mut history)?;
    let clock = BootClock;
    let reading = clock.reading(&mut Nothing)?;
    let (schema, stamps) = migrate::whole(|step| step.sqlite);
    let begin = || -> rusqlite::Result<()> {
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.execute_batch("BEGIN IMMEDIATE")?;
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
        connection.pragma_update(None, "user_version", SCHEMA)?;
        connection.execute_batch(&schema)?;
        connection.execute(
            INSERT_META,
            rusqlite::params![
                SCHEMA,
                hex(&history),
                [0u8; 32],
                reading.source,
                reading.value_ms,
                stamps,
                rfc3339(clock.wall_ms())
            ],
        )?;
        Ok(())
    };
    begin().map_err(sqlite::error)?;
    rows(&mut Statements::of(&connection))?;
    connection.execute_batch("COMMIT").map_err(sqlite::error)?;
    connection.close().map_err(|(_, cause)| sqlite::error(cause))
}

/// A clock that does not ask the database needs none.
struct Nothing;

impl Sql for Nothing {
    fn run(&mut self, _: &'static str, _: &[Param<'_>]) -> Result<u64> {
        Err(Error::internal("there is no database yet"))
    }

    fn rows(&mut self, _: &'static str, _: &[Param<'_>]) -> Result<Vec<Row>> {
        Err(Error::internal("there is no database yet"))
    }

    fn written(&self) -> u64 {
        0
    }
}
