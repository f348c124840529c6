//! Reads settings files, and replaces one at a time in a single step.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use super::{FileChange, FileState, SettingsError, Snapshot};

/// As many links in a row as Linux follows.
const LINKS_MAX: usize = 40;

/// Reads files, following symbolic links. A file that does not exist is part of the answer.
pub(crate) fn read(paths: &[PathBuf]) -> Result<Snapshot, SettingsError> {
    let mut snapshot = Snapshot::default();
    for path in paths {
        let bytes = read_file(path, &resolve(path)?)?;
        let missing_dirs = if bytes.is_some() { Vec::new() } else { missing_dirs(path) };
        snapshot.insert(path.clone(), FileState { bytes, missing_dirs });
    }
    Ok(snapshot)
}

/// Makes one change, so that a reader sees the file either as before or as after, even if the
/// machine stops in between.
///
/// Refuses if the file no longer is what the change was made from. The target of a symbolic link
/// is changed and the link stays. An existing file keeps its permissions.
pub(crate) fn write_atomic(change: &FileChange) -> Result<(), SettingsError> {
    let target = resolve(&change.path)?;
    match &change.after {
        Some(bytes) => replace(change, &target, bytes),
        None => delete(change, &target),
    }
}

/// The directories above a file that do not exist, outermost first.
pub(super) fn missing_dirs(path: &Path) -> Vec<PathBuf> {
    let above = path.ancestors().skip(1);
    let missing = above.take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists());
    let mut dirs: Vec<PathBuf> = missing.map(Path::to_owned).collect();
    dirs.reverse();
    dirs
}

fn replace(change: &FileChange, target: &Path, bytes: &[u8]) -> Result<(), SettingsError> {
    let failed = |source| SettingsError::io("write", &change.path, source);
    let dir = target.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(dir).map_err(failed)?;
    let (temporary, file) = create_beside(target, change).map_err(failed)?;
    let result = fill(file, target, change, bytes).map_err(failed).and_then(|()| {
        // As late as possible: whatever happens between this look and the next step is lost.
        unchanged(change, target)?;
        publish(&temporary, target, change)
    });
    if result.is_err() {
        // The error that counts is the one at hand; a file left over does no harm.
        let _ = fs::remove_file(&temporary);
    }
    result?;
    sync_dir(dir).map_err(failed)
}

fn delete(change: &FileChange, target: &Path) -> Result<(), SettingsError> {
    let failed = |source| SettingsError::io("remove", &change.path, source);
    unchanged(change, target)?;
    if change.before.is_none() {
        return Ok(());
    }
    fs::remove_file(target).map_err(failed)?;
    if target != change.path {
        // A link to nothing would stand in the way of the next file of this name.
        fs::remove_file(&change.path).map_err(failed)?;
    }
    sync_dir(target.parent().unwrap_or(Path::new("/"))).map_err(failed)
}

/// Moves the finished file to its place.
fn publish(temporary: &Path, target: &Path, change: &FileChange) -> Result<(), SettingsError> {
    let failed = |source| SettingsError::io("write", &change.path, source);
    if change.before.is_some() {
        return fs::rename(temporary, target).map_err(failed);
    }
    // Unlike renaming, linking never replaces a file that appeared meanwhile.
    match fs::hard_link(temporary, target) {
        Ok(()) => fs::remove_file(temporary).map_err(failed),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Err(SettingsError::ChangedMeanwhile { path: change.path.clone() })
        }
        // Some file systems have no links.
        Err(_) => fs::rename(temporary, target).map_err(failed),
    }
}

fn unchanged(change: &FileChange, target: &Path) -> Result<(), SettingsError> {
    if read_file(&change.path, target)? == change.before {
        Ok(())
    } else {
        Err(SettingsError::ChangedMeanwhile { path: change.path.clone() })
    }
}

/// Creates an empty file in the same directory, since renaming works within one file system.
fn create_beside(target: &Path, change: &FileChange) -> io::Result<(PathBuf, File)> {
    let name = target.file_name().ok_or(ErrorKind::InvalidInput)?;
    let mut attempt = 0;
    loop {
        let mut temporary = OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".cotenant-{}-{attempt}", std::process::id()));
        let path = target.with_file_name(temporary);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            // An existing file may be secret, so its copy begins as such.
            let secret = change.private || change.before.is_some();
            options.mode(if secret { 0o600 } else { 0o644 });
        }
        #[cfg(not(unix))]
        let _ = change;
        match options.open(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && attempt < 100 => attempt += 1,
            result => return result.map(|file| (path, file)),
        }
    }
}

fn fill(mut file: File, target: &Path, change: &FileChange, bytes: &[u8]) -> io::Result<()> {
    if change.before.is_some() && target.exists() {
        file.set_permissions(fs::metadata(target)?.permissions())?;
    }
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes the new name survive a power cut.
fn sync_dir(dir: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}

fn read_file(path: &Path, target: &Path) -> Result<Option<Vec<u8>>, SettingsError> {
    let failed = |source: io::Error| SettingsError::io("read", path, source);
    match fs::metadata(target) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
        // Reading a pipe would wait forever.
        Ok(found) if !found.is_file() => Err(SettingsError::NotAFile { path: path.to_owned() }),
        Ok(_) => fs::read(target).map(Some).map_err(failed),
    }
}

/// Follows symbolic links to the file they mean.
fn resolve(path: &Path) -> Result<PathBuf, SettingsError> {
    let dangling = || SettingsError::DanglingLink { path: path.to_owned() };
    let mut target = path.to_owned();
    for links in 0..LINKS_MAX {
        match fs::symlink_metadata(&target) {
            Ok(found) if found.is_symlink() => {
                let next = fs::read_link(&target)
                    .map_err(|source| SettingsError::io("read", path, source))?;
                target = target.parent().unwrap_or(Path::new("/")).join(next);
            }
            Ok(_) => return Ok(target),
            // Writing through such a link could create a file anywhere.
            Err(error) if error.kind() == ErrorKind::NotFound && links > 0 => {
                return Err(dangling());
            }
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(target),
            Err(source) => return Err(SettingsError::io("read", path, source)),
        }
    }
    Err(dangling())
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
