//! Threads that do jobs side by side, as many as are needed.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How many jobs are under way at most: as many as a batch has requests.
const JOBS_MAX: usize = cotenant_core::store::BATCH_MAX;

/// Jobs, and those who do them.
pub(super) struct Crew<T> {
    state: Mutex<State<T>>,
    /// Told when there is a job, or none will come.
    jobs: Condvar,
    /// Told when a job is done.
    done: Condvar,
}

struct State<T> {
    jobs: VecDeque<T>,
    /// Jobs that were handed over and are not done.
    under_way: usize,
    /// Threads that wait for a job.
    idle: usize,
    dismissed: bool,
}

impl<T> Default for Crew<T> {
    fn default() -> Self {
        let state = State { jobs: VecDeque::new(), under_way: 0, idle: 0, dismissed: false };
        Self { state: Mutex::new(state), jobs: Condvar::new(), done: Condvar::new() }
    }
}

impl<T> Crew<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a job over, once there is room. Answers whether one more thread must [`Self::work`].
    pub(super) fn hand(&self, job: T) -> bool {
        let mut state = self.state();
        while state.under_way == JOBS_MAX {
            state = self.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.under_way += 1;
        state.jobs.push_back(job);
        self.jobs.notify_one();
        state.jobs.len() > state.idle
    }

    /// Does one job, if there is one.
    pub(super) fn help(&self, answer: impl Fn(T)) {
        let job = self.state().jobs.pop_front();
        if let Some(job) = job {
            answer(job);
            self.state().under_way -= 1;
            self.done.notify_one();
        }
    }

    /// Does jobs until the crew is dismissed.
    pub(super) fn work(&self, answer: impl Fn(T)) {
        let mut state = self.state();
        loop {
            if !state.jobs.is_empty() {
                drop(state);
                self.help(&answer);
                state = self.state();
            } else if state.dismissed {
                return;
            } else {
                state.idle += 1;
                state = self.jobs.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
            }
        }
    }

    /// Waits until all jobs are done, for that long at most; answers whether they are.
    pub(super) fn wait(&self, at_most: Option<Duration>) -> bool {
        let busy = |state: &mut State<T>| state.under_way > 0;
        let state = self.state();
        if let Some(at_most) = at_most {
            let waited = self.done.wait_timeout_while(state, at_most, busy);
            !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
        } else {
            drop(self.done.wait_while(state, busy));
            true
        }
    }

    /// Lets the threads go.
    pub(super) fn dismiss(&self) {
        self.state().dismissed = true;
        self.jobs.notify_all();
    }
}
