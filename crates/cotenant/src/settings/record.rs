//! What `init` did, so that `uninit` can undo it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::{Entry, FileChange, Format, Plan, PlannedFile, SettingsError, Snapshot};

const VERSION: u32 = 1;

/// The files `init` changed, with their content from before.
///
/// Holds copies of whole files, so store it where only its owner can read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    version: u32,
    /// The files, by path.
    pub(crate) files: BTreeMap<PathBuf, FileRecord>,
}

/// One file `init` changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileRecord {
    /// How it is written.
    pub(crate) format: Format,
    /// Whether it existed before the first `init`.
    pub(crate) existed: bool,
    /// The SHA-256 of its bytes before the first `init`, in hexadecimal, if it existed.
    pub(crate) sha256_before: Option<String>,
    /// Its bytes before the first `init`, if it existed; in base64, as they may be no text.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub(crate) original: Option<Vec<u8>>,
    /// The SHA-256 of the bytes we wrote last.
    pub(crate) sha256_after: String,
    /// Whether somebody edited it after an `init` and before the last one. Then the original
    /// bytes are not what to go back to.
    pub(crate) edited: bool,
    /// The directories that were created for it, outermost first.
    pub(crate) created_dirs: Vec<PathBuf>,
    /// What was installed.
    pub(crate) entries: Vec<Entry>,
}

impl Default for Record {
    fn default() -> Self {
        Self { version: VERSION, files: BTreeMap::new() }
    }
}

impl Record {
    /// Notes changes that are about to be written, on top of an earlier record if there is one.
    pub(crate) fn update(
        previous: Option<&Self>,
        plan: &Plan,
        current: &Snapshot,
        changes: &[FileChange],
    ) -> Self {
        let mut files = previous.map(|record| record.files.clone()).unwrap_or_default();
        for change in changes {
            let planned = plan.files.iter().find(|file| file.path == change.path);
            let (Some(planned), Some(after)) = (planned, &change.after) else { continue };
            let mut fresh = FileRecord::new(planned, change.before.clone(), after);
            fresh.created_dirs = current.missing_dirs(&change.path).to_vec();
            let file = match files.remove(&change.path) {
                // Back to how it was, e.g. by `git checkout`: this `init` is the first again.
                Some(earlier) if earlier.original != change.before => {
                    earlier.continued(fresh, change)
                }
                Some(earlier) => FileRecord { created_dirs: earlier.dirs_with(&fresh), ..fresh },
                None => fresh,
            };
            files.insert(change.path.clone(), file);
        }
        Self { version: VERSION, files }
    }

    /// Stands in for a record that was lost: nothing is known about the files before, so [`remove`]
    /// goes by the form of the entries, and no file is deleted that says more than they do.
    ///
    /// [`remove`]: super::remove()
    pub(crate) fn assumed(plan: &Plan) -> Self {
        let file = |planned: &PlannedFile| {
            let file = FileRecord { edited: true, ..FileRecord::new(planned, None, b"") };
            (planned.path.clone(), file)
        };
        Self { version: VERSION, files: plan.files.iter().map(file).collect() }
    }

    /// Reads a stored record.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, SettingsError> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let damaged = |source| SettingsError::Record { source };
        // The version first: a newer form may lack what this one requires.
        let Versioned { version } = serde_json::from_slice(bytes).map_err(damaged)?;
        if version > VERSION {
            return Err(SettingsError::RecordVersion { version, known: VERSION });
        }
        serde_json::from_slice(bytes).map_err(damaged)
    }

    /// The bytes to store.
    ///
    /// # Panics
    ///
    /// If somebody put in a path that is not UTF-8; those of a [`Plan`] are.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self)
            .expect("`Plan::new` lets UTF-8 paths pass only, and nothing else here can fail");
        bytes.push(b'\n');
        bytes
    }
}

impl FileRecord {
    fn new(planned: &PlannedFile, before: Option<Vec<u8>>, after: &[u8]) -> Self {
        Self {
            format: planned.format,
            existed: before.is_some(),
            sha256_before: before.as_deref().map(sha256),
            original: before,
            sha256_after: sha256(after),
            edited: false,
            created_dirs: Vec::new(),
            entries: planned.entries.clone(),
        }
    }

    /// A later `init` on a file that holds our entries already.
    fn continued(self, fresh: Self, change: &FileChange) -> Self {
        let edited = self.edited || change.before.as_deref().is_none_or(|now| !self.wrote(now));
        let created_dirs = self.dirs_with(&fresh);
        let mut entries = fresh.entries;
        // A text that only an earlier version installed has to be found again.
        let dropped = self.entries.into_iter().filter(|entry| !entries.contains(entry));
        let dropped: Vec<Entry> = dropped.collect();
        entries.extend(dropped);
        Self {
            existed: self.existed,
            sha256_before: self.sha256_before,
            original: self.original,
            edited,
            created_dirs,
            entries,
            ..Self { entries: Vec::new(), ..fresh }
        }
    }

    fn dirs_with(&self, fresh: &Self) -> Vec<PathBuf> {
        let mut dirs = self.created_dirs.clone();
        dirs.extend(fresh.created_dirs.iter().cloned());
        dirs.sort();
        dirs.dedup();
        dirs
    }

    /// Tells whether these bytes are what we wrote last.
    pub(super) fn wrote(&self, bytes: &[u8]) -> bool {
        self.sha256_after == sha256(bytes)
    }
}

fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let digit = |bits: u8| char::from(b"0123456789abcdef"[usize::from(bits)]);
    digest.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[expect(clippy::ref_option, reason = "serde calls it with a reference to the field")]
fn to_base64<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
    bytes.as_ref().map(|bytes| BASE64.encode(bytes)).serialize(serializer)
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    let bytes = text.map(|text| BASE64.decode(text)).transpose();
    bytes.map_err(serde::de::Error::custom)
}
