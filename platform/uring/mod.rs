//! `io_uring`, on Linux.
//!
//! - `setup` climbs down a ladder of flags and sizes until the kernel agrees, probes what it can
//!   do, and says why where it refuses.
//! - `entry` translates an operation into the kernel's entry, `unix` into system calls. Every
//!   operation has both: what this kernel's ring lacks is called directly in [`Ring::push`], and
//!   its completion waits in `made` for [`Ring::reap`]. The caller sees the same results.
//! - `doorbell` waits without holding the ring.
//!
//! # Who touches what
//!
//! The ring lies in an [`Arc`], because a waiter uses its descriptor while another thread pushes.
//! Its two queues in shared memory have one user each side, though: the kernel, and the holder of
//! `&mut Uring`. That is why the crate's `submission_shared` and `completion_shared` are sound
//! here, and why they appear in this file only.
//!
//! # In flight
//!
//! `live` counts what was pushed and not reaped. It never exceeds what the completion queue holds
//! besides the doorbell's entry, so that the queue cannot overflow. If it did all the same, the
//! kernel keeps the rest and raises a flag: an empty queue with the flag up is flushed before it is
//! believed.
//!
//! The submission queue may be shorter: it holds what was pushed since the last submit. One of its
//! entries is kept free, so that the doorbell can always be armed again.
//!
//! # Dropping
//!
//! Closing a ring does not wait for its operations (teardown runs in a kernel worker), so whoever
//! drops a `Uring` with entries in flight must keep their memory alive for ever. The engine drains
//! first. Nothing that the ring itself owns is written by the kernel after the drop: the doorbell's
//! poll has no memory, and results made by direct calls are there already. A waiter, or a doorbell
//! somewhere, keeps the descriptor open.

mod bell;
mod doorbell;
mod entry;
mod regions;
mod setup;
mod slots;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;

use self::doorbell::Bell;
use self::entry::{Ops, encode};
use self::regions::Regions;
use self::slots::Slots;
use crate::unix::{Files, close_copies};
use crate::{
    Cqe, Direct, Doorbell, Errno, Full, Handle, Limits, Op, Read, Report, Ring, Setup, SetupError,
    Sqe, Tag,
};

/// The tag of the doorbell's poll.
const BELL: Tag = Tag(u64::MAX);
/// Tags from here on are the ring's own.
const RESERVED: u64 = u64::MAX - 1;

/// An `io_uring` and what it takes to use it well.
///
/// Tags `u64::MAX` and `u64::MAX - 1` are its own: no pushed entry may carry them. Names are
/// relative to the root; created files get mode `0644` less the umask; every descriptor is
/// close-on-exec.
pub struct Uring {
    bell: Arc<Bell>,
    files: Arc<Files>,
    /// `files.root()`, at hand for entries.
    root: RawFd,
    /// What the kernel's ring executes; the rest is called directly.
    ops: Ops,
    /// The memory and the files that the kernel knows ahead.
    regions: Regions,
    slots: Slots,
    /// Completions of direct calls.
    made: VecDeque<Cqe>,
    /// Entries pushed and not reaped.
    live: u32,
    /// Submission entries that pushes may use: all but the doorbell's.
    room: usize,
    /// The same for `push_read`: none where the kernel has no such operation, or files have slots.
    room_for_reads: usize,
    /// The doorbell's poll is in the submission queue or in the kernel.
    armed: bool,
    limits: Limits,
    report: Report,
}

/// The number in an error of the `io-uring` crate.
fn code(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::IO, Errno::from_raw)
}

/// A completion's number: a count, or a negated error.
#[inline]
fn result(number: i32) -> Result<u64, Errno> {
    if number >= 0 { Ok(u64::from(number.unsigned_abs())) } else { Err(Errno::from_raw(-number)) }
}

impl Uring {
    /// Sets up a ring, opens the root, and checks that entries come back.
    ///
    /// # Errors
    /// The root cannot be opened, or the kernel has no ring for this process; `what` names the
    /// likely cause and the remedy.
    pub fn new(setup: &Setup) -> Result<Uring, SetupError> {
        Uring::on(Arc::new(Files::new(setup)?), setup).map_err(|(error, _)| error)
    }

    /// With a root that is open.
    pub(crate) fn on(files: Arc<Files>, setup: &Setup) -> Result<Uring, setup::Refusal> {
        setup::on(files, setup)
    }

