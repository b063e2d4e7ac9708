//! What the backends of unix systems share: where names are looked up, the kernel's words for ours,
//! and every operation by plain system calls: `execute` on open files, `names` on names, `direct`
//! past the page cache.
//!
//! Such a call is what a thread makes by itself ([`Direct`](crate::Direct)), what `uring` does for
//! an operation that this kernel's ring lacks or does worse (`fstat` is a few hundred nanoseconds,
//! `IORING_OP_STATX` a trip to a kernel worker), and all that `threads` does.

mod direct;
mod errors;
mod execute;
mod locks;
mod names;
pub(crate) mod sharing;

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use rustix::fs::{CWD, Mode, OFlags, RawMode};

pub(crate) use errors::errno;
#[cfg(all(target_os = "linux", not(littoral_backend = "threads")))]
pub(crate) use execute::{read_without_waiting, rw_flags};
#[cfg(all(target_os = "linux", not(littoral_backend = "threads")))]
pub(crate) use names::{DIRECTORY_MODE, UNNAMED};

use crate::{Handle, Limits, Name, OpenFlags, Setup, SetupError};

/// Bytes that one read or write moves at most. On Linux the kernel's `MAX_RW_COUNT` with pages of
/// 4 KiB; other systems refuse lengths from 2^31 on.
pub(crate) const BYTES_PER_CALL: usize = 0x7fff_f000;
/// Spans that one call takes: `UIO_MAXIOV` on Linux, `IOV_MAX` elsewhere.
pub(crate) const SPANS_PER_CALL: usize = 1024;
/// The largest offset + length: `off_t` is signed.
const OFFSET_MAX: u64 = i64::MAX.unsigned_abs();
/// What one buffered write costs, in bytes that could be written meanwhile: those of one file go
/// one by one, and on ext4 64 adjacent pages are written six times faster as four entries.
const WRITE_CALL_COST: usize = 64 * 1024;

/// What an engine must know of a ring of this system with room for that many entries.
pub(crate) fn limits(in_flight: u32) -> Limits {
    Limits {
        in_flight,
        spans_per_call: SPANS_PER_CALL,
        bytes_per_call: BYTES_PER_CALL,
        offset_max: OFFSET_MAX,
        may_block: true,
        executes_at_submit: false,
        one_handle_per_file: false,
        syncs_directories: true,
        write_call_cost: WRITE_CALL_COST,
        read_call_cost: 0,
        lone_calls: true,
        flags: execute::FLAGS,
    }
}

/// Where names are looked up, and the calls themselves.
#[derive(Debug)]
pub(crate) struct Files {
    /// The root folder, opened once: names below it survive a change of the process's folder, and
    /// the root's own renaming. `None` is the current folder at the time of each call.
    root: Option<OwnedFd>,
}

impl Files {
    /// Opens the root.
    ///
    /// # Errors
    /// It is not an existing folder; `what` says so and names it.
    pub(crate) fn new(setup: &Setup) -> Result<Files, SetupError> {
        let Some(root) = setup.root.as_deref() else { return Ok(Files { root: None }) };
        let flags = PATH_ONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(root, flags, Mode::empty()).map_err(|error| {
            let what = format!("cannot open {root:?}, which must be an existing folder");
            SetupError { what, code: errno(error) }
        })?;
        Ok(Files { root: Some(opened) })
    }

    /// The descriptor that names are relative to, `AT_FDCWD` among them.
    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_ref().map_or(CWD, AsFd::as_fd)
    }
}

cfg_if::cfg_if! {
    if #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))] {
        /// A descriptor to look names up by needs no right to read the folder.
        const PATH_ONLY: OFlags = OFlags::PATH;
    } else {
        /// Without `O_PATH` the folder has to be readable.
        const PATH_ONLY: OFlags = OFlags::RDONLY;
    }
}

/// The kernel's flags for ours. `O_NOFOLLOW` only if asked for: a data folder of symbolic links is
/// legitimate.
pub(crate) fn open_flags(flags: OpenFlags) -> OFlags {
    let mut bits = OFlags::CLOEXEC;
    bits |= if flags.contains(OpenFlags::WRITE) { OFlags::RDWR } else { OFlags::RDONLY };
    bits.set(OFlags::CREATE, flags.contains(OpenFlags::CREATE));
    bits.set(OFlags::EXCL, flags.contains(OpenFlags::EXCLUSIVE));
    bits.set(OFlags::NOFOLLOW, flags.contains(OpenFlags::NO_FOLLOW));
    bits.set(OFlags::DIRECTORY, flags.contains(OpenFlags::DIRECTORY));
    bits
}

/// Permission bits as this system's type; less the process's umask those of a created file.
pub(crate) fn mode(bits: u32) -> Mode {
    #[allow(clippy::cast_possible_truncation, reason = "the mask fits every system's type")]
    Mode::from_raw_mode((bits & 0o777) as RawMode)
}

/// The descriptor of a handle.
pub(crate) fn raw(file: Handle) -> RawFd {
    file.0.cast_signed()
}

/// Closes a forked child's copies of descriptors, which leaves the parent's open.
pub(crate) fn close_copies(files: &[Handle]) {
    for &file in files {
        // SAFETY: the handle was open at the fork, so the number is its copy's here, and whoever
        // gives them up uses none of them any more.
        let _ = unsafe { rustix::io::try_close(raw(file)) };
    }
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
