//! Where answers go.

use std::sync::{Mutex, PoisonError};

use cotenant_core::Result;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::output::Screen;

/// The screen, shared by those who answer.
pub(super) struct Output<'a>(Mutex<State<'a>>);

struct State<'a> {
    screen: &'a mut Screen,
    /// How it ended, once nobody hears what is printed.
    over: Option<Result<()>>,
}

impl<'a> Output<'a> {
    pub(super) fn new(screen: &'a mut Screen) -> Self {
        Self(Mutex::new(State { screen, over: None }))
    }

    /// Prints a line.
    pub(super) fn line(&self, line: &str) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.over.is_some() {
            return;
        }
        state.screen.line(line);
        state.over = match state.screen.flush() {
            Ok(true) => None,
            Ok(false) => Some(Ok(())),
            Err(error) => Some(Err(error)),
        };
    }

    /// Whether nobody hears what is printed.
    pub(super) fn is_over(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).over.is_some()
    }

    /// Whether nobody would hear what is printed from now on.
    pub(super) fn is_closed(&self) -> bool {
        let stdout = std::io::stdout();
        let mut polled = [PollFd::new(&stdout, PollFlags::empty())];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let closed = PollFlags::ERR | PollFlags::HUP;
        let asked = poll(&mut polled, Some(&at_once));
        self.is_over() || (asked.is_ok() && polled[0].revents().intersects(closed))
    }

    /// How it ended.
    pub(super) fn finish(self) -> Result<()> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner).over.unwrap_or(Ok(()))
    }
}