    /// As [`Ring::push`] of an [`Op::Read`]; [`Full`] also where the kernel's ring has no such
    /// operation.
    ///
    /// # Safety
    /// As [`Ring::push`].
    #[expect(clippy::inline_always, reason = "once an operation, and counted")]
    #[inline(always)]
    pub(crate) unsafe fn push_read(&mut self, read: Read) -> Result<(), Full> {
        if self.live >= self.limits.in_flight {
            return Err(Full);
        }
        // SAFETY: `&mut self` is the one holder of the queue.
        let mut queue = unsafe { self.bell.ring.submission_shared() };
        if queue.len() >= self.room_for_reads {
            return Err(Full);
        }
        let place = self.regions.place(read.region);
        // SAFETY: as in `push`.
        if unsafe { queue.push(&entry::read(&read, place)) }.is_err() {
            return Err(Full);
        }
        self.live += 1;
        self.regions.used += u64::from(place.is_some());
        Ok(())
    }

    /// As [`AnyRing::reap_while`](crate::AnyRing::reap_while).
    #[expect(clippy::inline_always, reason = "once an operation, and counted")]
    #[inline(always)]
    pub(crate) fn reap_while(&mut self, plain: &mut impl FnMut(Cqe) -> bool) -> (u32, Option<Cqe>) {
        let mut count = 0;
        if self.made.is_empty() {
            // SAFETY: `&mut self` is the one holder of the queue.
            for cqe in unsafe { self.bell.ring.completion_shared() } {
                if cqe.user_data() >= RESERVED {
                    self.armed = false;
                    break;
                }
                let cqe = Cqe { tag: Tag(cqe.user_data()), result: result(cqe.result()) };
                if !plain(cqe) {
                    self.live -= count + 1;
                    return (count, Some(cqe));
                }
                count += 1;
            }
        }
        self.live -= count;
        (count, self.reap())
    }

    /// Puts the doorbell's poll into the submission queue, which has an entry kept free for it.
    #[cold]
    fn arm(&mut self) {
        self.bell.reset();
        let poll = self.bell.poll();
        // SAFETY: `&mut self` is the one holder of the queue. The poll points to no memory.
        self.armed = unsafe { self.bell.ring.submission_shared().push(&poll) }.is_ok();
        // At once: a thread that is about to wait may have counted the entries already.
        let _ = self.submit();
    }

    /// Arms unless there are completions left. While there are, no waiter sleeps, and arming may
    /// wait for the last: a bell whose waiter has not returned yet fires again at once, and would
    /// be taken and armed in a circle.
    #[cold]
    fn arm_if_empty(&mut self) {
        // SAFETY: `&mut self` is the one holder of the queue.
        if unsafe { self.bell.ring.completion_shared() }.is_empty() {
            self.arm();
        }
    }

    /// Submits what is queued.
    #[inline]
    fn enter(&self, queued: u32) -> Result<(), Errno> {
        // SAFETY: what the entries point to is alive by the promise of `push`; there is no
        // argument, and nothing is waited for.
        let entered = unsafe { self.bell.ring.submitter().enter::<()>(queued, 0, 0, None) };
        match entered {
            Ok(submitted) if submitted == queued as usize => Ok(()),
            entered => self.enter_again(entered),
        }
    }

    /// The kernel took only some of the entries: goes on until nothing is left or it takes none.
    #[cold]
    fn enter_again(&self, mut entered: io::Result<usize>) -> Result<(), Errno> {
        loop {
            let queued = self.unsubmitted();
            match entered {
                // A waiter may have submitted them in the meantime.
                _ if queued == 0 => return Ok(()),
                Ok(0) => return Err(Errno::AGAIN),
                // Without SUBMIT_ALL the kernel stops behind an entry that it finds bad.
                Ok(_) => {}
                Err(error) => return Err(code(&error)),
            }
            // SAFETY: as in `enter`.
            entered = unsafe { self.bell.ring.submitter().enter::<()>(queued, 0, 0, None) };
        }
    }

    /// Executes the entry by a direct call, and keeps its completion.
    ///
    /// # Safety
    /// As [`Ring::push`].
    #[cold]
    unsafe fn make(&mut self, sqe: &Sqe) {
        let result = match sqe.op {
            // SAFETY: the caller's promise.
            Op::Register { region, span } => unsafe { self.register(region, span) },
            Op::Unregister { region } => self.unregister(region),
            // SAFETY: the caller's promise covers the call.
            ref op => unsafe { self.files.call(op) },
        };
        self.made.push_back(Cqe { tag: sqe.tag, result });
        self.live += 1;
        self.bell.set_made(true);
    }

    #[cold]
    fn reap_made(&mut self) -> Option<Cqe> {
        let cqe = self.made.pop_front();
        self.live -= u32::from(cqe.is_some());
        if self.made.is_empty() {
            self.bell.set_made(false);
        }
        cqe
    }

    /// The kernel keeps completions that found no room.
    #[inline]
    fn has_overflowed(&mut self) -> bool {
        // SAFETY: `&mut self` is the one holder of the queue.
        unsafe { self.bell.ring.submission_shared() }.cq_overflow()
    }

