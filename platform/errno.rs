//! The numbers a platform fails with.

use core::fmt;

/// An error number, in Linux's numbering on every platform.
///
/// A newtype and not an enum, because unknown values exist: a kernel newer than this crate may
/// answer with a number that has no name here, and it must still reach the caller unchanged.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Errno(u16);

macro_rules! errnos {
    ($($name:ident = $number:literal, $text:literal;)*) => {
        impl Errno {
            $(#[doc = $text] pub const $name: Errno = Errno($number);)*

            /// The symbolic name, `None` for a number without one here.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some(stringify!($name)),)*
                    _ => None,
                }
            }

            /// What the number means, in a few words.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self.0 {
                    $($number => $text,)*
                    _ => "unknown error",
                }
            }
        }
    };
}

errnos! {
    PERM = 1, "operation not permitted";
    NOENT = 2, "no such file or directory";
    INTR = 4, "interrupted";
    IO = 5, "input/output error";
    NXIO = 6, "nothing there";
    BADF = 9, "bad file handle";
    AGAIN = 11, "would block";
    NOMEM = 12, "out of memory";
    ACCES = 13, "permission denied";
    FAULT = 14, "bad address";
    BUSY = 16, "in use";
    EXIST = 17, "already exists";
    NOTDIR = 20, "not a directory";
    ISDIR = 21, "is a directory";
    INVAL = 22, "invalid argument";
    NFILE = 23, "too many open files in the system";
    MFILE = 24, "too many open files";
    FBIG = 27, "file too large";
    NOSPC = 28, "no space left";
    SPIPE = 29, "not seekable";
    ROFS = 30, "read-only file system";
    DEADLK = 35, "a wait without an end";
    NAMETOOLONG = 36, "name too long";
    NOLCK = 37, "no more locks";
    NOSYS = 38, "not implemented";
    NOTEMPTY = 39, "directory not empty";
    LOOP = 40, "too many symbolic links";
    TIME = 62, "timer expired";
    OVERFLOW = 75, "value too large";
    OPNOTSUPP = 95, "not supported";
    TIMEDOUT = 110, "timed out";
    ALREADY = 114, "already under way";
    STALE = 116, "stale handle";
    DQUOT = 122, "quota exceeded";
    CANCELED = 125, "cancelled";
    OWNERDEAD = 130, "owner died";
}

impl Errno {
    /// From a raw number; what does not fit or is not positive becomes [`Errno::IO`].
    #[must_use]
    pub fn from_raw(raw: i32) -> Errno {
        u16::try_from(raw).ok().filter(|n| *n > 0).map_or(Errno::IO, Errno)
    }

    /// The raw number.
    #[must_use]
    pub const fn raw(self) -> i32 {
        self.0 as i32
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "E{name}"),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({self:?})", self.text())
    }
}

impl core::error::Error for Errno {}

#[cfg(test)]
mod tests {
    use super::Errno;

    #[test]
    fn unknown_numbers_survive() {
        let unknown = Errno::from_raw(4095);
        assert_eq!((unknown.raw(), unknown.name()), (4095, None));
        assert_eq!(format!("{unknown}"), "unknown error (errno 4095)");
        assert_eq!(format!("{}", Errno::NOSPC), "no space left (ENOSPC)");
        assert_eq!(Errno::from_raw(-5), Errno::IO);
        assert_eq!(Errno::from_raw(70_000), Errno::IO);
    }
}
