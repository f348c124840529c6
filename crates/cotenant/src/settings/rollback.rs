//! Writes several files, all or none.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use super::file::{missing_dirs, write_atomic};
use super::{FileChange, SettingsError};

/// Makes changes one after the other. If one fails, those before it are taken back.
///
/// A crash in between leaves some files changed and none half written.
pub(crate) fn write_all(changes: &[FileChange]) -> Result<(), SettingsError> {
    let mut created_dirs = Vec::new();
    for (done, change) in changes.iter().enumerate() {
        if change.after.is_some() {
            created_dirs.extend(missing_dirs(&change.path));
        }
        if let Err(cause) = write_atomic(change) {
            return Err(roll_back(&changes[..done], created_dirs, cause));
        }
    }
    Ok(())
}

/// Deletes directories that are empty, in the order given, and says which those were.
pub(crate) fn remove_dirs(dirs: &[PathBuf]) -> Result<Vec<PathBuf>, SettingsError> {
    let mut removed = Vec::new();
    for dir in dirs {
        match fs::remove_dir(dir) {
            Ok(()) => removed.push(dir.clone()),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty | ErrorKind::NotADirectory
                ) => {}
            Err(source) => return Err(SettingsError::io("remove", dir, source)),
        }
    }
    Ok(removed)
}

/// Takes changes back, last first, and returns the error to report.
fn roll_back(
    written: &[FileChange],
    mut created_dirs: Vec<PathBuf>,
    cause: SettingsError,
) -> SettingsError {
    let back = |change: &FileChange| FileChange {
        path: change.path.clone(),
        before: change.after.clone(),
        after: change.before.clone(),
        private: change.private,
    };
    let left: Vec<PathBuf> = written
        .iter()
        .rev()
        .filter(|change| write_atomic(&back(change)).is_err())
        .map(|change| change.path.clone())
        .collect();
    created_dirs.sort();
    created_dirs.reverse();
    // An empty directory left over is not worth hiding the cause.
    let _ = remove_dirs(&created_dirs);
    if left.is_empty() {
        cause
    } else {
        SettingsError::NotRolledBack { left, cause: Box::new(cause) }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn change(path: &Path, before: Option<&str>, after: Option<&str>) -> FileChange {
        let bytes = |text: Option<&str>| text.map(|text| text.as_bytes().to_vec());
        let (before, after) = (bytes(before), bytes(after));
        FileChange { path: path.to_owned(), before, after, private: false }
    }

    #[test]
    fn one_failure_takes_back_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("edited"), "old").unwrap();
        fs::write(path("deleted"), "gone?").unwrap();
        fs::write(path("raced"), "something else").unwrap();
        let result = write_all(&[
            change(&path("edited"), Some("old"), Some("new")),
            change(&path("deep/er/created"), None, Some("new")),
            change(&path("deleted"), Some("gone?"), None),
            change(&path("raced"), Some("as read"), Some("new")),
        ]);
        assert!(
            matches!(result, Err(SettingsError::ChangedMeanwhile { path: p }) if p == path("raced"))
        );
        assert_eq!(fs::read(path("edited")).unwrap(), b"old");
        assert_eq!(fs::read(path("deleted")).unwrap(), b"gone?");
        assert_eq!(fs::read(path("raced")).unwrap(), b"something else");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    }

    #[test]
    fn what_cannot_be_taken_back_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "written by somebody after us").unwrap();
        let cause = SettingsError::NotAFile { path: "/x".into() };
        let written = [change(&path, Some("old"), Some("new"))];
        let error = roll_back(&written, Vec::new(), cause);
        assert!(
            matches!(&error, SettingsError::NotRolledBack { left, .. } if *left == [path.clone()])
        );
        assert_eq!(fs::read(&path).unwrap(), b"written by somebody after us");
    }

    #[test]
    fn only_empty_directories_go() {
        let dir = tempfile::tempdir().unwrap();
        let (empty, full) = (dir.path().join("a/b"), dir.path().join("c"));
        fs::create_dir_all(&empty).unwrap();
        fs::create_dir(&full).unwrap();
        fs::write(full.join("x"), "").unwrap();
        let dirs = [empty.clone(), dir.path().join("a"), full.clone(), dir.path().join("none")];
        assert_eq!(remove_dirs(&dirs).unwrap(), [empty, dir.path().join("a")]);
        assert!(full.join("x").exists());
    }
}
