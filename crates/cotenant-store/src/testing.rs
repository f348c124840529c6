//! Failpoints and planted bugs, compiled in with the `testing` feature only.
//!
//! `COTENANT_FAILPOINT=NAME=ACTION[@N]` acts when the named point is passed the Nth time (default
//! 1): `kill`, `stop`, `eio`, `enospc`, `panic`. `COTENANT_STAGE=FILE` keeps the name of the last
//! point passed in the first 32 bytes of a file. `COTENANT_MUTANT=NAME` switches one planted bug
//! on. The names of the points are those of the contract's section 16. `COTENANT_WORLD=FILE` names
//! the host that the tests pretend.

#[cfg(feature = "testing")]
mod world;

#[cfg(feature = "testing")]
mod active {
    use std::{
        fs::File,
        os::unix::fs::FileExt as _,
        sync::{
            OnceLock,
            atomic::{AtomicU32, Ordering},
        },
    };

    use cotenant_core::{Code, Error, Result};
    use nix::sys::{
        pthread::{pthread_kill, pthread_self},
        signal::Signal,
    };

    struct Armed {
        name: String,
        action: String,
        nth: u32,
        passed: AtomicU32,
    }

    fn armed() -> Option<&'static Armed> {
        static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
        ARMED
            .get_or_init(|| {
                let text = std::env::var("COTENANT_FAILPOINT").ok()?;
                let (name, action) = text.split_once('=')?;
                let (action, nth) = action.split_once('@').unwrap_or((action, "1"));
                Some(Armed {
                    name: name.to_owned(),
                    action: action.to_owned(),
                    nth: nth.parse().unwrap_or(1),
                    passed: AtomicU32::new(0),
                })
            })
            .as_ref()
    }

    fn stage() -> Option<&'static File> {
        static STAGE: OnceLock<Option<File>> = OnceLock::new();
        STAGE
            .get_or_init(|| {
                let path = std::env::var_os("COTENANT_STAGE")?;
                File::options().write(true).create(true).truncate(false).open(path).ok()
            })
            .as_ref()
    }

    /// Sends a signal to this thread, which does not go on before it has it.
    fn signal(name: Signal) {
        let _ = pthread_kill(pthread_self(), name);
    }

    /// Passes a failpoint.
    pub fn failpoint(name: &str) -> Result<()> {
        if let Some(file) = stage() {
            let _ = file.write_all_at(format!("{name:<31}\n").as_bytes(), 0);
        }
        let Some(armed) = armed() else { return Ok(()) };
        if armed.name != name || armed.passed.fetch_add(1, Ordering::Relaxed) + 1 != armed.nth {
            return Ok(());
        }
        match armed.action.as_str() {
            "kill" => signal(Signal::SIGKILL),
            "stop" => signal(Signal::SIGSTOP),
            "eio" => return Err(Error::new(Code::StoreIo, format!("failpoint {name}: EIO"))),
            "enospc" => {
                return Err(Error::new(Code::StoreFull, format!("failpoint {name}: ENOSPC")));
            }
            "panic" => panic!("failpoint {name}"),
            _ => {}
        }
        Ok(())
    }

    /// Whether a planted bug is switched on.
    pub fn mutant(name: &str) -> bool {
        static MUTANT: OnceLock<Option<String>> = OnceLock::new();
        MUTANT.get_or_init(|| std::env::var("COTENANT_MUTANT").ok()).as_deref() == Some(name)
    }

    /// Whether a program of the next version is played, with one more migration.
    pub fn extra_migration() -> bool {
        std::env::var_os("COTENANT_EXTRA_MIGRATION").is_some()
    }

    /// Whether a test looks at what this very process does, so that no other may do it.
    pub fn is_watched() -> bool {
        let is_set = |name: &&str| std::env::var_os(format!("COTENANT_{name}")).is_some();
        let elsewhere =
            std::env::var("COTENANT_MUTANT").is_ok_and(|name| !name.starts_with("combine_"));
        elsewhere || ["FAILPOINT", "STAGE", "EXTRA_MIGRATION", "CLOCK_AHEAD"].iter().any(is_set)
    }

    /// Milliseconds that the tests' clock is ahead: the text of `COTENANT_CLOCK_AHEAD`'s file.
    pub fn clock_ahead() -> i64 {
        std::env::var_os("COTENANT_CLOCK_AHEAD")
            .and_then(|path| std::fs::read_to_string(path).ok())
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0)
    }

    /// The clocks and processes to believe in, if they are not those of this host.
    pub(crate) fn world() -> Option<crate::Host> {
        let world = super::world::World::find()?;
        Some((Box::new(world.clone()), Box::new(world)))
    }
}

#[cfg(not(feature = "testing"))]
mod active {
    use cotenant_core::Result;

    /// Nothing, in a shipped binary.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the shape of the testing build, at no cost")]
    pub const fn failpoint(_: &str) -> Result<()> {
        Ok(())
    }

    /// No, in a shipped binary.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "lets the compiler drop the planted bugs")]
    pub const fn mutant(_: &str) -> bool {
        false
    }

    /// No, in a shipped binary.
    pub const fn extra_migration() -> bool {
        false
    }

    /// No, in a shipped binary.
    pub const fn is_watched() -> bool {
        false
    }

    /// None, in a shipped binary.
    pub const fn clock_ahead() -> i64 {
        0
    }

    /// None, in a shipped binary.
    pub(crate) const fn world() -> Option<crate::Host> {
        None
    }
}

pub(crate) use active::world;
pub use active::{clock_ahead, extra_migration, failpoint, is_watched, mutant};
