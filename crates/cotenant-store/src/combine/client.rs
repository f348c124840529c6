//! The side that posts.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use cotenant_core::{
    Op, Result,
    store::{Outcome, Request, Store},
};
use rustix::thread::futex;

use super::{
    kin, message,
    table::{Mapped, SLOTS, Slot, Stand, State},
};
use crate::{LocalStore, local::again};

/// After this time it is looked whether the combiner still lives, and a request that it has not
/// taken is withdrawn.
const LOOK_AFTER: Duration = Duration::from_millis(50);
/// After this time a request that was taken is given up and sent again to the database.
const PATIENCE: Duration = Duration::from_millis(500);

/// Opens the database, when it is needed after all.
type Open = Box<dyn Fn() -> Result<LocalStore> + Send + Sync>;

/// A store whose requests go to a combiner if there is one, and else to the database.
pub struct Posting {
    file: (u64, u64),
    table: Option<Mapped>,
    open: Open,
    direct: Mutex<Option<Arc<LocalStore>>>,
}

impl Posting {
    /// A store by its directory and the device and number of its file.
    pub fn new(
        directory: &Path,
        file: (u64, u64),
        open: impl Fn() -> Result<LocalStore> + Send + Sync + 'static,
    ) -> Self {
        let table = if crate::testing::is_watched() { None } else { Mapped::find(directory) };
        Self { file, table, open: Box::new(open), direct: Mutex::new(None) }
    }

    fn direct(&self) -> Result<Arc<LocalStore>> {
        let mut direct = self.direct.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = &*direct {
            return Ok(Arc::clone(store));
        }
        let store = Arc::new((self.open)()?);
        *direct = Some(Arc::clone(&store));
        Ok(store)
    }

    /// Has a request carried out by the combiner; none if that must be done without it.
    fn post(&self, request: &Request) -> Option<Outcome> {
        let table = self.table.as_ref().filter(|_| may_be_posted(request))?;
        if table.combiner.load(Ordering::Acquire) != kin() || !table.has_combiner() {
            return None;
        }
        let asked = message::of_request(self.file, request)?;
        let (slot, stand) = claim(table)?;
        if !slot.write(stand, &asked) || !slot.go(stand, stand.to(State::Posted)) {
            slot.free(stand);
            return None;
        }
        table.bell.fetch_add(1, Ordering::Release);
        let _ = futex::wake(&table.bell, futex::Flags::empty(), 1);
        let stand = wait(table, slot, stand)?;
        let answer = if stand.state() == Some(State::Done) { slot.read(stand) } else { None };
        slot.free(stand);
        message::outcome(&answer?)
    }
}

impl Store for Posting {
    fn submit(&self, requests: Vec<Request>) -> Vec<Outcome> {
        if let [request] = &requests[..]
            && let Some(outcome) = self.post(request)
        {
            return vec![outcome];
        }
        match self.direct() {
            Ok(store) => store.submit(requests),
            Err(error) => requests.iter().map(|_| again(&error)).collect(),
        }
    }
}

/// Whether a request is short, may run twice and answers at once. A write has an id, which makes
/// the second time harmless.
fn may_be_posted(request: &Request) -> bool {
    let short = match &request.op {
        Op::Get(_)
        | Op::Check(_)
        | Op::Head(_)
        | Op::ShowSession(_)
        | Op::Who(_)
        | Op::Heartbeat(_) => true,
        Op::SignOn(_)
        | Op::ChangeNative(_)
        | Op::SignOff(_)
        | Op::Put(_)
        | Op::Delete(_)
        | Op::Txn(_)
        | Op::Update(_)
        | Op::Acquire(_)
        | Op::Renew(_)
        | Op::Release(_)
        | Op::Admit(_)
        | Op::Claim(_)
        | Op::Unclaim(_)
        | Op::Append(_)
        | Op::Commit(_) => request.request_id.is_some(),
        _ => false,
    };
    short && request.op.wait_ms().unwrap_or(0) == 0 && request.at_least_seq.is_none()
}

/// Claims a free slot, beginning where no other process is likely to.
fn claim(table: &Mapped) -> Option<(&Slot, Stand)> {
    let first = std::process::id() as usize;
    (0..SLOTS).find_map(|number| {
        let slot = &table.slots[(first + number) % SLOTS];
        let stand = slot.stand();
        let claimed = stand.anew(State::Claimed);
        (stand.state() == Some(State::Free) && slot.go(stand, claimed)).then_some((slot, claimed))
    })
}

/// Waits until a request that was posted is done or refused; none if it was withdrawn or given up.
fn wait(table: &Mapped, slot: &Slot, use_: Stand) -> Option<Stand> {
    let began = Instant::now();
    loop {
        let stand = slot.stand();
        match stand.state() {
            Some(State::Done | State::Refused) if stand.to(State::Free) == use_.to(State::Free) => {
                return Some(stand);
            }
            Some(State::Posted | State::Taken) if stand.to(State::Free) == use_.to(State::Free) => {
                if began.elapsed() >= LOOK_AFTER {
                    if stand.state() == Some(State::Posted) {
                        if slot.free(stand) {
                            return None;
                        }
                        continue;
                    }
                    let over = began.elapsed() >= PATIENCE || !table.has_combiner();
                    if over && slot.go(stand, stand.to(State::Abandoned)) {
                        return None;
                    }
                    if over {
                        continue;
                    }
                }
                let timeout =
                    futex::Timespec { tv_sec: 0, tv_nsec: i64::from(LOOK_AFTER.subsec_nanos()) };
                let flags = futex::Flags::empty();
                let _ = futex::wait(&slot.stand, flags, stand.word(), Some(&timeout));
            }
            // Somebody took the slot away, for this process was stopped for long.
            _ => return None,
        }
    }
}
