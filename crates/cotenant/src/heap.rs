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
    sync::{Mutex, MutexGuard, PoisonError},
};

use dlmalloc::Dlmalloc;

/// What is asked of the kernel at a time; a short command needs one such piece.
const PIECE: usize = 256 << 10;
/// What every block is aligned to, as C wants for its largest type.
const ALIGNMENT: usize = 16;

static HEAP: Mutex<Dlmalloc> = Mutex::new(
    const {
        let mut heap = Dlmalloc::new();
        assert!(heap.set_granularity(PIECE));
        heap
    },
);

#[inline(always)]
fn heap() -> MutexGuard<'static, Dlmalloc> {
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
