//! Takes out what `init` installed.

use std::path::{Path, PathBuf};

use super::entries;
use super::{Entry, FileChange, FileRecord, Format, Record, SettingsError, Snapshot, config_toml};

/// What to do to undo an `init`, and how it was arrived at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Removal {
    /// The files to write or to delete.
    pub(crate) changes: Vec<FileChange>,
    /// What becomes of each file of the record.
    pub(crate) outcomes: Vec<(PathBuf, Outcome)>,
    /// The directories `init` created, innermost first; to be deleted if empty.
    pub(crate) dirs: Vec<PathBuf>,
}

/// What becomes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nobody edited it since: it gets its bytes from before `init` back.
    Restored,
    /// Nobody edited it since, and `init` had created it: it goes.
    Deleted,
    /// It was edited since: our entries go, the rest stays.
    Stripped,
    /// `init` had created it, it was edited since, and nothing but our entries is in it: it goes.
    StrippedAndDeleted,
    /// Nothing of ours is in it.
    Untouched,
    /// It does not exist any more.
    Absent,
}

/// Undoes an `init`, file by file, as far as each file allows. Changes nothing on disk.
pub(crate) fn remove(record: &Record, current: &Snapshot) -> Result<Removal, SettingsError> {
    let mut removal = Removal { changes: Vec::new(), outcomes: Vec::new(), dirs: Vec::new() };
    for (path, file) in &record.files {
        let now = current.bytes(path);
        let (outcome, after) = match now {
            None => (Outcome::Absent, None),
            Some(now) => undo(path, file, now)?,
        };
        if !matches!(outcome, Outcome::Absent | Outcome::Untouched) {
            removal.changes.push(FileChange {
                path: path.clone(),
                before: now.map(<[u8]>::to_vec),
                after,
                private: false,
            });
        }
        removal.outcomes.push((path.clone(), outcome));
        removal.dirs.extend(file.created_dirs.iter().cloned());
    }
    // An inner directory sorts after the one around it.
    removal.dirs.sort();
    removal.dirs.dedup();
    removal.dirs.reverse();
    Ok(removal)
}

fn undo(
    path: &Path,
    file: &FileRecord,
    now: &[u8],
) -> Result<(Outcome, Option<Vec<u8>>), SettingsError> {
    if file.original.as_deref() == Some(now) {
        return Ok((Outcome::Untouched, None));
    }
    if !file.edited && file.wrote(now) {
        let outcome = if file.existed { Outcome::Restored } else { Outcome::Deleted };
        return Ok((outcome, file.original.clone()));
    }
    let (stripped, blank) = match file.format {
        Format::Json => strip_json(path, file, now)?,
        Format::Toml => {
            let stripped = config_toml::uninstall(path, now, &file.entries)?;
            let blank = stripped.iter().all(u8::is_ascii_whitespace);
            (stripped, blank)
        }
    };
    if stripped == now {
        return Ok((Outcome::Untouched, None));
    }
    Ok(match &file.original {
        None if blank => (Outcome::StrippedAndDeleted, None),
        _ => (Outcome::Stripped, Some(stripped)),
    })
}

fn strip_json(
    path: &Path,
    file: &FileRecord,
    now: &[u8],
) -> Result<(Vec<u8>, bool), SettingsError> {
    // What the original had only because of an older installation of ours is no reason to keep
    // anything, but a text in a list may have been the user's.
    let sure: Vec<Entry> = file
        .entries
        .iter()
        .filter(|entry| !matches!(entry, Entry::Listed { .. }))
        .cloned()
        .collect();
    let original = file.original.as_deref();
    let original =
        original.map(|bytes| entries::uninstall(path, bytes, &sure, None)).transpose()?;
    let document = entries::uninstall(path, now, &file.entries, original.as_ref())?;
    Ok((document.bytes(), document.is_blank()))
}

#[cfg(test)]
#[path = "remove_tests.rs"]
mod tests;
