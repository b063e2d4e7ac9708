//! Writes that the engine believes done, kept back until something could tell.
//!
//! redb writes its dirty pages one by one, in no useful order, and syncs. A call has a price of its
//! own, in a browser that of hundreds of kilobytes, and so has a trip to a kernel worker. So writes
//! are collected here by their place in the file, and leave together: each run of adjacent ones as
//! one vectored write. For example, with pages 7, 2, 9 and 8 written, draining submits two writes:
//! page 2, and pages 7 to 9.
//!
//! What a queue promises, and why it is enough for an engine that believes its writes done:
//!
//! - No two queued writes overlap: operations in flight have no order. One of the same bytes as a
//!   queued one takes its place; one that overlaps any other way has to wait until the queue was
//!   drained.
//! - A failure stays. The first write that fails leaves its error here, and from then on there is
//!   nothing but this error: bytes the engine thinks written are not, so neither a read nor a sync
//!   nor another write may succeed.
//! - It is bounded, in writes and in bytes.

use std::collections::{BTreeMap, VecDeque};

use littoral::{Error, ErrorKind, File, Io, Result, Shared, Vector, wait};

/// Writes in a queue.
pub(crate) const WRITES_MAX: usize = 4096;

/// Bytes in a queue: they are copies of what the engine wrote.
pub(crate) const BYTES_MAX: usize = 8 * 1024 * 1024;

/// Queued writes of one file.
#[derive(Default)]
pub(crate) struct Queue {
    /// By first byte; never overlapping, so also in the order of their ends.
    writes: BTreeMap<u64, Shared>,
    bytes: usize,
    failed: Option<Error>,
}

/// The first byte behind a write.
fn end((at, bytes): (&u64, &Shared)) -> u64 {
    *at + bytes.len() as u64
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
    pub(crate) fn fail(&mut self, error: Error) {
        self.failed.get_or_insert(error);
    }

    /// Whether a queued write touches `start..end`.
    pub(crate) fn overlaps(&self, start: u64, end: u64) -> bool {
        // The last one that starts before `end` reaches farthest of those that do.
        self.writes.range(..end).next_back().is_some_and(|write| self::end(write) > start)
    }

    /// Queues a write, if it may be: if it overlaps nothing or takes another one's place, and there
    /// is room. A queue takes a single one of any size.
    ///
    /// # Errors
    /// Gives the bytes back: the queue must be drained first.
    pub(crate) fn try_push(&mut self, at: u64, bytes: Shared) -> Result<(), Shared> {
        if let Some(queued) = self.writes.get_mut(&at).filter(|queued| queued.len() == bytes.len())
        {
            *queued = bytes;
            return Ok(());
        }
        let is_full =
            self.len() >= WRITES_MAX || (!self.is_empty() && self.bytes + bytes.len() > BYTES_MAX);
        if is_full || self.overlaps(at, at.saturating_add(bytes.len() as u64)) {
            return Err(bytes);
        }
        self.bytes += bytes.len();
        self.writes.insert(at, bytes);
        Ok(())
    }

    /// The first run of adjacent writes: where it begins, and its bytes.
    fn first_run(&self) -> Option<(u64, Vector)> {
        let (&start, _) = self.writes.first_key_value()?;
        let mut next = start;
        let adjacent = self.writes.iter().take_while(|write| {
            let fits = *write.0 == next;
            next = end(*write);
            fits
        });
        Some((start, adjacent.map(|(_, bytes)| bytes.clone()).collect()))
    }

    /// Forgets the first so many writes.
    fn pop(&mut self, count: usize) {
        for _ in 0..count {
            if let Some((_, bytes)) = self.writes.pop_first() {
                self.bytes -= bytes.len();
            }
        }
    }

    /// Writes all that is queued and waits for it, then answers as [`check`](Queue::check).
    pub(crate) fn drain(&mut self, io: &dyn Io, file: &dyn File) -> Result<()> {
        let mut under_way = VecDeque::new();
        while self.failed.is_none()
            && let Some((at, run)) = self.first_run()
        {
            let mut write = file.pwritev(at, run.clone());
            match write.try_take() {
                // The driver has no room: ours first, then somebody else's.
                Some(Err(error)) if error.kind() == ErrorKind::Saturated => {
                    let room = under_way.pop_front().unwrap_or_else(|| io.room(1));
                    self.note(wait(io, room));
                    continue;
                }
                Some(outcome) => self.note(outcome),
                None => under_way.push_back(write),
            }
            // Only now: should a wait unwind, what was not submitted is still here, and what was
            // submitted and failed fails the next sync by the driver's own rule.
            self.pop(run.parts().len());
        }
        for write in under_way {
            self.note(wait(io, write));
        }
        if self.failed.is_some() {
            self.pop(self.len());
        }
        self.check()
    }

    fn note(&mut self, outcome: Result<()>) {
        if let Err(error) = outcome {
            self.fail(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queued(writes: &[(u64, usize)]) -> Queue {
        let mut queue = Queue::default();
        for (at, len) in writes {
            queue.try_push(*at, vec![0; *len].into()).expect("they do not overlap");
        }
        queue
    }

    fn runs(mut queue: Queue) -> Vec<(u64, usize, u64)> {
        let mut runs = Vec::new();
        while let Some((at, run)) = queue.first_run() {
            runs.push((at, run.parts().len(), run.bytes()));
            queue.pop(run.parts().len());
        }
        assert_eq!((queue.len(), queue.bytes), (0, 0));
        runs
    }

    #[test]
    fn adjacent_writes_leave_together_whatever_their_order() {
        assert_eq!(
            runs(queued(&[(70, 10), (20, 10), (90, 5), (80, 10)])),
            [(20, 1, 10), (70, 3, 25)]
        );
        assert_eq!(runs(queued(&[(0, 1), (2, 1)])), [(0, 1, 1), (2, 1, 1)]);
        assert_eq!(runs(queued(&[])), []);
    }

    #[test]
    fn what_overlaps_is_refused_and_what_covers_exactly_replaces() {
        let mut queue = queued(&[(10, 10), (30, 10)]);
        for (at, len) in [(9, 2), (19, 1), (10, 9), (10, 11), (15, 20), (0, 100), (39, 1)] {
            assert!(queue.overlaps(at, at + len as u64), "{len} at {at}");
            assert!(queue.try_push(at, vec![1; len].into()).is_err(), "{len} at {at}");
        }
        for (at, len) in [(0, 10), (20, 10), (40, 1)] {
            assert!(!queue.overlaps(at, at + len), "{len} at {at}");
        }
        queue.try_push(10, vec![7; 10].into()).expect("it takes the other's place");
        let (at, run) = queue.first_run().expect("two are queued");
        assert_eq!((at, run.parts()[0].as_slice()), (10, Some(&[7; 10][..])));
        assert_eq!((queue.len(), queue.bytes), (2, 20));
    }

    #[test]
    fn it_is_bounded_in_writes_and_in_bytes() {
        let mut queue = Queue::default();
        let large = Shared::from(vec![0; BYTES_MAX + 1]);
        queue.try_push(0, large.clone()).expect("an empty one takes any");
        assert!(queue.try_push(1 << 40, vec![0].into()).is_err());
        let mut queue = queued(&[(0, 1)]);
        assert!(queue.try_push(1, large).is_err());
        for at in 1..WRITES_MAX as u64 {
            queue.try_push(at * 2, vec![0].into()).expect("there is room");
        }
        assert!(queue.try_push(1 << 40, vec![0].into()).is_err());
    }
}
