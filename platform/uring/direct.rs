//! The same operations by plain system calls, on the thread that calls.
//!
//! Used by [`Direct`], for what this kernel's ring lacks, and for what its ring does worse (`fstat`
//! is a few hundred nanoseconds, `IORING_OP_STATX` a trip to a kernel worker).

use core::mem::MaybeUninit;
use core::slice;
use std::ffi::CStr;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};

use super::{BYTES_PER_CALL, SPANS_PER_CALL};
use crate::{Direct, Errno, FileKind, Handle, Name, Op, OpenFlags, Span, Stat, SyncKind};

/// Permissions of a created file before the process's umask: its owner writes, all read.
pub(super) const MODE: Mode = Mode::from_raw_mode(0o644);

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

/// Where names are looked up, and the calls themselves.
#[derive(Debug)]
pub(super) struct Files {
    /// The root folder, opened once: names below it survive a change of the process's folder, and
    /// the root's own renaming. `None` is the current folder at the time of each call.
    root: Option<OwnedFd>,
}

impl Files {
    /// Opens the root.
    pub(super) fn new(root: Option<&str>) -> Result<Files, Errno> {
        let open = |path| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::open(path, flags, Mode::empty()).map_err(errno)
        };
        Ok(Files { root: root.map(open).transpose()? })
    }

    /// The descriptor that names are relative to, `AT_FDCWD` among them.
    pub(super) fn root(&self) -> RawFd {
        self.root.as_ref().map_or(CWD.as_raw_fd(), AsRawFd::as_raw_fd)
    }

    fn root_fd(&self) -> BorrowedFd<'_> {
        self.root.as_ref().map_or(CWD, AsFd::as_fd)
    }
}

/// The kernel's flags for ours. Not `O_NOFOLLOW`: a data folder of symbolic links is legitimate.
pub(super) fn open_flags(flags: OpenFlags) -> OFlags {
    let mut bits = OFlags::CLOEXEC;
    bits |= if flags.contains(OpenFlags::WRITE) { OFlags::RDWR } else { OFlags::RDONLY };
    bits.set(OFlags::CREATE, flags.contains(OpenFlags::CREATE));
    bits.set(OFlags::EXCL, flags.contains(OpenFlags::EXCLUSIVE));
    bits
}

pub(super) fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}

/// The descriptor of a handle.
pub(super) fn raw(file: Handle) -> RawFd {
    file.0.cast_signed()
}

/// # Safety
/// The handle is open for `'a`.
unsafe fn borrow<'a>(file: Handle) -> BorrowedFd<'a> {
    // SAFETY: the caller's promise. A handle is what `openat` returned, so never -1.
    unsafe { BorrowedFd::borrow_raw(raw(file)) }
}

/// # Safety
/// As [`Name`] says: `len` bytes and a NUL, alive for `'a`.
unsafe fn c_str<'a>(name: Name) -> &'a CStr {
    // SAFETY: the caller's promise. A NUL inside the name would end it early, as in the kernel.
    unsafe { CStr::from_ptr(name.ptr.cast()) }
}

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
        identity: (found.st_dev, found.st_ino),
    })
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
                let fd = rustix::fs::openat(self.root_fd(), name, open_flags(flags), MODE);
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
            Op::Sync { file, kind } => match (kind, unsafe { borrow(file) }) {
                (SyncKind::Data, fd) => rustix::fs::fdatasync(fd),
                (SyncKind::Full, fd) => rustix::fs::fsync(fd),
            }
            .map(done),
            Op::Truncate { file, len } => {
                // SAFETY: as above.
                rustix::fs::ftruncate(unsafe { borrow(file) }, len).map(done)
            }
            Op::Remove { name } => {
                // SAFETY: as above.
                let name = unsafe { c_str(name) };
                rustix::fs::unlinkat(self.root_fd(), name, AtFlags::empty()).map(done)
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
