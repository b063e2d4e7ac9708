//! A pool of threads that make blocking system calls, on every unix system; on Linux where
//! `io_uring` is refused.
//!
//! - `queues` says where an entry is between push and reap.
//! - `pool` has the threads, started as they are needed, and the waiting for them.
//!
//! Entries are started in the order of their pushes and end in any: two of one file have no order.
//! Counts are the system's, short ones too. What the kernel answers at once (`fstat`) is called
//! where it is pushed.
//!
//! # How many threads
//!
//! At most [`THREADS_MAX`], and never more than may be in flight. A thread here waits for the disk,
//! not for a processor, so their number is the depth that the disk sees, and has nothing to do with
//! how many processors there are. On the disk that this was measured on, with two of those, direct
//! reads of 4 KiB were 6 to 8 thousand a second on one thread, 34 to 49 on 8, 57 to 61 on 32, and
//! 64 to 84 on 64. An operation that blocks for long (a named pipe) keeps its
//! thread; as many of them as there are threads hold up all others.
//!
//! Where no thread can be started, those that are there do the work; if there are none, whoever
//! submits does it, one entry after the other, before the submit returns.
//!
//! # Cancelling
//!
//! What no thread has started ends as `ECANCELED`. What runs cannot be stopped: the cancel's answer
//! is `EALREADY`, and the target ends as it ends.
//!
//! # Dropping
//!
//! Entries that were not started are forgotten, and idle threads are joined. A system call that is
//! under way is not waited for, because nothing bounds its time: its thread ends after it. So, as
//! with `uring`, whoever drops a `Threads` with entries in flight must keep their memory alive for
//! ever. The engine drains first.

mod pool;
mod queues;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use self::pool::{Bell, Pool, STACK};
use crate::unix::{Files, close_copies, limits};
use crate::{
    Cqe, Direct, Doorbell, Errno, Full, Handle, Limits, Op, Report, Ring, Setup, SetupError, Sqe,
};

/// Threads of one ring. See above.
pub const THREADS_MAX: usize = 32;

/// A pool of threads that make blocking system calls.
///
/// Names are relative to the root; created files get mode `0644` less the umask; every descriptor
/// is close-on-exec. Its threads are named `littoral-0` and so on, and take no signals.
pub struct Threads {
    pool: Arc<Pool>,
    /// Completions taken from the pool and not reaped.
    taken: VecDeque<Cqe>,
    /// Entries pushed and not reaped.
    live: u32,
    limits: Limits,
    report: Report,
}

impl Threads {
    /// Opens the root. Threads are started when there is something to do.
    ///
    /// # Errors
    /// The root cannot be opened.
    pub fn new(setup: &Setup) -> Result<Threads, SetupError> {
        Ok(Threads::on(Arc::new(Files::new(setup)?), setup, Vec::new()))
    }

    /// With a root that is open, in the place of what was refused.
    pub(crate) fn on(files: Arc<Files>, setup: &Setup, refused: Vec<(String, Errno)>) -> Threads {
        let in_flight = setup.in_flight.max(1);
        let threads_max = THREADS_MAX.min(in_flight as usize);
        Threads::with(Pool::new(files, threads_max, STACK), in_flight, threads_max, refused)
    }

    fn with(
        pool: Pool,
        in_flight: u32,
        threads_max: usize,
        refused: Vec<(String, Errno)>,
    ) -> Threads {
        let chosen = vec![
            format!("at most {threads_max} threads, started as they are needed"),
            format!("{in_flight} entries in flight"),
        ];
        Threads {
            pool: Arc::new(pool),
            taken: VecDeque::new(),
            live: 0,
            limits: limits(in_flight),
            report: Report { backend: "threads", chosen, refused },
        }
    }
}

// SAFETY: an accepted entry goes once through `Queues`, whose transitions each move one entry, and
// leaves it by `take` alone. It is executed between `start` and `end`, or, if it is done where it
// is pushed, before `push` returns: its memory is not touched after it is `done`. A refused entry
// is not looked at. Counts are the system's.
unsafe impl Ring for Threads {
    fn limits(&self) -> &Limits {
        &self.limits
    }

    unsafe fn push(&mut self, sqe: &Sqe) -> Result<(), Full> {
        if self.live >= self.limits.in_flight {
            return Err(Full);
        }
        if matches!(sqe.op, Op::Stat { .. } | Op::Size { .. }) {
            // SAFETY: the caller's promise covers the call.
            let result = unsafe { self.pool.calls.call(&sqe.op) };
            self.pool.done_at_once(Cqe { tag: sqe.tag, result });
        } else {
            self.pool.push(*sqe);
        }
        self.live += 1;
        Ok(())
    }

    fn submit(&mut self) -> Result<(), Errno> {
        self.pool.submit();
        Ok(())
    }

    fn unsubmitted(&self) -> u32 {
        u32::try_from(self.pool.unsubmitted()).expect("at most `in_flight` are pushed")
    }

    fn reap(&mut self) -> Option<Cqe> {
        if self.taken.is_empty() {
            self.pool.take(&mut self.taken);
        }
        let cqe = self.taken.pop_front()?;
        self.live -= 1;
        Some(cqe)
    }

    fn has_completions(&self) -> bool {
        !self.taken.is_empty() || self.pool.has_done()
    }

    fn doorbell(&self) -> Arc<dyn Doorbell> {
        Arc::new(Bell(Arc::clone(&self.pool)))
    }

    fn direct(&self) -> Arc<dyn Direct> {
        Arc::clone(&self.pool.calls)
    }

    fn forked(self: Box<Self>, files: &[Handle]) {
        close_copies(files);
        // Another thread may have been holding the pool's lock, and none is here to be joined.
        core::mem::forget(self);
    }

    fn report(&self) -> Report {
        self.report.clone()
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.pool.end();
    }
}
