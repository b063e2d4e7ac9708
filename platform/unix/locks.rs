//! The lock of a whole file, tried once.
//!
//! On Linux it is an *open-file-description* lock (fcntl(2), `F_OFD_SETLK`, Linux 3.15): it belongs
//! to what one `open` made, not to the process. So two drivers in one process conflict as two
//! processes do, and closing some other descriptor of the same file, which drops every lock of the
//! process of the older kind, drops nothing. It conflicts with the older kind, which other
//! databases use. It goes with the last descriptor of its description: also when the process is
//! killed, and not before a forked child that has not called `exec` is gone, too.
//!
//! A conversion replaces the lock in one step; one that fails leaves it as it was.
//!
//! Other unix systems are given `flock`, whose lock belongs to the open file as well. Its
//! conversion is two steps there, and may lose the lock; that is not tested.

use std::os::fd::BorrowedFd;

use super::errno;
use crate::{Errno, LockKind};

/// Takes, converts or (`None`) gives up the lock; `EBUSY` where another one is in its way.
pub(super) fn lock(fd: BorrowedFd<'_>, kind: Option<LockKind>) -> Result<(), Errno> {
    try_lock(fd, kind).map_err(|error| match errno(error) {
        // fcntl(2): EACCES or EAGAIN, flock(2): EWOULDBLOCK.
        Errno::AGAIN | Errno::ACCES => Errno::BUSY,
        // The file was not opened for writing, or for reading; the descriptor itself is open.
        Errno::BADF => Errno::PERM,
        code => code,
    })
}

cfg_if::cfg_if! {
    if #[cfg(any(target_os = "linux", target_os = "android"))] {
        use core::mem::zeroed;
        use std::os::fd::AsRawFd;

        fn try_lock(fd: BorrowedFd<'_>, kind: Option<LockKind>) -> rustix::io::Result<()> {
            let short = |n: libc::c_int| libc::c_short::try_from(n).expect("one of few constants");
            let kind = match kind {
                Some(LockKind::Shared) => libc::F_RDLCK,
                Some(LockKind::Exclusive) => libc::F_WRLCK,
                None => libc::F_UNLCK,
            };
            // From byte 0 to wherever the file will end: start 0, length 0. The kernel wants a pid
            // of 0 for this kind.
            // SAFETY: `flock` is numbers, and all of them may be 0.
            let mut whole: libc::flock = unsafe { zeroed() };
            whole.l_type = short(kind);
            whole.l_whence = short(libc::SEEK_SET);
            // SAFETY: the descriptor is open while it is borrowed, and the command reads a `flock`,
            // which lives until the call returns. It never blocks.
            let done = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_OFD_SETLK, &raw const whole) };
            if done == -1 {
                let error = std::io::Error::last_os_error();
                return Err(rustix::io::Errno::from_io_error(&error).expect("the system's own"));
            }
            Ok(())
        }
    } else {
        use rustix::fs::FlockOperation;

        fn try_lock(fd: BorrowedFd<'_>, kind: Option<LockKind>) -> rustix::io::Result<()> {
            rustix::fs::flock(fd, match kind {
                Some(LockKind::Shared) => FlockOperation::NonBlockingLockShared,
                Some(LockKind::Exclusive) => FlockOperation::NonBlockingLockExclusive,
                None => FlockOperation::NonBlockingUnlock,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::os::fd::AsFd;

    use super::{Errno, LockKind, lock};

    const SHARED: Option<LockKind> = Some(LockKind::Shared);
    const EXCLUSIVE: Option<LockKind> = Some(LockKind::Exclusive);

    fn two() -> (tempfile::TempDir, File, File) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("locked");
        let open = || {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).open(&path).unwrap()
        };
        let (first, second) = (open(), open());
        (folder, first, second)
    }

    #[test]
    fn two_opens_of_one_process_conflict() {
        let (_folder, first, second) = two();
        assert_eq!(lock(first.as_fd(), EXCLUSIVE), Ok(()));
        assert_eq!(lock(second.as_fd(), EXCLUSIVE), Err(Errno::BUSY));
        assert_eq!(lock(second.as_fd(), SHARED), Err(Errno::BUSY));
        assert_eq!(lock(first.as_fd(), None), Ok(()));
        assert_eq!(lock(second.as_fd(), EXCLUSIVE), Ok(()));
    }

    #[test]
    fn a_conversion_that_fails_keeps_the_old_lock() {
        let (folder, first, second) = two();
        assert_eq!(lock(first.as_fd(), SHARED), Ok(()));
        assert_eq!(lock(second.as_fd(), SHARED), Ok(()));
        assert_eq!(lock(first.as_fd(), EXCLUSIVE), Err(Errno::BUSY));
        // The second is gone; a third still meets the first one's.
        drop(second);
        let third = OpenOptions::new().write(true).read(true).open(folder.path().join("locked"));
        let third = third.unwrap();
        assert_eq!(lock(third.as_fd(), EXCLUSIVE), Err(Errno::BUSY));
        assert_eq!(lock(first.as_fd(), EXCLUSIVE), Ok(()));
        assert_eq!(lock(first.as_fd(), SHARED), Ok(()), "down again");
        assert_eq!(lock(third.as_fd(), SHARED), Ok(()));
    }

    #[test]
    fn closing_another_descriptor_keeps_the_lock() {
        let (folder, first, second) = two();
        assert_eq!(lock(first.as_fd(), EXCLUSIVE), Ok(()));
        drop(File::open(folder.path().join("locked")).unwrap());
        assert_eq!(lock(second.as_fd(), EXCLUSIVE), Err(Errno::BUSY));
        drop(first);
        assert_eq!(lock(second.as_fd(), EXCLUSIVE), Ok(()));
    }

    #[test]
    fn what_is_not_open_for_writing_cannot_be_locked_for_it() {
        let (folder, first, _second) = two();
        let reader = File::open(folder.path().join("locked")).unwrap();
        assert_eq!(lock(reader.as_fd(), EXCLUSIVE), Err(Errno::PERM));
        assert_eq!(lock(reader.as_fd(), SHARED), Ok(()));
        assert_eq!(lock(first.as_fd(), EXCLUSIVE), Err(Errno::BUSY));
    }
}
