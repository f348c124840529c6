//! One slot of the table: a request, then its outcome.
//!
//! Its state word holds what it is in, in its lowest bits, and a generation above them that changes
//! with every use.
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
//! for the outcome or for the combiner's death. Whoever frees a slot wipes it.
//!
//! `tests/slot.rs` runs this very file on the atomics of a model checker.

use super::WORDS;
use super::sync::{AtomicU32, AtomicU64, Ordering};
use crate::testing::mutant;

/// The bytes of a message.
pub(super) const MESSAGE_BYTES: usize = WORDS * 8;
const STATE_BITS: u32 = 3;
/// A request that was not carried out after this time is given up by its client.
pub(super) const PATIENCE_MS: u64 = 500;
/// A slot that was claimed so long ago belongs to a process that is gone or stopped: a request takes
/// a twentieth of it at most.
pub(super) const LEFT_AFTER_MS: u64 = 10_000;

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
    /// When it was claimed, by [`super::now_ms`].
    since: AtomicU64,
    sum: AtomicU64,
    words: [AtomicU64; WORDS],
}

impl Slot {
    /// A free slot, for a model of it.
    #[cfg(test)]
    #[allow(dead_code, reason = "the store's own are mapped")]
    pub(super) fn new() -> Self {
        let words = std::array::from_fn(|_| AtomicU64::new(0));
        let (stand, length) = (AtomicU32::new(0), AtomicU32::new(0));
        Self { stand, length, since: AtomicU64::new(0), sum: AtomicU64::new(0), words }
    }

    /// Whether nothing of a message is left.
    #[cfg(test)]
    #[allow(dead_code, reason = "the model looks")]
    pub(super) fn is_wiped(&self) -> bool {
        self.words.iter().all(|word| word.load(Ordering::Relaxed) == 0)
    }

    /// Pretends that it was claimed then.
    #[cfg(test)]
    #[allow(dead_code, reason = "the model has no clock")]
    pub(super) fn claimed_at(&self, since: u64) {
        self.since.store(since, Ordering::Relaxed);
    }

    /// Where it stands.
    pub(super) fn stand(&self) -> Stand {
        Stand(self.stand.load(Ordering::Acquire))
    }

