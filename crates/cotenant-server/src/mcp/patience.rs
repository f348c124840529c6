//! Calls that wait, and how they learn that nobody waits for them any more.
//!
//! A call is entered as its message is read, so that a client that calls it off at once is heard; and
//! here rather than by the library, which listens to that word from handshake clients only and does not
//! tell the calls when the client has left.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rmcp::model::RequestId;
use tokio::sync::watch;

/// The calls that somebody waits for, by their ids. What is sent is whether one was called off.
#[derive(Default)]
pub(crate) struct Awaited {
    calls: Mutex<HashMap<RequestId, watch::Sender<bool>>>,
}

/// Whether somebody waits for a call.
#[derive(Clone)]
pub(crate) struct Patience {
    called_off: watch::Receiver<bool>,
    /// Taken out of the list with the last of those who carry the call out.
    _entry: Arc<Entry>,
}

struct Entry {
    awaited: Arc<Awaited>,
    id: RequestId,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.awaited.calls().remove(&self.id);
    }
}

impl Awaited {
    fn calls(&self) -> MutexGuard<'_, HashMap<RequestId, watch::Sender<bool>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a call.
    pub(crate) fn enter(self: &Arc<Self>, id: RequestId) -> Patience {
        let (sender, called_off) = watch::channel(false);
        self.calls().insert(id.clone(), sender);
        Patience { called_off, _entry: Arc::new(Entry { awaited: Arc::clone(self), id }) }
    }

    /// The client calls it off.
    pub(crate) fn call_off(&self, id: &RequestId) {
        if let Some(call) = self.calls().remove(id) {
            call.send_replace(true);
        }
    }

    /// The client has left. What it asked for before is done, but nothing waits for longer.
    pub(crate) fn leave(&self) {
        self.calls().clear();
    }
}

impl Patience {
    /// Whether the client does not want the call carried out any more.
    pub(crate) fn is_called_off(&self) -> bool {
        *self.called_off.borrow()
    }

    /// Whether nobody waits for the answer any more.
    pub(crate) fn is_over(&self) -> bool {
        self.is_called_off() || self.called_off.has_changed().is_err()
    }

    /// Until nobody waits any more.
    pub(crate) async fn over(&mut self) {
        // The end of the sender is news as well.
        let _ = self.called_off.wait_for(|called_off| *called_off).await;
    }
}
