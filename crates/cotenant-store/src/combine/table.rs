//! The shared memory through which processes post requests to a combiner.
//!
//! # Layout
//! A page that says whose table this is, then one page a slot, whose life is told in `slot.rs`. A
//! combiner that follows one that died frees all slots, and their clients notice; what nobody went on
//! with for ten seconds is freed too.
//!
//! # Invariants
//! - The file is as long as the table and allocated before it is mapped; it is never made shorter.
//! - All access is atomic, so that whatever another process writes, nothing here is undefined. What
//!   a message means is checked by whoever reads it; its sum tells whether it is whole.
//! - Who takes a slot from a process that is stopped changes its generation first: whatever that
//!   process still writes, the sum of the next message does not fit and the message is not used.
//! - The combiner holds the file's exclusive lock as long as it leads; the kernel lets go of it.
//! - A client first posts and then looks whether somebody leads; a combiner first lets go of the lock
//!   and then looks whether something was posted. So one of them sees the other.

#![expect(unsafe_code, reason = "a mapping that processes share; the invariants are above")]

use std::{
    fs::{File, TryLockError},
    io,
    ops::Deref,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    ptr::NonNull,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use rustix::{
    fs::{FallocateFlags, OFlags, fallocate},
    mm::{MapFlags, ProtFlags, mmap, munmap},
    thread::futex,
};

use super::slot::{Slot, Stand, State};

/// The file of this layout; another layout has another file.
pub(super) const FILE: &str = "combine-2";
/// How many requests can be under way at once. Who finds no slot goes to the database, which ends the
/// sharing for all: with 64 slots, 128 busy processes had less than half the rate of 64 (measured).
const SLOTS: usize = 256;
/// How many slots have their bits in one word.
const GROUP: usize = u64::BITS as usize;
/// Who leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Leader {
    Nobody,
    /// A process with a request of its own.
    Passing,
    /// A process that stays.
    Resident,
}

/// The whole table.
#[repr(C)]
pub(super) struct Table {
    /// Which program and name space the combiner is of.
    combiner: AtomicU64,
    /// The slots that were posted and not taken yet, a bit each. A bit may be missing after a
    /// combiner died, and too much after a client withdrew.
    posted: [AtomicU64; SLOTS / GROUP],
    /// Changes with every message; a resident combiner sleeps on it.
    pub(super) bell: AtomicU32,
    /// What leads. What is here without a lock died.
    leader: AtomicU32,
    /// Whether a client found no free slot.
    crowded: AtomicU32,
    rest: [AtomicU32; 1011],
    slots: [Slot; SLOTS],
}

impl Table {
    /// Claims a free slot, beginning where no other process is likely to.
    pub(super) fn claim(&self) -> Option<(usize, &Slot, Stand)> {
        let first = std::process::id() as usize;
        let found = (first..first + SLOTS).map(|number| number % SLOTS).find_map(|number| {
            let slot = &self.slots[number];
            Some((number, slot, slot.claim()?))
        });
        if found.is_none() {
            self.crowded.store(1, Ordering::Relaxed);
        }
        found
    }

    /// Makes a message known.
    pub(super) fn post(&self, number: usize) {
        self.posted[number / GROUP].fetch_or(1 << (number % GROUP), Ordering::SeqCst);
        self.bell.fetch_add(1, Ordering::SeqCst);
        let _ = futex::wake(&self.bell, futex::Flags::empty(), 1);
    }

    /// Takes all that was posted. Only the combiner does.
    pub(super) fn take(&self) -> Vec<(&Slot, Stand)> {
        let mut taken = Vec::new();
        for (group, slots) in self.posted.iter().zip(self.slots.chunks(GROUP)) {
            let mut posted = group.swap(0, Ordering::SeqCst);
            while posted != 0 {
                let slot = &slots[posted.trailing_zeros() as usize];
                posted &= posted - 1;
                if let Some(stand) = slot.take() {
                    taken.push((slot, stand));
                }
            }
        }
        taken
    }

