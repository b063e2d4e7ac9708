//! The file trait, and the file of a driver.

use core::fmt;
use core::ops::Range;
use std::sync::Arc;

use littoral_platform::{LockKind, SyncKind};

use crate::core::{Core, Held, Key, Opened, handle_closed};
use crate::native::{LockOwner, Mapping, NativeFile, ReadMapping};
use crate::{
    Buffer, Completion, Error, ErrorKind, Geometry, Intent, Metadata, Operation, Result, Shared,
    Vector,
};

/// An open file. All offsets and sizes are bytes.
///
/// Every method that starts an operation returns a [`Completion`], never a `Result`: what is wrong
/// with the arguments is told there too. Operations in flight have no order among each other, but
/// [`sync`](File::sync) covers what was submitted before it and [`truncate`](File::truncate) stands
/// between what came before and what comes after.
///
/// Dropping the last handle closes the file once its operations are done.
pub trait File: fmt::Debug + Send + Sync + 'static {
    /// Reads at `at` until `into` is full or the file ends. The buffer's length is then what was
    /// read: shorter than its capacity means the file ended there, 0 that `at` is at or past the
    /// end (or that the capacity is 0). When it fails the buffer is dropped; one of an arena goes
    /// home.
    fn pread(&self, at: u64, into: Buffer) -> Completion<Buffer>;

    /// Reads at `at` into several buffers in order, as [`pread`](File::pread) into all of them.
    fn preadv(&self, at: u64, into: Vec<Buffer>) -> Completion<Vec<Buffer>>;

    /// As [`pread`](File::pread), with what it is asked for beyond reading.
    fn pread_with(&self, at: u64, into: Buffer, intent: Intent) -> Completion<Buffer>;

    /// As [`preadv`](File::preadv), with what it is asked for beyond reading.
    fn preadv_with(&self, at: u64, into: Vec<Buffer>, intent: Intent) -> Completion<Vec<Buffer>>;

    /// Writes all of `from` at `at`, or fails with what is [confirmed](crate::Error::confirmed).
    fn pwrite(&self, at: u64, from: Shared) -> Completion<()>;

    /// Writes the concatenation of `from` at `at`, as one [`pwrite`](File::pwrite) of it.
    fn pwritev(&self, at: u64, from: Vector) -> Completion<()>;

    /// As [`pwrite`](File::pwrite), with what it is asked for beyond writing.
    ///
    /// ```
    /// use littoral::{Config, Intent, OpenOptions, start, wait};
    /// # fn main() -> littoral::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let io = start(Config::new().root(folder.path()))?;
    /// let log = wait(&*io, io.open("log", OpenOptions::new().create(true)))?;
    /// // One operation: when it ends well, the record is on the disk.
    /// wait(&*io, log.pwrite_with(0, b"committed".into(), Intent::new().durable(true)))?;
    /// # Ok(())
    /// # }
    /// ```
    fn pwrite_with(&self, at: u64, from: Shared, intent: Intent) -> Completion<()>;

    /// As [`pwritev`](File::pwritev), with what it is asked for beyond writing.
    fn pwritev_with(&self, at: u64, from: Vector, intent: Intent) -> Completion<()>;

    /// Makes every write and truncate that was submitted before it durable, finished or not. Fails
    /// with [`WriteLost`](crate::ErrorKind::WriteLost), and does not flush, if one of them failed
    /// and nobody took that failure. It is told once: the next sync covers what was written since,
    /// so write what was lost again before it.
    ///
    /// A flush that fails is final: see [`acknowledge_sync_loss`](File::acknowledge_sync_loss).
    fn sync(&self, kind: SyncKind) -> Completion<()>;

    /// Says that a failed flush is known: what was written to this file since its last good sync
    /// may be lost. Until this is called, through any handle of it, the file takes no change and
    /// no sync ([`SyncLost`](crate::ErrorKind::SyncLost)), also when it is closed and opened again;
    /// reads work, but may show what is on no disk. Afterwards write again what counts, then sync.
    ///
    /// Gives the flush's error; `None` if no flush failed, or this handle is closed. Failures of
    /// writes that nobody took are forgotten with it.
    ///
    /// A system that cannot write a page back says so once, marks the page clean, and lets the next
    /// flush succeed without it (fsync(2), and "Can Applications Recover from fsync Failures?",
    /// USENIX ATC 2020). So a flush that is only tried again would lie.
    fn acknowledge_sync_loss(&self) -> Option<Error>;

    /// Sets the size, after everything submitted before and before everything submitted later.
    /// What grows reads as zeros.
    fn truncate(&self, len: u64) -> Completion<()>;

    /// The size, as of all finished operations.
    fn size(&self) -> Completion<u64>;

    /// The size, as of all finished operations, at once.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) where it takes a wait.
    fn size_now(&self) -> Result<u64>;

    /// What direct I/O on it asks for, and whether this handle does it, as
    /// [`OpenOptions::direct`](crate::OpenOptions::direct) wished, or why not. It never waits, and
    /// stays as it is while the file is open.
    ///
    /// # Errors
    /// [`Closed`](crate::ErrorKind::Closed), or the driver's end.
    fn geometry(&self) -> Result<Geometry>;

    /// Takes the lock of the whole file for this handle, or converts the one it has.
    ///
    /// A *shared* lock stands beside other shared ones, an *exclusive* one stands alone: among all
    /// handles of this driver, of other drivers and of other processes. It keeps nobody from
    /// reading and writing who does not ask for a lock. Closing or dropping the handle gives it up,
    /// and so does the end of the process.
    ///
    /// Where somebody else has it, it is tried again for as long as the driver's
    /// [`lock_patience`](crate::Config::lock_patience), then fails with
    /// [`Locked`](crate::ErrorKind::Locked). A conversion of the lock that this handle has is tried
    /// once; where it fails, the old lock stays.
    ///
    /// # Errors
    /// [`PermissionDenied`](crate::ErrorKind::PermissionDenied) for an exclusive lock by a handle
    /// that may not write; [`Unsupported`](crate::ErrorKind::Unsupported) for a shared one in a
    /// browser, where a file is open in one tab or worker at a time.
    fn lock(&self, kind: LockKind) -> Completion<()>;

    /// Gives up this handle's lock, after everything submitted before on this file and before
    /// everything submitted later. Nothing happens if it has none.
    fn unlock(&self) -> Completion<()>;

    /// What is known of it, as of all finished operations.
    fn metadata(&self) -> Completion<Metadata>;

    /// Reserves space for `len` bytes at `at`, so that writing them later does not fail for want of
    /// it: no byte changes, and a file that ends before grows, with zeros. `Unsupported` where
    /// there is no such thing, as in browsers; `StorageFull` if there is no room, and then part of
    /// it may be reserved. Waited for by a sync that is submitted later, as a write is.
    fn allocate(&self, at: u64, len: u64) -> Completion<()>;

    /// Makes `len` bytes at `at` a hole: they read as zeros, and the space of the blocks that lie
    /// wholly inside is given back. The size stays as it is; nothing happens past it. `Unsupported`
    /// where there are no holes, as in browsers and on some file systems. Where it fails, bytes of
    /// the range are old or zeros. Waited for by a sync that is submitted later, as a write is.
    ///
    /// ```
    /// use littoral::{Config, OpenOptions, start, wait};
    /// # fn main() -> littoral::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let io = start(Config::new().root(folder.path()))?;
    /// let log = wait(&*io, io.open("log", OpenOptions::new().create(true)))?;
    /// wait(&*io, log.pwrite(0, vec![7; 1 << 20].into()))?;
    /// // The first half is not needed any more; what is left keeps its place.
    /// wait(&*io, log.punch_hole(0, 1 << 19))?;
    /// assert_eq!(wait(&*io, log.seek_data(0))?, Some(1 << 19));
    /// assert_eq!(wait(&*io, log.size())?, 1 << 20);
    /// # Ok(())
    /// # }
    /// ```
    fn punch_hole(&self, at: u64, len: u64) -> Completion<()>;

    /// Makes `len` bytes at `at` zeros, as a write of so many zeros does: a file that ends before
    /// grows. It is one call where the platform has one, whatever the length; else a hole is
    /// punched, and where there are no holes zeros are written, a mebibyte at a time. What space it
    /// takes or gives back is the platform's business: ext4, for one, reserves the whole range, and
    /// so may be `StorageFull`, where other file systems keep a hole. Where it fails, bytes of the
    /// range are old or zeros. Waited for by a sync that is submitted later, as a write is.
    fn zero_range(&self, at: u64, len: u64) -> Completion<()>;

    /// The first offset at or after `at` with data: `None` if there is none before the end, or `at`
    /// is at or past it. What lies between `at` and it reads as zeros. Data may be zeros, too: how
    /// finely a platform keeps holes is its own business (blocks, natively), and one that does not
    /// tell of them, as a browser, has data everywhere. As of all finished operations.
    fn seek_data(&self, at: u64) -> Completion<Option<u64>>;

    /// The first offset at or after `at` that is in a hole; the end of the file is one. `None` if
    /// `at` is at or past the end. As [`seek_data`](File::seek_data) otherwise.
    fn seek_hole(&self, at: u64) -> Completion<Option<u64>>;

    /// Closes this handle: it takes no more operations. Completes when the file is closed if this
    /// was the last handle, with the platform's answer, or with
    /// [`WriteLost`](crate::ErrorKind::WriteLost) if a write failed and nobody was told.
    fn close(&self) -> Completion<()>;

    /// What only files of a system with processes have: locks of byte ranges, and mapped memory.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) elsewhere: in browsers, on a simulated ring.
    fn native(&self) -> Result<&dyn NativeFile>;

    /// The name it was opened by.
    fn name(&self) -> &str;
}

