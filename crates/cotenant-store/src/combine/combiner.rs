//! The side that carries out.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use cotenant_core::{
    Code, Result,
    operation::Effect,
    store::{Outcome, Request, Store as _},
};
use rustix::thread::futex;

use super::{
    message,
    table::{Leader, Mapped, Slot, Stand, State},
};
use crate::LocalStore;

/// How often slots that are in use are looked at without being asked to, and whether a resident
/// combiner still lives.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often to try while only passing processes lead.
const TRY_EVERY: Duration = Duration::from_millis(5);

/// A thread that combines, until it is dropped.
pub struct Combiner {
    stop: Arc<AtomicBool>,
    table: Arc<Mapped>,
    thread: Option<JoinHandle<()>>,
}

/// Offers this process as the combiner of a store. If another process stays and is the combiner,
/// this one follows when that one ends.
pub fn combine(
    file: &Path,
    open: impl Fn() -> Result<LocalStore> + Send + 'static,
) -> std::io::Result<Combiner> {
    let stop = Arc::new(AtomicBool::new(false));
    let table = Arc::new(Mapped::make(&crate::directory(file))?);
    let mut resident = Resident {
        stop: Arc::clone(&stop),
        file: file.to_path_buf(),
        open: Box::new(open),
        store: None,
    };
    let shared = Arc::clone(&table);
    let thread = std::thread::Builder::new().name("combiner".to_owned());
    let thread = thread.spawn(move || resident.follow(&shared))?;
    Ok(Combiner { stop, table, thread: Some(thread) })
}

impl Drop for Combiner {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            self.table.bell.fetch_add(1, Ordering::Release);
            let _ = futex::wake(&self.table.bell, futex::Flags::empty(), i32::MAX as u32);
            let _ = thread.join();
        }
    }
}

struct Resident {
    stop: Arc<AtomicBool>,
    file: PathBuf,
    open: Box<dyn Fn() -> Result<LocalStore> + Send>,
    /// The open store, and the device and number of its file.
    store: Option<(LocalStore, (u64, u64))>,
}

impl Resident {
    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Waits for its turn to be the combiner, and is it until it is stopped.
    fn follow(&mut self, table: &Mapped) {
        let _lead = loop {
            if self.is_stopped() {
                return;
            }
            if let Some(lead) = table.lead(Leader::Resident) {
                break lead;
            }
            let resident = table.is_led_by(Leader::Resident);
            std::thread::park_timeout(if resident { LOOK_EVERY } else { TRY_EVERY });
        };
        loop {
            let heard = table.bell.load(Ordering::Acquire);
            // Read behind the bell, which whoever stops it rings last.
            if self.is_stopped() {
                return;
            }
            if !self.round(table) {
                let every = futex::Timespec { tv_sec: LOOK_EVERY.as_secs() as i64, tv_nsec: 0 };
                let timeout = table.sweep().then_some(&every);
                let _ = futex::wait(&table.bell, futex::Flags::empty(), heard, timeout);
            }
        }
    }

    /// Carries out what was posted; false if that is nothing.
    fn round(&mut self, table: &Mapped) -> bool {
        let taken = table.take();
        if taken.is_empty() {
            return false;
        }
        match self.store() {
            Some((store, file)) => drop(carry_out(store, file, taken, None)),
            None => {
                for (slot, stand) in taken {
                    answer(slot, stand, None);
                }
            }
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
}

/// Carries out what was taken, and a request of this process, in one transaction, and answers.
pub(super) fn carry_out(
    store: &LocalStore,
    file: (u64, u64),
    taken: Vec<(&Slot, Stand)>,
    own: Option<Request>,
) -> Option<Outcome> {
    let has_own = own.is_some();
    let mut requests: Vec<Request> = own.into_iter().collect();
    let mut places = Vec::new();
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
    let mut outcomes =
        if requests.is_empty() { Vec::new() } else { store.submit(requests) }.into_iter();
    let own = if has_own { outcomes.next() } else { None };
    for ((slot, stand), outcome) in places.into_iter().zip(outcomes) {
        answer(slot, stand, Some(outcome));
    }
    own
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
