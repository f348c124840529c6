//! From a plan and the present files to the changes, without touching a file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Format, Plan, SettingsError, config_toml, entries, plugin};

/// What was on disk when it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    files: BTreeMap<PathBuf, FileState>,
}

/// One file when it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FileState {
    /// Its bytes, unless it did not exist.
    pub(crate) bytes: Option<Vec<u8>>,
    /// The directories that writing it would create, outermost first.
    pub(crate) missing_dirs: Vec<PathBuf>,
}

impl Snapshot {
    /// Adds a file.
    pub(crate) fn insert(&mut self, path: PathBuf, state: FileState) {
        self.files.insert(path, state);
    }

    /// The bytes of a file, if it was read and existed.
    pub(crate) fn bytes(&self, path: &Path) -> Option<&[u8]> {
        self.files.get(path)?.bytes.as_deref()
    }

    pub(super) fn missing_dirs(&self, path: &Path) -> &[PathBuf] {
        self.files.get(path).map_or(&[], |state| &state.missing_dirs)
    }
}

/// A file to write or to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileChange {
    /// The file.
    pub(crate) path: PathBuf,
    /// Its bytes when it was read; `None` if it did not exist.
    pub(crate) before: Option<Vec<u8>>,
    /// The bytes to write; `None` to delete it.
    pub(crate) after: Option<Vec<u8>>,
    /// Whether only its owner may read it, should it have to be created.
    pub(crate) private: bool,
}

/// Edits the files of a plan. Only files that would differ are in the answer.
///
/// Refuses if the plugin is enabled, and if any of the files cannot be understood.
pub(crate) fn apply(plan: &Plan, current: &Snapshot) -> Result<Vec<FileChange>, SettingsError> {
    let settings = plan.plugin_settings.iter();
    let settings = settings.filter_map(|path| Some((path.as_path(), current.bytes(path)?)));
    if let Some((path, plugin)) = plugin::enabled_plugin(settings) {
        return Err(SettingsError::PluginEnabled { path, plugin });
    }
    let mut changes = Vec::new();
    for file in &plan.files {
        let before = current.bytes(&file.path);
        let after = match file.format {
            Format::Json => entries::install(&file.path, before, &file.entries)?,
            Format::Toml => config_toml::install(&file.path, before, &file.entries)?,
        };
        if before != Some(after.as_slice()) {
            changes.push(FileChange {
                path: file.path.clone(),
                before: before.map(<[u8]>::to_vec),
                after: Some(after),
                private: file.private,
            });
        }
    }
    Ok(changes)
}

#[cfg(test)]
#[path = "apply_tests.rs"]
mod tests;
