//! A driver that steps by itself, on a thread of its own.
//!
//! The thread does what any other would: it steps, for as long as there is something to step for.
//! With nothing under way it *rests*, and to rest is to lead: it waits for the ring, so that
//! whoever submits finds a leader waiting in the kernel, starts his entries himself (as always when
//! one does) and needs to wake nobody; their completions do. Only what the ring does not take at
//! once wakes the thread, to try again.
//!
//! # Its end
//!
//! The thread keeps the engine, not the driver. When the driver's last handle goes, the thread is
//! told to stop, and whoever dropped the handle waits until nobody leads any more, which the bell
//! sees to; then the driver is drained as ever, and at the end the thread is joined. Two of its
//! moments are not ours: a callback that it runs may be long, or wait for the very thread that
//! drops the handle. So joining has the drain's bound, after which the thread ends by itself. And a
//! callback on the thread may drop that handle itself: then the driver ends inside the callback,
//! nobody is joined, and the thread ends when the callback is over.

use core::panic::AssertUnwindSafe;
use core::time::Duration;
use std::panic::catch_unwind;
use std::sync::Arc;

use littoral_platform::Errno;
use littoral_platform::thread::{self, JoinHandle};

use super::Core;
use super::events::Event;
use super::state::State;
use crate::{Error, Operation, Result, Status, Wait};

/// The driver's own thread, as the engine knows it.
pub(crate) struct Thread {
    handle: JoinHandle<()>,
    /// It waits for a ring that has nothing to answer.
    rests: bool,
    /// It is to end.
    stops: bool,
    /// It runs nothing any more, neither ours nor the user's.
    gone: bool,
}

impl Core {
    /// Has a thread of that name step from now on.
    pub(crate) fn start_thread(self: &Arc<Self>, name: &str) -> Result<()> {
        let refused = |code: Errno| {
            let error = Error::from_code(code, Operation::Start);
            match code {
                Errno::OPNOTSUPP => error.because("there are no threads here: the host steps"),
                _ => error.because(format!("the driver's thread `{name}` cannot be started")),
            }
        };
        if !self.limits.may_block {
            return Err(refused(Errno::OPNOTSUPP));
        }
        let core = Arc::clone(self);
        // Locked until it is known: the thread looks for itself there.
        let mut state = self.lock();
        let started = thread::start(name, None, move || core.drive());
        let handle = started.map_err(refused)?;
        state.thread = Some(Thread { handle, rests: false, stops: false, gone: false });
        Ok(())
    }

    /// The thread's life.
    fn drive(self: Arc<Self>) {
        loop {
            // Read before the reasons to stop: whoever gives one makes it another number.
            let seen = self.delivered();
            if self.lock().thread.as_ref().is_none_or(|thread| thread.stops) {
                break;
            }
            match catch_unwind(AssertUnwindSafe(|| self.step(seen, Wait::Forever))) {
                Ok(step) if step.status == Status::Idle => self.rest(seen),
                Ok(_) => {}
                Err(panic) => {
                    // What it carries is the user's as well, and may panic when it is dropped.
                    let _ = catch_unwind(AssertUnwindSafe(|| drop(panic)));
                    let mut state = self.lock();
                    state.statistics.panics += 1;
                    state.events.note(|| Event::CallbackPanicked);
                    self.leave(state);
                }
            }
        }
        if let Some(thread) = &mut self.lock().thread {
            thread.gone = true;
        }
        self.followers.notify_all();
    }

    /// With nothing to step for, waits until there is.
    fn rest(&self, seen: u64) {
        let mut state = self.lock();
        if state.delivered != seen || state.has_business() {
            return;
        }
        // A dead ring is nothing to wait for; there is only its driver's end to come.
        let waits_for_ring = !state.leader && state.dead.is_none() && state.ring.is_some();
        state.set_rests(waits_for_ring);
        let mut state =
            if waits_for_ring { self.lead(state, None) } else { self.follow(state, None) };
        state.set_rests(false);
    }

    /// Has the driver's thread end, and waits until nobody waits for the ring.
    pub(crate) fn stop_thread(&self) {
        let mut state = self.lock();
        let Some(thread) = &mut state.thread else { return };
        thread.stops = true;
        let bound = state.config.drain_timeout;
        drop(state);
        self.interrupt();
        self.wait_until(bound, |state| !state.leader);
    }

    /// Waits for the end of the thread, which was told to stop, but neither for itself nor, longer
    /// than a drain, for a callback.
    pub(crate) fn join_thread(&self) {
        let is_own = |thread: &Thread| thread.handle.thread().id() == thread::current().id();
        let bound = {
            let state = self.lock();
            if state.thread.as_ref().is_none_or(is_own) {
                return;
            }
            state.config.drain_timeout
        };
        let is_gone = |state: &State| state.thread.as_ref().is_none_or(|thread| thread.gone);
        if self.wait_until(bound, is_gone) {
            let thread = self.lock().thread.take();
            if let Some(thread) = thread {
                // It has no panic to tell of but one of an invariant, which was told already.
                let _ = thread.handle.join();
            }
        }
    }

    /// Says whether it came to that, before the time was over.
    fn wait_until(&self, bound: Duration, there: impl Fn(&State) -> bool) -> bool {
        let mut state = self.lock();
        let deadline = self.clock.monotonic_nanos().saturating_add(super::nanos(bound));
        while !there(&state) {
            let left = deadline.saturating_sub(self.clock.monotonic_nanos());
            if left == 0 {
                return false;
            }
            state = self.follow(state, Some(Duration::from_nanos(left)));
        }
        true
    }
}

impl State {
    fn set_rests(&mut self, rests: bool) {
        if let Some(thread) = &mut self.thread {
            thread.rests = rests;
        }
    }

    /// The ring, or its platform, did not take what was just submitted, and has nothing else whose
    /// end would wake the resting thread: that has to try again.
    pub(crate) fn must_not_rest(&self) -> bool {
        let rests = self.thread.as_ref().is_some_and(|thread| thread.rests);
        rests && (self.is_anything_queued() || self.unsubmitted() > 0)
    }

    /// This is a forked child, which has no such thread: nobody is to be joined, or told to stop.
    pub(crate) fn forget_thread(&mut self) {
        core::mem::forget(self.thread.take());
    }
}
