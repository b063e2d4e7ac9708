//! What concerns a name, by system calls.

use std::ffi::CStr;
use std::os::fd::{AsFd, IntoRawFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io;

use super::{Files, c_str, mode, open_flags};
use crate::{FileKind, Listed, Op, OpenFlags, Stat};

/// What the system says of a file, as we say it.
pub(super) fn known(found: &rustix::fs::Stat) -> Stat {
    let identity = (device(found), found.st_ino);
    #[allow(clippy::useless_conversion, reason = "systems differ in types")]
    let nanos = u64::try_from(found.st_mtime_nsec).unwrap_or(0);
    // Before 1970 there is none.
    let seconds = u64::try_from(found.st_mtime).ok();
    let modified = seconds.and_then(|s| s.checked_mul(1_000_000_000)?.checked_add(nanos));
    Stat {
        kind: kind(FileType::from_raw_mode(found.st_mode)),
        size: u64::try_from(found.st_size).unwrap_or(0),
        identity,
        modified,
    }
}

cfg_if::cfg_if! {
    if #[cfg(target_vendor = "apple")] {
        fn device(stat: &rustix::fs::Stat) -> u64 {
            u64::from(stat.st_dev.cast_unsigned())
        }
    } else {
        fn device(stat: &rustix::fs::Stat) -> u64 {
            stat.st_dev
        }
    }
}

fn kind(of: FileType) -> FileKind {
    match of {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Directory,
        _ => FileKind::Other,
    }
}

impl Files {
    /// # Safety
    /// As [`crate::Direct::call`]; the operation is one on a name.
    pub(super) unsafe fn call_on_name(&self, op: &Op) -> io::Result<u64> {
        let done = |()| 0;
        let root = self.root();
        // SAFETY, for every block below: the caller's promise that names are alive and end in NUL,
        // and that what is to be filled is alive and nobody else's.
        match *op {
            Op::Open { name, flags, mode: bits } => {
                // SAFETY: as above.
                let fd = self.open(unsafe { c_str(name) }, flags, mode(bits))?;
                Ok(u64::from(fd.into_raw_fd().cast_unsigned()))
            }
            Op::Remove { name } => {
                // SAFETY: as above.
                rustix::fs::unlinkat(root, unsafe { c_str(name) }, AtFlags::empty()).map(done)
            }
            Op::Rename { from, to } => {
                // SAFETY: as above.
                let (from, to) = unsafe { (c_str(from), c_str(to)) };
                rustix::fs::renameat(root, from, root, to).map(done)
            }
            Op::MakeDirectory { name } => {
                // SAFETY: as above.
                rustix::fs::mkdirat(root, unsafe { c_str(name) }, mode(DIRECTORY_MODE)).map(done)
            }
            Op::RemoveDirectory { name } => {
                // SAFETY: as above.
                rustix::fs::unlinkat(root, unsafe { c_str(name) }, AtFlags::REMOVEDIR).map(done)
            }
            Op::List { name, into } => {
                // SAFETY: as above.
                let (name, into) = unsafe { (c_str(name), &mut *into) };
                self.list(name, into).map(done)
            }
            Op::Look { name, stat } => {
                // SAFETY: as above.
                let found = rustix::fs::statat(root, unsafe { c_str(name) }, AtFlags::empty())?;
                let found = known(&found);
                // SAFETY: as above.
                unsafe { stat.write(found) };
                Ok(found.size)
            }
            _ => unreachable!("an operation on an open file"),
        }
    }

    fn open(&self, name: &CStr, flags: OpenFlags, mode: Mode) -> io::Result<OwnedFd> {
        if flags.contains(OpenFlags::TEMPORARY) {
            return self.temporary(name, flags.contains(OpenFlags::CREATE), mode);
        }
        if flags.contains(OpenFlags::WRITE) {
            return rustix::fs::openat(self.root(), name, open_flags(flags), mode);
        }
        // A pipe would be waited for until somebody writes into it.
        let bits = open_flags(flags) | OFlags::NONBLOCK;
        let fd = rustix::fs::openat(self.root(), name, bits, mode)?;
        let bits = rustix::fs::fcntl_getfl(&fd)?;
        rustix::fs::fcntl_setfl(&fd, bits - OFlags::NONBLOCK)?;
        Ok(fd)
    }

    /// A file that no name leads to, by `name` for a moment if it must be.
    fn temporary(&self, name: &CStr, by_name: bool, mode: Mode) -> io::Result<OwnedFd> {
        if !by_name {
            return match UNNAMED {
                Some(flags) => rustix::fs::openat(self.root(), c".", flags, mode),
                None => Err(io::Errno::OPNOTSUPP),
            };
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(self.root(), name, flags, mode)?;
        match rustix::fs::unlinkat(self.root(), name, AtFlags::empty()) {
            // Someone has tidied up already.
            Ok(()) | Err(io::Errno::NOENT) => Ok(fd),
            Err(error) => Err(error),
        }
    }

    fn list(&self, name: &CStr, into: &mut Vec<Listed>) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(self.root(), name, flags, Mode::empty())?;
        // `Dir` reads by a descriptor of its own; this one is to look links up by.
        for entry in Dir::read_from(&folder)? {
            let entry = entry?;
            let name = entry.file_name();
            // What is no UTF-8 has no name here.
            let Ok(text) = name.to_str() else { continue };
            if text == "." || text == ".." {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Symlink | FileType::Unknown => {
                    // A link may lead nowhere, and any name be gone by now.
                    let found = rustix::fs::statat(folder.as_fd(), name, AtFlags::empty());
                    found.map_or(FileKind::Other, |found| known(&found).kind)
                }
                known => kind(known),
            };
            into.push(Listed { name: text.to_owned(), kind });
        }
        Ok(())
    }
}

/// Permissions of a created directory before the umask: as `mkdir(1)` does it.
pub(crate) const DIRECTORY_MODE: u32 = 0o777;

cfg_if::cfg_if! {
    if #[cfg(any(target_os = "linux", target_os = "android"))] {
        /// How to open a folder for a file without a name. `O_EXCL`: it can never be given one.
        pub(crate) const UNNAMED: Option<OFlags> = Some(
            OFlags::TMPFILE.union(OFlags::RDWR).union(OFlags::EXCL).union(OFlags::CLOEXEC),
        );
    } else {
        /// Every file begins with a name here.
        pub(crate) const UNNAMED: Option<OFlags> = None;
    }
}