/// A file of a driver: one user of one of its open files. Which of its reads go by the machines
/// only is decided here, so that those of a plain file need not ask.
struct RingFile<const DIRECT: bool> {
    core: Arc<Core>,
    opened: Opened,
}

/// The file that was opened.
pub(crate) fn ring_file(core: &Arc<Core>, opened: Opened) -> Arc<dyn File> {
    let core = Arc::clone(core);
    if opened.direct.is_some() {
        Arc::new(RingFile::<true> { core, opened })
    } else {
        Arc::new(RingFile::<false> { core, opened })
    }
}

impl<const DIRECT: bool> RingFile<DIRECT> {
    /// Starts an operation unless the file is closed, or is read-only and `write` is asked for.
    fn start<T>(
        &self,
        operation: Operation,
        write: bool,
        start: impl FnOnce(&Core, &Opened) -> Result<Key>,
    ) -> Completion<T> {
        match self.check(operation, write).and_then(|()| start(&self.core, &self.opened)) {
            Ok(key) => Completion::started(&self.core, key),
            Err(error) => self.refuse(error),
        }
    }

    #[cold]
    #[inline(never)]
    fn pread_around(&self, at: u64, into: Buffer) -> Completion<Buffer> {
        match self.core.pread_around(&self.opened, at, into) {
            Ok(key) => Completion::started(&self.core, key),
            Err(error) => self.refuse(error),
        }
    }

