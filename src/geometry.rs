//! What direct I/O asks for, and whether a file has it.

use core::fmt;

use littoral_platform::{Errno, GeometrySource};

/// Whether a file's aligned reads and writes go past the platform's page cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DirectIo {
    /// They do not: the platform caches.
    #[default]
    Off,
    /// They do where the file can; where it cannot, the file is opened as with `Off`, and its
    /// [`geometry`](crate::File::geometry) says why.
    Preferred,
    /// They do, or opening fails with [`Unsupported`](crate::ErrorKind::Unsupported).
    Required,
}

/// What came of an open that asked for direct I/O.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Directness {
    /// It was not asked for.
    Off,
    /// What is aligned goes past the page cache; what is not goes through it.
    On,
    /// It was preferred, and refused with this code: everything goes through the page cache.
    Refused(Errno),
}

impl fmt::Display for Directness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Directness::Off => f.write_str("direct I/O is off"),
            Directness::On => f.write_str("direct I/O is on"),
            Directness::Refused(code) => {
                write!(f, "direct I/O was refused: {} ({code:?})", refusal(*code))
            }
        }
    }
}

/// What a platform means by refusing direct I/O so.
pub(crate) const fn refusal(code: Errno) -> &'static str {
    match code {
        Errno::INVAL => "this file system does not take it",
        Errno::OPNOTSUPP => "this file, its file system or this platform has no direct I/O",
        _ => "the file could not be opened once more for it",
    }
}

/// What direct I/O on a file asks of memory and offsets, and what its storage likes: numbers of
/// bytes, powers of two. On a file without direct I/O nothing is asked for, and they are what it
/// would ask for, or 1 where there is no such thing.
///
/// Operations that are not aligned so are as right as those that are; see
/// [`OpenOptions::direct`](crate::OpenOptions::direct) for how they go. An
/// [`Arena`](crate::Arena) gives memory that is aligned: to a page where a class's size is a
/// multiple of one, and to any power of two by [`Arena::aligned`](crate::Arena::aligned).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Geometry {
    /// Whether this handle does direct I/O, or why not.
    pub direct: Directness,
    /// Memory begins at a multiple of this.
    pub memory_align: u32,
    /// Offsets and lengths are multiples of this; of a vector, each buffer's.
    pub offset_align: u32,
    /// The same for reads: mostly equal, sometimes less.
    pub read_align: u32,
    /// The smallest and the largest write that the storage can do wholly or not at all, where it
    /// says that it has such. It holds for writes that ask for it, which none here does yet.
    pub atomic_write: Option<(u32, u32)>,
    /// What the file system thinks best for one operation.
    pub optimal: u32,
    /// Who said so.
    pub source: GeometrySource,
}

impl Geometry {
    pub(crate) fn new(direct: Directness, of: littoral_platform::Geometry) -> Geometry {
        Geometry {
            direct,
            memory_align: of.memory,
            offset_align: of.offset,
            read_align: of.read_offset,
            atomic_write: (of.atomic_max > 0).then_some((of.atomic_min, of.atomic_max)),
            optimal: of.optimal,
            source: of.source,
        }
    }
}
