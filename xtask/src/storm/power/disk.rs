//! A disk under a page cache: what is durable, and what only the cache has.
//!
//! # Invariants
//! - A change is durable once a flush of its file began after it and ended; of a name, once a flush of
//!   its directory did. Nothing else makes anything durable.
//! - An image holds all that is durable, and of the rest what chance leaves; a sector is never mixed of
//!   two writes in a way in which the cache never had it.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::trace::Call;
use crate::storm::random::Random;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// What becomes of what was not flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// It is lost.
    All,
    /// It is there, as after the death of a process.
    None,
    /// What came before some moment is there.
    Later,
    /// Each write is there or not.
    Some,
    /// Each write is there, not there, or torn.
    Torn,
}

impl Loss {
    /// All of them.
    pub(super) const ALL: [Self; 5] = [Self::All, Self::None, Self::Later, Self::Some, Self::Torn];
}

/// What becomes of one change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Kept,
    Lost,
    Torn,
}

#[derive(Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Resize(usize),
}

#[derive(Debug, Default)]
struct Content {
    /// What a flush made durable.
    durable: Vec<u8>,
    /// How long the cache has it.
    length: usize,
    /// What came later, and at which line.
    pending: Vec<(usize, Change)>,
    /// Whether it is written through a mapping, of which no call tells.
    is_mapped: bool,
}

/// Names that came to lead elsewhere, or nowhere.
type Names = Vec<(String, Option<usize>)>;

#[derive(Debug, Default)]
struct Folder {
    durable: BTreeMap<String, usize>,
    seen: BTreeMap<String, usize>,
    /// What came later, and at which line; each change is there or not as one.
    pending: Vec<(usize, Names)>,
}

#[derive(Debug)]
enum Node {
    File(Content),
    Folder(Folder),
}

/// The files below one folder.
#[derive(Debug)]
pub(super) struct Disk {
    root: PathBuf,
    /// The first is the root's.
    nodes: Vec<Node>,
    /// How far each descriptor has come that is written to without a place.
    positions: BTreeMap<(u64, PathBuf), usize>,
    changes: usize,
    flushes: usize,
}

impl Disk {
    /// An empty folder.
    pub(super) fn new(root: &Path) -> Self {
        let nodes = vec![Node::Folder(Folder::default())];
        let positions = BTreeMap::new();
        Self { root: root.to_path_buf(), nodes, positions, changes: 0, flushes: 0 }
    }

    /// How many calls changed something.
    pub(super) fn changes(&self) -> usize {
        self.changes
    }

    /// How many calls flushed something.
    pub(super) fn flushes(&self) -> usize {
        self.flushes
    }

    /// How many changes can be lost now.
    pub(super) fn unflushed(&self) -> usize {
        let pending = self.nodes.iter().map(|node| match node {
            Node::File(content) => content.pending.len(),
            Node::Folder(folder) => folder.pending.len(),
        });
        pending.sum()
    }

    /// The node of a path; none if it is not below the root or not there.
    fn find(&self, path: &Path) -> Option<usize> {
        let mut node = 0;
        for name in path.strip_prefix(&self.root).ok()? {
            let Node::Folder(folder) = &self.nodes[node] else { return None };
            node = *folder.seen.get(name.to_str()?)?;
        }
        Some(node)
    }

    fn content(&mut self, path: &Path) -> Option<&mut Content> {
        let node = self.find(path)?;
        match &mut self.nodes[node] {
            Node::File(content) => Some(content),
            Node::Folder(_) => None,
        }
    }

    /// The folder of a path, and its name there; none if it is not below the root.
    fn place(&mut self, path: &Path) -> Option<(&mut Folder, String)> {
        let node = self.find(path.parent()?)?;
        let name = path.file_name()?.to_str()?.to_owned();
        match &mut self.nodes[node] {
            Node::Folder(folder) => Some((folder, name)),
            Node::File(_) => None,
        }
    }

    fn make(&mut self, path: &Path, node: Node, at: usize) {
        let number = self.nodes.len();
        if let Some((folder, name)) = self.place(path) {
            folder.seen.insert(name.clone(), number);
            folder.pending.push((at, vec![(name, Some(number))]));
            self.nodes.push(node);
            self.changes += 1;
        }
    }