    #[cold]
    fn refuse<T>(&self, error: Error) -> Completion<T> {
        let error = match error.file() {
            None => error.on(Arc::clone(&self.opened.name)),
            Some(_) => error,
        };
        let unseen = self.core.remember_refusal(&self.opened, &error);
        Completion::refused(&self.core, error, unseen)
    }

    fn named(&self, error: Error) -> Error {
        error.on(Arc::clone(&self.opened.name))
    }

    /// A first look; what another thread closes meanwhile the engine sees under its lock.
    fn check(&self, operation: Operation, write: bool) -> Result<()> {
        if self.opened.is_closed() {
            return Err(handle_closed(operation));
        }
        if write && !self.opened.write {
            let error = Error::new(ErrorKind::PermissionDenied, operation);
            return Err(error.because("this handle is for reading"));
        }
        Ok(())
    }
}

impl<const DIRECT: bool> File for RingFile<DIRECT> {
    fn pread(&self, at: u64, into: Buffer) -> Completion<Buffer> {
        if DIRECT {
            let operation = Operation::Pread;
            return self.start(operation, false, |core, file| {
                core.transfer(operation, file, at, Held::Read(into), Intent::new())
            });
        }
        match self.core.pread(&self.opened, at, into) {
            Ok(key) => Completion::started(&self.core, key),
            Err(into) => self.pread_around(at, into),
        }
    }

    fn preadv(&self, at: u64, into: Vec<Buffer>) -> Completion<Vec<Buffer>> {
        self.preadv_with(at, into, Intent::new())
    }

    fn pread_with(&self, at: u64, into: Buffer, intent: Intent) -> Completion<Buffer> {
        let operation = Operation::Pread;
        self.start(operation, false, |core, file| {
            core.transfer(operation, file, at, Held::Read(into), intent)
        })
    }

    fn preadv_with(&self, at: u64, into: Vec<Buffer>, intent: Intent) -> Completion<Vec<Buffer>> {
        let operation = Operation::Preadv;
        self.start(operation, false, |core, file| {
            core.transfer(operation, file, at, Held::ReadMany(into), intent)
        })
    }

    fn pwrite(&self, at: u64, from: Shared) -> Completion<()> {
        self.pwrite_with(at, from, Intent::new())
    }

    fn pwritev(&self, at: u64, from: Vector) -> Completion<()> {
        self.pwritev_with(at, from, Intent::new())
    }

    fn pwrite_with(&self, at: u64, from: Shared, intent: Intent) -> Completion<()> {
        let operation = Operation::Pwrite;
        self.start(operation, true, |core, file| {
            core.transfer(operation, file, at, Held::Write(from), intent)
        })
    }

    fn pwritev_with(&self, at: u64, from: Vector, intent: Intent) -> Completion<()> {
        let operation = Operation::Pwritev;
        self.start(operation, true, |core, file| {
            core.transfer(operation, file, at, Held::WriteMany(from), intent)
        })
    }

    fn sync(&self, kind: SyncKind) -> Completion<()> {
        self.start(Operation::Sync, false, |core, file| core.sync(file, kind))
    }

    fn acknowledge_sync_loss(&self) -> Option<Error> {
        self.core.acknowledge_sync_loss(&self.opened)
    }

