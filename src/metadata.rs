//! What is known of a file.

use core::fmt;

use littoral_platform::{FileKind, Stat};

/// What is known of a file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metadata {
    /// File, directory, or other.
    pub kind: FileKind,
    /// Bytes; 0 for a directory in a browser, whatever the file system says of one elsewhere.
    pub size: u64,
    /// Which file it is.
    pub identity: Identity,
    /// When the contents were changed last, in nanoseconds since 1970. `None` where the platform
    /// does not say: for directories and open files in a browser.
    pub modified: Option<u64>,
}

impl From<Stat> for Metadata {
    fn from(stat: Stat) -> Metadata {
        let Stat { kind, size, identity, modified } = stat;
        Metadata { kind, size, identity: Identity(identity), modified }
    }
}

/// Which file it is: at one moment, two names or handles have equal identities exactly if they are
/// of the same file.
///
/// The same after closing and reopening, in every process and in every tab, for as long as the file
/// is there. Natively it is device and inode: a rename keeps it, and a new file may be given that
/// of one that was removed. In a browser it is made from the path: a rename changes it, and a new
/// file of the same name has the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity((u64, u64));

impl Identity {
    /// As a number.
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        (self.0.0 as u128) << 64 | self.0.1 as u128
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({:x}:{:x})", self.0.0, self.0.1)
    }
}
