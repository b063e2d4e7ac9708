//! The ways to a ring for those who do not hold it.

use core::time::Duration;
use std::sync::Arc;

#[cfg(doc)]
use crate::Ring;
use crate::sharing::Sharing;
use crate::{Errno, Op, Polled};

/// Waits for a ring without holding it.
pub trait Doorbell: Send + Sync {
    /// Submits up to `unsubmitted` entries (those that [`Ring::unsubmitted`] counted while the ring
    /// was held), then returns when a completion can be reaped, [`Doorbell::ring`] was called since
    /// the last wait, or the time is over. May return early.
    ///
    /// One thread waits at a time. Completions left in the ring end a wait at once.
    ///
    /// # Errors
    /// As [`Ring::submit`].
    fn wait(&self, unsubmitted: u32, timeout: Option<Duration>) -> Result<(), Errno>;

    /// Wakes the waiter, or the next one. Where nothing can wait, asks the host for a turn.
    fn ring(&self);

    /// Where nothing can wait, asks the host for a turn after that time, once; one that comes early
    /// does no harm. So it is for polled descriptors, which are readable then. Other waiters mind
    /// the time themselves.
    fn ring_after(&self, time: Duration) {
        let _ = time;
    }

    /// A descriptor for a foreign event loop, readable from the start, after each
    /// [`Doorbell::ring`], and when a completion can be reaped, until it was
    /// [stepped for](Polled::begin).
    ///
    /// # Errors
    /// `EOPNOTSUPP` for a ring without one; no more descriptors are to be had.
    fn polled(&self) -> Result<Arc<Polled>, Errno> {
        Err(Errno::OPNOTSUPP)
    }
}

/// Operations executed by the calling thread, now.
pub trait Direct: Send + Sync {
    /// Executes `op` and answers what its completion would have said; `EAGAIN` where only the
    /// host's turn could do it. A handle with which an entry was pushed is closed by an entry, and
    /// not here: the ring may keep its file in a place of its own.
    ///
    /// # Errors
    /// As the operation's completion.
    ///
    /// # Safety
    /// As [`Ring::push`], until the call returns.
    unsafe fn call(&self, op: &Op) -> Result<u64, Errno>;

    /// Locks of byte ranges and mapped memory, where files are shared by processes.
    fn sharing(&self) -> Option<&dyn Sharing> {
        None
    }

    /// As [`Direct::call`], but only if it can be done without waiting for a device: then nothing
    /// else was done, and the error is `EAGAIN` or why there is no telling.
    ///
    /// # Errors
    /// As [`Direct::call`], and `EAGAIN`, which is also the answer of a platform that cannot tell.
    ///
    /// # Safety
    /// As [`Direct::call`].
    unsafe fn call_without_waiting(&self, op: &Op) -> Result<u64, Errno> {
        let _ = op;
        Err(Errno::AGAIN)
    }
}
