//! Unique memory, to be filled.

#![allow(unsafe_code, reason = "turns memory that is only reachable by it into slices")]

use core::fmt;
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;
use core::slice;

use littoral_platform::{Region, Span};

use super::Shared;
use super::raw::{Extent, Header, allocate, give_back, own};

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
///
/// It is one pointer: the rest stands with its memory.
pub struct Buffer(NonNull<Header>);

// SAFETY: a buffer is the only way to its memory, and headers are `Send`: their makers require it
// of the owners they carry.
unsafe impl Send for Buffer {}
// SAFETY: a shared buffer only gives out `&[u8]`.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// Fresh memory of that capacity, and length 0.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Buffer {
        let (ptr, header) = allocate(capacity);
        // SAFETY: the block has `capacity` bytes, and its header was made for this buffer.
        unsafe { Buffer::from_parts(ptr, capacity, header) }
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
        // SAFETY: the claim that is handed over is the only one.
        unsafe { header.as_ref().extent().write(Extent { ptr, len: 0, capacity }) };
        Buffer(header)
    }

    #[inline]
    fn extent(&self) -> Extent {
        // SAFETY: `self` is the header's only holder, and is borrowed.
        unsafe { *self.0.as_ref().extent() }
    }

    #[inline]
    fn extent_mut(&mut self) -> &mut Extent {
        // SAFETY: `self` is the header's only holder, and is borrowed uniquely.
        unsafe { &mut *self.0.as_ref().extent() }
    }

    /// Bytes that a read into it asks for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.extent().capacity
    }

    /// Appends `bytes`.
    ///
    /// # Panics
    /// If they do not fit: the capacity is fixed.
    #[track_caller]
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        let Extent { ptr, len, capacity } = self.extent();
        let room = capacity - len;
        assert!(bytes.len() <= room, "{} bytes do not fit into the {room} left", bytes.len());
        let from = NonNull::from(bytes).cast();
        // SAFETY: the room was checked; `bytes` cannot overlap memory that is only reachable by us.
        unsafe { ptr.add(len).copy_from_nonoverlapping(from, bytes.len()) };
        self.extent_mut().len += bytes.len();
    }

    /// Extends the length to the capacity with zeros.
    pub fn fill_with_zeros(&mut self) {
        let Extent { ptr, len, capacity } = self.extent();
        // SAFETY: `len..capacity` is inside the allocation, and only reachable by us.
        unsafe { ptr.add(len).write_bytes(0, capacity - len) };
        self.extent_mut().len = capacity;
    }

    /// Cuts the length; longer than it is changes nothing.
    pub fn truncate(&mut self, len: usize) {
        let extent = self.extent_mut();
        extent.len = extent.len.min(len);
    }

    /// Freezes the initialised bytes, without a copy.
    #[must_use]
    pub fn freeze(self) -> Shared {
        let buffer = ManuallyDrop::new(self);
        let Extent { ptr, len, .. } = buffer.extent();
        // SAFETY: the claim on the header is handed over, and the first `len` bytes are initialised
        // and written by nobody from now on.
        unsafe { Shared::from_parts(ptr, len, buffer.0) }
    }

    /// The whole capacity, for the platform to fill.
    pub(crate) fn span(&self) -> Span {
        let Extent { ptr, capacity, .. } = self.extent();
        Span { ptr: ptr.as_ptr(), len: capacity }
    }

    /// Which allocation the bytes are part of: equal for two buffers only if one pointer may walk
    /// from one into the other.
    pub(crate) fn allocation(&self) -> usize {
        // SAFETY: `self` holds a claim on the header.
        unsafe { self.0.as_ref() }.allocation()
    }

    /// The piece of an arena that the bytes lie in.
    #[inline]
    pub(crate) fn region(&self) -> Region {
        // SAFETY: `self` holds a claim on the header.
        unsafe { self.0.as_ref() }.region()
    }

    /// States that the platform initialised the first `len` bytes.
    ///
    /// # Safety
    /// It did.
    pub(super) unsafe fn set_len(&mut self, len: usize) {
        let extent = self.extent_mut();
        assert!(len <= extent.capacity, "a count past the buffer");
        extent.len = len;
    }

    /// Takes over the count of a finished read.
    #[inline]
    pub(crate) fn fill_to(&mut self, count: usize) {
        // SAFETY: rings promise that a count never exceeds the bytes they wrote, and the engine
        // gives the buffer back only after the completion.
        unsafe { self.set_len(count) };
    }

    /// As [`Buffer::fill_to`], by value.
    /// As `fill_to`, all of it: for whoever knows that the ring's count was the capacity.
    #[inline]
    pub(crate) fn fill(&mut self) {
        let extent = self.extent_mut();
        extent.len = extent.capacity;
    }

    pub(crate) fn filled(mut self, count: usize) -> Buffer {
        self.fill_to(count);
        self
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: the only claim there is, never used again.
        unsafe { give_back(self.0) }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        let extent = self.extent();
        // SAFETY: the first `len` bytes are initialised, and unaliased by writers while `self` is
        // borrowed.
        unsafe { slice::from_raw_parts(extent.ptr.as_ptr(), extent.len) }
    }
}

impl DerefMut for Buffer {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        let extent = self.extent();
        // SAFETY: as `deref`, and `self` is borrowed uniquely.
        unsafe { slice::from_raw_parts_mut(extent.ptr.as_ptr(), extent.len) }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} of {} bytes)", self.len(), self.capacity())
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
        // SAFETY: the header was made for this buffer, and the first `len` bytes are initialised.
        unsafe { Buffer::from_parts(ptr, len, header).filled(len) }
    }
}

impl From<Box<[u8]>> for Buffer {
    /// Takes over the memory.
    fn from(bytes: Box<[u8]>) -> Buffer {
        Buffer::from(bytes.into_vec())
    }
}

impl From<String> for Buffer {
    /// Takes over the memory, as from a vector of its bytes.
    fn from(text: String) -> Buffer {
        Buffer::from(text.into_bytes())
    }
}

impl From<&str> for Buffer {
    /// A copy.
    fn from(text: &str) -> Buffer {
        Buffer::from(text.as_bytes())
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
