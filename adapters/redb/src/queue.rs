//! Writes that were queued and not waited for yet.
//!
//! What a queue of one file promises, and why it is enough for an engine that believes its writes
//! are done when they return:
//!
//! - No two queued writes overlap. Operations in flight have no order, so an overlapping one waits
//!   for the queue to be empty. For example, with 0..4096 and 8192..12288 queued, a write of
//!   4096..8192 is queued too; one of 4000..4100 drains the queue first.
//! - A failure stays. The first write that fails leaves its error here, and from then on there is
//!   nothing but this error: bytes the engine thinks written are not, so neither a read nor a sync
//!   nor another write may succeed.
//! - It is bounded, in writes and in bytes.

use std::collections::BTreeMap;

use littoral::{Completion, Error, Io, Result, wait};

/// Writes in a queue. A small part of a driver's default 1024 operations.
pub(crate) const WRITES_MAX: usize = 256;

/// Bytes in a queue: they are copies of what the engine wrote.
pub(crate) const BYTES_MAX: usize = 4 * 1024 * 1024;

/// Queued writes of one file.
#[derive(Default)]
pub(crate) struct Queue {
    /// By first byte; never overlapping, so also in the order of their ends.
    writes: BTreeMap<u64, Write>,
    bytes: usize,
    failed: Option<Error>,
}

struct Write {
    /// The first byte behind it.
    end: u64,
    done: Completion<()>,
}

impl Queue {
    /// Whether nothing is queued.
    pub(crate) fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// How many writes are queued.
    pub(crate) fn len(&self) -> usize {
        self.writes.len()
    }

    /// The failure that ended this queue, if one did.
    pub(crate) fn check(&self) -> Result<()> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    /// Ends this queue, unless something else did before.
    pub(crate) fn fail(&mut self, error: &Error) {
        self.failed.get_or_insert_with(|| error.clone());
    }

    /// Whether a queued write touches `start..end`.
    pub(crate) fn overlaps(&self, start: u64, end: u64) -> bool {
        // The last one that starts before `end` reaches farthest of those that do.
        self.writes.range(..end).next_back().is_some_and(|(_, write)| write.end > start)
    }

    /// Whether a write of so many bytes is too much on top. A queue takes one of any size.
    pub(crate) fn is_full(&self, bytes: usize) -> bool {
        self.len() >= WRITES_MAX || (!self.is_empty() && self.bytes + bytes > BYTES_MAX)
    }

    /// Queues a write of `bytes` bytes at `start`, which overlaps no queued one.
    pub(crate) fn push(&mut self, start: u64, bytes: usize, done: Completion<()>) {
        let end = start + bytes as u64;
        assert!(!self.overlaps(start, end), "queued writes overlap at {start}..{end}");
        self.bytes += bytes;
        self.writes.insert(start, Write { end, done });
    }

    /// Waits for every queued write, and answers as [`check`](Queue::check) then.
    pub(crate) fn drain(&mut self, io: &dyn Io) -> Result<()> {
        // One at a time leaves the list: if a wait unwinds, the rest is still known here.
        while let Some((_, Write { done, .. })) = self.writes.pop_first() {
            if let Err(error) = wait(io, done) {
                self.fail(&error);
            }
        }
        self.bytes = 0;
        self.check()
    }
}