    fn remove(&mut self, path: &Path, at: usize) {
        if let Some((folder, name)) = self.place(path) {
            folder.seen.remove(&name);
            folder.pending.push((at, vec![(name, None)]));
            self.changes += 1;
        }
    }

    fn rename(&mut self, from: &Path, to: &Path, at: usize) -> Result<()> {
        if !from.starts_with(&self.root) && !to.starts_with(&self.root) {
            return Ok(());
        }
        ensure!(from.parent() == to.parent(), "a rename from one directory into another");
        let node = self.find(from).context("a rename of what is not there")?;
        let old = self.place(from).context("a rename of what is not there")?.1;
        let (folder, new) = self.place(to).context("a rename to where nothing can be")?;
        folder.seen.remove(&old);
        folder.seen.insert(new.clone(), node);
        folder.pending.push((at, vec![(old, None), (new, Some(node))]));
        self.changes += 1;
        Ok(())
    }

    fn write(&mut self, path: &Path, offset: usize, bytes: Vec<u8>, at: usize) {
        if let Some(content) = self.content(path) {
            content.length = content.length.max(offset + bytes.len());
            content.pending.push((at, Change::Write { offset, bytes }));
            self.changes += 1;
        }
    }

    fn resize(&mut self, path: &Path, length: usize, at: usize) {
        if let Some(content) = self.content(path) {
            content.length = length;
            content.pending.push((at, Change::Resize(length)));
            self.changes += 1;
        }
    }

    fn flush(&mut self, path: &Path, began: usize) {
        let Some(node) = self.find(path) else { return };
        self.flushes += 1;
        match &mut self.nodes[node] {
            Node::File(content) => content.flush(began),
            Node::Folder(folder) => folder.flush(began),
        }
    }

    /// Does what a call did.
    pub(super) fn apply(&mut self, call: &Call) -> Result<()> {
        let at = call.ended;
        match call.name.as_str() {
            "open" => self.open(call, &call.path(None, 0)?, 1),
            "openat" => self.open(call, &call.path(Some(0), 1)?, 2),
            "mkdir" => self.make(&call.path(None, 0)?, Node::Folder(Folder::default()), at),
            "mkdirat" => self.make(&call.path(Some(0), 1)?, Node::Folder(Folder::default()), at),
            "unlink" | "rmdir" => self.remove(&call.path(None, 0)?, at),
            "unlinkat" => self.remove(&call.path(Some(0), 1)?, at),
            "rename" => self.rename(&call.path(None, 0)?, &call.path(None, 1)?, at)?,
            "renameat" | "renameat2" => {
                self.rename(&call.path(Some(0), 1)?, &call.path(Some(2), 3)?, at)?;
            }
            "truncate" => self.resize(&call.path(None, 0)?, call.number(1)?, at),
            "mmap" => {
                let writes = call.has_flag(2, "PROT_WRITE") && call.has_flag(3, "MAP_SHARED");
                if let Some(path) = call.file(4)?.filter(|_| writes)
                    && let Some(content) = self.content(&path)
                {
                    content.is_mapped = true;
                }
            }
            _ => {
                let Some(path) = call.file(0)? else { return Ok(()) };
                self.apply_to(call, &path)?;
            }
        }
        Ok(())
    }

    /// Does what a call did to an open file.
    fn apply_to(&mut self, call: &Call, path: &Path) -> Result<()> {
        if !path.starts_with(&self.root) {
            return Ok(());
        }
        let at = call.ended;
        match call.name.as_str() {
            "pwrite64" => {
                let mut bytes = call.bytes(1)?;
                bytes.truncate(call.count()?);
                self.write(path, call.number(3)?, bytes, at);
            }
            "write" => {
                let mut bytes = call.bytes(1)?;
                bytes.truncate(call.count()?);
                let position = self.positions.entry((call.descriptor(0)?, path.into()));
                let position = position.or_default();
                let offset = *position;
                *position += bytes.len();
                self.write(path, offset, bytes, at);
            }
            "lseek" => {
                let position = (call.descriptor(0)?, path.to_path_buf());
                self.positions.insert(position, call.count()?);
            }
            "ftruncate" => self.resize(path, call.number(1)?, at),
            "fallocate" if call.number(1)? == 0 => {
                let end = call.number(2)? + call.number(3)?;
                if self.content(path).is_some_and(|content| content.length < end) {
                    self.resize(path, end, at);
                }
            }
            "fsync" | "fdatasync" => self.flush(path, call.began),
            other => bail!("`{other}` of `{}` is not understood", path.display()),
        }
        Ok(())
    }

