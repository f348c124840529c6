//! The side that carries out.

use std::{
    collections::HashMap,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use cotenant_core::{
    Code, Result,
    operation::Effect,
    store::{Outcome, Store as _},
};
use rustix::thread::futex;

use super::{
    kin, message,
    table::{Mapped, Slot, Stand, State},
};
use crate::LocalStore;

/// A slot that its client leaves as it is for so long belongs to a process that is gone or stopped.
const LEFT_AFTER: Duration = Duration::from_secs(10);
/// How often slots that are in use are looked at without being asked to.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A thread that combines, until it is dropped.
pub struct Combiner {
    stop: Arc<AtomicBool>,
    table: Arc<Mapped>,
    thread: Option<JoinHandle<()>>,
}

/// Offers this process as the combiner of a store. If another process is the combiner, this one
/// follows when that one ends.
pub fn combine(
    file: &Path,
    open: impl Fn() -> Result<LocalStore> + Send + 'static,
) -> std::io::Result<Combiner> {
    let stop = Arc::new(AtomicBool::new(false));
    let table = Arc::new(Mapped::make(&crate::directory(file))?);
    let mut run = Run {
        stop: Arc::clone(&stop),
        file: file.to_path_buf(),
        open: Box::new(open),
        store: None,
        seen: HashMap::new(),
    };
    let shared = Arc::clone(&table);
    let thread = std::thread::Builder::new().name("combiner".to_owned());
    let thread = thread.spawn(move || run.follow(&shared))?;
    Ok(Combiner { stop, table, thread: Some(thread) })
}

impl Drop for Combiner {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            ring(&self.table);
            let _ = thread.join();
        }
    }
}

fn ring(table: &Mapped) {
    table.bell.fetch_add(1, Ordering::Release);
    let _ = futex::wake(&table.bell, futex::Flags::empty(), i32::MAX as u32);
}

struct Run {
    stop: Arc<AtomicBool>,
    file: PathBuf,
    open: Box<dyn Fn() -> Result<LocalStore> + Send>,
    /// The open store, and the device and number of its file.
    store: Option<(LocalStore, (u64, u64))>,
    /// Since when the slots that clients must go on with stand as they do, by number.
    seen: HashMap<usize, (Stand, Instant)>,
}

impl Run {
    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Waits for its turn to be the combiner, and is it until it is stopped.
    fn follow(&mut self, table: &Mapped) {
        while table.file().try_lock().is_err() {
            if self.is_stopped() {
                return;
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
        // What an earlier combiner had taken is carried out anew, under the same id.
        for slot in &table.slots {
            let stand = slot.stand();
            match stand.state() {
                Some(State::Taken) => drop(slot.go(stand, stand.to(State::Posted))),
                Some(State::Abandoned) | None => drop(slot.free(stand)),
                _ => {}
            }
        }
        table.combiner.store(kin(), Ordering::Release);
        loop {
            let heard = table.bell.load(Ordering::Acquire);
            // Read behind the bell, which whoever stops it rings last.
            if self.is_stopped() {
                break;
            }
            if !self.round(table) {
                let in_use = self.look(table);
                let every = futex::Timespec { tv_sec: LOOK_EVERY.as_secs() as i64, tv_nsec: 0 };
                let timeout = in_use.then_some(&every);
                let _ = futex::wait(&table.bell, futex::Flags::empty(), heard, timeout);
            }
        }
        table.combiner.store(0, Ordering::Release);
        let _ = table.file().unlock();
    }

    /// Carries out what was posted; false if that is nothing.
    fn round(&mut self, table: &Mapped) -> bool {
        let mut taken = Vec::new();
        for slot in &table.slots {
            let stand = slot.stand();
            let next = stand.to(State::Taken);
            if stand.state() == Some(State::Posted) && slot.go(stand, next) {
                taken.push((slot, next));
            }
        }
        if taken.is_empty() {
            return false;
        }
        let Some((store, file)) = self.store() else {
            for (slot, stand) in taken {
                answer(slot, stand, None);
            }
            return true;
        };
        let (mut requests, mut places) = (Vec::new(), Vec::new());
        for (slot, stand) in taken {
            let request = slot.read(stand).and_then(|asked| message::request(file, &asked));
            match request {
                None => answer(slot, stand, None),
                Some(request) if request.op.effect() == Effect::Write => {
                    requests.push(request);
                    places.push((slot, stand));
                }
                Some(request) => {
                    let outcome = store.submit(vec![request]).pop();
                    answer(slot, stand, outcome);
                }
            }
        }
        let outcomes = if requests.is_empty() { Vec::new() } else { store.submit(requests) };
        for ((slot, stand), outcome) in places.into_iter().zip(outcomes) {
            answer(slot, stand, Some(outcome));
        }
        true
    }

    /// The store, opened again if another file has its name now.
    fn store(&mut self) -> Option<(&LocalStore, (u64, u64))> {
        let found = std::fs::metadata(&self.file).ok()?;
        let file = (found.dev(), found.ino());
        if self.store.as_ref().is_none_or(|(_, open)| *open != file) {
            self.store = Some(((self.open)().ok()?, file));
        }
        self.store.as_ref().map(|(store, file)| (store, *file))
    }

    /// Frees slots whose clients went away. Answers whether any slot is in use.
    fn look(&mut self, table: &Mapped) -> bool {
        let mut in_use = false;
        for (number, slot) in table.slots.iter().enumerate() {
            let stand = slot.stand();
            if stand.state() == Some(State::Free) {
                self.seen.remove(&number);
                continue;
            }
            in_use = true;
            let (seen, since) = *self.seen.entry(number).or_insert((stand, Instant::now()));
            if seen != stand {
                self.seen.insert(number, (stand, Instant::now()));
            } else if since.elapsed() >= LEFT_AFTER {
                slot.free(stand);
            }
        }
        in_use
    }
}

/// Posts an outcome; without one, or if it does not fit, the client asks the database itself.
fn answer(slot: &Slot, stand: Stand, outcome: Option<Outcome>) {
    // What this process could not do, the client may be able to.
    let outcome = outcome.filter(|outcome| match outcome {
        Ok(_) => true,
        Err(error) => !matches!(error.code, Code::Busy | Code::StoreIo | Code::Internal),
    });
    let written =
        outcome.and_then(message::of_outcome).is_some_and(|answer| slot.write(stand, &answer));
    let next = if written { State::Done } else { State::Refused };
    if slot.go(stand, stand.to(next)) {
        let _ = futex::wake(&slot.stand, futex::Flags::empty(), i32::MAX as u32);
    } else {
        // The client gave it up.
        let stand = slot.stand();
        if stand.state() == Some(State::Abandoned) {
            slot.free(stand);
        }
    }
}
