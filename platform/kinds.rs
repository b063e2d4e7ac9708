//! The words that entries are made of: what a flush covers, how a file is locked, what an entry is
//! asked for beyond moving bytes.

bitflags::bitflags! {
    /// What a read or write is asked for beyond moving bytes.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct RwFlags: u8 {
        /// The bytes that a write counts are durable when it ends. Fails as a flush does, too, and
        /// the code does not tell which it was.
        const DURABLE = 1;
        /// Leaves nothing behind in the platform's cache that was not there.
        const UNCACHED = 1 << 1;
        /// Ends with `EAGAIN`, having moved nothing or a part, where more would take a wait.
        const NO_WAIT = 1 << 2;
    }
}

/// What a flush covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SyncKind {
    /// Contents and size.
    Data,
    /// Contents, size and metadata.
    Full,
}

/// What a file consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Bytes that the platform keeps.
    Data,
    /// Bytes that were never written, or were given up, and read as zeros.
    Hole,
}

/// How a file is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockKind {
    /// Beside other shared locks of it.
    Shared,
    /// Alone.
    Exclusive,
}