    fn open(&mut self, call: &Call, path: &Path, flags: usize) {
        if !path.starts_with(&self.root) {
            return;
        }
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        // What the storm itself notes of its workers is no part of a store.
        let is_note = name.starts_with("stage-") || name.starts_with("stderr-");
        if !is_note && self.find(path).is_none() && call.has_flag(flags, "O_CREAT") {
            self.make(path, Node::File(Content::default()), call.ended);
        }
        if call.has_flag(flags, "O_TRUNC") {
            self.resize(path, 0, call.ended);
        }
        let length = self.content(path).map_or(0, |content| content.length);
        let position = if call.has_flag(flags, "O_APPEND") { length } else { 0 };
        if let Some((descriptor, path)) = call.opened() {
            self.positions.insert((descriptor, path), position);
        }
    }

    /// Writes down what the disk may hold if the power fails now.
    pub(super) fn image(&self, target: &Path, loss: Loss, random: &mut Random) -> Result<()> {
        let moment = self.some_moment(random);
        let kept = 10 + random.below(81);
        let mut fate = |at: usize, random: &mut Random| match loss {
            Loss::None => Fate::Kept,
            Loss::Later if at < moment => Fate::Kept,
            Loss::Torn if random.percent(50) => Fate::Torn,
            Loss::Some | Loss::Torn if random.percent(kept) => Fate::Kept,
            _ => Fate::Lost,
        };
        self.put(0, target, &mut fate, random)
    }

    /// A line between the first and the last change that is not durable.
    fn some_moment(&self, random: &mut Random) -> usize {
        let lines = self.nodes.iter().flat_map(|node| -> Vec<usize> {
            match node {
                Node::File(content) => content.pending.iter().map(|(at, _)| *at).collect(),
                Node::Folder(folder) => folder.pending.iter().map(|(at, _)| *at).collect(),
            }
        });
        let lines: Vec<usize> = lines.collect();
        if lines.is_empty() { 0 } else { *random.pick(&lines) }
    }

    fn put(
        &self,
        node: usize,
        target: &Path,
        fate: &mut dyn FnMut(usize, &mut Random) -> Fate,
        random: &mut Random,
    ) -> Result<()> {
        match &self.nodes[node] {
            Node::File(content) => {
                let bytes = content.after(fate, random);
                let mut file =
                    File::options().write(true).create_new(true).mode(0o600).open(target)?;
                Ok(file.write_all(&bytes)?)
            }
            Node::Folder(folder) => {
                DirBuilder::new().mode(0o700).create(target)?;
                for (name, node) in folder.after(fate, random) {
                    // A directory lost its old name and kept its new one, or has both.
                    self.put(node, &target.join(name), fate, random)?;
                }
                Ok(())
            }
        }
    }
}

impl Content {
    fn flush(&mut self, began: usize) {
        let later = self.pending.split_off(self.pending.partition_point(|(at, _)| *at < began));
        for (_, change) in std::mem::replace(&mut self.pending, later) {
            change.apply(&mut self.durable);
        }
    }

    /// What is left of it.
    fn after(
        &self,
        fate: &mut dyn FnMut(usize, &mut Random) -> Fate,
        random: &mut Random,
    ) -> Vec<u8> {
        let (mut cache, mut disk) = (self.durable.clone(), self.durable.clone());
        for (at, change) in &self.pending {
            change.apply(&mut cache);
            match (change, fate(*at, random)) {
                (_, Fate::Lost) => {}
                (Change::Resize(length), _) => disk.resize(*length, 0),
                (Change::Write { offset, bytes }, fate) => {
                    let (first, last) = (offset / SECTOR, (offset + bytes.len()).div_ceil(SECTOR));
                    for sector in first..last {
                        if fate == Fate::Kept || random.percent(50) {
                            copy_sector(&cache, &mut disk, sector);
                        }
                    }
                }
            }
        }
        if self.is_mapped {
            // Nobody knows which pages of it ever reached the disk.
            for sector in 0..self.length.div_ceil(SECTOR) {
                let end = self.length.min((sector + 1) * SECTOR);
                disk.resize(disk.len().max(end), 0);
                if random.percent(10) {
                    disk[sector * SECTOR..end].fill(*random.pick(&[0, 1, 0x7f, 0xff]));
                }
            }
        }
        disk
    }
}

