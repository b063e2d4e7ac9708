//! The one raw allocation: memory with a counted header, unique as a `Buffer`, frozen as a
//! `Shared`.
//!
//! Every piece of memory that an operation may own is a pointer into some allocation, and a
//! [`Header`] that counts who holds it and knows how to give it back. Where the header lies is its
//! maker's choice: behind the bytes of a heap block, in a box beside a `Vec` or a foreign owner, in
//! the table of an arena. A [`Buffer`] is the only holder of its header; freezing it into a
//! [`Shared`] changes a type and nothing else.
//!
//! Invariant of this file: `ptr..ptr + capacity` lies inside memory that stays allocated until the
//! header's count has reached zero and `release` was called, and the first `len` bytes of it are
//! initialised.
#![allow(unsafe_code, reason = "the one place that turns raw memory into slices")]

use core::fmt;
use core::mem::ManuallyDrop;
use core::ops::{Bound, Deref, DerefMut, RangeBounds};
use core::ptr::NonNull;
use core::slice;
use core::sync::atomic::{AtomicUsize, Ordering, fence};
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};

use littoral_platform::Span;

/// Counts the holders of a piece of memory.
#[repr(C)]
pub(super) struct Header {
    holders: AtomicUsize,
    /// The address of the allocation that the memory is part of. One pointer may walk over all of
    /// it, so neighbours in it may travel as one span.
    allocation: usize,
    /// Whether the memory was ours to write before it was frozen.
    was_buffer: bool,
    /// Called once, when the last holder goes.
    ///
    /// SAFETY of the call: the pointer is the header's own, and nobody uses the memory any more.
    release: unsafe fn(NonNull<Header>),
}

