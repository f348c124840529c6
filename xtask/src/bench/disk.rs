//! What one fsync costs on the file system where the stores lie.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

/// What a commit of one small operation adds to the log of the store, about.
const COMMIT: usize = 6 * 4_120;
/// The log is written from its beginning again after so many commits.
const COMMITS: u64 = 40;

/// A file that is written and synced like the log of a store: over its old content.
#[derive(Debug)]
pub(crate) struct Disk {
    file: File,
    commit: Vec<u8>,
    turn: u64,
}

impl Disk {
    /// A file in a directory.
    pub(crate) fn new(directory: &Path) -> Result<Self> {
        let file = File::create(directory.join("fsync"))?;
        for turn in 0..COMMITS {
            file.write_all_at(&vec![1; COMMIT], turn * COMMIT as u64)?;
        }
        file.sync_all()?;
        Ok(Self { file, commit: vec![2; COMMIT], turn: 0 })
    }

    /// Writes what a commit writes, and answers how long it then takes to make it durable. The
    /// writing itself does not count.
    pub(crate) fn sync(&mut self) -> Result<Duration> {
        self.turn = (self.turn + 1) % COMMITS;
        self.file.write_all_at(&self.commit, self.turn * COMMIT as u64)?;
        let start = Instant::now();
        self.file.sync_data()?;
        Ok(start.elapsed())
    }
}
