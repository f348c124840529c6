//! The one way from the runtime to the store.
//!
//! A store is synchronous and may block, so its calls run on a blocking thread, one after the
//! other, in the order in which they were asked for.

use cotenant_core::{Error, Result};
use tokio::sync::Mutex;

/// Runs blocking work, one piece at a time.
#[derive(Default)]
pub(crate) struct Lane {
    permit: Mutex<()>,
}

impl Lane {
    /// Waits for its turn, then runs the work off the runtime's thread.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let _permit = self.permit.lock().await;
        tokio::task::spawn_blocking(work)
            .await
            .unwrap_or_else(|panic| Err(Error::internal("the call panicked").caused_by(panic)))
    }
}
