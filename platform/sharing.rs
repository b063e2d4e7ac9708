//! What the processes of one system share of a file: locks of byte ranges, and memory.
//!
//! Only systems with processes have it: [`Direct::sharing`](crate::Direct::sharing) says whether a
//! platform does.

use core::fmt;
use core::ops::Range;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, fence};
use std::sync::Arc;

use crate::{Errno, Handle, LockKind};

/// Whose a lock of a byte range is. Locks of the two kinds see each other, and keep each other out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockOwner {
    /// The handle's, as an open-file-description lock (fcntl(2), `F_OFD_SETLK`, Linux 3.15): it
    /// keeps out every other handle, of this process too, and goes with the handle.
    Handle,
    /// The process's, as a record lock of POSIX (fcntl(2), `F_SETLK`): what older programs take.
    /// The system gives it to the process as a whole; handles are told apart by the platform, so
    /// that it keeps out other handles of this process all the same. The system drops every such
    /// lock of a file when the process closes any descriptor of it: while one is held, descriptors
    /// of the file that are closed by way of this crate stay open until the last is given up. One
    /// that other code opens and closes is past helping.
    Process,
}

/// Locks and maps files. Every call is made on the calling thread.
pub trait Sharing: Send + Sync {
    /// Where the locks of byte ranges of one user of a file are to be held. `write` says whether
    /// the handle may write, which exclusive locks need.
    ///
    /// # Errors
    /// The file cannot be opened once more, for locks of the handle's own.
    ///
    /// # Safety
    /// The handle is open until the call returns.
    unsafe fn ranges(&self, file: Handle, write: bool) -> Result<Arc<dyn Ranges>, Errno>;

    /// Maps `len` bytes at `at`, any offset, shared with whoever else maps or reads the file; `len`
    /// is not 0. The mapping outlives the handle.
    ///
    /// # Errors
    /// Those of mmap(2).
    ///
    /// # Safety
    /// The handle is open until the call returns.
    unsafe fn map(&self, file: Handle, at: u64, len: usize, write: bool) -> Result<Mapped, Errno>;
}

/// The locks of byte ranges of one user of a file. Ranges are not empty; one that ends at or past
/// the largest offset goes on to wherever the file will end.
pub trait Ranges: Send + Sync {
    /// Takes a lock, or converts the one that this user has of these bytes; a conversion that is
    /// refused changes nothing. `wait` makes the calling thread wait until it can be had.
    ///
    /// # Errors
    /// `EBUSY` where another lock is in the way, and the call was not to wait; `EDEADLK` where the
    /// system sees that a wait would never end (of the process's locks only); `EBADF` after
    /// [`Ranges::release`]; `EOPNOTSUPP` for an owner that the system does not know.
    fn lock(
        &self,
        range: Range<u64>,
        kind: LockKind,
        owner: LockOwner,
        wait: bool,
    ) -> Result<(), Errno>;

    /// Gives up what this user has of these bytes; nothing happens if that is nothing.
    ///
    /// # Errors
    /// Those of fcntl(2).
    fn unlock(&self, range: Range<u64>, owner: LockOwner) -> Result<(), Errno>;

    /// Whether such a lock could be taken now. Nothing is taken, and nothing given up meanwhile.
    ///
    /// # Errors
    /// Those of fcntl(2).
    fn is_free(&self, range: Range<u64>, kind: LockKind, owner: LockOwner) -> Result<bool, Errno>;

    /// Gives up all, for good.
    fn release(&self);
}

/// Memory that is a part of a file, until it is dropped.
pub struct Mapped {
    start: NonNull<u8>,
    len: usize,
    /// Unmaps when it is dropped.
    _keeper: Box<dyn Send + Sync>,
}

// SAFETY: the memory belongs to no thread, and is only read and written by atomic accesses here.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

impl Mapped {
    /// # Safety
    /// `len` bytes at `start` can be read, and, if it is to be a [`Mapping`], written, until
    /// `keeper` is dropped; nobody makes a Rust reference to them that is not to an atomic.
    #[cfg_attr(not(unix), expect(dead_code, reason = "no other system maps files"))]
    pub(crate) unsafe fn new(
        start: NonNull<u8>,
        len: usize,
        keeper: Box<dyn Send + Sync>,
    ) -> Mapped {
        Mapped { start, len, _keeper: keeper }
    }

    /// Where `count` places of type `A` lie, if that is inside and aligned.
    fn place<A>(&self, at: usize, count: usize) -> Option<NonNull<A>> {
        let end = at.checked_add(count.checked_mul(size_of::<A>())?)?;
        if end > self.len {
            return None;
        }
        // SAFETY: `at` is not past the end, which was seen above, and all of it is one mapping.
        let place = unsafe { self.start.add(at) }.cast::<A>();
        place.is_aligned().then_some(place)
    }

    /// The bytes, as what they are: changed by others at any moment.
    fn bytes(&self, at: usize, count: usize) -> Option<&[AtomicU8]> {
        let place = self.place::<AtomicU8>(at, count)?;
        // SAFETY: `place` has looked at length and alignment, the memory is mapped for as long as
        // `self` is borrowed, and bytes behind an atomic may be changed by anybody.
        Some(unsafe { core::slice::from_raw_parts(place.as_ptr(), count) })
    }