fn copy_sector(cache: &[u8], disk: &mut Vec<u8>, sector: usize) {
    let (start, end) = (sector * SECTOR, cache.len().min((sector + 1) * SECTOR));
    if start < end {
        disk.resize(disk.len().max(end), 0);
        disk[start..end].copy_from_slice(&cache[start..end]);
    }
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Resize(length) => to.resize(*length, 0),
            Self::Write { offset, bytes } => {
                let end = offset + bytes.len();
                to.resize(to.len().max(end), 0);
                to[*offset..end].copy_from_slice(bytes);
            }
        }
    }
}

impl Folder {
    fn flush(&mut self, began: usize) {
        let later = self.pending.split_off(self.pending.partition_point(|(at, _)| *at < began));
        for (_, change) in std::mem::replace(&mut self.pending, later) {
            apply_names(&change, &mut self.durable);
        }
    }

    fn after(
        &self,
        fate: &mut dyn FnMut(usize, &mut Random) -> Fate,
        random: &mut Random,
    ) -> BTreeMap<String, usize> {
        let mut names = self.durable.clone();
        for (at, change) in &self.pending {
            // A name is in one sector.
            if fate(*at, random) == Fate::Kept {
                apply_names(change, &mut names);
            }
        }
        names
    }
}

fn apply_names(change: &Names, names: &mut BTreeMap<String, usize>) {
    for (name, node) in change {
        match node {
            Some(node) => names.insert(name.clone(), *node),
            None => names.remove(name),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const ROOT: &str = "/t";

    /// The bytes of `/t/f` in an image.
    fn left(disk: &Disk, loss: Loss, seed: u64) -> Option<Vec<u8>> {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("image");
        disk.image(&target, loss, &mut Random::new(seed, 0)).unwrap();
        fs::read(target.join("f")).ok()
    }

    fn disk() -> Disk {
        let mut disk = Disk::new(Path::new(ROOT));
        disk.make(Path::new("/t/f"), Node::File(Content::default()), 1);
        disk.write(Path::new("/t/f"), 0, vec![1; 1024], 2);
        disk
    }

    #[test]
    fn only_a_flush_makes_durable() {
        let (root, file) = (Path::new(ROOT), Path::new("/t/f"));
        let mut disk = disk();
        assert_eq!(left(&disk, Loss::All, 1), None);
        assert_eq!(left(&disk, Loss::None, 1), Some(vec![1; 1024]));
        disk.flush(file, 3);
        assert_eq!(left(&disk, Loss::All, 1), None, "the name is not durable");
        disk.flush(root, 4);
        assert_eq!(left(&disk, Loss::All, 1), Some(vec![1; 1024]));
        disk.write(file, 0, vec![2; 10], 5);
        // A flush that began before a write does not promise it.
        disk.flush(file, 5);
        assert_eq!(left(&disk, Loss::All, 1), Some(vec![1; 1024]));
        assert_eq!(disk.unflushed(), 1);
    }

    #[test]
    fn writes_are_torn_between_sectors_only() {
        let mut disk = disk();
        disk.flush(Path::new("/t/f"), 3);
        disk.flush(Path::new(ROOT), 4);
        disk.write(Path::new("/t/f"), 100, vec![2; 800], 5);
        let mut kinds = std::collections::BTreeSet::new();
        for seed in 0..100 {
            let bytes = left(&disk, Loss::Torn, seed).unwrap();
            assert_eq!((bytes.len(), bytes[99], bytes[900]), (1024, 1, 1));
            let (first, second) = (&bytes[100..512], &bytes[512..900]);
            for part in [first, second] {
                assert!(part.iter().all(|byte| *byte == part[0]), "torn within a sector");
            }
            kinds.insert((first[0], second[0]));
        }
        assert_eq!(kinds.len(), 4);
    }

    #[test]
    fn a_rename_is_there_as_one() {
        let mut disk = disk();
        disk.flush(Path::new("/t/f"), 3);
        disk.flush(Path::new(ROOT), 4);
        disk.rename(Path::new("/t/f"), Path::new("/t/g"), 5).unwrap();
        assert_eq!(left(&disk, Loss::None, 1), None);
        assert_eq!(left(&disk, Loss::All, 1), Some(vec![1; 1024]));
    }
}
