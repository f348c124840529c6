//! The one way from the runtime to the store.
//!
//! A store is synchronous and may block, so its calls run on blocking threads: on a lane, which takes
//! so many at a time, in the order in which they were asked for.

use std::sync::Arc;

use cotenant_core::{Error, Result};
use tokio::sync::Semaphore;

/// Runs blocking work, so many pieces at a time.
pub(crate) struct Lane {
    permits: Arc<Semaphore>,
}

impl Lane {
    /// A lane that takes so many pieces of work at a time.
    pub(crate) fn of(width: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(width)) }
    }

    /// Whether work would wait for its turn.
    pub(crate) fn is_full(&self) -> bool {
        self.permits.available_permits() == 0
    }

    /// Waits for its turn, then runs the work off the runtime's thread.
    ///
    /// Work that nobody waits for any more runs to its end, and keeps its place on the lane until then:
    /// there are never more threads at work than the lanes are wide.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let work = move || {
            let _permit = permit;
            work()
        };
        tokio::task::spawn_blocking(work)
            .await
            .unwrap_or_else(|panic| Err(Error::internal("the call panicked").caused_by(panic)))
    }
}
