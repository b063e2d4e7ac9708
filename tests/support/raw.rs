//! The kernel's ring without any care: what the engine is compared with.

use io_uring::{IoUring, squeue};

/// A ring whose user looks after nothing.
pub(crate) struct Raw {
    ring: IoUring,
}

impl Raw {
    pub(crate) fn new(entries: u32) -> Raw {
        Raw { ring: IoUring::new(entries).expect("a ring") }
    }

    /// Queues an entry.
    ///
    /// # Safety
    /// None is given: that is what these tests show. The memory that the entry points to has to
    /// stay mapped, so that what the kernel damages is the test's own.
    pub(crate) unsafe fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: the caller's promise.
        unsafe { self.ring.submission().push(entry) }.expect("room in the queue");
    }

    pub(crate) fn submit(&mut self) {
        self.ring.submit().expect("entries are taken");
    }

    /// Waits for `count` completions; what each said.
    pub(crate) fn results(&mut self, count: usize) -> Vec<i32> {
        self.tagged_results(count).into_iter().map(|(_, result)| result).collect()
    }

    /// Waits for `count` completions; the tag of each, and what it said.
    pub(crate) fn tagged_results(&mut self, count: usize) -> Vec<(u64, i32)> {
        let mut results = Vec::new();
        while results.len() < count {
            self.ring.submit_and_wait(1).expect("a wait");
            let completions = self.ring.completion();
            results.extend(completions.map(|cqe| (cqe.user_data(), cqe.result())));
        }
        results
    }

    /// Completions that are there.
    pub(crate) fn finished(&mut self) -> usize {
        self.ring.completion().len()
    }
}
