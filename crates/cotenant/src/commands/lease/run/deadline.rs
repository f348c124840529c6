//! When a command must stop because its lease may be over: a pure machine over instants.

use std::time::{Duration, Instant};

/// How often the group is looked at once it was told to stop.
const LOOK: Duration = Duration::from_millis(20);

/// How far the command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The lease is ours.
    Running,
    /// It may not be; the command was told to stop.
    Terminating,
    /// The command was killed.
    Killed,
}

/// The deadlines of one lease.
#[derive(Debug)]
pub(super) struct Deadlines {
    /// How far the command is.
    pub(super) stage: Stage,
    ttl: Duration,
    terminate: Instant,
    kill: Instant,
}

impl Deadlines {
    /// The deadlines of a lease whose last successful request was sent then.
    pub(super) fn new(sent: Instant, ttl: Duration) -> Self {
        let mut deadlines = Self { stage: Stage::Running, ttl, terminate: sent, kill: sent };
        deadlines.renewed(sent);
        deadlines
    }

    /// A renewal that was sent then succeeded. Too late, once the command was told to stop.
    pub(super) fn renewed(&mut self, sent: Instant) {
        if self.stage == Stage::Running {
            self.terminate = sent + self.ttl * 7 / 10;
            self.kill = sent + self.ttl * 9 / 10;
        }
    }

    /// The lease is known to be over.
    pub(super) fn lost(&mut self, now: Instant) {
        self.terminate = self.terminate.min(now);
        self.kill = self.kill.min(now + self.ttl / 5);
    }

    /// How long nothing can become due; shortly if the group's end is waited for.
    pub(super) fn wait(&self, now: Instant, looking: bool) -> Duration {
        let next = match self.stage {
            Stage::Running => self.terminate,
            Stage::Terminating => self.kill,
            Stage::Killed => now + self.ttl,
        };
        let wait = next.saturating_duration_since(now);
        if looking { wait.min(LOOK) } else { wait }
    }

    /// The stage that has come, if another one has.
    pub(super) fn due(&mut self, now: Instant) -> Option<Stage> {
        let stage = match self.stage {
            Stage::Running | Stage::Terminating if now >= self.kill => Stage::Killed,
            Stage::Running if now >= self.terminate => Stage::Terminating,
            _ => return None,
        };
        self.stage = stage;
        Some(stage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_command_stops_before_the_lease_can_be_anothers() {
        let start = Instant::now();
        let mut deadlines = Deadlines::new(start, 10 * SECOND);
        assert_eq!(deadlines.wait(start, false), 7 * SECOND);
        assert_eq!(deadlines.due(start + 6 * SECOND), None);
        assert_eq!(deadlines.due(start + 7 * SECOND), Some(Stage::Terminating));
        deadlines.renewed(start + 7 * SECOND);
        assert_eq!(deadlines.due(start + 8 * SECOND), None);
        assert_eq!(deadlines.due(start + 9 * SECOND), Some(Stage::Killed));
        assert_eq!(deadlines.due(start + 99 * SECOND), None);
    }

    #[test]
    fn a_renewal_counts_from_when_it_was_sent() {
        let start = Instant::now();
        let mut deadlines = Deadlines::new(start, 10 * SECOND);
        deadlines.renewed(start + 3 * SECOND);
        assert_eq!(deadlines.due(start + 9 * SECOND), None);
        assert_eq!(deadlines.due(start + 10 * SECOND), Some(Stage::Terminating));
    }

    #[test]
    fn a_process_that_was_stopped_for_long_kills_at_once() {
        let start = Instant::now();
        let mut deadlines = Deadlines::new(start, 10 * SECOND);
        assert_eq!(deadlines.due(start + 60 * SECOND), Some(Stage::Killed));
    }

    #[test]
    fn a_lease_that_is_over_leaves_a_little_time_to_stop() {
        let start = Instant::now();
        let mut deadlines = Deadlines::new(start, 10 * SECOND);
        deadlines.lost(start + SECOND);
        assert_eq!(deadlines.due(start + SECOND), Some(Stage::Terminating));
        assert_eq!(deadlines.due(start + 3 * SECOND), Some(Stage::Killed));
    }
}
