//! Each operation by a system call, on the thread that calls.

use core::mem::MaybeUninit;
use core::slice;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{BorrowedFd, IntoRawFd};

use super::locks::lock;
use super::names::known;
use super::{BYTES_PER_CALL, Files, SPANS_PER_CALL, borrow, direct, errno, raw, sharing};
use crate::sharing::Sharing;
use crate::{Direct, Errno, Extent, Handle, Op, RwFlags, Span, Stat, SyncKind};

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

pub(super) fn stat(fd: BorrowedFd<'_>) -> Result<Stat, Errno> {
    rustix::fs::fstat(fd).map(|found| known(&found)).map_err(errno)
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

cfg_if::cfg_if! {
    if #[cfg(any(target_os = "linux", target_os = "android"))] {
        fn punch(fd: BorrowedFd<'_>, at: u64, len: u64) -> rustix::io::Result<()> {
            use rustix::fs::FallocateFlags as Flags;
            rustix::fs::fallocate(fd, Flags::PUNCH_HOLE | Flags::KEEP_SIZE, at, len)
        }

        fn zero(fd: BorrowedFd<'_>, at: u64, len: u64) -> rustix::io::Result<()> {
            rustix::fs::fallocate(fd, rustix::fs::FallocateFlags::ZERO_RANGE, at, len)
        }
    } else {
        /// Elsewhere it is missing, or wants whole blocks.
        fn punch(_: BorrowedFd<'_>, _: u64, _: u64) -> rustix::io::Result<()> {
            Err(rustix::io::Errno::OPNOTSUPP)
        }

        fn zero(_: BorrowedFd<'_>, _: u64, _: u64) -> rustix::io::Result<()> {
            Err(rustix::io::Errno::OPNOTSUPP)
        }
    }
}

cfg_if::cfg_if! {
    if #[cfg(any(
        target_os = "linux",
        target_os = "android",
        target_os = "freebsd",
        target_os = "dragonfly",
        target_vendor = "apple",
        target_os = "illumos",
        target_os = "solaris",
    ))] {
        /// It moves the offset of what is open, too, which nothing here goes by.
        fn seek(fd: BorrowedFd<'_>, at: u64, extent: Extent) -> rustix::io::Result<u64> {
            use rustix::fs::SeekFrom;
            rustix::fs::seek(fd, match extent {
                Extent::Data => SeekFrom::Data(at),
                Extent::Hole => SeekFrom::Hole(at),
            })
        }
    } else {
        /// Without a call for it all is data, and the end of the file a hole.
        fn seek(fd: BorrowedFd<'_>, at: u64, extent: Extent) -> rustix::io::Result<u64> {
            let size = u64::try_from(rustix::fs::fstat(fd)?.st_size).unwrap_or(0);
            match extent {
                _ if at >= size => Err(rustix::io::Errno::NXIO),
                Extent::Data => Ok(at),
                Extent::Hole => Ok(size),
            }
        }
    }
}

cfg_if::cfg_if! {
    if #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))] {
        fn allocate(fd: BorrowedFd<'_>, at: u64, len: u64) -> rustix::io::Result<()> {
            rustix::fs::fallocate(fd, rustix::fs::FallocateFlags::empty(), at, len)
        }
    } else {
        /// Elsewhere it is missing, or does something else.
        fn allocate(_: BorrowedFd<'_>, _: u64, _: u64) -> rustix::io::Result<()> {
            Err(rustix::io::Errno::OPNOTSUPP)
        }
    }
}