    /// Goes on from where it stood; false if somebody else went on before.
    pub(super) fn go(&self, from: Stand, to: Stand) -> bool {
        self.stand.compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Claims the slot if it is free.
    pub(super) fn claim(&self) -> Option<Stand> {
        let stand = self.stand();
        let claimed = stand.anew(State::Claimed);
        if stand.state() != Some(State::Free) || !self.go(stand, claimed) {
            return None;
        }
        self.since.store(super::now_ms(), Ordering::Relaxed);
        Some(claimed)
    }

    /// Whether it was claimed so long ago that nobody goes on with it.
    pub(super) fn is_left(&self) -> bool {
        super::now_ms().saturating_sub(self.since.load(Ordering::Relaxed)) > LEFT_AFTER_MS
    }

    /// Whether its client has given it up by now, or was of an earlier boot.
    fn is_late(&self) -> bool {
        let age = super::now_ms().checked_sub(self.since.load(Ordering::Relaxed));
        age.is_none_or(|age| age > PATIENCE_MS)
    }

    /// Gives the slot up, whoever used it, and leaves nothing of its messages behind; false if
    /// somebody else went on before.
    pub(super) fn free(&self, from: Stand) -> bool {
        let claimed = from.anew(State::Claimed);
        if !self.go(from, claimed) {
            return false;
        }
        if !mutant("combine_leaves_messages") {
            self.words.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        }
        self.go(claimed, claimed.anew(State::Free))
    }

    /// Writes a request into a slot that was claimed and offers it; none if it is too long, or somebody
    /// took the slot away.
    pub(super) fn post(&self, claimed: Stand, request: &[u8]) -> Option<Stand> {
        let posted = claimed.to(State::Posted);
        if self.write(claimed, request) && self.go(claimed, posted) {
            return Some(posted);
        }
        self.free(claimed);
        None
    }

    /// Takes a request that was offered.
    pub(super) fn take(&self) -> Option<Stand> {
        let stand = self.stand();
        let taken = stand.to(State::Taken);
        if stand.state() != Some(State::Posted) {
            return None;
        }
        if self.is_late() {
            self.free(stand);
            return None;
        }
        self.go(stand, taken).then_some(taken)
    }

    /// Says that a request that was taken runs; false if it was given up.
    pub(super) fn run(&self, taken: Stand) -> bool {
        let running = taken.to(State::Running);
        let runs = self.stand() == running || self.go(taken, running);
        runs || mutant("combine_runs_what_was_given_up")
    }

    /// Puts an outcome, or none, in the place of a request that was taken. False if nobody waits for it
    /// any more.
    pub(super) fn finish(&self, taken: Stand, outcome: Option<&[u8]>) -> bool {
        let running = taken.to(State::Running);
        let stand = if self.stand() == running { running } else { taken };
        if self.stand() == stand {
            let written = outcome.is_some_and(|outcome| self.write(stand, outcome));
            if self.go(stand, stand.to(if written { State::Done } else { State::Refused })) {
                return true;
            }
        }
        // The client gave it up.
        let stand = self.stand();
        if stand.state() == Some(State::Abandoned) {
            self.free(stand);
        }
        false
    }

    /// What a client sees of its request, and does about it: `late` if it could have been done by now,
    /// `over` if it waits no longer.
    pub(super) fn look(
        &self,
        posted: Stand,
        (late, over): (bool, bool),
        is_led: impl Fn() -> bool,
    ) -> Look {
        let stand = self.stand();
        if !stand.is_of(posted) {
            // Somebody took the slot away: it was left for long, or its combiner died.
            return Look::Unknown;
        }
        match stand.state() {
            Some(State::Done | State::Refused) => Look::Over(stand),
            Some(State::Posted) => {
                let led = is_led();
                if (!led || late) && self.free(stand) {
                    return Look::Withdrawn { led };
                }
                Look::Waits(stand)
            }
            // It is in a transaction, and no other can begin.
            Some(State::Running) if late && !is_led() => Look::Unknown,
            Some(State::Running) => Look::Waits(stand),
            Some(State::Taken) => {
                let over = over || (late && !is_led());
                if over && self.go(stand, stand.to(State::Abandoned)) {
                    return Look::Abandoned;
                }
                Look::Waits(stand)
            }
            _ => Look::Unknown,
        }
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

/// What a client sees of its request.
#[derive(Debug)]
pub(super) enum Look {
    /// It is done or refused.
    Over(Stand),
    /// It goes on.
    Waits(Stand),
    /// It was withdrawn before anybody took it, and never runs here.
    Withdrawn {
        /// Whether somebody leads who did not take it.
        led: bool,
    },
    /// It was given up before it ran, and never does here.
    Abandoned,
    /// Nobody knows what became of it.
    Unknown,
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

#[cfg(test)]
mod tests {
    use super::{super::modelled, *};

    #[test]
    fn a_message_of_another_use_or_torn_is_not_read() {
        modelled(|| {
            let slot = Slot::new();
            let stand = slot.stand().anew(State::Claimed);
            slot.write(stand, b"a message");
            assert!(slot.read(stand.to(State::Taken)).is_some());
            assert!(slot.read(stand.anew(State::Taken)).is_none());
            slot.words[0].store(0, Ordering::Relaxed);
            assert!(slot.read(stand).is_none());
            slot.length.store(u32::MAX, Ordering::Relaxed);
            assert!(slot.read(stand).is_none());
        });
    }

    #[test]
    fn one_goes_on_and_generations_differ() {
        modelled(|| {
            let slot = Slot::new();
            let free = slot.stand();
            assert_eq!(free.state(), Some(State::Free));
            let claimed = free.anew(State::Claimed);
            assert!(slot.go(free, claimed));
            assert!(!slot.go(free, claimed));
            assert_ne!(claimed.anew(State::Claimed), claimed);
            let last = Stand(u32::MAX).to(State::Abandoned);
            assert_eq!(last.anew(State::Free), Stand(0));
            assert_eq!(Stand(7).state(), Some(State::Abandoned));
        });
    }
}