    fn load(&self, at: usize, into: &mut [u8]) -> Option<()> {
        let bytes = self.bytes(at, into.len())?;
        for (to, from) in into.iter_mut().zip(bytes) {
            *to = from.load(Ordering::Relaxed);
        }
        fence(Ordering::Acquire);
        Some(())
    }
}

/// A part of a file, mapped to be read and written, and shared with other processes. It is unmapped
/// when it is dropped, and does not depend on the file's handle.
///
/// Others change this memory at any moment, so there is no slice of it: it is seen through atomics,
/// or by a raw pointer. Accesses are checked against its length, and `None` past it or where the
/// place is not aligned for its type (the mapping's first byte is the file's byte that was asked
/// for, whatever that is aligned to).
///
/// A page of it that lies past the end of the file, because somebody has cut the file since, ends
/// the process by `SIGBUS` when it is touched.
pub struct Mapping(Mapped);

/// A part of a file, mapped to be read: what others write into the file is seen. As [`Mapping`]
/// otherwise.
pub struct ReadMapping(Mapped);

macro_rules! atomics {
    ($(#[$doc:meta] $one:ident $many:ident: $atomic:ty;)*) => {$(
        #[$doc]
        #[must_use]
        pub fn $one(&self, at: usize) -> Option<&$atomic> {
            let place = self.0.place::<$atomic>(at, 1)?;
            // SAFETY: `place` has looked at length and alignment, and the memory is mapped to be
            // written for as long as `self` is borrowed.
            Some(unsafe { place.as_ref() })
        }

        /// Several in a row, the first at that byte offset.
        #[must_use]
        pub fn $many(&self, at: usize, count: usize) -> Option<&[$atomic]> {
            let place = self.0.place::<$atomic>(at, count)?;
            // SAFETY: as for the single one.
            Some(unsafe { core::slice::from_raw_parts(place.as_ptr(), count) })
        }
    )*};
}

impl Mapping {
    /// Of memory that was mapped to be written.
    #[must_use]
    pub fn new(mapped: Mapped) -> Mapping {
        Mapping(mapped)
    }

    /// The first byte, for accesses of your own: volatile or atomic ones, since others write at any
    /// moment. It is good until the mapping is dropped.
    #[must_use]
    pub fn as_ptr(&self) -> NonNull<u8> {
        self.0.start
    }

    /// Bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len
    }

    /// Never true: nothing cannot be mapped.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.len == 0
    }

    atomics! {
        /// The byte at that offset.
        u8 u8s: AtomicU8;
        /// The 16 bits at that byte offset, in the machine's order.
        u16 u16s: AtomicU16;
        /// The 32 bits at that byte offset, in the machine's order.
        u32 u32s: AtomicU32;
        /// The 64 bits at that byte offset, in the machine's order.
        u64 u64s: AtomicU64;
    }

    /// Copies bytes out, one by one: whole is only what nobody changes meanwhile. What was written
    /// before something that this has seen is seen by what follows.
    #[must_use]
    pub fn load(&self, at: usize, into: &mut [u8]) -> Option<()> {
        self.0.load(at, into)
    }

    /// Copies bytes in, one by one. Who sees one of them sees what was written before.
    #[must_use]
    pub fn store(&self, at: usize, from: &[u8]) -> Option<()> {
        let bytes = self.0.bytes(at, from.len())?;
        fence(Ordering::Release);
        for (to, from) in bytes.iter().zip(from) {
            to.store(*from, Ordering::Relaxed);
        }
        Some(())
    }
}

macro_rules! loads {
    ($(#[$doc:meta] $name:ident: $atomic:ty, $value:ty;)*) => {$(
        #[$doc]
        #[must_use]
        pub fn $name(&self, at: usize) -> Option<$value> {
            let place = self.0.place::<$atomic>(at, 1)?;
            // SAFETY: `place` has looked at length and alignment, and the memory is mapped as long
            // as `self` is borrowed. It cannot be written through this mapping: a relaxed load of
            // no more than a pointer's size writes nothing on any machine, which the standard
            // library promises; the order comes from the fence.
            let value = unsafe { place.as_ref() }.load(Ordering::Relaxed);
            fence(Ordering::Acquire);
            Some(value)
        }
    )*};
}

impl ReadMapping {
    /// Of mapped memory.
    #[must_use]
    pub fn new(mapped: Mapped) -> ReadMapping {
        ReadMapping(mapped)
    }

    /// The first byte, for reads of your own, as [`Mapping::as_ptr`].
    #[must_use]
    pub fn as_ptr(&self) -> *const u8 {
        self.0.start.as_ptr()
    }

    /// Bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len
    }

    /// Never true: nothing cannot be mapped.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.len == 0
    }

    loads! {
        /// The byte at that offset.
        load_u8: AtomicU8, u8;
        /// The 16 bits at that byte offset, in the machine's order, at once.
        load_u16: AtomicU16, u16;
        /// The 32 bits at that byte offset, in the machine's order, at once.
        load_u32: AtomicU32, u32;
    }

    #[cfg(target_pointer_width = "64")]
    loads! {
        /// The 64 bits at that byte offset, at once; only where a pointer has as many.
        load_u64: AtomicU64, u64;
    }

    /// Copies bytes out, as [`Mapping::load`].
    #[must_use]
    pub fn load(&self, at: usize, into: &mut [u8]) -> Option<()> {
        self.0.load(at, into)
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mapping({} bytes)", self.0.len)
    }
}

impl fmt::Debug for ReadMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReadMapping({} bytes)", self.0.len)
    }
}
