//! The kernel's ring without any care: what the engine is compared with.
#![allow(dead_code, reason = "each test program uses its part of this")]

use std::thread;
use std::time::Duration;

use io_uring::{IoUring, Probe, squeue};
use littoral::Errno;

/// A ring whose user looks after nothing.
pub(crate) struct Raw {
    ring: IoUring,
}

impl Raw {
    /// `None` where the kernel refuses a ring: then there is nothing to compare with, and the test
    /// of that name says that it is left out.
    pub(crate) fn new(test: &str, entries: u32) -> Option<Raw> {
        Raw::with_completions(test, entries, 2 * entries)
    }

    /// The same with so many places for completions.
    pub(crate) fn with_completions(test: &str, entries: u32, completions: u32) -> Option<Raw> {
        // Memory of a ring that was closed just before comes back with a delay.
        for _ in 0..20 {
            match IoUring::builder().setup_cqsize(completions).build(entries) {
                Ok(ring) => return Some(Raw { ring }),
                Err(refused) if refused.raw_os_error() == Some(Errno::NOMEM.raw()) => {
                    thread::sleep(Duration::from_millis(50));
                }
                Err(refused) => {
                    let code = Errno::from_raw(refused.raw_os_error().unwrap_or_default());
                    let denied = [Errno::PERM, Errno::NOSYS, Errno::ACCES].contains(&code);
                    assert!(denied, "a ring: {refused}");
                    eprintln!("SKIPPED {test}: no io_uring here: {refused}");
                    return None;
                }
            }
        }
        eprintln!("SKIPPED {test}: no memory may be locked for a bare ring");
        None
    }

    /// Whether this kernel has an operation.
    pub(crate) fn can(&self, operation: u8) -> bool {
        let mut probe = Probe::new();
        self.ring.submitter().register_probe(&mut probe).expect("a probe");
        probe.is_supported(operation)
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

    /// Whether the kernel says that it holds back completions which have no place.
    pub(crate) fn holds_back(&mut self) -> bool {
        self.ring.submission().cq_overflow()
    }

    /// Takes the completions that are there, without a call of the kernel.
    pub(crate) fn take(&mut self) -> Vec<i32> {
        self.ring.completion().map(|cqe| cqe.result()).collect()
    }

    /// Completions that are there.
    pub(crate) fn finished(&mut self) -> usize {
        self.ring.completion().len()
    }
}