impl Header {
    pub(super) const fn new(
        allocation: usize,
        was_buffer: bool,
        release: unsafe fn(NonNull<Header>),
    ) -> Header {
        Header { holders: AtomicUsize::new(1), allocation, was_buffer, release }
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
unsafe fn let_go(header: NonNull<Header>) {
    // SAFETY: a holder exists, so the header does.
    let holders = unsafe { &header.as_ref().holders };
    if holders.fetch_sub(1, Ordering::Release) == 1 {
        // The other holders' last uses happen before the memory is given back.
        fence(Ordering::Acquire);
        // SAFETY: the count is zero, nobody else has the header.
        unsafe { (header.as_ref().release)(header) }
    }
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
struct Owned<T> {
    header: Header,
    owner: T,
}

unsafe fn release_owned<T>(header: NonNull<Header>) {
    // SAFETY: this function is only ever put into the header of a boxed `Owned<T>`, and the last
    // holder is gone.
    drop(unsafe { Box::from_raw(header.cast::<Owned<T>>().as_ptr()) });
}

/// Boxes an owner with a header. The box's own address names the allocation: no two owners share
/// one, and slices of the same owner do.
fn own<T>(owner: T, was_buffer: bool) -> NonNull<Header> {
    let header = Header::new(0, was_buffer, release_owned::<T>);
    let mut block = Box::new(Owned { header, owner });
    block.header.allocation = (&raw const *block).addr();
    NonNull::from(Box::leak(block)).cast()
}

/// Pages and more are aligned to pages, what is smaller to cache lines.
const fn alignment(capacity: usize) -> usize {
    if capacity >= 4096 { 4096 } else { 64 }
}

/// Unique memory: what a read fills, and what a write may be filled in.
///
/// Its **capacity** is fixed when it is made and is what a read asks for; its **length** counts the
/// initialised bytes from the start, which are all that safe code can see. It dereferences to them.
///
/// ```
/// use littoral::Buffer;
/// let mut page = Buffer::with_capacity(4096);
/// assert_eq!((page.len(), page.capacity()), (0, 4096));
/// page.extend_from_slice(b"header");
/// page.fill_with_zeros();
/// assert_eq!((page.len(), &page[..6], page[6]), (4096, &b"header"[..], 0));
/// let frozen = page.freeze();
/// assert_eq!(frozen.slice(..6).as_slice(), Some(&b"header"[..]));
/// ```
pub struct Buffer {
    ptr: NonNull<u8>,
    len: usize,
    capacity: usize,
    header: NonNull<Header>,
}

// SAFETY: a buffer is the only way to its memory, and headers are `Send`: their makers require it
// of the owners they carry.
unsafe impl Send for Buffer {}
// SAFETY: a shared buffer only gives out `&[u8]`.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// Fresh memory of that capacity, and length 0.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Buffer {
        let bytes = Layout::from_size_align(capacity, alignment(capacity));
        let block = bytes.and_then(|bytes| bytes.extend(Layout::new::<Heap>()));
        let Ok((layout, offset)) = block else {
            // As `Vec`: a capacity past isize::MAX is a bug of the caller.
            panic!("a buffer of {capacity} bytes is larger than the address space")
        };
        // SAFETY: the layout holds a `Heap`, so it is not empty.
        let Some(base) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
        let heap =
            Heap { header: Header::new(base.as_ptr().addr(), true, release_heap), base, layout };
        // SAFETY: `offset` is where `layout` has room, suitably aligned, for a `Heap`.
        let header = unsafe {
            let place = base.add(offset).cast::<Heap>();
            place.write(heap);
            place.cast()
        };
        Buffer { ptr: base, len: 0, capacity, header }
    }

    /// That many zeros.
    #[must_use]
    pub fn zeroed(len: usize) -> Buffer {
        let mut buffer = Buffer::with_capacity(len);
        buffer.fill_with_zeros();
        buffer
    }

    /// Memory of an arena's place.
    ///
    /// # Safety
    /// `ptr..ptr + capacity` is unaliased and stays allocated until `header`, whose only claim is
    /// handed over, is released.
    pub(super) unsafe fn from_parts(
        ptr: NonNull<u8>,
        capacity: usize,
        header: NonNull<Header>,
    ) -> Buffer {
        Buffer { ptr, len: 0, capacity, header }
    }

    /// Bytes that a read into it asks for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Appends `bytes`.
    ///
    /// # Panics
    /// If they do not fit: the capacity is fixed.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        let room = self.capacity - self.len;
        assert!(bytes.len() <= room, "{} bytes do not fit into the {room} left", bytes.len());
        // SAFETY: the room was checked; `bytes` cannot overlap memory that is only reachable by us.
        unsafe {
            self.ptr
                .add(self.len)
                .copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len());
        };
        self.len += bytes.len();
    }

    /// Extends the length to the capacity with zeros.
    pub fn fill_with_zeros(&mut self) {
        // SAFETY: `len..capacity` is inside the allocation, and only reachable by us.
        unsafe { self.ptr.add(self.len).write_bytes(0, self.capacity - self.len) };
        self.len = self.capacity;
    }

    /// Cuts the length; longer than it is changes nothing.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Freezes the initialised bytes, without a copy.
    #[must_use]
    pub fn freeze(self) -> Shared {
        let buffer = ManuallyDrop::new(self);
        Shared { ptr: buffer.ptr, len: buffer.len, header: Some(buffer.header), readable: true }
    }

    /// The whole capacity, for the platform to fill.
    pub(crate) fn span(&self) -> Span {
        Span { ptr: self.ptr.as_ptr(), len: self.capacity }
    }

    /// Which allocation the bytes are part of: equal for two buffers only if one pointer may walk
    /// from one into the other.
    pub(crate) fn allocation(&self) -> usize {
        // SAFETY: `self` holds a claim on the header.
        unsafe { self.header.as_ref() }.allocation
    }

    /// States that the platform initialised the first `len` bytes.
    ///
    /// # Safety
    /// It did.
    pub(super) unsafe fn set_len(&mut self, len: usize) {
        assert!(len <= self.capacity, "a count past the buffer");
        self.len = len;
    }

    /// Takes over the count of a finished read.
    pub(crate) fn filled(mut self, count: usize) -> Buffer {
        // SAFETY: rings promise that a count never exceeds the bytes they wrote, and the engine
        // gives the buffer back only after the completion.
        unsafe { self.set_len(count) };
        self
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: the one claim of this buffer, never used again.
        unsafe { let_go(self.header) }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the first `len` bytes are initialised, and unaliased by writers while `self` is
        // borrowed.
        unsafe { slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as `deref`, and `self` is borrowed uniquely.
        unsafe { slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} of {} bytes)", self.len, self.capacity)
    }
}

