//! Where a store lies, and what must hold before it is opened: its directory is ours alone, its
//! file is a plain file of ours, its file system is local.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use cotenant_core::{Code, Error, Result};

/// Whether a missing store is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfMissing {
    /// Fail: `NOT_FOUND` if nothing is there, `STORE_MISSING` if its directory is.
    Fail,
    /// Make one.
    Create,
}

/// What was found at a place.
pub(crate) enum Found {
    /// A database, at its canonical path.
    Store(PathBuf),
    /// Nothing, but one can be made here.
    Nothing,
}

/// Magic numbers of file systems on which `SQLite`'s locks or shared memory cannot be relied on.
const UNSUPPORTED: [(i64, &str); 9] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x0102_1997, "9P"),
    (0x5346_414f, "AFS"),
    (0x7375_7245, "Coda"),
    (0x6573_5546, "FUSE"),
    (0x0bd0_0bd0, "Lustre"),
];

/// The directory of a store.
pub fn directory(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// Looks at the place of a store without opening it.
pub(crate) fn look(file: &Path) -> Result<Found> {
    let directory = directory(file);
    let found = match fs::symlink_metadata(&directory) {
        Ok(found) => found,
        Err(cause) if matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Found::Nothing);
        }
        Err(cause) => return Err(unreadable(&directory, cause)),
    };
    check_directory(&directory, &found)?;
    let canonical = fs::canonicalize(&directory).map_err(|cause| unreadable(&directory, cause))?;
    check_file_system(&canonical)?;
    let name = file.file_name().ok_or_else(|| {
        Error::invalid(format!("`{}` names no file for the store", file.display()))
    })?;
    match fs::symlink_metadata(file) {
        Ok(found) => {
            check_file(file, &found)?;
            Ok(Found::Store(canonical.join(name)))
        }
        Err(cause) if cause.kind() == ErrorKind::NotFound => {
            let remains =
                ["gate", "signal", "tokens"].iter().any(|name| canonical.join(name).exists());
            let own =
                canonical.file_name().is_some_and(|name| name == "cotenant" || name == ".cotenant");
            if (remains || own) && file.exists() {
                // Another process finished making it just now.
                return look(file);
            }
            if remains || own {
                return Err(Error::new(
                    Code::StoreMissing,
                    format!(
                        "`{}` is there, but `{}` in it is not",
                        directory.display(),
                        name.display()
                    ),
                )
                .detail("directory", directory.display().to_string())
                .hint(format!(
                    "bring it back with `cotenant restore BACKUP`, or begin anew: remove `{}`",
                    directory.display()
                )));
            }
            Ok(Found::Nothing)
        }
        Err(cause) => Err(unreadable(file, cause)),
    }
}

fn foreign(path: &Path, fault: &str, hint: &str) -> Error {
    Error::new(Code::StoreForeign, format!("`{}` {fault}", path.display()))
        .detail("path", path.display().to_string())
        .hint(hint)
}

fn unreadable(path: &Path, cause: std::io::Error) -> Error {
    Error::new(Code::StoreIo, format!("`{}` cannot be looked at", path.display()))
        .detail("path", path.display().to_string())
        .hint("check its mode and owner")
        .caused_by(cause)
}

fn check_directory(path: &Path, found: &fs::Metadata) -> Result<()> {
    if found.is_symlink() {
        return Err(foreign(path, "is a symbolic link", "name the directory it leads to"));
    }
    if !found.is_dir() {
        return Err(foreign(path, "is not a directory", "name another store with `--store`"));
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(foreign(
            path,
            &format!("belongs to user {}", found.uid()),
            "run cotenant as that user, or use a store of your own with `--store`",
        ));
    }
    if found.mode() & 0o077 != 0 {
        return Err(foreign(
            path,
            &format!("can be entered by others (mode {:o})", found.mode() & 0o777),
            &format!("chmod 700 {}", path.display()),
        ));
    }
    Ok(())
}

fn check_file(path: &Path, found: &fs::Metadata) -> Result<()> {
    if found.is_symlink() || !found.is_file() {
        return Err(foreign(path, "is not a plain file", "name the file itself with `--store`"));
    }
    if found.len() == 0 {
        // A store is never empty, not even while it is made. SQLite would remove the log of an empty
        // database, and with it what can still be saved.
        return Err(Error::new(Code::StoreCorrupt, format!("`{}` is empty", path.display()))
            .detail("path", path.display().to_string())
            .hint("go back to a backup with `cotenant restore BACKUP`"));
    }
    if found.nlink() > 1 {
        return Err(foreign(path, "has more than one hard link", "copy it with `cotenant backup`"));
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(foreign(
            path,
            &format!("belongs to user {}", found.uid()),
            "run cotenant as that user",
        ));
    }
    if found.mode() & 0o077 != 0 {
        return Err(foreign(
            path,
            &format!("can be read by others (mode {:o})", found.mode() & 0o777),
            &format!("chmod 600 {}", path.display()),
        ));
    }
    Ok(())
}

/// Refuses file systems that several machines share, or that emulate locks.
pub(crate) fn check_file_system(directory: &Path) -> Result<()> {
    let Ok(found) = rustix::fs::statfs(directory) else { return Ok(()) };
    #[expect(clippy::useless_conversion, reason = "the type of f_type differs between platforms")]
    let magic = pretended().unwrap_or(i64::from(found.f_type)) & 0xffff_ffff;
    match UNSUPPORTED.iter().find(|(number, _)| *number == magic) {
        Some((_, name)) => Err(Error::new(
            Code::FsUnsupported,
            format!(
                "`{}` is on {name}, where several machines could write at once",
                directory.display()
            ),
        )
        .detail("file_system", name)
        .hint("name a store on a local disk with `--store` or COTENANT_STORE")),
        None => Ok(()),
    }
}

/// The file system that a test pretends to be on.
#[cfg(feature = "testing")]
fn pretended() -> Option<i64> {
    std::env::var("COTENANT_FILE_SYSTEM").ok()?.parse().ok()
}

#[cfg(not(feature = "testing"))]
const fn pretended() -> Option<i64> {
    None
}

/// Makes a directory that only its owner may enter.
pub(crate) fn make_directory(path: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(path)
}

/// Makes an empty file that only its owner may read; one that exists stays.
pub(crate) fn make_file(path: &Path) -> std::io::Result<()> {
    fs::File::options().append(true).create(true).mode(0o600).open(path).map(drop)
}
