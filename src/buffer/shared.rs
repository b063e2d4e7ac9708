//! Frozen memory, to be written from by many.

#![allow(unsafe_code, reason = "turns memory that nobody writes into slices")]

use core::fmt;
use core::mem::ManuallyDrop;
use core::ops::{Bound, RangeBounds};
use core::ptr::NonNull;
use core::slice;

use littoral_platform::{Region, Span};

use super::Buffer;
use super::raw::{Header, Owned, let_go, own};

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

    /// A copy of borrowed bytes. (`From` takes static bytes only, as they are, without a copy.)
    #[must_use]
    pub fn copied(bytes: &[u8]) -> Shared {
        Buffer::from(bytes).freeze()
    }

    /// What a buffer becomes.
    ///
    /// # Safety
    /// `header`'s claim is handed over, and `ptr..ptr + len` is initialised and written by nobody
    /// as long as it is held.
    pub(super) unsafe fn from_parts(
        ptr: NonNull<u8>,
        len: usize,
        header: NonNull<Header>,
    ) -> Shared {
        Shared { ptr, len, header: Some(header), readable: true }
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
    #[track_caller]
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
        if !unsafe { header.as_ref() }.may_be_buffer() {
            return Err(self);
        }
        let shared = ManuallyDrop::new(self);
        // SAFETY: the memory was a buffer's, the only claim on it is handed over, and the bytes
        // were initialised when it was frozen.
        Ok(unsafe { Buffer::from_parts(shared.ptr, shared.len, header).filled(shared.len) })
    }

    /// For the platform to read from.
    pub(crate) fn span(&self) -> Span {
        Span { ptr: self.ptr.as_ptr(), len: self.len }
    }

    /// As [`Buffer::region`].
    pub(crate) fn region(&self) -> Region {
        // SAFETY: `self` holds a claim on the header.
        self.header.map_or(Region::NONE, |h| unsafe { h.as_ref() }.region())
    }

    /// As [`Buffer::allocation`]; static memory has an allocation of its own each.
    pub(crate) fn allocation(&self) -> usize {
        // SAFETY: `self` holds a claim on the header.
        self.header.map_or(self.ptr.as_ptr().addr(), |h| unsafe { h.as_ref() }.allocation())
    }
}

impl Clone for Shared {
    fn clone(&self) -> Shared {
        if let Some(header) = self.header {
            // SAFETY: `self` holds a claim on the header.
            unsafe { header.as_ref() }.hold();
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

impl From<&Buffer> for Shared {
    /// A copy of its initialised bytes.
    fn from(buffer: &Buffer) -> Shared {
        Shared::copied(buffer)
    }
}

impl From<Box<[u8]>> for Shared {
    fn from(bytes: Box<[u8]>) -> Shared {
        Buffer::from(bytes).freeze()
    }
}

impl From<String> for Shared {
    fn from(text: String) -> Shared {
        Buffer::from(text).freeze()
    }
}

impl From<&'static str> for Shared {
    fn from(text: &'static str) -> Shared {
        Shared::from_static(text.as_bytes())
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