impl From<Vec<u8>> for Buffer {
    /// Takes over the vector's memory. Its length becomes the buffer's length *and* capacity.
    fn from(vec: Vec<u8>) -> Buffer {
        let mut vec = ManuallyDrop::new(vec);
        // SAFETY: a vector's pointer is never null.
        let ptr = unsafe { NonNull::new_unchecked(vec.as_mut_ptr()) };
        let len = vec.len();
        let header = own(VecMemory { ptr, capacity: vec.capacity() }, true);
        Buffer { ptr, len, capacity: len, header }
    }
}

impl From<&[u8]> for Buffer {
    fn from(bytes: &[u8]) -> Buffer {
        let mut buffer = Buffer::with_capacity(bytes.len());
        buffer.extend_from_slice(bytes);
        buffer
    }
}

/// A vector taken apart: its bytes are used through the buffer only, so no `Vec` may exist
/// meanwhile.
struct VecMemory {
    ptr: NonNull<u8>,
    capacity: usize,
}

impl Drop for VecMemory {
    fn drop(&mut self) {
        // SAFETY: pointer and capacity are those of a vector that was forgotten for this.
        drop(unsafe { Vec::from_raw_parts(self.ptr.as_ptr(), 0, self.capacity) });
    }
}

/// Frozen memory: what writes take. Clones and slices share it.
///
/// ```
/// use littoral::Shared;
/// let all = Shared::from(b"abcdef".to_vec());
/// assert_eq!(all.slice(2..4).as_slice(), Some(&b"cd"[..]));
/// ```
pub struct Shared {
    ptr: NonNull<u8>,
    len: usize,
    /// `None` for static memory.
    header: Option<NonNull<Header>>,
    /// Whether the bytes are immutable while this lives, so that a slice of them is sound.
    readable: bool,
}

