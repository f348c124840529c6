//! Every interleaving of those who share a slot of the combiner's table, on the atomics of a model
//! checker: the very code of `combine/slot.rs`.
//!
//! `LOOM_MAX_PREEMPTIONS` allows more of them than 2, `COTENANT_MUTANT` switches a planted bug on. Under
//! Miri the threads are real, and the interpreter looks for races and undefined behaviour.

#![allow(missing_docs)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../src/combine/slot.rs"]
#[allow(dead_code, reason = "the model needs no futex")]
mod slot;

/// The atomics of the model.
mod sync {
    #[cfg(not(miri))]
    pub(super) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
    #[cfg(miri)]
    pub(super) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
}

/// Planted bugs.
mod testing {
    pub(crate) fn mutant(name: &str) -> bool {
        std::env::var("COTENANT_MUTANT").is_ok_and(|mutant| mutant == name)
    }
}

#[cfg(not(miri))]
use loom::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};
#[cfg(miri)]
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use slot::{Look, Slot, Stand, State};

/// A message of two words can be torn.
const WORDS: usize = 2;

fn now_ms() -> u64 {
    0
}

fn kin() -> u64 {
    1
}

/// A slot, and what is known of who leads and of what took effect.
struct Stage {
    slot: Slot,
    led: AtomicBool,
    /// How often each client's request was carried out.
    effects: [AtomicUsize; 2],
}

impl Stage {
    fn new() -> Arc<Self> {
        let effects = [AtomicUsize::new(0), AtomicUsize::new(0)];
        Arc::new(Self { slot: Slot::new(), led: AtomicBool::new(true), effects })
    }

    fn effects(&self, client: usize) -> usize {
        self.effects[client].load(Ordering::SeqCst)
    }

    /// What a client came away with is what happened.
    fn agrees(&self, client: usize, came: &Came) {
        let effects = self.effects(client);
        match came {
            Came::Done => assert_eq!(effects, 1, "the outcome of what never ran"),
            Came::Never => assert_eq!(effects, 0, "what was given up took effect"),
            Came::Perhaps => assert!(effects <= 1, "it ran twice"),
        }
    }

    fn at_rest(&self) {
        assert_eq!(self.slot.stand().state(), Some(State::Free));
        assert!(self.slot.is_wiped(), "a message stays in the table");
    }
}

fn request(client: usize) -> Vec<u8> {
    vec![b'a' + u8::try_from(client).unwrap(); 12]
}

fn outcome(client: usize) -> Vec<u8> {
    vec![b'A' + u8::try_from(client).unwrap(); 12]
}

/// Which client a request is of.
fn client_of(message: &[u8]) -> usize {
    (0..2).find(|client| message == request(*client)).expect("a message of nobody")
}

/// What a client comes away with.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    /// Its request was done.
    Done,
    /// It is sure that it never runs here.
    Never,
    /// It must repeat it under the same id.
    Perhaps,
}

/// Posts a request and waits for it; `patience` is how often it looks before it gives up.
fn client(stage: &Stage, client: usize, patience: usize) -> Came {
    let slot = &stage.slot;
    let Some(claimed) = slot.claim() else { return Came::Never };
    let Some(posted) = slot.post(claimed, &request(client)) else { return Came::Never };
    let mut looked = 0;
    loop {
        let over = looked >= patience;
        match slot.look(posted, (over, over), || stage.led.load(Ordering::SeqCst)) {
            Look::Waits(_) => thread::yield_now(),
            Look::Withdrawn { .. } | Look::Abandoned => return Came::Never,
            Look::Unknown => return Came::Perhaps,
            Look::Over(stand) => {
                let done = stand.state() == Some(State::Done);
                let answer = slot.read(stand);
                slot.free(stand);
                if !done {
                    return Came::Never;
                }
                // Whoever took the slot away meanwhile left nothing to be mistaken for the outcome.
                let Some(answer) = answer else { return Came::Perhaps };
                assert_eq!(answer, outcome(client), "another's outcome");
                return Came::Done;
            }
        }
        looked += 1;
    }
}

