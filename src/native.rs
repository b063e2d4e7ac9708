//! What only files of a system with processes have: what a shared write-ahead log is coordinated
//! by.
//!
//! Several processes that use one database agree by locks of single bytes of a file beside it, and
//! by an index in memory that all of them map. [`NativeFile`] has both: reached from any
//! [`File`](crate::File) by [`native`](crate::File::native), which says `Unsupported` where there
//! are no processes to share with, so that callers need no `cfg`.
//!
//! Its calls are made on the caller's thread and at once. They take no part in the order of the
//! file's operations: await what was written under a lock before giving the lock up.
//!
//! An engine whose files have such calls of single bytes (Turso's `shared_wal_lock_byte` and its
//! siblings, `xShmLock` and `xShmMap` of `SQLite`) passes them on: byte `n` is the range
//! `n..n + 1`, an exclusive probe is [`range_is_free`](NativeFile::range_is_free), which gives up
//! nothing meanwhile, and a mapped region is a [`Mapping`], with its pointer and length.
//!
//! ```
//! use core::sync::atomic::Ordering;
//! use littoral::native::LockOwner;
//! use littoral::{Config, ErrorKind, LockKind, OpenOptions, start, wait};
//!
//! # fn main() -> littoral::Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! # let io = start(Config::new().root(folder.path()))?;
//! // Byte 0 is for who is there at all, byte 1 for who writes; the index begins at byte 128.
//! let index = wait(&*io, io.open("main.db-index", OpenOptions::new().create(true)))?;
//! let index = match index.native() {
//!     Ok(index) => index,
//!     // A browser: nobody else has the file open, and the index may live in plain memory.
//!     Err(error) if error.kind() == ErrorKind::Unsupported => return Ok(()),
//!     Err(error) => return Err(error),
//! };
//! index.lock_range(0..1, LockKind::Shared, LockOwner::Handle)?;
//! index.set_len(128 + 4096)?;
//! let frames = index.map(128, 4096)?;
//! if index.try_lock_range(1..2, LockKind::Exclusive, LockOwner::Handle)? {
//!     let last = frames.u32(0).expect("the mapping begins aligned, and has four bytes");
//!     last.fetch_add(1, Ordering::AcqRel); // every process sees it
//!     index.unlock_range(1..2, LockOwner::Handle)?;
//! }
//! # assert_eq!(frames.u32(0).unwrap().load(Ordering::Acquire), 1);
//! # Ok(())
//! # }
//! ```

use core::fmt;
use core::ops::Range;

pub use littoral_platform::sharing::{LockOwner, Mapping, ReadMapping};

use crate::{LockKind, Result};

/// A file that is shared with other processes.
///
/// # Locks of byte ranges
/// They have nothing to do with the file's one lock ([`File::lock`](crate::File::lock)) but that
/// the system knows both: a range that one handle has keeps locks of the whole file out, and the
/// other way round, also where both are of one driver, or of the same handle: use one of the two.
/// They are taken whatever [`Config::locks`](crate::Config::locks) says, since data depends on
/// them. Bytes need not exist to be locked. A range that ends at or past the largest offset goes on
/// to wherever the file ends.
///
/// Each handle is a user of its own: it is kept out by other handles' locks, of other processes, of
/// this one and of its own driver, and never by its own. Two threads with one handle do not keep
/// each other out. Closing or dropping the handle gives up all it has, at once, and so do the end
/// of the driver and the death of the process.
pub trait NativeFile: fmt::Debug + Send + Sync {
    /// Takes a lock of these bytes, or converts what this handle has of them, if that can be done
    /// now; `false` if another lock is in the way, and then nothing has changed.
    ///
    /// # Errors
    /// [`PermissionDenied`](crate::ErrorKind::PermissionDenied) for an exclusive lock by a handle
    /// that may not write, and where the file may not be opened once more;
    /// [`Unsupported`](crate::ErrorKind::Unsupported) for an owner that the system does not know;
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for an empty range.
    fn try_lock_range(&self, range: Range<u64>, kind: LockKind, owner: LockOwner) -> Result<bool>;

    /// As [`try_lock_range`](NativeFile::try_lock_range), and waits for what is in the way: the
    /// calling thread blocks, for as long as it takes. Closing the handle does not wake it; what is
    /// granted to it then is given back.
    ///
    /// # Errors
    /// Those of `try_lock_range`; [`Closed`](crate::ErrorKind::Closed) if the handle was closed
    /// meanwhile. [`Locked`](crate::ErrorKind::Locked) if it has the lock of the whole file itself,
    /// and, with `EDEADLK`, where the system sees processes that would wait for each other: it
    /// looks at locks of processes only, and takes all threads of one for the same.
    fn lock_range(&self, range: Range<u64>, kind: LockKind, owner: LockOwner) -> Result<()>;

    /// Whether such a lock could be had now. What this handle has of the bytes is not in the way,
    /// is not given up for the question, and nothing is taken.
    ///
    /// # Errors
    /// Those of `try_lock_range`.
    fn range_is_free(&self, range: Range<u64>, kind: LockKind, owner: LockOwner) -> Result<bool>;

    /// Gives up what this handle has of these bytes as that owner; nothing happens if that is
    /// nothing.
    ///
    /// # Errors
    /// The system's.
    fn unlock_range(&self, range: Range<u64>, owner: LockOwner) -> Result<()>;

    /// Sets the size at once, beside all operations that are under way: for a file that is mapped,
    /// whose size is agreed upon by locks. What grows reads as zeros.
    ///
    /// # Errors
    /// As [`truncate`](crate::File::truncate).
    fn set_len(&self, len: u64) -> Result<()>;

    /// Maps `len` bytes at `at`, at any offset, to be read and written, shared with everybody who
    /// maps or reads the file. It stays until it is dropped, the handle's end included.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) where the file ends before
    /// ([`set_len`](NativeFile::set_len) first), and for no bytes at all;
    /// [`PermissionDenied`](crate::ErrorKind::PermissionDenied) for a handle that may not write.
    fn map(&self, at: u64, len: usize) -> Result<Mapping>;

    /// As [`map`](NativeFile::map), to be read: also by a handle that may not write.
    ///
    /// # Errors
    /// As [`map`](NativeFile::map).
    fn map_read_only(&self, at: u64, len: usize) -> Result<ReadMapping>;
}