    /// The completion queue is empty: is it true? Says whether to look again.
    #[inline]
    fn look_again(&mut self) -> bool {
        if self.has_overflowed() {
            return self.flush();
        }
        if !self.armed {
            self.arm();
        }
        false
    }

    /// Asks the kernel for the completions that found no room. Says whether some came.
    #[cold]
    fn flush(&mut self) -> bool {
        let flags = io_uring::EnterFlags::GETEVENTS.bits();
        // SAFETY: there are no entries and no argument, and nothing is waited for.
        let flushed = unsafe { self.bell.ring.submitter().enter::<()>(0, 0, flags, None) };
        // SAFETY: `&mut self` is the one holder of the queue.
        flushed.is_ok() && !unsafe { self.bell.ring.completion_shared() }.is_empty()
    }
}

// SAFETY: the kernel completes every entry that it took exactly once, and has done with its memory
// by then; a direct call has done with it before `push` returns. Counts are the kernel's. Entries
// that the kernel did not take stay in the submission queue, which `unsubmitted` counts.
unsafe impl Ring for Uring {
    fn limits(&self) -> &Limits {
        &self.limits
    }

    #[inline]
    unsafe fn push(&mut self, sqe: &Sqe) -> Result<(), Full> {
        debug_assert!(sqe.tag.0 < RESERVED, "tags from {RESERVED} on are the ring's own");
        if self.live >= self.limits.in_flight {
            return Err(Full);
        }
        let place = self.regions.place(sqe.region);
        let filed = if self.slots.is_on() { self.with_slot(&sqe.op) } else { None };
        let op = filed.as_ref().unwrap_or(&sqe.op);
        let Some(mut entry) = encode(op, self.ops, self.root, place) else {
            // SAFETY: the caller's promise, handed on.
            unsafe { self.make(sqe) };
            return Ok(());
        };
        if filed.is_some() {
            // What stands for the descriptor is a slot.
            entry = entry.flags(io_uring::squeue::Flags::FIXED_FILE);
        }
        // SAFETY: `&mut self` is the one holder of the queue.
        let mut queue = unsafe { self.bell.ring.submission_shared() };
        if queue.len() >= self.room {
            return Err(Full);
        }
        // SAFETY: what the entry points to is alive until its completion was reaped, by the
        // caller's promise.
        if unsafe { queue.push(&entry.user_data(sqe.tag.0)) }.is_err() {
            return Err(Full);
        }
        self.live += 1;
        self.regions.used += u64::from(place.is_some());
        Ok(())
    }

    #[inline]
    fn submit(&mut self) -> Result<(), Errno> {
        let queued = self.unsubmitted();
        if queued == 0 { Ok(()) } else { self.enter(queued) }
    }

    #[inline]
    fn unsubmitted(&self) -> u32 {
        // SAFETY: the holder of `&Uring` keeps away the holder of `&mut Uring`, the one writer of
        // the queue; the queue's object is gone before anybody else of this side can come.
        let queued = unsafe { self.bell.ring.submission_shared() }.len();
        #[expect(clippy::cast_possible_truncation, reason = "the queue's own length is a `u32`")]
        let queued = queued as u32;
        queued
    }

    #[inline]
    fn reap(&mut self) -> Option<Cqe> {
        if !self.made.is_empty() {
            return self.reap_made();
        }
        loop {
            // SAFETY: `&mut self` is the one holder of the queue.
            let next = unsafe { self.bell.ring.completion_shared() }.next();
            match next {
                Some(cqe) if cqe.user_data() < RESERVED => {
                    self.live -= 1;
                    if !self.armed {
                        self.arm_if_empty();
                    }
                    let result = result(cqe.result());
                    return Some(Cqe { tag: Tag(cqe.user_data()), result });
                }
                // The bell rang, or the thread that armed it has ended. Armed again before `reap`
                // leaves an empty queue behind.
                Some(_) => self.armed = false,
                None if self.look_again() => {}
                None => return None,
            }
        }
    }

    fn has_completions(&self) -> bool {
        // SAFETY: as in `unsubmitted`: the queue's one reader is kept away.
        !self.made.is_empty() || !unsafe { self.bell.ring.completion_shared() }.is_empty()
    }

    fn doorbell(&self) -> Arc<dyn Doorbell> {
        self.bell.clone()
    }

    fn direct(&self) -> Arc<dyn Direct> {
        self.files.clone()
    }

    fn forked(self: Box<Self>, files: &[Handle]) {
        close_copies(files);
        // Unmaps the child's view of the queues, and closes its copies of the descriptors.
        drop(self);
    }

    fn keep_files(&mut self, files: u32) -> Result<u32, Errno> {
        self.make_slots(files)
    }

    fn fixed(&self) -> u64 {
        self.regions.used
    }

    fn report(&self) -> Report {
        self.report.clone()
    }
}
