//! The shared memory through which processes post requests to a combiner.
//!
//! # Layout
//! A page that says whose table this is, then one page a slot. A slot's state word holds what it is
//! in, in its lowest bits, and a generation above them that changes with every use.
//!
//! | state | who goes on | to |
//! |---|---|---|
//! | free | a client | claimed |
//! | claimed | the client, once the message is written | posted |
//! | posted | the combiner, or the client that withdraws it | taken, free |
//! | taken | the combiner, or the client that gives it up | running, done, refused, abandoned |
//! | running | the combiner, which is in the transaction now | done, refused |
//! | done, refused | the client, once the message is read | free |
//! | abandoned | the combiner, or the next one | free |
//!
//! Until a request runs, its client may give it up and send it to the database itself: then it never
//! runs here, so that what the client is told is all that happens. While it runs, the client waits
//! for the outcome or for the combiner's death. Whoever frees a slot wipes it. A combiner that
//! follows one that died frees all slots, and their clients notice; what nobody went on with for ten
//! seconds is freed too.
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

use nix::time::ClockId;
use rustix::{
    fs::{FallocateFlags, OFlags, fallocate},
    mm::{MapFlags, ProtFlags, mmap, munmap},
    thread::futex,
};

/// The file of this layout; another layout has another file.
pub(super) const FILE: &str = "combine-1";
/// How many requests can be under way at once.
const SLOTS: usize = 64;
/// The bytes of a message.
const MESSAGE_BYTES: usize = WORDS * 8;
const WORDS: usize = 509;
const STATE_BITS: u32 = 3;
/// A request that was not carried out after this time is given up by its client.
pub(super) const PATIENCE_MS: u64 = 500;
/// A slot that was claimed so long ago belongs to a process that is gone or stopped: a request takes
/// a twentieth of it at most.
const LEFT_AFTER_MS: u64 = 10_000;

/// What a slot is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Free,
    Claimed,
    Posted,
    Taken,
    Running,
    Done,
    Refused,
    Abandoned,
}

const STATES: [State; 8] = [
    State::Free,
    State::Claimed,
    State::Posted,
    State::Taken,
    State::Running,
    State::Done,
    State::Refused,
    State::Abandoned,
];

/// A state and its generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stand(u32);

impl Stand {
    pub(super) fn state(self) -> Option<State> {
        STATES.get((self.0 & ((1 << STATE_BITS) - 1)) as usize).copied()
    }

    /// Whether it is the same use of the slot, in whatever state.
    pub(super) fn is_of(self, other: Self) -> bool {
        self.0 >> STATE_BITS == other.0 >> STATE_BITS
    }

    /// The same use of the slot, in another state.
    pub(super) fn to(self, state: State) -> Self {
        Self((self.0 >> STATE_BITS << STATE_BITS) | state as u32)
    }

    /// Another use of the slot.
    pub(super) fn anew(self, state: State) -> Self {
        Self(self.0.wrapping_add(1 << STATE_BITS)).to(state)
    }

    /// The word, as a futex sees it.
    pub(super) const fn word(self) -> u32 {
        self.0
    }
}

/// One request, then its outcome.
#[repr(C)]
pub(super) struct Slot {
    pub(super) stand: AtomicU32,
    length: AtomicU32,
    /// When it was claimed, by [`now_ms`].
    since: AtomicU64,
    sum: AtomicU64,
    words: [AtomicU64; WORDS],
}

impl Slot {
    /// Where it stands.
    pub(super) fn stand(&self) -> Stand {
        Stand(self.stand.load(Ordering::Acquire))
    }

    /// Goes on from where it stood; false if somebody else went on before.
    pub(super) fn go(&self, from: Stand, to: Stand) -> bool {
        self.stand.compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Claims the slot if it is free.
    fn claim(&self) -> Option<Stand> {
        let stand = self.stand();
        let claimed = stand.anew(State::Claimed);
        if stand.state() != Some(State::Free) || !self.go(stand, claimed) {
            return None;
        }
        self.since.store(now_ms(), Ordering::Relaxed);
        Some(claimed)
    }

    /// Whether it was claimed so long ago that nobody goes on with it.
    fn is_left(&self) -> bool {
        now_ms().saturating_sub(self.since.load(Ordering::Relaxed)) > LEFT_AFTER_MS
    }

    /// Whether its client has given it up by now, or was of an earlier boot.
    fn is_late(&self) -> bool {
        let age = now_ms().checked_sub(self.since.load(Ordering::Relaxed));
        age.is_none_or(|age| age > PATIENCE_MS)
    }

    /// Gives the slot up, whoever used it, and leaves nothing of its messages behind; false if
    /// somebody else went on before.
    pub(super) fn free(&self, from: Stand) -> bool {
        let claimed = from.anew(State::Claimed);
        if !self.go(from, claimed) {
            return false;
        }
        self.words.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        self.go(claimed, claimed.anew(State::Free))
    }

    /// Writes a message of a use of the slot; false if it is too long.
    pub(super) fn write(&self, stand: Stand, message: &[u8]) -> bool {
        let Some(length) =
            u32::try_from(message.len()).ok().filter(|_| message.len() <= MESSAGE_BYTES)
        else {
            return false;
        };
        for (word, chunk) in self.words.iter().zip(message.chunks(8)) {
            let mut bytes = [0; 8];
            bytes[..chunk.len()].copy_from_slice(chunk);
            word.store(u64::from_le_bytes(bytes), Ordering::Relaxed);
        }
        self.length.store(length, Ordering::Relaxed);
        self.sum.store(sum(stand, message), Ordering::Relaxed);
        true
    }

    /// Reads the message of a use of the slot; none if it is not whole.
    pub(super) fn read(&self, stand: Stand) -> Option<Vec<u8>> {
        let length = self.length.load(Ordering::Relaxed) as usize;
        if length > MESSAGE_BYTES {
            return None;
        }
        let words = self.words.iter().take(length.div_ceil(8));
        let mut message: Vec<u8> =
            words.flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes()).collect();
        message.truncate(length);
        (self.sum.load(Ordering::Relaxed) == sum(stand, &message)).then_some(message)
    }
}

