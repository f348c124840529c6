//! What may become of a task, as pure functions.

use std::collections::{BTreeMap, VecDeque};

use super::{FailureClass, NewTask, OnDepFail, TaskState};
use crate::{
    clock::{MINUTE, SECOND},
    id::{Fence, TaskId},
};

/// The longest delay of a first retry is twice this.
pub const RETRY_BASE_MS: u64 = 5 * SECOND;
/// The longest delay of any retry.
pub const RETRY_CAP_MS: u64 = 10 * MINUTE;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It finished the task.
    Done,
    /// It failed.
    Failed,
    /// The task was given back.
    Released,
    /// The task was queued again behind its back.
    Requeued,
}

impl Ending {
    /// The word in the database and in messages.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Released => "released",
            Self::Requeued => "requeued",
        }
    }

    /// The ending of a word.
    pub fn of(word: &str) -> Option<Self> {
        [Self::Done, Self::Failed, Self::Released, Self::Requeued]
            .into_iter()
            .find(|ending| ending.word() == word)
    }
}

/// What decides over a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Where it stands.
    pub state: TaskState,
    /// How many attempts count.
    pub attempts: u32,
    /// How many there can be.
    pub max_attempts: u32,
    /// The fence of the newest attempt.
    pub fence: Option<Fence>,
    /// How that one ended; absent as long as it can still be finished.
    pub ended: Option<Ending>,
}

/// What the holder of a fence wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// More time.
    Extend,
    /// It is done.
    Finish,
    /// It failed.
    Fail,
    /// Give it back.
    Release,
}

/// Whether the holder of a fence may do what it wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// It may.
    Granted,
    /// It did so before.
    Already,
    /// A newer attempt was granted, or there never was one with this fence.
    Superseded,
    /// The attempt has ended so.
    Ended(Ending),
    /// The attempt ran out of time, and this wants a running one.
    OutOfTime,
    /// The task was called off.
    Cancelled,
}

impl Standing {
    /// Decides on a call with a fence. Finishing and failing count after the attempt ran out of
    /// time too, as long as no newer one was granted.
    pub fn leave(&self, fence: Fence, call: Call) -> Leave {
        if self.fence != Some(fence) {
            return Leave::Superseded;
        }
        if self.state == TaskState::Cancelled {
            return Leave::Cancelled;
        }
        match (self.ended, call) {
            (Some(Ending::Done), Call::Finish)
            | (Some(Ending::Failed), Call::Fail)
            | (Some(Ending::Released), Call::Release) => Leave::Already,
            (Some(ending), _) => Leave::Ended(ending),
            (None, Call::Finish | Call::Fail) => Leave::Granted,
            (None, Call::Extend | Call::Release) if self.state == TaskState::Running => {
                Leave::Granted
            }
            (None, Call::Extend | Call::Release) => Leave::OutOfTime,
        }
    }

    /// Begins an attempt. It is counted here, so that crash loops end.
    #[must_use]
    pub fn taken(self, fence: Fence) -> Self {
        Self {
            state: TaskState::Running,
            attempts: self.attempts + 1,
            fence: Some(fence),
            ended: None,
            ..self
        }
    }

    /// Gives the task to whoever accepts an offer of it. A running attempt goes on in other hands; what is
    /// free again, or cools because its giver was lost, begins a new one. `of_giver` says whether the newest
    /// attempt is that of the giver, or of the acceptor already.
    pub fn handed_over(self, of_giver: bool, fence: Fence) -> Option<Self> {
        let cools = self.ended.is_none() && self.fence.is_some();
        match self.state {
            TaskState::Running if of_giver => Some(Self { fence: Some(fence), ..self }),
            TaskState::Ready => Some(self.taken(fence)),
            TaskState::Delayed if of_giver && cools => Some(self.taken(fence)),
            _ => None,
        }
    }

    /// The attempt finished the task.
    #[must_use]
    pub fn finished(self) -> Self {
        Self { state: TaskState::Done, ended: Some(Ending::Done), ..self }
    }