    /// Keeps others from posting, because the combiner does not answer. It says again that it is there
    /// when it goes on.
    pub(super) fn warn(&self) {
        let _ = self.combiner.compare_exchange(super::kin(), 0, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// Says that messages of programs like this one are read.
    pub(super) fn welcome(&self) {
        self.combiner.store(super::kin(), Ordering::SeqCst);
    }

    /// Wakes one of those whose messages nobody has taken, to lead itself.
    fn hand_over(&self) {
        for (group, slots) in self.posted.iter().zip(self.slots.chunks(GROUP)) {
            let posted = group.load(Ordering::SeqCst);
            if posted != 0 {
                let slot = &slots[posted.trailing_zeros() as usize];
                let _ = futex::wake(&slot.stand, futex::Flags::empty(), 1);
                return;
            }
        }
    }

    /// Clears what a combiner that died left. Its clients see that their slots are of another use.
    fn clear(&self) {
        self.posted.iter().for_each(|group| group.store(0, Ordering::SeqCst));
        for slot in &self.slots {
            let stand = slot.stand();
            if stand.state() != Some(State::Free) {
                slot.free(stand);
            }
        }
    }

    /// Frees slots that nobody goes on with. Answers whether any slot is in use. Only the combiner
    /// does, with nothing taken.
    pub(super) fn sweep(&self) -> bool {
        self.crowded.store(0, Ordering::Relaxed);
        let mut in_use = false;
        for slot in &self.slots {
            let stand = slot.stand();
            if stand.state() != Some(State::Free) {
                in_use = true;
                if slot.is_left() {
                    slot.free(stand);
                }
            }
        }
        in_use
    }
}

const BYTES: usize = size_of::<Table>();
const _: () = assert!(BYTES == 4096 * (1 + SLOTS));

/// A table that is mapped.
pub(super) struct Mapped {
    file: File,
    table: NonNull<Table>,
}

// SAFETY: the pointer leads to a shared mapping that lives as long as the value; all access to it
// is atomic.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

impl Mapped {
    /// Maps the table of a store's directory if there is one.
    pub(super) fn find(directory: &Path) -> Option<Self> {
        let mut options = File::options();
        options.read(true).write(true).custom_flags(OFlags::NOFOLLOW.bits() as i32);
        let file = options.open(directory.join(FILE)).ok()?;
        if file.metadata().ok()?.len() < BYTES as u64 {
            return None;
        }
        Self::map(file).ok()
    }

    /// Maps the table of a store's directory, which is made if it is missing. Its space is allocated
    /// before: a full disk must not be met while writing to the mapping.
    pub(super) fn make(directory: &Path) -> io::Result<Self> {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        options.custom_flags(OFlags::NOFOLLOW.bits() as i32);
        let file = options.open(directory.join(FILE))?;
        fallocate(&file, FallocateFlags::empty(), 0, BYTES as u64)?;
        Self::map(file)
    }

    fn map(file: File) -> io::Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh shared mapping of a file that is at least BYTES long; it aliases no Rust
        // object, its start is aligned to a page, and every bit pattern is a value of a Table.
        let address =
            unsafe { mmap(std::ptr::null_mut(), BYTES, access, MapFlags::SHARED, &file, 0) }?;
        let table = NonNull::new(address.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { file, table })
    }

    /// Who leads now, as far as it was said: dead ones say it too.
    pub(super) fn is_led_by(&self, leader: Leader) -> bool {
        self.leader.load(Ordering::SeqCst) == leader as u32
    }

    /// Whether a combiner lives.
    pub(super) fn is_led(&self) -> bool {
        match self.file.try_lock_shared() {
            Ok(()) => {
                let _ = self.file.unlock();
                false
            }
            Err(TryLockError::WouldBlock) => true,
            Err(TryLockError::Error(_)) => false,
        }
    }

    /// Whether a combiner lives that reads our messages.
    pub(super) fn is_led_by_kin(&self) -> bool {
        self.combiner.load(Ordering::SeqCst) == super::kin() && self.is_led()
    }

    /// Becomes the combiner, unless another process is.
    pub(super) fn lead(&self, leader: Leader) -> Option<Lead<'_>> {
        self.file.try_lock().ok()?;
        self.welcome();
        if self.leader.swap(leader as u32, Ordering::SeqCst) != Leader::Nobody as u32 {
            self.clear();
        }
        if self.crowded.load(Ordering::Relaxed) != 0 {
            self.sweep();
        }
        Some(Lead { table: self })
    }
}