cfg_if::cfg_if! {
    if #[cfg(any(target_os = "linux", target_os = "android"))] {
        use rustix::io::ReadWriteFlags;

        /// What this system has calls for. Which of them a kernel and a file system take is told by
        /// each call: `EOPNOTSUPP` for one that they do not know.
        pub(super) const FLAGS: RwFlags = RwFlags::all();

        /// `RWF_DONTCACHE`, since Linux 6.14.
        const DONTCACHE: u32 = 0x80;

        /// The kernel's flags for ours.
        pub(crate) fn rw_flags(flags: RwFlags) -> ReadWriteFlags {
            let mut bits = ReadWriteFlags::empty();
            bits.set(ReadWriteFlags::DSYNC, flags.contains(RwFlags::DURABLE));
            bits.set(ReadWriteFlags::NOWAIT, flags.contains(RwFlags::NO_WAIT));
            let dontcache = ReadWriteFlags::from_bits_retain(DONTCACHE);
            bits.set(dontcache, flags.contains(RwFlags::UNCACHED));
            bits
        }

        fn read_with(
            fd: BorrowedFd<'_>,
            into: &mut [IoSliceMut<'_>],
            at: u64,
            flags: RwFlags,
        ) -> rustix::io::Result<usize> {
            rustix::io::preadv2(fd, into, at, rw_flags(flags))
        }

        fn write_with(
            fd: BorrowedFd<'_>,
            from: &[IoSlice<'_>],
            at: u64,
            flags: RwFlags,
        ) -> rustix::io::Result<usize> {
            rustix::io::pwritev2(fd, from, at, rw_flags(flags))
        }
    } else {
        pub(super) const FLAGS: RwFlags = RwFlags::empty();

        fn read_with(
            _: BorrowedFd<'_>,
            _: &mut [IoSliceMut<'_>],
            _: u64,
            _: RwFlags,
        ) -> rustix::io::Result<usize> {
            Err(rustix::io::Errno::OPNOTSUPP)
        }

        fn write_with(
            _: BorrowedFd<'_>,
            _: &[IoSlice<'_>],
            _: u64,
            _: RwFlags,
        ) -> rustix::io::Result<usize> {
            Err(rustix::io::Errno::OPNOTSUPP)
        }
    }
}

/// Reads what is cached, and waits for no device.
///
/// # Safety
/// As [`Direct::call_without_waiting`].
#[cfg(target_os = "linux")]
#[inline]
pub(crate) unsafe fn read_without_waiting(
    file: Handle,
    at: u64,
    mut span: Span,
) -> Result<u64, Errno> {
    span.len = span.len.min(BYTES_PER_CALL);
    let start = (&raw mut span).cast::<IoSliceMut<'_>>();
    // SAFETY: the caller promised that the handle is open, and that the span's memory is alive and
    // ours to write; a span is laid out as an `IoSliceMut`, asserted above.
    let (fd, into) = unsafe { (borrow(file), slice::from_raw_parts_mut(start, 1)) };
    let read = rustix::io::preadv2(fd, into, at, ReadWriteFlags::NOWAIT);
    read.map(|n| n as u64).map_err(errno)
}

impl Direct for Files {
    fn sharing(&self) -> Option<&dyn Sharing> {
        Some(self)
    }

    #[cfg(target_os = "linux")]
    #[inline]
    unsafe fn call_without_waiting(&self, op: &Op) -> Result<u64, Errno> {
        let Op::Read { file, at, span } = *op else { return Err(Errno::AGAIN) };
        // SAFETY: the caller's promise.
        unsafe { read_without_waiting(file, at, span) }
    }

    unsafe fn call(&self, op: &Op) -> Result<u64, Errno> {
        // SAFETY, for every block below: the caller promised for the time of this call what
        // `Ring::push` asks for: handles are open, names end in NUL, and the memory of spans, span
        // arrays and the stat is alive and ours to write where the operation writes.
        let done = |()| 0;
        let count = |n: usize| n as u64;
        let result = match *op {
            Op::OpenDirect { file, write, geometry: into } => {
                // SAFETY: as above.
                let (fd, geometry) = direct::open(unsafe { borrow(file) }, write)?;
                // SAFETY: as above.
                unsafe { into.write(geometry) };
                return Ok(u64::from(fd.into_raw_fd().cast_unsigned()));
            }
            Op::Geometry { file, geometry: into } => {
                // SAFETY: as above.
                let geometry = direct::geometry(unsafe { borrow(file) })?;
                // SAFETY: as above.
                unsafe { into.write(geometry) };
                return Ok(0);
            }
            // Nobody uses the handle after its close.
            Op::Close { file } => sharing::close(raw(file)).map(done),
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
            Op::ReadWith { file, at, spans, count: spans_len, flags } => {
                let (start, len) = (spans.cast_mut().cast::<IoSliceMut<'_>>(), capped(spans_len));
                // SAFETY: as for `Readv`.
                let (fd, into) = unsafe { (borrow(file), slice::from_raw_parts_mut(start, len)) };
                read_with(fd, into, at, flags).map(count)
            }
            Op::WriteWith { file, at, spans, count: spans_len, flags } => {
                let (start, len) = (spans.cast::<IoSlice<'_>>(), capped(spans_len));
                // SAFETY: as for `Writev`.
                let (fd, from) = unsafe { (borrow(file), slice::from_raw_parts(start, len)) };
                write_with(fd, from, at, flags).map(count)
            }
            // SAFETY: as above.
            Op::Sync { file, kind } => sync(unsafe { borrow(file) }, kind).map(done),
            Op::Truncate { file, len } => {
                // SAFETY: as above.
                rustix::fs::ftruncate(unsafe { borrow(file) }, len).map(done)
            }
            Op::Lock { file, kind } => {
                // SAFETY: as above.
                return lock(unsafe { borrow(file) }, Some(kind)).map(done);
            }
            // SAFETY: as above.
            Op::Unlock { file } => return lock(unsafe { borrow(file) }, None).map(done),
            Op::Allocate { file, at, len } => {
                // SAFETY: as above.
                allocate(unsafe { borrow(file) }, at, len).map(done)
            }
            // SAFETY: as above.
            Op::Punch { file, at, len } => punch(unsafe { borrow(file) }, at, len).map(done),
            // SAFETY: as above.
            Op::Zero { file, at, len } => zero(unsafe { borrow(file) }, at, len).map(done),
            // SAFETY: as above.
            Op::Seek { file, at, extent } => seek(unsafe { borrow(file) }, at, extent),
            Op::Open { .. }
            | Op::Remove { .. }
            | Op::Rename { .. }
            | Op::MakeDirectory { .. }
            | Op::RemoveDirectory { .. }
            | Op::List { .. }
            | Op::Look { .. } => {
                // SAFETY: as above.
                unsafe { self.call_on_name(op) }
            }
            // A call that is over when it returns can cancel nothing, and has no ring to tell of
            // memory.
            Op::Cancel { .. } | Op::Register { .. } | Op::Unregister { .. } => {
                return Err(Errno::OPNOTSUPP);
            }
        };
        result.map_err(errno)
    }
}

/// How many spans one call takes; the rest is a short count.
fn capped(spans: u32) -> usize {
    (spans as usize).min(SPANS_PER_CALL)
}
