//! The memory of the static binary: Doug Lea's allocator in the place of musl's.
//!
//! musl maps every size class on its own and gives it back with its last object: 80 mappings and
//! 150 page faults for a `data get`, a third of its time. The C functions are replaced, not only
//! Rust's allocator, because SQLite reading its schema is the heaviest user.
//!
//! # Invariants
//! - Every function that gives out memory is here, and `free` and `realloc` with them: a pointer
//!   of one allocator never reaches another.
//! - The heap is used under its lock only, and nothing is called from inside the lock but the
//!   allocator and the kernel, so that the lock is never taken twice by a thread.
#![expect(unsafe_code, reason = "the C functions of memory; the invariants are above")]
#![expect(clippy::missing_safety_doc, reason = "the contracts are those of the C standard")]

use std::{
    ffi::c_int,
    ptr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use dlmalloc::{Allocator, Dlmalloc};
use rustix::mm::{MapFlags, MremapFlags, ProtFlags, mmap_anonymous, mremap, munmap};

/// What is asked of the kernel at a time.
const PIECE: usize = 128 << 10;
/// The first pieces come with their pages: a short command touches most of them, and one at a time
/// each costs ten times as much (measured: 2 µs a fault).
const WITH_PAGES: usize = 2;
/// What every block is aligned to, as C wants for its largest type.
const ALIGNMENT: usize = 16;

static HEAP: Mutex<Dlmalloc<Kernel>> = Mutex::new(
    const {
        let mut heap = Dlmalloc::new_with_allocator(Kernel);
        assert!(heap.set_granularity(PIECE));
        heap
    },
);

/// Where the heap gets its pieces.
struct Kernel;

static PIECES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: pieces are private anonymous mappings that nobody else knows.
unsafe impl Allocator for Kernel {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        let early = size == PIECE && PIECES.fetch_add(1, Ordering::Relaxed) < WITH_PAGES;
        let flags = if early { MapFlags::PRIVATE | MapFlags::POPULATE } else { MapFlags::PRIVATE };
        // SAFETY: the kernel chooses a free place.
        let piece = unsafe {
            mmap_anonymous(ptr::null_mut(), size, ProtFlags::READ | ProtFlags::WRITE, flags)
        };
        piece.map_or((ptr::null_mut(), 0, 0), |piece| (piece.cast(), size, 0))
    }

    fn remap(&self, piece: *mut u8, before: usize, after: usize, may_move: bool) -> *mut u8 {
        let flags = if may_move { MremapFlags::MAYMOVE } else { MremapFlags::empty() };
        // SAFETY: the heap gives a mapping of its own.
        unsafe { mremap(piece.cast(), before, after, flags) }
            .map_or(ptr::null_mut(), <*mut _>::cast)
    }

    fn free_part(&self, piece: *mut u8, before: usize, after: usize) -> bool {
        // SAFETY: the heap gives the unused end of a mapping of its own.
        unsafe { munmap(piece.add(after).cast(), before - after) }.is_ok()
    }

    fn free(&self, piece: *mut u8, size: usize) -> bool {
        // SAFETY: the heap gives a mapping of its own.
        unsafe { munmap(piece.cast(), size) }.is_ok()
    }

    fn can_release_part(&self, _: u32) -> bool {
        true
    }

    fn allocates_zeros(&self) -> bool {
        true
    }

    fn page_size(&self) -> usize {
        rustix::param::page_size()
    }
}

#[inline(always)]
fn heap() -> MutexGuard<'static, Dlmalloc<Kernel>> {
    HEAP.lock().unwrap_or_else(PoisonError::into_inner)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn malloc(size: usize) -> *mut u8 {
    // SAFETY: the lock is held, and no size is refused.
    unsafe { heap().c_malloc(size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn calloc(count: usize, size: usize) -> *mut u8 {
    let Some(size) = count.checked_mul(size) else { return ptr::null_mut() };
    // SAFETY: the lock is held; the alignment is a power of two.
    unsafe { heap().calloc(size, ALIGNMENT) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn realloc(block: *mut u8, size: usize) -> *mut u8 {
    // SAFETY: the lock is held; the caller had the block from here, or it is null.
    unsafe { heap().c_realloc(block, size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn free(block: *mut u8) {
    if !block.is_null() {
        // SAFETY: the lock is held; the caller had the block from here.
        unsafe { heap().c_free(block) }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memalign(alignment: usize, size: usize) -> *mut u8 {
    if !alignment.is_power_of_two() {
        return ptr::null_mut();
    }
    // SAFETY: the lock is held; the alignment is a power of two.
    unsafe { heap().c_memalign(alignment, size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn aligned_alloc(alignment: usize, size: usize) -> *mut u8 {
    // SAFETY: as above.
    unsafe { memalign(alignment, size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn posix_memalign(block: *mut *mut u8, alignment: usize, size: usize) -> c_int {
    if !alignment.is_power_of_two() || alignment < size_of::<usize>() {
        return rustix::io::Errno::INVAL.raw_os_error();
    }
    // SAFETY: as above.
    let found = unsafe { memalign(alignment, size) };
    if found.is_null() {
        return rustix::io::Errno::NOMEM.raw_os_error();
    }
    // SAFETY: the caller gives a place for the pointer.
    unsafe { block.write(found) };
    0
}
