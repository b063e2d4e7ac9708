//! Locks of byte ranges, and mapped files.
//!
//! A handle's own locks belong to an *open file description*, and the handles of one driver share
//! one. So each user of a file who locks ranges of it gets a description of his own, opened by way
//! of `/proc/self/fd`, which finds the same file whatever became of its name. Locks that this user
//! takes as the process's (`process.rs`) go by the same descriptor.
//!
//! Mapped memory keeps its description, and what keeps a description keeps its locks. So files are
//! mapped by the driver's descriptor, never by that of the locks, and locks are given up by name
//! before their descriptor is closed.

mod process;
mod spans;

use core::mem::zeroed;
use core::ops::Range;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicBool, Ordering};
use std::os::fd::{BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use rustix::mm::{MapFlags, ProtFlags};

pub(crate) use process::{after_fork_in_child, after_fork_in_parent, before_fork, close};

use super::{Files, OFFSET_MAX, borrow, errno};
use crate::sharing::{LockOwner, Mapped, Ranges, Sharing};
use crate::{Errno, Handle, LockKind};

/// What a fcntl(2) lock says.
type Flock = libc::flock;

/// Whether a call waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Try,
    Wait,
    /// Asks who is in the way, and takes nothing.
    Ask,
}

cfg_if::cfg_if! {
    if #[cfg(any(target_os = "linux", target_os = "android"))] {
        /// The command for a lock of that owner; `None` if the system has none.
        #[expect(clippy::unnecessary_wraps, reason = "other systems have no such locks")]
        const fn command(owner: LockOwner, how: How) -> Option<libc::c_int> {
            Some(match (owner, how) {
                (LockOwner::Handle, How::Try) => libc::F_OFD_SETLK,
                (LockOwner::Handle, How::Wait) => libc::F_OFD_SETLKW,
                (LockOwner::Handle, How::Ask) => libc::F_OFD_GETLK,
                (LockOwner::Process, How::Try) => libc::F_SETLK,
                (LockOwner::Process, How::Wait) => libc::F_SETLKW,
                (LockOwner::Process, How::Ask) => libc::F_GETLK,
            })
        }

        /// Another description of the file.
        fn open_again(fd: BorrowedFd<'_>, write: bool) -> rustix::io::Result<OwnedFd> {
            use rustix::fs::{Mode, OFlags};
            use std::os::fd::AsRawFd as _;
            let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
            let access = if write { OFlags::RDWR } else { OFlags::RDONLY };
            match rustix::fs::open(path, access | OFlags::CLOEXEC, Mode::empty()) {
                // The descriptor is open, so what is missing is the file system.
                Err(rustix::io::Errno::NOENT) => Err(rustix::io::Errno::OPNOTSUPP),
                opened => opened,
            }
        }
    } else {
        /// Without locks of descriptions there are only the process's.
        const fn command(owner: LockOwner, how: How) -> Option<libc::c_int> {
            match (owner, how) {
                (LockOwner::Handle, _) => None,
                (LockOwner::Process, How::Try) => Some(libc::F_SETLK),
                (LockOwner::Process, How::Wait) => Some(libc::F_SETLKW),
                (LockOwner::Process, How::Ask) => Some(libc::F_GETLK),
            }
        }

        /// The process's locks care for no description.
        fn open_again(fd: BorrowedFd<'_>, _: bool) -> rustix::io::Result<OwnedFd> {
            rustix::io::fcntl_dupfd_cloexec(fd, 0)
        }
    }
}

/// One of few constants, whose types systems differ in.
fn short(constant: impl TryInto<libc::c_short>) -> libc::c_short {
    constant.try_into().ok().expect("it is small")
}

/// As the kernel wants it: a range that reaches the largest offset has no end.
fn flock(range: &Range<u64>, kind: Option<LockKind>) -> Result<Flock, Errno> {
    let offset = |at: u64| libc::off_t::try_from(at).map_err(|_| Errno::OVERFLOW);
    // A pid of 0 is what the handle's locks want. Other systems have more fields.
    // SAFETY: `flock` is numbers, and all of them may be 0.
    let mut lock: Flock = unsafe { zeroed() };
    lock.l_type = match kind {
        Some(LockKind::Shared) => short(libc::F_RDLCK),
        Some(LockKind::Exclusive) => short(libc::F_WRLCK),
        None => short(libc::F_UNLCK),
    };
    lock.l_whence = short(libc::SEEK_SET);
    lock.l_start = offset(range.start)?;
    lock.l_len = if range.end >= OFFSET_MAX { 0 } else { offset(range.end - range.start)? };
    Ok(lock)
}

/// One call about a lock. One that waits goes on waiting after a signal; `EBUSY` where a lock is in
/// the way.
fn set(
    fd: RawFd,
    range: &Range<u64>,
    kind: Option<LockKind>,
    owner: LockOwner,
    how: How,
) -> Result<Flock, Errno> {
    let command = command(owner, how).ok_or(Errno::OPNOTSUPP)?;
    let mut lock = flock(range, kind)?;
    loop {
        // SAFETY: the command reads and writes a `flock`, which lives until the call returns; the
        // number is that of a descriptor that its owner keeps open.
        if unsafe { libc::fcntl(fd, command, &raw mut lock) } != -1 {
            return Ok(lock);
        }
        let error = std::io::Error::last_os_error();
        let code = errno(rustix::io::Errno::from_io_error(&error).expect("the system's own"));
        match code {
            Errno::INTR => {}
            // fcntl(2): one or the other.
            Errno::AGAIN | Errno::ACCES => return Err(Errno::BUSY),
            code => return Err(code),
        }
    }
}