    /// The attempt failed: another one follows later, if it can help and may.
    #[must_use]
    pub fn failed(self, class: FailureClass) -> Self {
        let again = class == FailureClass::Transient && self.attempts < self.max_attempts;
        let state = if again { TaskState::Failed } else { TaskState::Dead };
        Self { state, ended: Some(Ending::Failed), ..self }
    }

    /// The task was given back: the attempt does not count.
    #[must_use]
    pub fn released(self) -> Self {
        Self {
            state: TaskState::Ready,
            attempts: self.attempts.saturating_sub(1),
            ended: Some(Ending::Released),
            ..self
        }
    }

    /// The attempt ended by itself, out of time or with its session. It can still be finished.
    #[must_use]
    pub fn rescued(self) -> Self {
        let again = self.attempts < self.max_attempts;
        Self { state: if again { TaskState::Ready } else { TaskState::Dead }, ..self }
    }

    /// The task is queued again; nobody can finish what was before.
    #[must_use]
    pub fn requeued(self) -> Self {
        Self { state: TaskState::Ready, attempts: 0, ended: Some(Ending::Requeued), ..self }
    }
}

/// What a task that is needed means for the one that needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// It is not in the way.
    Open,
    /// It is.
    Shut,
    /// It takes the other one with it.
    Cancels,
}

/// What a needed task in this state means under a policy.
pub const fn passage(needed: TaskState, policy: OnDepFail) -> Passage {
    match (needed, policy) {
        (TaskState::Done, _) | (TaskState::Dead | TaskState::Cancelled, OnDepFail::Run) => {
            Passage::Open
        }
        (TaskState::Dead | TaskState::Cancelled, OnDepFail::Cancel) => Passage::Cancels,
        _ => Passage::Shut,
    }
}

/// How long the retry after an attempt waits: "full jitter" of exponential delays, as in Brooker,
/// "Exponential backoff and jitter" (2015). It follows from task and attempt alone, so that every
/// store says the same.
pub fn retry_delay_ms(task: TaskId, attempt: u32) -> u64 {
    let most = RETRY_BASE_MS.saturating_mul(1 << attempt.min(20)).min(RETRY_CAP_MS);
    mixed(task.0.unsigned_abs() ^ (u64::from(attempt) << 53)) % (most + 1)
}

