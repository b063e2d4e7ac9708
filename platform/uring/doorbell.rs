//! Waiting for the ring without holding it, and being woken from outside.
//!
//! The waiter sleeps in `io_uring_enter(min_complete = 1)`, so a bell has to become a completion:
//! an eventfd that the ring polls. `ring` writes to it only if somebody waits, which `bell` says.
//!
//! The poll is one-shot: its completion is taken by whoever holds the ring, who arms it again. That
//! may happen before the waiter has even entered the kernel, and then the bell would be lost. So
//! the eventfd is emptied by the holder only, just before it arms the poll, and is filled again if
//! the state still says that it was rung: the waiter of that bell has not returned. The new poll
//! then fires at once, until the waiter has seen it. A bell that came early needs none of this, and
//! must have none: nobody may ever come to wait, and the poll would fire for ever.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, opcode, squeue};
use rustix::event::{EventfdFlags, PollFd, PollFlags};

use super::bell::Waiter;
use super::{BELL, code};
use crate::polled::PolledOnes;
use crate::unix::errno;
use crate::{Doorbell, Errno, Polled};

/// Longer than anybody waits, and far from the kernel's overflow. Waiting may return early.
const TIMEOUT_MAX: Duration = Duration::from_secs(1 << 30);

/// What the holder of the ring and a waiter share.
///
/// The two touch different halves of `ring`: its queues belong to the holder of `&mut Uring`, the
/// waiter only calls the kernel. A waiter keeps all of it alive, so that the ring's descriptor
/// cannot be closed, or be another file's, under its feet.
pub(super) struct Bell {
    pub(super) ring: IoUring,
    eventfd: OwnedFd,
    pub(super) waiter: Waiter,
    /// There are completions that never were in the kernel: nothing would wake a waiter for them.
    made: AtomicBool,
    /// Descriptors that foreign loops poll in the place of waiting.
    polled: PolledOnes,
    /// `IORING_FEAT_EXT_ARG`: a wait takes a timeout. Else the ring's descriptor is polled.
    timeouts: bool,
}

impl Bell {
    pub(super) fn new(ring: IoUring, timeouts: bool) -> Result<Bell, Errno> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let eventfd = rustix::event::eventfd(0, flags).map_err(errno)?;
        let (waiter, made) = (Waiter::default(), AtomicBool::new(false));
        Ok(Bell { ring, eventfd, waiter, made, polled: PolledOnes::default(), timeouts })
    }

    /// The entry that turns the next bell into a completion.
    pub(super) fn poll(&self) -> squeue::Entry {
        let readable = u32::from(PollFlags::IN.bits());
        opcode::PollAdd::new(Fd(self.eventfd.as_raw_fd()), readable).build().user_data(BELL.0)
    }

    /// Empties the eventfd, unless its waiter has not returned. By the holder, before each `poll`.
    pub(super) fn reset(&self) {
        let mut count = [0; 8];
        // Refused with EAGAIN if it is empty, which is just as good.
        let _ = rustix::io::read(&self.eventfd, &mut count);
        if self.waiter.is_rung() {
            self.write();
        }
    }

    /// Says whether there are completions that the kernel does not know of.
    pub(super) fn set_made(&self, any: bool) {
        self.made.store(any, Ordering::SeqCst);
        // Sequentially consistent with `wait`, which stores its state and then reads `made`: one
        // of the two sees the other.
        if any && self.waiter.is_waiting() {
            self.ring();
        }
    }

    fn write(&self) {
        // Refused with EAGAIN only if it is full: then it is readable, which is all we want.
        let _ = rustix::io::write(&self.eventfd, &1_u64.to_ne_bytes());
    }

    /// Submits `entries`; then waits for `want` completions if the kernel took all of them.
    fn enter(&self, entries: u32, want: u32) -> Result<usize, Errno> {
        if entries == 0 && want == 0 {
            return Ok(0);
        }
        let flags = if want == 0 { EnterFlags::empty() } else { EnterFlags::GETEVENTS };
        // SAFETY: what the entries point to is alive by the promise of `Ring::push`; there is no
        // argument. The kernel returns before it waits if it did not take every entry.
        let entered =
            unsafe { self.ring.submitter().enter::<()>(entries, want, flags.bits(), None) };
        entered.map_err(|error| code(&error))
    }

    /// As [`Self::enter`] for one completion, but not for ever.
    pub(super) fn enter_for(&self, entries: u32, timeout: Duration) -> Result<usize, Errno> {
        let timeout = timeout.min(TIMEOUT_MAX);
        if !self.timeouts {
            let submitted = self.enter(entries, 0)?;
            if submitted == entries as usize {
                self.poll_ring(timeout)?;
            }
            return Ok(submitted);
        }
        let timespec = Timespec::from(timeout);
        let args = SubmitArgs::new().timespec(&timespec);
        let flags = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG;
        // SAFETY: as in `enter`; the argument is a `SubmitArgs`, as EXT_ARG says, and it and the
        // time it points to are alive.
        let entered = unsafe { self.ring.submitter().enter(entries, 1, flags.bits(), Some(&args)) };
        entered.map_err(|error| code(&error))
    }

    /// Waits for a completion the way kernels before 5.11 let us wait with a timeout.
    fn poll_ring(&self, timeout: Duration) -> Result<(), Errno> {
        let timespec = rustix::event::Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        };
        // SAFETY: the descriptor is the ring's own, open as long as `self`.
        let fd = unsafe { BorrowedFd::borrow_raw(self.ring.as_raw_fd()) };
        match rustix::event::poll(
            &mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)],
            Some(&timespec),
        ) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(errno(error)),
        }
    }
}

impl Doorbell for Bell {
    fn wait(&self, unsubmitted: u32, timeout: Option<Duration>) -> Result<(), Errno> {
        let entered = if self.waiter.begin() {
            let entered = match timeout {
                _ if self.made.load(Ordering::SeqCst) => self.enter(unsubmitted, 0),
                None => self.enter(unsubmitted, 1),
                Some(timeout) => self.enter_for(unsubmitted, timeout),
            };
            self.waiter.end();
            entered
        } else {
            self.enter(unsubmitted, 0)
        };
        match entered {
            // Time is over, or a signal came: both are an early return.
            Ok(_) | Err(Errno::TIME | Errno::INTR) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn ring(&self) {
        self.waiter.ring(|| self.write());
        self.polled.raise();
    }

    fn ring_after(&self, time: Duration) {
        self.polled.raise_after(time);
    }

    fn polled(&self) -> Result<Arc<Polled>, Errno> {
        // SAFETY: the descriptor is the ring's own, open as long as `self`.
        let ring = unsafe { BorrowedFd::borrow_raw(self.ring.as_raw_fd()) };
        Ok(self.polled.add(Polled::over(ring)?))
    }
}
