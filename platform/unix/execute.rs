//! Each operation by a system call, on the thread that calls.

use core::mem::MaybeUninit;
use core::slice;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{BorrowedFd, IntoRawFd};

use rustix::fs::{AtFlags, FileType};

use super::{BYTES_PER_CALL, Files, MODE, SPANS_PER_CALL, borrow, c_str, errno, open_flags, raw};
use crate::{Direct, Errno, FileKind, Op, Span, Stat, SyncKind};

// A span array is handed to the kernel as an array of `iovec`, which `IoSlice` and `IoSliceMut`
// are guaranteed to be laid out as.
const _: () = {
    use core::mem::{align_of, offset_of, size_of};
    assert!(size_of::<Span>() == size_of::<libc::iovec>());
    assert!(align_of::<Span>() == align_of::<libc::iovec>());
    assert!(offset_of!(Span, ptr) == offset_of!(libc::iovec, iov_base));
    assert!(offset_of!(Span, len) == offset_of!(libc::iovec, iov_len));
    assert!(size_of::<Span>() == size_of::<IoSlice<'_>>());
};

fn stat(fd: BorrowedFd<'_>) -> Result<Stat, Errno> {
    let found = rustix::fs::fstat(fd).map_err(errno)?;
    let kind = match FileType::from_raw_mode(found.st_mode) {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Directory,
        _ => FileKind::Other,
    };
    Ok(Stat {
        kind,
        size: u64::try_from(found.st_size).unwrap_or(0),
        identity: (device(&found), found.st_ino),
    })
}

cfg_if::cfg_if! {
    if #[cfg(not(target_vendor = "apple"))] {
        fn device(stat: &rustix::fs::Stat) -> u64 {
            stat.st_dev
        }
    }
}

cfg_if::cfg_if! {
    if #[cfg(target_vendor = "apple")] {
        /// There `fsync` leaves the bytes in the drive's cache; one kind of flush is for both.
        fn sync(fd: BorrowedFd<'_>, _: SyncKind) -> rustix::io::Result<()> {
            match rustix::fs::fcntl_fullfsync(fd) {
                // A file system without it: network ones, for example.
                Err(rustix::io::Errno::NOTSUP | rustix::io::Errno::NOTTY) => rustix::fs::fsync(fd),
                flushed => flushed,
            }
        }

        fn device(stat: &rustix::fs::Stat) -> u64 {
            u64::from(stat.st_dev.cast_unsigned())
        }
    } else if #[cfg(target_os = "dragonfly")] {
        /// Without `fdatasync` both kinds are one.
        fn sync(fd: BorrowedFd<'_>, _: SyncKind) -> rustix::io::Result<()> {
            rustix::fs::fsync(fd)
        }
    } else {
        fn sync(fd: BorrowedFd<'_>, kind: SyncKind) -> rustix::io::Result<()> {
            match kind {
                SyncKind::Data => rustix::fs::fdatasync(fd),
                SyncKind::Full => rustix::fs::fsync(fd),
            }
        }
    }
}

impl Direct for Files {
    unsafe fn call(&self, op: &Op) -> Result<u64, Errno> {
        // SAFETY, for every block below: the caller promised for the time of this call what
        // `Ring::push` asks for: handles are open, names end in NUL, and the memory of spans, span
        // arrays and the stat is alive and ours to write where the operation writes.
        let done = |()| 0;
        let count = |n: usize| n as u64;
        let result = match *op {
            Op::Open { name, flags } => {
                // SAFETY: as above.
                let name = unsafe { c_str(name) };
                let fd = rustix::fs::openat(self.root(), name, open_flags(flags), MODE);
                fd.map(|fd| u64::from(fd.into_raw_fd().cast_unsigned()))
            }
            // SAFETY: as above; nobody uses the handle after its close.
            Op::Close { file } => unsafe { rustix::io::try_close(raw(file)) }.map(done),
            Op::Stat { file, stat: into } => {
                // SAFETY: as above.
                let found = stat(unsafe { borrow(file) })?;
                // SAFETY: as above.
                unsafe { into.write(found) };
                Ok(found.size)
            }
            // SAFETY: as above.
            Op::Size { file } => return stat(unsafe { borrow(file) }).map(|stat| stat.size),
            Op::Read { file, at, span } => {
                let (start, len) =
                    (span.ptr.cast::<MaybeUninit<u8>>(), span.len.min(BYTES_PER_CALL));
                // SAFETY: as above; as `MaybeUninit` the bytes need no value yet.
                let (fd, into) = unsafe { (borrow(file), slice::from_raw_parts_mut(start, len)) };
                rustix::io::pread(fd, into, at).map(|(read, _)| count(read.len()))
            }
            Op::Readv { file, at, spans, count: spans_len } => {
                let (start, len) = (spans.cast_mut().cast::<IoSliceMut<'_>>(), capped(spans_len));
                // SAFETY: as above; a span is laid out as an `IoSliceMut`, asserted above.
                let (fd, into) = unsafe { (borrow(file), slice::from_raw_parts_mut(start, len)) };
                rustix::io::preadv(fd, into, at).map(count)
            }
            Op::Write { file, at, span } => {
                let len = span.len.min(BYTES_PER_CALL);
                // SAFETY: as above; bytes to be written have values.
                let (fd, from) = unsafe { (borrow(file), slice::from_raw_parts(span.ptr, len)) };
                rustix::io::pwrite(fd, from, at).map(count)
            }
            Op::Writev { file, at, spans, count: spans_len } => {
                let (start, len) = (spans.cast::<IoSlice<'_>>(), capped(spans_len));
                // SAFETY: as above; a span is laid out as an `IoSlice`, asserted above.
                let (fd, from) = unsafe { (borrow(file), slice::from_raw_parts(start, len)) };
                rustix::io::pwritev(fd, from, at).map(count)
            }
            // SAFETY: as above.
            Op::Sync { file, kind } => sync(unsafe { borrow(file) }, kind).map(done),
            Op::Truncate { file, len } => {
                // SAFETY: as above.
                rustix::fs::ftruncate(unsafe { borrow(file) }, len).map(done)
            }
            Op::Remove { name } => {
                // SAFETY: as above.
                let name = unsafe { c_str(name) };
                rustix::fs::unlinkat(self.root(), name, AtFlags::empty()).map(done)
            }
            // A call that is over when it returns can cancel nothing.
            Op::Cancel { .. } => return Err(Errno::OPNOTSUPP),
        };
        result.map_err(errno)
    }
}

/// How many spans one call takes; the rest is a short count.
fn capped(spans: u32) -> usize {
    (spans as usize).min(SPANS_PER_CALL)
}