/// The combiner's office; given up when dropped.
pub(super) struct Lead<'a> {
    table: &'a Mapped,
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        self.table.leader.store(Leader::Nobody as u32, Ordering::SeqCst);
        let _ = self.table.file.unlock();
        self.table.hand_over();
    }
}

impl Deref for Mapped {
    type Target = Table;

    fn deref(&self) -> &Table {
        // SAFETY: the mapping lives as long as self and is only accessed atomically.
        unsafe { self.table.as_ref() }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `map` with this length and nobody refers to it now.
        let _ = unsafe { munmap(self.table.as_ptr().cast(), BYTES) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::combine::{
        now_ms,
        slot::{LEFT_AFTER_MS, MESSAGE_BYTES, PATIENCE_MS},
    };

    fn table() -> (tempfile::TempDir, Mapped) {
        let directory = tempfile::tempdir().unwrap();
        let table = Mapped::make(directory.path()).unwrap();
        (directory, table)
    }

    #[test]
    fn a_message_is_read_by_another_mapping() {
        let (directory, table) = table();
        let other = Mapped::find(directory.path()).unwrap();
        let stand = table.slots[3].stand().anew(State::Claimed);
        for length in [0, 1, 7, 8, 9, MESSAGE_BYTES] {
            let message = vec![b'x'; length];
            assert!(table.slots[3].write(stand, &message));
            assert_eq!(other.slots[3].read(stand), Some(message));
        }
        assert!(!table.slots[3].write(stand, &[0; MESSAGE_BYTES + 1]));
    }

    #[test]
    fn a_combiner_is_seen_as_long_as_it_holds_the_lock() {
        let (directory, table) = table();
        let other = Mapped::find(directory.path()).unwrap();
        assert!(!other.is_led());
        let lead = table.lead(Leader::Passing).unwrap();
        assert!(other.is_led_by_kin());
        assert!(other.lead(Leader::Resident).is_none());
        drop(lead);
        assert!(!other.is_led());
        assert!(other.lead(Leader::Resident).is_some());
    }

    fn posted(table: &Mapped) -> (&Slot, Stand) {
        let (number, slot, stand) = table.claim().unwrap();
        assert!(slot.post(stand, b"a message").is_some());
        table.post(number);
        (slot, stand)
    }

    #[test]
    fn what_a_dead_combiner_left_is_cleared() {
        let (directory, table) = table();
        let (slot, stand) = posted(&table);
        let dead = Mapped::find(directory.path()).unwrap();
        std::mem::forget(dead.lead(Leader::Passing).unwrap());
        assert_eq!(dead.take().len(), 1);
        assert_eq!(slot.stand(), stand.to(State::Taken));
        posted(&table);
        drop(dead);
        let _lead = table.lead(Leader::Resident).unwrap();
        assert!(table.take().is_empty());
        assert!(!slot.stand().is_of(stand));
        assert_eq!(slot.stand().state(), Some(State::Free));
    }

    #[test]
    fn what_is_late_is_not_taken() {
        let (_directory, table) = table();
        for since in [now_ms() - PATIENCE_MS - 1, now_ms() + 60_000] {
            let (slot, _) = posted(&table);
            slot.claimed_at(since);
            assert!(table.take().is_empty());
            assert_eq!(slot.stand().state(), Some(State::Free));
        }
    }

    #[test]
    fn slots_that_are_left_are_freed() {
        let (_directory, table) = table();
        while table.claim().is_some() {}
        assert!(table.sweep());
        assert!(table.claim().is_none());
        for slot in &table.slots {
            slot.claimed_at(now_ms().saturating_sub(LEFT_AFTER_MS + 1));
        }
        let _lead = table.lead(Leader::Passing).unwrap();
        assert!(table.claim().is_some());
    }
}
