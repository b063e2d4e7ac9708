//! Raw memory with a counted header: what a [`Buffer`](super::Buffer) and a
//! [`Shared`](super::Shared) are pointers into.
//!
//! Every piece of memory that an operation may own is a pointer into some allocation, and a
//! [`Header`] that counts who holds it and knows how to give it back. Where the header lies is its
//! maker's choice: behind the bytes of a heap block, in a box beside a `Vec` or a foreign owner, in
//! the table of an arena. A `Buffer` is the only holder of its header, so it keeps there what it
//! knows of its memory, and is itself one pointer: it is moved into an operation, its slot, its
//! result and out again, and each move costs one register. A `Shared` is a part of such memory,
//! like others of the same header, and carries its own bounds.
//!
//! Invariant of this folder: `ptr..ptr + capacity` lies inside memory that stays allocated until
//! the header's count has reached zero and `release` was called, and the first `len` bytes of it
//! are initialised.
#![allow(unsafe_code, reason = "allocates, counts and frees raw memory")]

use core::cell::UnsafeCell;
use core::ptr::NonNull;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};

use littoral_platform::lock::atomic::{AtomicUsize, Ordering, fence};

use littoral_platform::Region;

/// Counts the holders of a piece of memory.
#[repr(C)]
pub(super) struct Header {
    holders: AtomicUsize,
    /// The address of the allocation that the memory is part of. One pointer may walk over all of
    /// it, so neighbours in it may travel as one span.
    allocation: usize,
    /// Whether the memory was ours to write before it was frozen.
    was_buffer: bool,
    /// The piece of an arena that the memory lies in, which a ring may have been told of.
    region: Region,
    /// Called once, when the last holder goes.
    ///
    /// SAFETY of the call: the pointer is the header's own, and nobody uses the memory any more.
    release: unsafe fn(NonNull<Header>),
    /// The buffer's, while there is one; else it says nothing.
    extent: UnsafeCell<Extent>,
}

/// The memory of a buffer.
#[derive(Clone, Copy)]
pub(super) struct Extent {
    pub(super) ptr: NonNull<u8>,
    pub(super) len: usize,
    pub(super) capacity: usize,
}

impl Header {
    pub(super) fn new(
        allocation: usize,
        was_buffer: bool,
        release: unsafe fn(NonNull<Header>),
    ) -> Header {
        let region = Region::NONE;
        let extent = UnsafeCell::new(Extent { ptr: NonNull::dangling(), len: 0, capacity: 0 });
        Header { holders: AtomicUsize::new(1), allocation, was_buffer, region, release, extent }
    }

    /// In an arena's piece.
    pub(super) fn in_region(self, region: Region) -> Header {
        Header { region, ..self }
    }

    /// Where the buffer's extent lies: its buffer's alone to read and write.
    #[inline]
    pub(super) fn extent(&self) -> *mut Extent {
        self.extent.get()
    }

    /// One holder more.
    pub(super) fn hold(&self) {
        let before = self.holders.fetch_add(1, Ordering::Relaxed);
        // As `Arc`: forgetting clones until the count wraps must not free the memory.
        assert!(before <= usize::MAX / 2, "too many clones of one buffer");
    }

    /// Whether whoever asks holds it alone, and it was a buffer before it was frozen.
    pub(super) fn may_be_buffer(&self) -> bool {
        self.was_buffer && self.holders.load(Ordering::Acquire) == 1
    }

    /// See the field.
    pub(super) fn allocation(&self) -> usize {
        self.allocation
    }

    /// See the field.
    #[inline]
    pub(super) fn region(&self) -> Region {
        self.region
    }

    /// Makes a header whose holders are all gone ready for its next one.
    pub(super) fn revive(&self) {
        self.holders.store(1, Ordering::Relaxed);
    }
}

/// Gives up one holder's claim.
///
/// # Safety
/// The caller holds the claim and does not use the memory afterwards.
pub(super) unsafe fn let_go(header: NonNull<Header>) {
    // SAFETY: a holder exists, so the header does.
    let holders = unsafe { &header.as_ref().holders };
    if holders.fetch_sub(1, Ordering::Release) == 1 {
        // The other holders' last uses happen before the memory is given back.
        fence(Ordering::Acquire);
        // SAFETY: the count is zero, nobody else has the header.
        unsafe { (header.as_ref().release)(header) }
    }
}

/// As [`let_go`] for the only holder there is.
///
/// # Safety
/// As [`let_go`], and nobody else holds the header.
#[inline]
pub(super) unsafe fn give_back(header: NonNull<Header>) {
    // SAFETY: the caller is the last holder: the header exists, and nobody else has it.
    unsafe { (header.as_ref().release)(header) }
}

/// The header of a heap block; it lies behind the bytes, so that these are aligned as the block.
#[repr(C)]
struct Heap {
    header: Header,
    base: NonNull<u8>,
    layout: Layout,
}

unsafe fn release_heap(header: NonNull<Header>) {
    // SAFETY: this function is only ever put into the header of a `Heap`, which starts with it.
    let (base, layout) = unsafe {
        let heap = header.cast::<Heap>().as_ref();
        (heap.base, heap.layout)
    };
    // SAFETY: `base` was allocated with `layout`, and the last holder is gone.
    unsafe { dealloc(base.as_ptr(), layout) }
}

/// The header beside a foreign owner.
#[repr(C)]
pub(super) struct Owned<T> {
    header: Header,
    pub(super) owner: T,
}

unsafe fn release_owned<T>(header: NonNull<Header>) {
    // SAFETY: this function is only ever put into the header of a boxed `Owned<T>`, and the last
    // holder is gone.
    drop(unsafe { Box::from_raw(header.cast::<Owned<T>>().as_ptr()) });
}

/// Boxes an owner with a header. The box's own address names the allocation: no two owners share
/// one, and slices of the same owner do.
pub(super) fn own<T>(owner: T, was_buffer: bool) -> NonNull<Header> {
    let header = Header::new(0, was_buffer, release_owned::<T>);
    let mut block = Box::new(Owned { header, owner });
    block.header.allocation = (&raw const *block).addr();
    NonNull::from(Box::leak(block)).cast()
}

/// Pages and more are aligned to pages, whole sectors to sectors, as direct I/O wants it; the rest
/// to cache lines.
const fn alignment(capacity: usize) -> usize {
    match capacity {
        4096.. => 4096,
        512.. if capacity.is_multiple_of(512) => 512,
        _ => 64,
    }
}

/// A heap block of `capacity` uninitialised bytes, and its header.
pub(super) fn allocate(capacity: usize) -> (NonNull<u8>, NonNull<Header>) {
    let bytes = Layout::from_size_align(capacity, alignment(capacity));
    let block = bytes.and_then(|bytes| bytes.extend(Layout::new::<Heap>()));
    let Ok((layout, offset)) = block else {
        // As `Vec`: a capacity past isize::MAX is a bug of the caller.
        panic!("a buffer of {capacity} bytes is larger than the address space")
    };
    // SAFETY: the layout holds a `Heap`, so it is not empty.
    let Some(base) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
    let header = Header::new(base.as_ptr().addr(), true, release_heap);
    // SAFETY: `offset` is where `layout` has room, suitably aligned, for a `Heap`.
    let place = unsafe { base.add(offset) }.cast::<Heap>();
    // SAFETY: as above.
    unsafe { place.write(Heap { header, base, layout }) };
    (base, place.cast())
}
