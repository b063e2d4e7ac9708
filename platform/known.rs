//! What a platform tells of files and names.

/// What a name or handle stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileKind {
    /// A regular file.
    #[default]
    File,
    /// A directory.
    Directory,
    /// Something else: a device, a pipe, a socket.
    Other,
}

/// What is known of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// File, directory, or other.
    pub kind: FileKind,
    /// Bytes.
    pub size: u64,
    /// Equal for two handles or names exactly if they are the same file: device and inode, or a
    /// hash of the whole path where that is all there is.
    pub identity: (u64, u64),
    /// When the contents were changed last, in nanoseconds since 1970; `None` where the platform
    /// does not say.
    pub modified: Option<u64>,
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Its last part.
    pub name: String,
    /// What it stands for; what a symbolic link leads to.
    pub kind: FileKind,
}
