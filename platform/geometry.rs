//! What direct I/O asks of the operations on a file.

/// What direct I/O (past the page cache) asks of the operations on one file, and what its storage
/// likes. All numbers are bytes, and powers of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Memory that is read into or written from starts at a multiple of this.
    pub memory: u32,
    /// Offsets in the file, and the length of each span, are multiples of this.
    pub offset: u32,
    /// The same for reads, where it is less; else it is equal.
    pub read_offset: u32,
    /// The smallest write that the storage can do wholly or not at all; 0 if it promises none. It
    /// is promised to writes that ask for it, which no operation here does yet.
    pub atomic_min: u32,
    /// The largest such write; 0 if there is none.
    pub atomic_max: u32,
    /// What the file system thinks best for the size of one operation.
    pub optimal: u32,
    /// Who said so.
    pub source: GeometrySource,
}

/// Who told a [`Geometry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GeometrySource {
    /// Nobody: there is no direct I/O, and nothing is asked for.
    Nothing,
    /// The kernel, of this very file: `STATX_DIOALIGN` and its successors (Linux 6.1).
    Kernel,
    /// The block device below the file system, by its logical block.
    Device,
    /// The file system, by its block, which is a multiple of the device's.
    FileSystem,
    /// Whoever set up a simulated disk.
    Simulated,
}

impl Geometry {
    /// Of a file without direct I/O: anything goes.
    pub const NONE: Geometry = Geometry {
        memory: 1,
        offset: 1,
        read_offset: 1,
        atomic_min: 0,
        atomic_max: 0,
        optimal: 1,
        source: GeometrySource::Nothing,
    };

    /// One unit for memory, offsets and lengths.
    ///
    /// # Panics
    /// If it is no power of two.
    #[must_use]
    pub const fn uniform(unit: u32, source: GeometrySource) -> Geometry {
        assert!(unit.is_power_of_two(), "alignments are powers of two");
        let none = Geometry::NONE;
        Geometry { memory: unit, offset: unit, read_offset: unit, optimal: 4096, source, ..none }
    }

    /// The alignment of offsets and lengths of a write, or of a read.
    #[must_use]
    pub const fn offset_of(&self, write: bool) -> u32 {
        if write { self.offset } else { self.read_offset }
    }
}

impl Default for Geometry {
    fn default() -> Geometry {
        Geometry::NONE
    }
}
