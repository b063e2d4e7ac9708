//! The system's error numbers as ours, which are Linux's everywhere.

use crate::Errno;

cfg_if::cfg_if! {
    if #[cfg(any(target_os = "linux", target_os = "android"))] {
        /// The same number.
        pub(crate) fn errno(error: rustix::io::Errno) -> Errno {
            Errno::from_raw(error.raw_os_error())
        }
    } else {
        /// The number of the same name; what has none here is `EIO`.
        pub(crate) fn errno(error: rustix::io::Errno) -> Errno {
            use rustix::io::Errno as System;
            const NAMES: &[(System, Errno)] = &[
                (System::PERM, Errno::PERM),
                (System::NOENT, Errno::NOENT),
                (System::INTR, Errno::INTR),
                (System::IO, Errno::IO),
                (System::NXIO, Errno::NXIO),
                (System::BADF, Errno::BADF),
                (System::AGAIN, Errno::AGAIN),
                (System::NOMEM, Errno::NOMEM),
                (System::ACCESS, Errno::ACCES),
                (System::FAULT, Errno::FAULT),
                (System::BUSY, Errno::BUSY),
                (System::EXIST, Errno::EXIST),
                (System::NOTDIR, Errno::NOTDIR),
                (System::ISDIR, Errno::ISDIR),
                (System::INVAL, Errno::INVAL),
                (System::NFILE, Errno::NFILE),
                (System::MFILE, Errno::MFILE),
                (System::FBIG, Errno::FBIG),
                (System::NOSPC, Errno::NOSPC),
                (System::SPIPE, Errno::SPIPE),
                (System::ROFS, Errno::ROFS),
                (System::NAMETOOLONG, Errno::NAMETOOLONG),
                (System::DEADLK, Errno::DEADLK),
                (System::NOLCK, Errno::NOLCK),
                (System::NOSYS, Errno::NOSYS),
                (System::NOTEMPTY, Errno::NOTEMPTY),
                (System::LOOP, Errno::LOOP),
                (System::OVERFLOW, Errno::OVERFLOW),
                (System::OPNOTSUPP, Errno::OPNOTSUPP),
                (System::NOTSUP, Errno::OPNOTSUPP),
                (System::TIMEDOUT, Errno::TIMEDOUT),
                (System::ALREADY, Errno::ALREADY),
                (System::STALE, Errno::STALE),
                (System::DQUOT, Errno::DQUOT),
                (System::CANCELED, Errno::CANCELED),
            ];
            let found = NAMES.iter().find(|(system, _)| *system == error);
            found.map_or(Errno::IO, |(_, ours)| *ours)
        }
    }
}