/// Tells whether a message is whole, of this use of its slot and of a program like this one.
fn sum(stand: Stand, message: &[u8]) -> u64 {
    hash(super::kin() ^ u64::from(stand.0 >> STATE_BITS), message)
}

/// FNV-1a, by Fowler, Noll and Vo, from a seed.
pub(super) const fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325 ^ seed;
    let mut place = 0;
    while place < bytes.len() {
        hash = (hash ^ bytes[place] as u64).wrapping_mul(0x0100_0000_01b3);
        place += 1;
    }
    hash
}

/// Milliseconds since the machine was started.
fn now_ms() -> u64 {
    ClockId::CLOCK_BOOTTIME
        .now()
        .map_or(0, |now| (now.tv_sec() * 1_000 + now.tv_nsec() / 1_000_000).unsigned_abs())
}

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
    posted: AtomicU64,
    /// Changes with every message; a resident combiner sleeps on it.
    pub(super) bell: AtomicU32,
    /// What leads. What is here without a lock died.
    leader: AtomicU32,
    /// Whether a client found no free slot.
    crowded: AtomicU32,
    rest: [AtomicU32; 1017],
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
        self.posted.fetch_or(1 << number, Ordering::SeqCst);
        self.bell.fetch_add(1, Ordering::SeqCst);
        let _ = futex::wake(&self.bell, futex::Flags::empty(), 1);
    }

    /// Takes all that was posted. Only the combiner does.
    pub(super) fn take(&self) -> Vec<(&Slot, Stand)> {
        let mut posted = self.posted.swap(0, Ordering::SeqCst);
        let mut taken = Vec::new();
        while posted != 0 {
            let slot = &self.slots[posted.trailing_zeros() as usize];
            posted &= posted - 1;
            let stand = slot.stand();
            let next = stand.to(State::Taken);
            if stand.state() != Some(State::Posted) {
                continue;
            }
            if slot.is_late() {
                slot.free(stand);
            } else if slot.go(stand, next) {
                taken.push((slot, next));
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
        let posted = self.posted.load(Ordering::SeqCst);
        if posted != 0 {
            let slot = &self.slots[posted.trailing_zeros() as usize];
            let _ = futex::wake(&slot.stand, futex::Flags::empty(), 1);
        }
    }

    /// Clears what a combiner that died left. Its clients see that their slots are of another use.
    fn clear(&self) {
        self.posted.store(0, Ordering::SeqCst);
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
    fn a_message_of_another_use_or_torn_is_not_read() {
        let (_directory, table) = table();
        let slot = &table.slots[0];
        let stand = slot.stand().anew(State::Claimed);
        slot.write(stand, b"a message");
        assert!(slot.read(stand.to(State::Taken)).is_some());
        assert!(slot.read(stand.anew(State::Taken)).is_none());
        slot.words[0].store(0, Ordering::Relaxed);
        assert!(slot.read(stand).is_none());
        slot.length.store(u32::MAX, Ordering::Relaxed);
        assert!(slot.read(stand).is_none());
    }

    #[test]
    fn one_goes_on_and_generations_differ() {
        let (_directory, table) = table();
        let slot = &table.slots[0];
        let free = slot.stand();
        assert_eq!(free.state(), Some(State::Free));
        let claimed = free.anew(State::Claimed);
        assert!(slot.go(free, claimed));
        assert!(!slot.go(free, claimed));
        assert_ne!(claimed.anew(State::Claimed), claimed);
        let last = Stand(u32::MAX).to(State::Abandoned);
        assert_eq!(last.anew(State::Free), Stand(0));
        assert_eq!(Stand(7).state(), Some(State::Abandoned));
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
        slot.write(stand, b"a message");
        assert!(slot.go(stand, stand.to(State::Posted)));
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
            slot.since.store(since, Ordering::Relaxed);
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
            slot.since.store(now_ms().saturating_sub(LEFT_AFTER_MS + 1), Ordering::Relaxed);
        }
        let _lead = table.lead(Leader::Passing).unwrap();
        assert!(table.claim().is_some());
    }
}
