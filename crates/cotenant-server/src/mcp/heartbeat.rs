//! Signs of life for the sessions that this process serves.
//!
//! An idle window sends no calls, yet its claims must stay. So as long as the agent lives and
//! keeps its end of stdin open, its session gets a heartbeat every third of its TTL. A session is
//! only ever looked up here, never signed on. What is remembered between beats are sessions seen
//! in calls; after a respawn they are found again by looking up.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cotenant_core::{Code, session, store::Actor};
use tokio::sync::Notify;

use super::host::{Caller, Host};
use crate::async_store::Lane;

/// When to look again while no session is known.
const SEARCH: Duration = Duration::from_secs(20);
/// When to try again after a beat that failed for a passing reason.
const RETRY: Duration = Duration::from_secs(5);
/// The most sessions that one process keeps.
const SESSIONS_MAX: usize = 16;

/// The sessions that were seen in calls.
#[derive(Default)]
pub(crate) struct Pulse {
    seen: Mutex<Vec<Actor>>,
    news: Notify,
}

impl Pulse {
    /// Remembers the session of a call.
    pub(crate) fn saw(&self, actor: &Actor) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !seen.iter().any(|known| known.session == actor.session) {
            if seen.len() == SESSIONS_MAX {
                seen.remove(0);
            }
            seen.push(actor.clone());
            self.news.notify_one();
        }
    }

    fn forget(&self, actor: &Actor) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|known| known.session != actor.session);
    }

    fn sessions(&self) -> Vec<Actor> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Beats until the agent is gone.
    pub(crate) async fn run(self: Arc<Self>, host: Arc<dyn Host>, lane: Arc<Lane>) {
        loop {
            let (pulse, beaten) = (Arc::clone(&self), Arc::clone(&host));
            let pause = match lane.run(move || Ok(pulse.beat(&*beaten))).await {
                Ok(Some(pause)) => pause,
                Ok(None) => return,
                Err(_) => RETRY,
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.news.notified() => {}
            }
        }
    }

    /// Sends one heartbeat for each session; answers when the next is due, or that there will be
    /// none. Failures are left to the next beat: nobody waits for this one.
    fn beat(&self, host: &dyn Host) -> Option<Duration> {
        if !host.agent_lives() {
            return None;
        }
        let mut sessions = self.sessions();
        if let Ok(Some(own)) = host.find(&Caller::default())
            && !sessions.iter().any(|known| known.session == own.session)
        {
            sessions.push(own);
        }
        let next = sessions.iter().map(|actor| self.beat_for(host, actor)).min();
        Some(next.unwrap_or(SEARCH))
    }

    fn beat_for(&self, host: &dyn Host, actor: &Actor) -> Duration {
        let heartbeat = session::Heartbeat::default();
        let beat = host
            .store()
            .and_then(|store| store.call(&heartbeat, |request| request.by(actor.clone())));
        match beat {
            Ok(beat) => {
                Duration::from_millis(beat.answer.expires_in_ms / 3).max(Duration::from_secs(1))
            }
            Err(error)
                if matches!(
                    error.code,
                    Code::SessionEnded | Code::SessionLost | Code::Unauthenticated
                ) =>
            {
                self.forget(actor);
                SEARCH
            }
            Err(_) => RETRY,
        }
    }
}
