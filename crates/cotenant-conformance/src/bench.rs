//! What a back end must offer so that the contract can be tried on it.

use cotenant_core::{process::ProcessIdentity, store::Store};

/// A back end under test, with the means that the cases need. Each case gets one of its own, over
/// a store that nobody has used.
///
/// The clock stands still or runs slowly: within a case it moves by [`World::advance`] and, at
/// most, by the few seconds that the case takes. The processes are those of one host; the store
/// judges them by their whole identity, so a known pid with another start time counts as dead and
/// one in another name space as unverifiable.
pub trait Bench: Send + Sync {
    /// One connection to the store.
    fn store(&self) -> &dyn Store;

    /// Another connection to the same store.
    fn second(&self) -> Box<dyn Store>;

    /// The host on which the cases happen.
    fn world(&self) -> &dyn World;

    /// Every byte that the back end keeps, to look for what should have been erased; `None` where
    /// they cannot be read.
    fn raw_bytes(&self) -> Option<Vec<u8>>;
}

/// A host that the cases move: its clocks and its processes.
pub trait World: Send + Sync {
    /// Moves the source of the clock; the tick follows with the next operation.
    fn advance(&self, ms: u64);

    /// Sets the wall clock, in milliseconds since 1970. The source of the clock does not move.
    fn set_wall(&self, ms: i64);

    /// Reboots the host: the source of the clock begins anew and all processes belong to an
    /// earlier boot.
    fn reboot(&self);

    /// A process of this host that was just started.
    fn process(&self) -> ProcessIdentity;

    /// Ends a process of this host.
    fn kill(&self, process: &ProcessIdentity);

    /// A process on another host, of which nothing can be said from here.
    fn foreign_process(&self) -> ProcessIdentity;
}

impl dyn Bench + '_ {
    /// As [`World::advance`].
    pub(crate) fn advance(&self, ms: u64) {
        self.world().advance(ms);
    }

    /// As [`World::set_wall`].
    pub(crate) fn set_wall(&self, ms: i64) {
        self.world().set_wall(ms);
    }

    /// As [`World::reboot`].
    pub(crate) fn reboot(&self) {
        self.world().reboot();
    }

    /// As [`World::process`].
    pub(crate) fn process(&self) -> ProcessIdentity {
        self.world().process()
    }

    /// As [`World::kill`].
    pub(crate) fn kill(&self, process: &ProcessIdentity) {
        self.world().kill(process);
    }

    /// As [`World::foreign_process`].
    pub(crate) fn foreign_process(&self) -> ProcessIdentity {
        self.world().foreign_process()
    }
}