/// The ranges of one user, and the descriptor that they are locked by.
#[derive(Debug)]
struct Own {
    fd: RawFd,
    identity: (u64, u64),
    /// Names this user among those of the process.
    who: u64,
    /// In a forked child, which has closed its copy, the number is somebody else's.
    generation: u64,
    released: AtomicBool,
}

impl Own {
    fn check(&self) -> Result<(), Errno> {
        let gone = self.released.load(Ordering::SeqCst) || self.generation != process::generation();
        if gone { Err(Errno::BADF) } else { Ok(()) }
    }

    /// What was granted while everything was given up is given up as well.
    fn granted(&self, range: Range<u64>, owner: LockOwner) -> Result<(), Errno> {
        self.check().inspect_err(|_| _ = self.unlock(range, owner))
    }
}

/// As far as locks reach.
fn cut(range: Range<u64>) -> Result<Range<u64>, Errno> {
    let range = range.start..range.end.min(OFFSET_MAX);
    if range.is_empty() { Err(Errno::INVAL) } else { Ok(range) }
}

impl Ranges for Own {
    fn lock(
        &self,
        range: Range<u64>,
        kind: LockKind,
        owner: LockOwner,
        wait: bool,
    ) -> Result<(), Errno> {
        self.check()?;
        let range = cut(range)?;
        match owner {
            LockOwner::Handle => {
                let how = if wait { How::Wait } else { How::Try };
                set(self.fd, &range, Some(kind), owner, how)?;
            }
            LockOwner::Process => process::lock(self, &range, kind, wait)?,
        }
        self.granted(range, owner)
    }

    fn unlock(&self, range: Range<u64>, owner: LockOwner) -> Result<(), Errno> {
        if self.generation != process::generation() {
            return Err(Errno::BADF);
        }
        let range = cut(range)?;
        match owner {
            LockOwner::Handle => set(self.fd, &range, None, owner, How::Try).map(drop),
            LockOwner::Process => process::unlock(self, &range),
        }
    }

    fn is_free(&self, range: Range<u64>, kind: LockKind, owner: LockOwner) -> Result<bool, Errno> {
        self.check()?;
        let range = cut(range)?;
        if owner == LockOwner::Process && !process::admits(self, &range, kind) {
            return Ok(false);
        }
        let found = set(self.fd, &range, Some(kind), owner, How::Ask)?;
        Ok(found.l_type == short(libc::F_UNLCK))
    }

    fn release(&self) {
        if !self.released.swap(true, Ordering::SeqCst) {
            // A description may have other keepers than this descriptor, a forked child for one.
            let _ = self.unlock(0..OFFSET_MAX, LockOwner::Handle);
            let _ = self.unlock(0..OFFSET_MAX, LockOwner::Process);
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.release();
        if self.generation == process::generation() {
            process::forget(self.fd);
            // There is nobody to tell.
            let _ = close(self.fd);
        }
    }
}

/// Unmaps.
struct Keeper {
    base: NonNull<core::ffi::c_void>,
    len: usize,
}

// SAFETY: an address and a length, used once, to unmap.
unsafe impl Send for Keeper {}
// SAFETY: as above.
unsafe impl Sync for Keeper {}

impl Drop for Keeper {
    fn drop(&mut self) {
        // SAFETY: this is the mapping that `map` made, whole, and whoever used its memory has
        // dropped this, as the last thing.
        let unmapped = unsafe { rustix::mm::munmap(self.base.as_ptr(), self.len) };
        debug_assert!(unmapped.is_ok(), "a mapping of its own");
    }
}

impl Sharing for Files {
    unsafe fn ranges(&self, file: Handle, write: bool) -> Result<Arc<dyn Ranges>, Errno> {
        // SAFETY: the caller's promise.
        let fd = unsafe { borrow(file) };
        let identity = super::execute::stat(fd)?.identity;
        let (generation, fd) = process::own(open_again(fd, write).map_err(errno)?.into_raw_fd());
        let (who, released) = (process::next_user(), AtomicBool::new(false));
        Ok(Arc::new(Own { fd, identity, who, generation, released }))
    }

    unsafe fn map(&self, file: Handle, at: u64, len: usize, write: bool) -> Result<Mapped, Errno> {
        // SAFETY: the caller's promise.
        let fd = unsafe { borrow(file) };
        let page = rustix::param::page_size();
        let within = usize::try_from(at % page as u64).expect("it is below a page");
        let whole = within.checked_add(len).ok_or(Errno::INVAL)?;
        let mut access = ProtFlags::READ;
        access.set(ProtFlags::WRITE, write);
        let first = at - within as u64;
        // SAFETY: the system chooses a place where nothing is, and the file outlives its handle in
        // the mapping.
        let base =
            unsafe { rustix::mm::mmap(null_mut(), whole, access, MapFlags::SHARED, fd, first) };
        let base = NonNull::new(base.map_err(errno)?).expect("no file is mapped at 0");
        let keeper = Keeper { base, len: whole };
        // SAFETY: `within` is below a page, and the mapping has `within + len` bytes.
        let start = unsafe { base.cast::<u8>().add(within) };
        // SAFETY: the mapping is as long as that, has the access that was asked for, and is gone
        // with its keeper; no one but `Mapped` knows its address.
        Ok(unsafe { Mapped::new(start, len, Box::new(keeper)) })
    }
}
