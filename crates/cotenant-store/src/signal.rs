//! A word in a small mapped file that changes with every commit, so that waiters sleep without
//! polling: a shared futex.
//!
//! # Invariants
//! - The file has at least four bytes before it is mapped and is never truncated by us; nobody
//!   else may write into the store's directory (0700).
//! - A missed wake-up costs at most the safety net of `wait`; correctness never depends
//!   on the word.
//!
//! Measured against alternatives: commit to seen 54 µs with the futex, 70 µs with inotify, 0.6 ms
//! with a 1 ms poll; inotify on the log itself misses changes.

#![expect(unsafe_code, reason = "a shared futex needs one mapped word; the invariants are above")]

use std::{
    fs::File,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    ptr::NonNull,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::{
    mm::{MapFlags, ProtFlags, mmap, munmap},
    thread::futex,
};

use crate::sql::Wake;

/// The longest sleep without looking.
const SAFETY_NET: Duration = Duration::from_secs(1);
/// How often to look where the word cannot be mapped.
const POLL: Duration = Duration::from_millis(20);
const BYTES: usize = 4096;

/// The word, mapped when it is first needed: a process that only reads never pays for it.
#[derive(Debug)]
pub(crate) struct Signal {
    path: PathBuf,
    word: OnceLock<Option<NonNull<AtomicU32>>>,
}

// SAFETY: the pointer leads to a shared mapping that lives as long as the value; all access to it
// is atomic.
unsafe impl Send for Signal {}
// SAFETY: as above.
unsafe impl Sync for Signal {}

impl Signal {
    /// The word of a file, which is made if it is missing.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, word: OnceLock::new() }
    }

    fn map(path: &Path) -> Option<NonNull<AtomicU32>> {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc_nofollow())
            .open(path)
            .ok()?;
        if file.metadata().ok()?.len() < BYTES as u64 {
            file.set_len(BYTES as u64).ok()?;
        }
        // SAFETY: a fresh shared mapping of a file that is at least BYTES long; it aliases no Rust
        // object, and the page-aligned start is aligned for an AtomicU32.
        let address = unsafe {
            mmap(
                std::ptr::null_mut(),
                BYTES,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                &file,
                0,
            )
        }
        .ok()?;
        NonNull::new(address.cast())
    }

    fn word(&self) -> Option<&AtomicU32> {
        let word = *self.word.get_or_init(|| Self::map(&self.path));
        // SAFETY: the mapping lives as long as self and is only accessed atomically.
        word.map(|pointer| unsafe { pointer.as_ref() })
    }

    /// Changes the word and wakes all who wait.
    pub(crate) fn bump(&self) {
        if let Some(word) = self.word() {
            word.fetch_add(1, Ordering::Release);
            let _ = futex::wake(word, futex::Flags::empty(), i32::MAX as u32);
        }
    }
}

impl Wake for Signal {
    fn value(&self) -> u32 {
        self.word().map_or(0, |word| word.load(Ordering::Acquire))
    }

    fn wait(&self, seen: u32, until: Instant) {
        let left = until.saturating_duration_since(Instant::now()).min(SAFETY_NET);
        if left.is_zero() {
            return;
        }
        let Some(word) = self.word() else {
            std::thread::sleep(left.min(POLL));
            return;
        };
        let timeout = futex::Timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        let _ = futex::wait(word, futex::Flags::empty(), seen, Some(&timeout));
    }
}

impl Drop for Signal {
    fn drop(&mut self) {
        if let Some(Some(pointer)) = self.word.take() {
            // SAFETY: the mapping was made by `map` with this length and nobody refers to it now.
            let _ = unsafe { munmap(pointer.as_ptr().cast(), BYTES) };
        }
    }
}

const fn libc_nofollow() -> i32 {
    rustix::fs::OFlags::NOFOLLOW.bits() as i32
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_bump_wakes_another_mapping_of_the_word() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("signal");
        let waiter = Arc::new(Signal::new(path.clone()));
        let seen = waiter.value();
        let thread = std::thread::spawn({
            let waiter = Arc::clone(&waiter);
            move || {
                let until = Instant::now() + Duration::from_secs(30);
                while waiter.value() == seen && Instant::now() < until {
                    waiter.wait(seen, until);
                }
                waiter.value()
            }
        });
        Signal::new(path).bump();
        assert_eq!(thread.join().unwrap(), seen + 1);
    }
}