    fn truncate(&self, len: u64) -> Completion<()> {
        self.start(Operation::Truncate, true, |core, file| core.truncate(file, len))
    }

    fn size(&self) -> Completion<u64> {
        self.start(Operation::Size, false, Core::size)
    }

    fn size_now(&self) -> Result<u64> {
        let size = self.check(Operation::Size, false);
        let size = size.and_then(|()| self.core.size_now(&self.opened));
        size.map_err(|error| error.on(Arc::clone(&self.opened.name)))
    }

    fn geometry(&self) -> Result<Geometry> {
        let geometry = self.check(Operation::Metadata, false);
        let geometry = geometry.and_then(|()| self.core.geometry(&self.opened));
        geometry.map_err(|error| error.on(Arc::clone(&self.opened.name)))
    }

    fn lock(&self, kind: LockKind) -> Completion<()> {
        self.start(Operation::Lock, false, |core, file| core.lock_file(file, kind))
    }

    fn unlock(&self) -> Completion<()> {
        self.start(Operation::Unlock, false, Core::unlock_file)
    }

    fn metadata(&self) -> Completion<Metadata> {
        self.start(Operation::Metadata, false, Core::metadata)
    }

    fn allocate(&self, at: u64, len: u64) -> Completion<()> {
        self.start(Operation::Allocate, true, |core, file| core.allocate(file, at, len))
    }

    fn punch_hole(&self, at: u64, len: u64) -> Completion<()> {
        let operation = Operation::PunchHole;
        self.start(operation, true, |core, file| core.make_zeros(operation, file, at, len))
    }

    fn zero_range(&self, at: u64, len: u64) -> Completion<()> {
        let operation = Operation::ZeroRange;
        self.start(operation, true, |core, file| core.make_zeros(operation, file, at, len))
    }

    fn seek_data(&self, at: u64) -> Completion<Option<u64>> {
        let operation = Operation::SeekData;
        self.start(operation, false, |core, file| core.seek(operation, file, at))
    }

    fn seek_hole(&self, at: u64) -> Completion<Option<u64>> {
        let operation = Operation::SeekHole;
        self.start(operation, false, |core, file| core.seek(operation, file, at))
    }

    fn close(&self) -> Completion<()> {
        self.start(Operation::Close, false, Core::close)
    }

    fn native(&self) -> Result<&dyn NativeFile> {
        let known = self.check(Operation::Native, false);
        let known = known.and_then(|()| self.core.has_sharing(&self.opened));
        known.map_err(|error| self.named(error))?;
        Ok(self)
    }

    fn name(&self) -> &str {
        &self.opened.name
    }
}

impl<const DIRECT: bool> NativeFile for RingFile<DIRECT> {
    fn try_lock_range(&self, range: Range<u64>, kind: LockKind, owner: LockOwner) -> Result<bool> {
        let locked = self.core.lock_range(&self.opened, range, kind, owner, false);
        locked.map_err(|error| self.named(error))
    }

    fn lock_range(&self, range: Range<u64>, kind: LockKind, owner: LockOwner) -> Result<()> {
        let locked = self.core.lock_range(&self.opened, range, kind, owner, true);
        locked.map(drop).map_err(|error| self.named(error))
    }

    fn range_is_free(&self, range: Range<u64>, kind: LockKind, owner: LockOwner) -> Result<bool> {
        let free = self.core.range_is_free(&self.opened, range, kind, owner);
        free.map_err(|error| self.named(error))
    }

    fn unlock_range(&self, range: Range<u64>, owner: LockOwner) -> Result<()> {
        let unlocked = self.core.unlock_range(&self.opened, range, owner);
        unlocked.map_err(|error| self.named(error))
    }

    fn set_len(&self, len: u64) -> Result<()> {
        let set = self.check(Operation::SetLen, true);
        let set = set.and_then(|()| self.core.set_len(&self.opened, len));
        set.map_err(|error| self.named(error))
    }

    fn map(&self, at: u64, len: usize) -> Result<Mapping> {
        let mapped = self.check(Operation::Map, true);
        let mapped = mapped.and_then(|()| self.core.map(&self.opened, at, len, true));
        mapped.map(Mapping::new).map_err(|error| self.named(error))
    }

    fn map_read_only(&self, at: u64, len: usize) -> Result<ReadMapping> {
        let mapped = self.core.map(&self.opened, at, len, false);
        mapped.map(ReadMapping::new).map_err(|error| self.named(error))
    }
}

impl<const DIRECT: bool> Drop for RingFile<DIRECT> {
    fn drop(&mut self) {
        if !self.opened.is_closed() {
            self.core.drop_handle(&self.opened);
        }
    }
}

impl<const DIRECT: bool> fmt::Debug for RingFile<DIRECT> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "File({})", self.opened.name)
    }
}
