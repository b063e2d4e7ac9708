//! What is to be done.

use serde::{Deserialize, Serialize};

/// One row of the benchmark: batches of transfers of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a property of its own")]
pub struct Workload {
    /// As tables name it.
    pub name: String,
    /// The chart that it is in.
    pub chart: String,
    /// Whether it reads or writes.
    pub direction: Direction,
    /// Transfers of a batch.
    pub depth: usize,
    /// Bytes of a span.
    #[serde(default = "page")]
    pub bytes: usize,
    /// Spans of a transfer; more than one make it a vector.
    #[serde(default = "one")]
    pub spans: usize,
    /// Whether the spans of a vector are neighbours in memory.
    #[serde(default)]
    pub contiguous: bool,
    /// Where transfers go.
    pub order: Order,
    /// Past the page cache.
    #[serde(default)]
    pub direct: bool,
    /// Whether a batch ends durable.
    #[serde(default)]
    pub durable: bool,
    /// Whether every batch has a driver of its own, set up before and torn down after it.
    #[serde(default)]
    pub fresh: bool,
    /// Threads that share the driver and the batches.
    #[serde(default = "one")]
    pub threads: usize,
    /// Files that the transfers of a batch take turns with.
    #[serde(default = "one")]
    pub files: usize,
    /// Bytes of each file. Those that no transfer reaches are a hole.
    #[serde(default = "sixty_four_mebibytes")]
    pub file_bytes: u64,
}

/// Whether a workload reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Into one buffer of each transfer.
    Read,
    /// From buffers that are not changed.
    Write,
}

/// Where transfers go. No two of a batch overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// All over the file.
    Random,
    /// All over the file, but in each batch from its start to its end, as checkpoints do.
    Sorted,
    /// One behind the other.
    Sequential,
    /// A batch covers what one in sequence does, but every other transfer of it comes first: no two
    /// neighbours follow one another.
    Alternating,
    /// One behind the other, past the file's end.
    Append,
}

impl Workload {
    /// Bytes of a transfer.
    #[must_use]
    pub fn transfer(&self) -> usize {
        self.bytes * self.spans
    }

    /// Whether it changes its files.
    #[must_use]
    pub fn writes(&self) -> bool {
        self.direction == Direction::Write
    }
}

fn page() -> usize {
    4096
}

fn one() -> usize {
    1
}

fn sixty_four_mebibytes() -> u64 {
    64 << 20
}
