//! The side that posts.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use cotenant_core::{
    Op, Result,
    operation::Effect,
    store::{Outcome, Request, Store},
};
use rustix::thread::futex;

use super::{
    combiner::carry_out,
    message,
    slot::{Look, PATIENCE_MS, Slot, Stand, State},
    table::{Lead, Leader, Mapped},
};
use crate::{LocalStore, local::again, projection, testing::mutant};

/// After this time it is looked whether the combiner still lives, and a request that it has not
/// taken is withdrawn.
const LOOK_AFTER: Duration = Duration::from_millis(50);
/// After this time a request that was taken is given up and sent again to the database.
const PATIENCE: Duration = Duration::from_millis(PATIENCE_MS);
/// How long a process goes alone after it gave a request up.
const ALONE_FOR_MS: u64 = 1_000;
/// How often leading and posting are tried in turns.
const TRIES_MAX: usize = 8;
/// How many rounds a process carries out for others before it goes on with its own business.
const ROUNDS_MAX: usize = 4;

/// Opens the database, when it is needed after all.
type Open = Box<dyn Fn() -> Result<LocalStore> + Send + Sync>;

/// A store whose requests go to a combiner if there is one, and else to the database.
pub struct Posting {
    file: (u64, u64),
    table: Option<Mapped>,
    open: Open,
    direct: Mutex<Option<Arc<LocalStore>>>,
    patience: Duration,
    /// When a request was given up, in milliseconds since `began`; 0 for never. Others are not posted
    /// for a while then.
    gave_up: AtomicU64,
    began: Instant,
}

impl Posting {
    /// A store by its directory and the device and number of its file.
    pub fn new(
        directory: &Path,
        file: (u64, u64),
        open: impl Fn() -> Result<LocalStore> + Send + Sync + 'static,
    ) -> Self {
        let alone = crate::testing::is_watched() || !super::is_possible();
        let table = if alone { None } else { Mapped::find(directory) };
        Self {
            file,
            table,
            open: Box::new(open),
            direct: Mutex::new(None),
            patience: PATIENCE,
            gave_up: AtomicU64::new(0),
            began: Instant::now(),
        }
    }

    /// Sets how long a request that does not run yet is waited for, at most half a second.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience.min(PATIENCE);
        self
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

    /// Has a request carried out together with those of others; none if that must be done alone.
    fn together(&self, request: &Request) -> Option<Outcome> {
        let table = self.table.as_ref().filter(|_| may_be_posted(request))?;
        if self.is_alone() {
            return None;
        }
        // Readers are in nobody's way: they only look for somebody who has the database open.
        let writes = request.op.effect() == Effect::Write;
        for _ in 0..TRIES_MAX {
            if table.is_led_by_kin() {
                match self.post(table, request) {
                    Posted::Answered(outcome) => return Some(outcome),
                    Posted::Alone => return None,
                    Posted::NobodyLeads => {}
                }
            }
            if !writes {
                return None;
            }
            if let Some(lead) = table.lead(Leader::Passing) {
                return self.lead(table, lead, request);
            }
        }
        None
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether the combiner let this process down just now.
    fn is_alone(&self) -> bool {
        match self.gave_up.load(Ordering::Relaxed) {
            0 => false,
            at => self.now_ms() < at + ALONE_FOR_MS,
        }
    }

    fn post(&self, table: &Mapped, request: &Request) -> Posted {
        let Some(asked) = message::of_request(self.file, request) else { return Posted::Alone };
        let Some((number, slot, stand)) = table.claim() else { return Posted::Alone };
        let Some(stand) = slot.post(stand, &asked) else { return Posted::Alone };
        table.post(number);
        let stand = match wait(table, slot, stand, self.patience) {
            Waited::Over(stand) => stand,
            Waited::GaveUp => {
                self.gave_up.store(self.now_ms() + 1, Ordering::Relaxed);
                return Posted::Alone;
            }
            Waited::NobodyLeads => return Posted::NobodyLeads,
        };
        let answer = if stand.state() == Some(State::Done) { slot.read(stand) } else { None };
        slot.free(stand);
        match answer.and_then(|answer| message::outcome(&answer)) {
            Some(outcome) => Posted::Answered(outcome),
            None => Posted::Alone,
        }
    }

    /// Carries out a request, and what others post meanwhile, for some rounds.
    fn lead(&self, table: &Mapped, lead: Lead<'_>, request: &Request) -> Option<Outcome> {
        let store = self.direct().ok()?;
        let outcome = carry_out(&store, self.file, table.take(), Some(request));
        for _ in 1..ROUNDS_MAX {
            let taken = table.take();
            if taken.is_empty() {
                break;
            }
            carry_out(&store, self.file, taken, None);
        }
        drop(lead);
        outcome
    }
}

/// What became of a request that was posted.
enum Posted {
    Answered(Outcome),
    /// It must be sent to the database alone.
    Alone,
    NobodyLeads,
}

impl Store for Posting {
    fn submit(&self, requests: Vec<Request>) -> Vec<Outcome> {
        if let [request] = &requests[..]
            && let Some(outcome) = self.together(request)
        {
            return vec![outcome];
        }
        let mut requests = requests;
        if mutant("combine_repeats_under_another_id") {
            for id in requests.iter_mut().filter_map(|request| request.request_id.as_mut()) {
                id.push('x');
            }
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
        Op::Get(op) => !projection::is_of_reader(op),
        Op::Check(_)
        | Op::Head(_)
        | Op::ShowSession(_)
        | Op::Who(_)
        | Op::ShowTask(_)
        | Op::Heartbeat(_) => true,
        // Whether there is any: the answer is seldom longer than a slot.
        Op::ListMessages(op) => op.limit == 1,
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
        | Op::Commit(_)
        | Op::NextTask(_)
        | Op::ExtendTask(_)
        | Op::FinishTask(_)
        | Op::FailTask(_)
        | Op::ReleaseTask(_)
        | Op::CancelTask(_)
        | Op::RequeueTask(_)
        | Op::SetProgress(_)
        | Op::SendMessage(_)
        | Op::Acknowledge(_)
        | Op::Arrive(_) => request.request_id.is_some(),
        _ => false,
    };
    short && request.op.wait_ms().unwrap_or(0) == 0 && request.at_least_seq.is_none()
}

enum Waited {
    /// Done or refused.
    Over(Stand),
    /// It was withdrawn, or nobody knows what becomes of it.
    GaveUp,
    /// It was withdrawn because nobody leads.
    NobodyLeads,
}

/// Waits until a request that was posted is done or refused.
fn wait(table: &Mapped, slot: &Slot, posted: Stand, patience: Duration) -> Waited {
    let began = Instant::now();
    loop {
        let age = (began.elapsed() >= LOOK_AFTER, began.elapsed() >= patience);
        let stand = match slot.look(posted, age, || table.is_led()) {
            Look::Waits(stand) => stand,
            Look::Over(stand) => return Waited::Over(stand),
            Look::Withdrawn { led: false } => return Waited::NobodyLeads,
            Look::Withdrawn { led: true } => {
                table.warn();
                return Waited::GaveUp;
            }
            Look::Abandoned | Look::Unknown => return Waited::GaveUp,
        };
        let timeout = futex::Timespec { tv_sec: 0, tv_nsec: i64::from(LOOK_AFTER.subsec_nanos()) };
        let _ = futex::wait(&slot.stand, futex::Flags::empty(), stand.word(), Some(&timeout));
    }
}