// SAFETY: nobody writes the memory while a `Shared` exists (or nobody gets a slice of it), and
// owners are required to be `Send + Sync`.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// Static bytes, without a copy.
    #[must_use]
    pub const fn from_static(bytes: &'static [u8]) -> Shared {
        // SAFETY: a reference is not null. Nothing writes through the pointer.
        let ptr = unsafe { NonNull::new_unchecked(bytes.as_ptr().cast_mut()) };
        Shared { ptr, len: bytes.len(), header: None, readable: true }
    }

    /// The caller's own memory, without a copy: a page frame behind an `Arc`, a `Box<[u8]>`. The
    /// owner is asked for its bytes once, and dropped with the last clone.
    pub fn from_owner<T: AsRef<[u8]> + Send + Sync + 'static>(owner: T) -> Shared {
        let header = own(owner, false);
        // SAFETY: `own` has just made an `Owned<T>` there.
        let bytes = unsafe { header.cast::<Owned<T>>().as_ref() }.owner.as_ref();
        let (ptr, len) = (NonNull::from(bytes).cast(), bytes.len());
        Shared { ptr, len, header: Some(header), readable: true }
    }

    /// Memory that may change behind `&` while it is written from (a frame under a latch, a shared
    /// mapping). Such a `Shared` gives no slice.
    ///
    /// # Safety
    /// `ptr..ptr + len` must stay allocated as long as `owner` lives. Bytes that change while an
    /// operation has them reach the file in any mixture of old and new.
    pub unsafe fn from_raw<T: Send + Sync + 'static>(
        ptr: NonNull<u8>,
        len: usize,
        owner: T,
    ) -> Shared {
        Shared { ptr, len, header: Some(own(owner, false)), readable: false }
    }

    /// Bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes; `None` for memory that may change, see [`from_raw`](Shared::from_raw).
    #[must_use]
    pub fn as_slice(&self) -> Option<&[u8]> {
        // SAFETY: `readable` memory is initialised and immutable while `self` lives.
        self.readable.then(|| unsafe { slice::from_raw_parts(self.ptr.as_ptr(), self.len) })
    }

    /// A part of it, sharing the memory.
    ///
    /// # Panics
    /// If the range is not inside.
    #[must_use]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Shared {
        let start = match range.start_bound() {
            Bound::Included(&n) => n,
            Bound::Excluded(&n) => n + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&n) => n + 1,
            Bound::Excluded(&n) => n,
            Bound::Unbounded => self.len,
        };
        assert!(start <= end && end <= self.len, "{start}..{end} is not inside 0..{}", self.len);
        let mut part = self.clone();
        // SAFETY: `start` is inside the allocation.
        part.ptr = unsafe { part.ptr.add(start) };
        part.len = end - start;
        part
    }

    /// The buffer again, if nobody else holds it and it was one: the bytes of this slice are its
    /// length and capacity.
    ///
    /// # Errors
    /// Gives itself back.
    pub fn try_unfreeze(self) -> Result<Buffer, Shared> {
        let Some(header) = self.header else { return Err(self) };
        // SAFETY: `self` holds a claim on the header.
        let header_ref = unsafe { header.as_ref() };
        if !header_ref.was_buffer || header_ref.holders.load(Ordering::Acquire) != 1 {
            return Err(self);
        }
        let shared = ManuallyDrop::new(self);
        Ok(Buffer { ptr: shared.ptr, len: shared.len, capacity: shared.len, header })
    }

    /// For the platform to read from.
    pub(crate) fn span(&self) -> Span {
        Span { ptr: self.ptr.as_ptr(), len: self.len }
    }

    /// As [`Buffer::allocation`]; static memory has an allocation of its own each.
    pub(crate) fn allocation(&self) -> usize {
        // SAFETY: `self` holds a claim on the header.
        self.header.map_or(self.ptr.as_ptr().addr(), |h| unsafe { h.as_ref() }.allocation)
    }
}

impl Clone for Shared {
    fn clone(&self) -> Shared {
        if let Some(header) = self.header {
            // SAFETY: `self` holds a claim on the header.
            let before = unsafe { &header.as_ref().holders }.fetch_add(1, Ordering::Relaxed);
            // As `Arc`: forgetting clones until the count wraps must not free the memory.
            assert!(before <= usize::MAX / 2, "too many clones of one buffer");
        }
        Shared { ptr: self.ptr, len: self.len, header: self.header, readable: self.readable }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(header) = self.header {
            // SAFETY: the claim of this clone, never used again.
            unsafe { let_go(header) }
        }
    }
}

impl Default for Shared {
    fn default() -> Shared {
        Shared::from_static(&[])
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shared({} bytes)", self.len)
    }
}

impl From<Buffer> for Shared {
    fn from(buffer: Buffer) -> Shared {
        buffer.freeze()
    }
}

impl From<Vec<u8>> for Shared {
    fn from(vec: Vec<u8>) -> Shared {
        Buffer::from(vec).freeze()
    }
}

impl From<&'static [u8]> for Shared {
    fn from(bytes: &'static [u8]) -> Shared {
        Shared::from_static(bytes)
    }
}

impl<const N: usize> From<&'static [u8; N]> for Shared {
    fn from(bytes: &'static [u8; N]) -> Shared {
        Shared::from_static(bytes)
    }
}

// A completion and its slot are moved about with these inside: keep them small.
const _: () = assert!(size_of::<Shared>() <= 4 * size_of::<usize>());