/// Leads until it took something or looked so often; dies before the step of that number.
fn lead(stage: &Stage, looks: usize, dies_at: usize) {
    let slot = &stage.slot;
    let carry_out = |taken: Stand| {
        let message = slot.read(taken);
        if dies_at == 1 {
            return;
        }
        let Some(client) = message.map(|message| client_of(&message)) else {
            slot.finish(taken, None);
            return;
        };
        if !slot.run(taken) {
            slot.finish(taken, None);
            return;
        }
        if dies_at == 2 {
            return;
        }
        stage.effects[client].fetch_add(1, Ordering::SeqCst);
        if dies_at == 3 {
            return;
        }
        slot.finish(taken, Some(&outcome(client)));
    };
    for _ in 0..looks {
        if let Some(taken) = slot.take() {
            if dies_at > 0 {
                carry_out(taken);
            }
            break;
        }
        thread::yield_now();
    }
    // The kernel lets go of the lock, however it ends.
    stage.led.store(false, Ordering::SeqCst);
}

/// What a combiner does first that follows one that died.
fn clear(slot: &Slot) {
    let stand = slot.stand();
    if stand.state() != Some(State::Free) {
        slot.free(stand);
    }
}

const LIVES: usize = usize::MAX;

/// Runs all interleavings with at most so many preemptions.
#[cfg(not(miri))]
fn modelled(run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(2));
    builder.check(run);
}

/// Runs some interleavings, as the interpreter's seed has it, with all that it looks for.
#[cfg(miri)]
fn modelled(run: impl Fn() + Sync + Send + 'static) {
    (0..20).for_each(|_| run());
}

#[test]
fn a_client_that_gives_up_and_a_combiner_agree() {
    for patience in 0..3 {
        modelled(move || {
            let stage = Stage::new();
            let other = Arc::clone(&stage);
            let leader = thread::spawn(move || lead(&other, 2, LIVES));
            let came = client(&stage, 0, patience);
            leader.join().unwrap();
            stage.agrees(0, &came);
            clear(&stage.slot);
            stage.at_rest();
        });
    }
}

#[test]
fn a_combiner_that_dies_at_any_step_leaves_nothing_unclear() {
    for dies_at in 0..4 {
        modelled(move || {
            let stage = Stage::new();
            let other = Arc::clone(&stage);
            let leaders = thread::spawn(move || {
                lead(&other, 2, dies_at);
                // The next one has the lock only now.
                other.led.store(true, Ordering::SeqCst);
                clear(&other.slot);
                lead(&other, 1, LIVES);
            });
            let came = client(&stage, 0, 1);
            leaders.join().unwrap();
            stage.agrees(0, &came);
            clear(&stage.slot);
            stage.at_rest();
        });
    }
}

#[test]
fn a_slot_is_of_one_client_at_a_time() {
    modelled(|| {
        let stage = Stage::new();
        let (other, leader) = (Arc::clone(&stage), Arc::clone(&stage));
        let leader = thread::spawn(move || lead(&leader, 1, LIVES));
        let second = thread::spawn(move || client(&other, 1, 0));
        let came = [client(&stage, 0, 0), second.join().unwrap()];
        leader.join().unwrap();
        for (client, came) in came.iter().enumerate() {
            stage.agrees(client, came);
        }
        clear(&stage.slot);
        stage.at_rest();
    });
}

#[test]
fn a_client_that_was_stopped_spoils_nothing() {
    modelled(|| {
        let stage = Stage::new();
        let other = Arc::clone(&stage);
        // It was stopped behind the claim, and its slot was taken away since.
        let claimed = stage.slot.claim().unwrap();
        let stopped = Arc::clone(&stage);
        assert!(stage.slot.free(claimed));
        let stopped = thread::spawn(move || stopped.slot.post(claimed, &request(0)).is_some());
        let leader = thread::spawn(move || lead(&other, 1, LIVES));
        let came = client(&stage, 1, 0);
        assert!(!stopped.join().unwrap(), "it posted in another's place");
        leader.join().unwrap();
        assert_eq!(stage.effects(0), 0);
        // Its words may lie over the request, which is refused then, or over the outcome.
        stage.agrees(1, &came);
        clear(&stage.slot);
    });
}
