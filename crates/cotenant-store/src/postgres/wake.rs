//! What tells waiters on a server: a thread that listens, from the first wait on, and looking again.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

use cotenant_core::Result;

use super::{address::Address, client::Client, error::error};
use crate::sql::Wake;

/// The longest sleep without looking, while somebody listens.
const SAFETY_NET: Duration = Duration::from_secs(1);
/// How often to look while nobody listens: a pooler may swallow what is told.
const POLL: Duration = Duration::from_millis(250);
/// How long to wait before connecting again, and how soon the thread notices that nobody waits.
const PAUSE: Duration = Duration::from_secs(1);

/// A number that changes with every commit, as far as it is known here.
#[derive(Debug)]
pub(super) struct ServerWake {
    address: Arc<Address>,
    state: Mutex<State>,
    changed: Condvar,
    /// For the thread, which ends when nobody holds this any more.
    this: Weak<Self>,
}

#[derive(Debug, Default)]
struct State {
    value: u32,
    started: bool,
    listening: bool,
}

impl ServerWake {
    pub(super) fn new(address: Arc<Address>) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            address,
            state: Mutex::default(),
            changed: Condvar::new(),
            this: this.clone(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the number and wakes all who wait in this process.
    pub(super) fn bump(&self) {
        let mut state = self.state();
        state.value = state.value.wrapping_add(1);
        self.changed.notify_all();
    }

    fn set_listening(&self, listening: bool) {
        self.state().listening = listening;
    }

    /// Starts the thread. Without it waiters look again from time to time.
    fn start(&self) {
        let (this, address) = (self.this.clone(), Arc::clone(&self.address));
        let _ = thread::Builder::new().name("listen".into()).spawn(move || {
            while this.strong_count() > 0 {
                if let Ok(mut client) = subscribe(&address) {
                    listen(&mut client, &this);
                }
                if let Some(wake) = this.upgrade() {
                    wake.set_listening(false);
                }
                thread::sleep(PAUSE);
            }
        });
    }
}

fn subscribe(address: &Address) -> Result<Client> {
    let mut client = address.dialer()?().map_err(error)?;
    client.batch_execute(&format!("LISTEN {}", address.quoted())).map_err(error)?;
    Ok(client)
}

/// Passes on what is told, until the connection breaks or nobody waits any more.
fn listen(client: &mut Client, this: &Weak<ServerWake>) {
    let Some(wake) = this.upgrade() else { return };
    wake.set_listening(true);
    // What was committed before is to be looked for now.
    wake.bump();
    drop(wake);
    loop {
        let told = client.notified(PAUSE);
        let Some(wake) = this.upgrade() else { return };
        match told {
            Ok(Some(_)) => wake.bump(),
            Ok(None) if !client.is_closed() => {}
            _ => return,
        }
    }
}

impl Wake for ServerWake {
    fn value(&self) -> u32 {
        self.state().value
    }

    fn wait(&self, seen: u32, until: Instant) {
        let mut state = self.state();
        if !state.started {
            state.started = true;
            self.start();
        }
        let longest = if state.listening { SAFETY_NET } else { POLL };
        let until = until.min(Instant::now() + longest);
        while state.value == seen {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let woken = self.changed.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