/// The output function of `SplitMix64` (Steele, Lea, Flood, 2014).
const fn mixed(seed: u64) -> u64 {
    let mut bits = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// The places of new tasks in an order in which each comes after those that it needs; or places
/// that need each other in a ring.
pub fn order(tasks: &[NewTask]) -> std::result::Result<Vec<usize>, Vec<usize>> {
    let needs: Vec<Vec<usize>> = tasks
        .iter()
        .map(|task| task.needs_new.iter().map(|place| *place as usize).collect())
        .collect();
    order_of(&needs)
}

/// As [`order`], of any places.
pub fn order_of(needs: &[Vec<usize>]) -> std::result::Result<Vec<usize>, Vec<usize>> {
    let mut open: Vec<usize> = needs.iter().map(Vec::len).collect();
    let mut needed_by: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (place, needs) in needs.iter().enumerate() {
        for needed in needs {
            needed_by.entry(*needed).or_default().push(place);
        }
    }
    let mut free: VecDeque<usize> = (0..needs.len()).filter(|place| open[*place] == 0).collect();
    let mut ordered = Vec::with_capacity(needs.len());
    while let Some(place) = free.pop_front() {
        ordered.push(place);
        for waiting in needed_by.get(&place).into_iter().flatten() {
            open[*waiting] -= 1;
            if open[*waiting] == 0 {
                free.push_back(*waiting);
            }
        }
    }
    if ordered.len() == needs.len() { Ok(ordered) } else { Err(ring(needs, &open)) }
}

/// A ring among the places that still wait: whoever follows their needs comes round.
fn ring(needs: &[Vec<usize>], open: &[usize]) -> Vec<usize> {
    let mut path: Vec<usize> = Vec::new();
    let mut place = open.iter().position(|open| *open > 0).unwrap_or(0);
    loop {
        if let Some(begin) = path.iter().position(|passed| *passed == place) {
            return path.split_off(begin);
        }
        path.push(place);
        match needs[place].iter().find(|needed| open[**needed] > 0) {
            Some(needed) => place = *needed,
            None => return path,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn standing(state: TaskState) -> Standing {
        Standing { state, attempts: 1, max_attempts: 3, fence: Some(Fence(7)), ended: None }
    }

    #[test]
    fn the_newest_attempt_finishes_a_task_even_out_of_time() {
        for state in [TaskState::Running, TaskState::Ready, TaskState::Delayed, TaskState::Dead] {
            for call in [Call::Finish, Call::Fail] {
                assert_eq!(standing(state).leave(Fence(7), call), Leave::Granted, "{state:?}");
                assert_eq!(standing(state).leave(Fence(6), call), Leave::Superseded, "{state:?}");
            }
            let expected =
                if state == TaskState::Running { Leave::Granted } else { Leave::OutOfTime };
            for call in [Call::Extend, Call::Release] {
                assert_eq!(standing(state).leave(Fence(7), call), expected, "{state:?}");
            }
        }
    }

    #[test]
    fn what_an_attempt_said_it_may_repeat_and_not_change() {
        let done = standing(TaskState::Running).finished();
        assert_eq!(done.leave(Fence(7), Call::Finish), Leave::Already);
        assert_eq!(done.leave(Fence(7), Call::Fail), Leave::Ended(Ending::Done));
        let failed = standing(TaskState::Running).failed(FailureClass::Transient);
        assert_eq!(failed.leave(Fence(7), Call::Fail), Leave::Already);
        assert_eq!(failed.leave(Fence(7), Call::Finish), Leave::Ended(Ending::Failed));
        let cancelled = Standing { state: TaskState::Cancelled, ..standing(TaskState::Running) };
        assert_eq!(cancelled.leave(Fence(7), Call::Extend), Leave::Cancelled);
        assert_eq!(
            cancelled.requeued().leave(Fence(7), Call::Finish),
            Leave::Ended(Ending::Requeued)
        );
    }

    #[test]
    fn what_is_handed_over_goes_on_or_begins_anew() {
        let running = standing(TaskState::Running);
        let moved = running.handed_over(true, Fence(9)).expect("the giver runs it");
        assert_eq!(moved, Standing { fence: Some(Fence(9)), ..running });
        assert_eq!(running.handed_over(false, Fence(9)), None, "somebody else runs it");
        for free in [running.rescued(), running.released()] {
            assert_eq!(free.handed_over(false, Fence(9)), Some(free.taken(Fence(9))));
        }
        let cools = Standing { state: TaskState::Delayed, ..running.rescued() };
        assert_eq!(cools.handed_over(true, Fence(9)), Some(cools.taken(Fence(9))));
        assert_eq!(cools.handed_over(false, Fence(9)), None, "it cools for somebody else");
        let later = Standing { state: TaskState::Delayed, ..running.requeued() };
        assert_eq!(later.handed_over(true, Fence(9)), None, "its time has not come");
        for state in [TaskState::Blocked, TaskState::Failed, TaskState::Done, TaskState::Dead] {
            assert_eq!(standing(state).handed_over(true, Fence(9)), None, "{state:?}");
        }
    }

    #[test]
    fn a_policy_decides_what_a_failure_means() {
        for state in TaskState::ALL {
            let of = |policy| passage(state, policy);
            let all = [of(OnDepFail::Block), of(OnDepFail::Cancel), of(OnDepFail::Run)];
            let expected = match state {
                TaskState::Done => [Passage::Open; 3],
                TaskState::Dead | TaskState::Cancelled => {
                    [Passage::Shut, Passage::Cancels, Passage::Open]
                }
                _ => [Passage::Shut; 3],
            };
            assert_eq!(all, expected, "{state:?}");
        }
    }

    #[test]
    fn a_ring_is_found_and_named() {
        let needs = [vec![], vec![0, 3], vec![1], vec![2]];
        let mut ring = order_of(&needs).unwrap_err();
        ring.sort_unstable();
        assert_eq!(ring, [1, 2, 3]);
        assert_eq!(order_of(&[vec![0]]).unwrap_err(), [0]);
        assert_eq!(order_of(&[vec![1], vec![]]).unwrap(), [1, 0]);
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Take,
        Finish,
        Fail(FailureClass),
        Release,
        Rescue,
        Retry,
        Requeue,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => Just(Step::Take),
            1 => Just(Step::Finish),
            2 => Just(Step::Fail(FailureClass::Transient)),
            1 => Just(Step::Fail(FailureClass::Permanent)),
            2 => Just(Step::Release),
            3 => Just(Step::Rescue),
            3 => Just(Step::Retry),
            1 => Just(Step::Requeue),
        ];
        proptest::collection::vec(step, 0..60)
    }

    proptest! {
        /// Whatever happens, attempts stay within their limit, only the newest fence has leave, and what
        /// is over stays so but for its newest attempt and those who queue it again.
        #[test]
        fn a_task_keeps_its_rules(max_attempts in 1u32..5, steps in steps()) {
            let mut task = Standing { state: TaskState::Ready, attempts: 0, max_attempts, fence: None, ended: None };
            let mut fence = 0;
            for step in steps {
                let before = task;
                let holder = Fence(fence);
                match step {
                    Step::Take if task.state == TaskState::Ready => {
                        fence += 1;
                        task = task.taken(Fence(fence));
                        prop_assert_eq!(task.attempts, before.attempts + 1);
                        prop_assert_eq!(task.leave(holder, Call::Finish), Leave::Superseded);
                    }
                    Step::Finish if task.leave(holder, Call::Finish) == Leave::Granted => task = task.finished(),
                    Step::Fail(class) if task.leave(holder, Call::Fail) == Leave::Granted => task = task.failed(class),
                    Step::Release if task.leave(holder, Call::Release) == Leave::Granted => task = task.released(),
                    Step::Rescue if task.state == TaskState::Running => task = task.rescued(),
                    Step::Retry if task.state == TaskState::Failed => task.state = TaskState::Ready,
                    Step::Requeue if matches!(task.state, TaskState::Dead | TaskState::Cancelled) => task = task.requeued(),
                    _ => {}
                }
                prop_assert!(task.attempts <= max_attempts, "{:?} after {:?}", task, step);
                if before.state == TaskState::Done {
                    prop_assert_eq!(task, before);
                }
                if task.state == TaskState::Ready && task.ended.is_none() {
                    prop_assert!(task.attempts < max_attempts || task.fence.is_none());
                }
            }
        }

        #[test]
        fn a_retry_comes_within_its_bound_and_always_the_same(task in 1i64..1 << 50, attempt in 1u32..=100) {
            let delay = retry_delay_ms(TaskId(task), attempt);
            let most = RETRY_BASE_MS.saturating_mul(2u64.saturating_pow(attempt)).min(RETRY_CAP_MS);
            prop_assert!(delay <= most);
            prop_assert_eq!(delay, retry_delay_ms(TaskId(task), attempt));
        }

        #[test]
        fn an_order_puts_every_task_behind_its_needs(needs in proptest::collection::vec(proptest::collection::vec(0usize..12, 0..4), 12)) {
            match order_of(&needs) {
                Ok(order) => {
                    let at = |place: usize| order.iter().position(|it| *it == place).unwrap();
                    prop_assert_eq!(order.len(), needs.len());
                    for (place, needs) in needs.iter().enumerate() {
                        prop_assert!(needs.iter().all(|needed| at(*needed) < at(place)));
                    }
                }
                Err(ring) => {
                    for (index, place) in ring.iter().enumerate() {
                        let next = ring[(index + 1) % ring.len()];
                        prop_assert!(needs[*place].contains(&next), "{ring:?} is no ring");
                    }
                }
            }
        }
    }

    #[test]
    fn retries_of_many_tasks_are_spread() {
        let delays: Vec<u64> = (1..=1_000).map(|task| retry_delay_ms(TaskId(task), 1)).collect();
        let below = delays.iter().filter(|delay| **delay < RETRY_BASE_MS).count();
        assert!((400..=600).contains(&below), "{below} of 1000 in the first half");
    }
}
