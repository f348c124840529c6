//! The side that carries out.

use std::{
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
    store::{Outcome, Request, Store as _},
};
use rustix::thread::futex;

use super::{
    message,
    slot::{Slot, Stand},
    table::{Leader, Mapped},
};
use crate::{
    LocalStore,
    local::{Asked, is_of_store},
    testing::failpoint,
};

/// How often slots that are in use are looked at without being asked to, and whether a resident
/// combiner still lives.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long to wait for the write lock: those who wait for this process can wait for it themselves.
const TURN: Duration = Duration::from_millis(200);
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
    if !super::is_possible() {
        return Err(std::io::ErrorKind::Unsupported.into());
    }
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
        let mut swept = Instant::now();
        loop {
            let heard = table.bell.load(Ordering::Acquire);
            // Read behind the bell, which whoever stops it rings last.
            if self.is_stopped() {
                return;
            }
            table.welcome();
            if swept.elapsed() >= LOOK_EVERY {
                table.sweep();
                swept = Instant::now();
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
            self.store = Some(((self.open)().ok()?.busy_timeout(TURN), file));
        }
        self.store.as_ref().map(|(store, file)| (store, *file))
    }
}

/// Carries out what was taken, and a request of this process, in one transaction, and answers.
pub(super) fn carry_out(
    store: &LocalStore,
    file: (u64, u64),
    taken: Vec<(&Slot, Stand)>,
    own: Option<&Request>,
) -> Option<Outcome> {
    let (mut writes, mut others) = (Vec::new(), Vec::new());
    for (slot, stand) in taken {
        match slot.read(stand).and_then(|asked| message::request(file, &asked)) {
            None => answer(slot, stand, None),
            Some(request) if request.op.effect() == Effect::Write => {
                writes.push((slot, stand, request));
            }
            Some(request) => others.push((slot, stand, request)),
        }
    }
    // Once it runs, its client waits for the outcome.
    let wanted: Vec<_> = writes
        .iter()
        .map(|(slot, stand, _)| {
            move || {
                let wanted = slot.run(*stand);
                let _ = failpoint("combine.running");
                wanted
            }
        })
        .collect();
    let posted = writes.iter().zip(&wanted).map(|((_, _, request), wanted)| {
        let wanted: &dyn Fn() -> bool = wanted;
        Asked { request, wanted: Some(wanted) }
    });
    if !writes.is_empty() {
        let _ = failpoint("combine.taken");
    }
    let asked: Vec<Asked<'_>> = own.map(Asked::from).into_iter().chain(posted).collect();
    let mut outcomes =
        if asked.is_empty() { Vec::new() } else { store.together(&asked, Instant::now()) }
            .into_iter();
    let own = own.and_then(|_| outcomes.next().flatten());
    if !writes.is_empty() {
        let _ = failpoint("combine.done");
    }
    for ((slot, stand, _), outcome) in writes.iter().zip(outcomes) {
        answer(slot, *stand, outcome);
        let _ = failpoint("combine.answered");
    }
    for (slot, stand, request) in others {
        // Others may have been given up meanwhile; to carry them out twice is harmless.
        let outcome = if slot.stand() == stand { store.submit(vec![request]).pop() } else { None };
        answer(slot, stand, outcome);
    }
    own
}

/// Posts an outcome; without one, or if it does not fit, the client asks the database itself.
fn answer(slot: &Slot, stand: Stand, outcome: Option<Outcome>) {
    // What this process could not do, the client may be able to.
    let outcome = outcome.filter(|outcome| match outcome {
        Ok(_) => true,
        Err(error) => {
            !is_of_store(error.code)
                && !matches!(error.code, Code::ClockDomain | Code::SchemaNewer | Code::SchemaOlder)
        }
    });
    let outcome = outcome.and_then(message::of_outcome);
    if slot.finish(stand, outcome.as_deref()) {
        let _ = futex::wake(&slot.stand, futex::Flags::empty(), i32::MAX as u32);
    }
}
