//! The end of a driver.
//!
//! When the last handle goes, intake ends, all that is unfinished is cancelled and waited for, and
//! the files are closed. What the platform has not answered in time ends as `Abandoned`: its memory
//! and its file are leaked, because the platform may still use them. Closing a ring does not wait
//! for what is in it, so this waiting is all that stands between freed memory and the kernel.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, PoisonError};

use littoral_platform::Ring;

use super::Core;
use super::events::Event;
use super::state::Leftover;
use super::table::{Key, Stage};
use crate::ErrorKind;

impl Core {
    /// Ends the driver. Nobody else steps: there is no handle left to do it by, and its own thread,
    /// if it has one, is told to end before.
    pub(crate) fn end(self: &Arc<Self>) {
        self.stop_thread();
        let mut state = self.lock();
        state.closed = true;
        // In a forked child the ring is gone before its driver, and a thread that was waiting for
        // it, which is not here, holds `platform` for ever.
        let is_ours = state.ring.is_some();
        state.queue.road = 0;
        let timeout = u64::try_from(state.config.drain_timeout.as_nanos()).unwrap_or(u64::MAX);
        let deadline = self.clock.monotonic_nanos().saturating_add(timeout);
        let alive: Vec<Key> = state.slots.alive().map(|slot| state.key(slot)).collect();
        let unfinished = state.unfinished as usize;
        for key in alive {
            state.cancel(key);
        }
        state.events.note(|| Event::Draining(unfinished));
        // What is noted from here on is told with the end: no subscriber prolongs the drain.
        let events = state.events.take();
        drop(state);
        self.teller.tell(&events);

        self.drain(deadline, |state| state.unfinished as usize > state.ended.len());
        let mut state = self.lock();
        let mut abandoned = state.abandon(ErrorKind::Abandoned, None);
        state.release_ranges();
        let files: Vec<u32> = state.files.all().collect();
        for file in files {
            state.release_all(file);
        }
        drop(state);
        self.drain(deadline, |state| state.in_flight > 0 || state.is_anything_queued());

        let mut state = self.lock();
        abandoned += state.abandon(ErrorKind::Abandoned, None);
        state.events.note(|| Event::Ended { abandoned });
        state.publish_all();
        self.delivered.store(state.delivered, core::sync::atomic::Ordering::Release);
        let direct = state.direct.take();
        if let Some(ring) = state.ring.take() {
            state.statistics.fixed = ring.fixed();
            state.leftovers.push(Leftover::Ring(ring));
        }
        let arenas = state.registry.clear();
        state.leftovers.extend(arenas.into_iter().map(Leftover::Arena));
        self.leave(state);
        if is_ours {
            if self.lock().polled > 0 {
                // Who polls is to see that it is over.
                self.ring_bell();
            }
            let platform = self.platform.write().unwrap_or_else(PoisonError::into_inner).take();
            drop((platform, direct));
        }
        self.deliver_all();
        self.join_thread();
    }

    /// Tells everything there is: nobody steps any more. A callback that panics loses no other.
    fn deliver_all(self: &Arc<Self>) {
        let mut panicked = None;
        while !self.lock().deliveries.is_empty() {
            let told = catch_unwind(AssertUnwindSafe(|| self.deliver(usize::MAX)));
            panicked = panicked.or(told.err());
        }
        if let Some(panic) = panicked {
            resume_unwind(panic);
        }
    }

    /// Works until `unfinished` says no, the time is over, or nothing can be waited for here.
    fn drain(&self, deadline: u64, unfinished: impl Fn(&super::State) -> bool) {
        let mut idle_rounds = 0;
        loop {
            let mut state = self.lock();
            state.work(true, true);
            let now = self.clock.monotonic_nanos();
            if state.dead.is_some() || now >= deadline || !unfinished(&state) {
                return;
            }
            // Where nothing can be waited for, a few rounds finish all that needs no host.
            idle_rounds += 1;
            if !state.limits.may_block && idle_rounds > ROUNDS_WITHOUT_WAITING {
                return;
            }
            if state.limits.may_block {
                let left = Some(core::time::Duration::from_nanos(deadline - now));
                // With nothing in flight, the ring refused everything: it is asked again.
                drop(if state.in_flight > 0 {
                    self.lead(state, left)
                } else {
                    self.pause(state, idle_rounds, left)
                });
            }
        }
    }
}

const ROUNDS_WITHOUT_WAITING: u32 = 64;

impl super::State {
    /// A file's users are gone with the driver. It is closed, unless something of it is in the
    /// ring.
    fn release_all(&mut self, file: u32) {
        let entry = self.files.get(file);
        if entry.users > 0 {
            entry.users = 1;
            self.let_go(file);
        }
    }

    /// Whether the ring may still have an entry of this slot.
    pub(crate) fn is_in_ring(&self, slot: u32) -> bool {
        self.slots[self.slots[slot].head].stage == Stage::Pushed
    }
}
