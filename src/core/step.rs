//! Making progress: who waits for the ring, who waits for that one, and when results are told.
//!
//! One thread at a time, the leader, waits for the ring, without holding the lock; others park
//! until something was delivered or the lead is free. A thread that submits meanwhile starts its
//! entries itself. Telling comes last: when the first callback runs, every result of the batch is
//! published, other threads are awake and the lead is given up, so a callback may do anything, also
//! `step`.

use core::sync::atomic::Ordering;
use core::time::Duration;
use std::sync::Arc;

use littoral_platform::lock::MutexGuard;
use littoral_platform::{Errno, Ring};

use super::Core;
use super::events::Event;
use super::fork::{FORKED, FORKED_TEXT};
use super::held::Held;
use super::state::{Delivery, State};
use super::table::{NONE, Slot, Stage};
use crate::{Error, ErrorKind, Operation, Status, Step, Wait};

/// How often in a row a ring that has nothing in flight may refuse what is queued before it counts
/// as dead.
const REFUSALS_MAX: u32 = 10_000;

impl State {
    /// Whether somebody has to step for things to go on.
    pub(crate) fn has_business(&self) -> bool {
        let queued = self.dead.is_none() && self.is_anything_queued();
        self.unfinished > 0 || queued || !self.deliveries.is_empty()
    }

    /// One more waits for the leader, or is to be told. Whoever submits from here on has to look
    /// for such.
    pub(crate) fn is_followed(&mut self) {
        self.followers += 1;
        self.queue.road = 0;
    }

    /// Entries that the platform has not been handed yet.
    pub(crate) fn unsubmitted(&self) -> u32 {
        self.ring.as_ref().map_or(0, Ring::unsubmitted)
    }

    /// Something waits to be handed to the ring.
    pub(crate) fn is_anything_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Pushes, submits if so told, and takes what is there. Where the ring executes at submit, this
    /// goes on to the end of everything that needs no host. Elsewhere one batch is enough; what it
    /// set free is started before its results are told.
    pub(crate) fn work(&mut self, submit: bool, publish: bool) {
        self.wake_sleepers();
        loop {
            self.start(submit);
            if !self.reap(publish) {
                return;
            }
            if !self.limits.executes_at_submit {
                self.start(submit);
                return;
            }
        }
    }

    fn start(&mut self, submit: bool) {
        self.pump();
        if submit {
            self.submit();
        }
    }

    /// The ring is dead: everything ends, and what the platform may still have is not freed.
    pub(crate) fn ring_lost(&mut self, code: Errno) {
        if self.dead.replace(code).is_some() {
            return;
        }
        self.closed = true;
        self.queue.road = 0;
        self.events.note(|| Event::RingLost(code));
        self.abandon(ErrorKind::RingLost, Some(code));
    }

    /// Ends all that is unfinished. Memory that the ring may still touch is leaked.
    /// Answers of how many operations.
    pub(crate) fn abandon(&mut self, kind: ErrorKind, code: Option<Errno>) -> usize {
        self.turn_all_off();
        // Nobody is left to be told later, of room, of the end of everything, of a close.
        self.rooms.clear();
        self.naps.clear();
        self.shutdowns.clear();
        let files: Vec<u32> = self.files.all().collect();
        for file in files {
            self.files.get(file).closer = NONE;
        }
        // A group ends by its members.
        let ends = |slot: &Slot| !slot.is_over() && slot.operation != Operation::Group;
        let unfinished: Vec<u32> =
            self.slots.alive().filter(|&slot| ends(&self.slots[slot])).collect();
        let in_ring: Vec<u32> =
            unfinished.iter().copied().filter(|&slot| self.is_in_ring(slot)).collect();
        let count = in_ring.len();
        let mut names = Vec::new();
        for index in unfinished {
            if self.slots[index].is_over() {
                continue;
            }
            let operation = self.slots[index].operation;
            let error = match code {
                Some(FORKED) => Error::new(kind, operation).because(FORKED_TEXT),
                Some(code) => Error::from_code(code, operation).of_kind(kind),
                None => Error::new(kind, operation),
            };
            let error = self.describe(index, error);
            if code.is_none() && matches!(self.slots[index].held, Held::Naming(_)) {
                // At a driver's end nobody waits for a name but closes: all others are cancelled.
                if self.slots[index].stage != Stage::Waiting {
                    names.extend(self.names_of(index).into_iter().flatten());
                }
            }
            let slot = &mut self.slots[index];
            if in_ring.contains(&index) {
                core::mem::forget(core::mem::take(&mut slot.held));
                core::mem::forget(core::mem::take(&mut slot.spans));
                if slot.file != NONE {
                    // One pin that is never taken back: the handles stay open.
                    let file = slot.file;
                    self.files.get(file).pins += 1;
                }
            } else if matches!(slot.held, Held::Naming(_)) {
                self.close_stray(index);
            }
            self.finish(index, Err(error));
        }
        self.queue.forget_slots();
        self.batches.forget_slots();
        for name in names {
            self.next_turn(&name);
        }
        count
    }

    pub(crate) fn publish_all(&mut self) {
        self.publish();
        if !self.shutdowns.is_empty() && self.unfinished as usize == self.shutdowns.len() {
            for slot in core::mem::take(&mut self.shutdowns) {
                let last_word = self.last_word();
                self.finish(slot, last_word);
            }
            self.publish();
        }
    }
}

impl Core {
    pub(crate) fn step(self: &Arc<Self>, seen: u64, wait: Wait) -> Step {
        self.step_beside(seen, wait, 0)
    }

    /// A step of one who owns so many of the polled descriptors, which need not be told of it.
    pub(crate) fn step_beside(self: &Arc<Self>, seen: u64, wait: Wait, own: u32) -> Step {
        if wait != Wait::No
            && let Some(step) = self.step_alone(seen)
        {
            return step;
        }
        let deadline = match wait {
            Wait::For(time) => Some(self.clock.monotonic_nanos().saturating_add(nanos(time))),
            _ => None,
        };
        let (mut state, status) = self.progress(seen, wait, deadline);
        let delivered = state.delivered;
        let mut leftovers = state.take_leftovers();
        let events = state.events.take();
        let pending = state.deliveries.len();
        let told = status == Status::Delivered;
        if told && state.followers > 0 {
            self.followers.notify_all();
        }
        // The leader may wait for what this step has taken from under it.
        let ring_bell = (told || state.rings_bell) && (state.leader || state.polled > own);
        let alarm = state.alarm();
        drop(state);
        if ring_bell {
            self.ring_bell();
        }
        if let Some(time) = alarm {
            self.ring_bell_after(time);
        }
        if !leftovers.is_empty() {
            leftovers.clear();
            self.return_leftovers(leftovers);
        }
        self.teller.tell(&events);
        self.deliver(pending);
        Step { delivered, status }
    }

    /// Until something is delivered, or waiting is over. Comes back with the lock.
    fn progress(
        &self,
        seen: u64,
        wait: Wait,
        deadline: Option<u64>,
    ) -> (MutexGuard<'_, State>, Status) {
        let mut state = self.lock();
        if !state.batches.is_empty() {
            state.start_staged();
        }
        let mut refusals = 0;
        loop {
            let mut leave = false;
            if wait == Wait::Forever {
                (state, leave) = self.call_alone(state, seen);
            }
            let may_wait = wait != Wait::No && state.limits.may_block && state.delivered == seen;
            let leads = may_wait && !state.leader;
            // Who is about to wait submits with the same call.
            let submit = !leads || state.limits.executes_at_submit;
            if !leave {
                state.work(submit, true);
            }
            state.publish_all();
            self.delivered.store(state.delivered, Ordering::Release);
            let status = if state.delivered != seen || !state.deliveries.is_empty() {
                Status::Delivered
            } else if !state.has_business() {
                Status::Idle
            } else if !state.limits.may_block {
                Status::NeedsHost
            } else if !may_wait {
                Status::Pending
            } else {
                let left = deadline.map(|end| end.saturating_sub(self.clock.monotonic_nanos()));
                if left == Some(0) {
                    state.submit();
                    return (state, Status::Pending);
                }
                let next_try = state.time_to_next_try();
                // Also for nothing but the time, unless there is something to push.
                let waits_for_ring =
                    state.in_flight > 0 || (next_try.is_some() && !state.is_anything_queued());
                let left = left.map(Duration::from_nanos).into_iter().chain(next_try).min();
                state = if leads && waits_for_ring {
                    self.lead(state, left)
                } else if leads && !state.queue.is_empty() {
                    // The ring refused everything and has nothing to wait for: it is asked again.
                    state.submit();
                    refusals += 1;
                    if refusals > REFUSALS_MAX {
                        state.ring_lost(Errno::BUSY);
                    }
                    self.pause(state, refusals, left)
                } else {
                    // Another thread leads, or what is missing is for another thread to do.
                    let again = state.leader && state.unsubmitted() > 0;
                    refusals = if again { refusals + 1 } else { 0 };
                    // What was refused just now is not what the leader waits for: nothing may be
                    // there whose end would have it try again.
                    let pause = again.then(|| Duration::from_micros(1 << refusals.min(10)));
                    let left = left.into_iter().chain(pause).min();
                    self.follow(state, left)
                };
                continue;
            };
            state.submit();
            return (state, status);
        }
    }

    /// Waits for the ring, submitting on the way what was pushed.
    pub(crate) fn lead<'a>(
        &'a self,
        state: MutexGuard<'a, State>,
        timeout: Option<Duration>,
    ) -> MutexGuard<'a, State> {
        let refused = state.submits_refused;
        if refused > 0 {
            // Submitting again at once would be refused again: what is in flight has to end first.
            let mut state = self.pause(state, refused, timeout);
            state.submit();
            return state;
        }
        let unsubmitted = state.unsubmitted();
        self.wait_for_ring(state, unsubmitted, timeout)
    }

    /// Waits for the ring a little longer each time, up to a millisecond, and submits nothing.
    pub(crate) fn pause<'a>(
        &'a self,
        state: MutexGuard<'a, State>,
        times: u32,
        timeout: Option<Duration>,
    ) -> MutexGuard<'a, State> {
        let pause = Duration::from_micros(1 << times.min(10));
        self.wait_for_ring(state, 0, Some(timeout.map_or(pause, |left| left.min(pause))))
    }

    fn wait_for_ring<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        unsubmitted: u32,
        timeout: Option<Duration>,
    ) -> MutexGuard<'a, State> {
        state.leader = true;
        // Whoever comes from here on has to look whom to tell.
        state.queue.road = 0;
        drop(state);
        let waited = match &*self.platform() {
            Some(platform) => platform.doorbell.wait(unsubmitted, timeout),
            None => Ok(()),
        };
        let mut state = self.lock();
        state.leader = false;
        if state.followers > 0 {
            // One of them may have to lead now.
            self.followers.notify_all();
        }
        if let Err(code) = waited {
            state.submit_failed(code);
        }
        state
    }

    pub(crate) fn follow<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        timeout: Option<Duration>,
    ) -> MutexGuard<'a, State> {
        state.is_followed();
        match timeout {
            None => self.followers.wait(&mut state),
            Some(timeout) => {
                if self.followers.wait_for(&mut state, timeout).timed_out() {
                    self.clock.slept(timeout);
                }
            }
        }
        state.followers -= 1;
        state
    }

    /// Tells what is to be told, one at a time from one queue, so that a nested or another thread's
    /// `step` goes on where a callback stays long or panics.
    ///
    /// What is to be told only because of that waits for the next `step`, so that this one ends.
    pub(crate) fn deliver(self: &Arc<Self>, count: usize) {
        for _ in 0..count {
            let next = self.lock().deliveries.pop_front();
            match next {
                None => return,
                Some(Delivery::Wake(waker)) => waker.wake(),
                Some(Delivery::Call(callback, outcome)) => callback(outcome, self),
            }
        }
    }

    pub(crate) fn interrupt(&self) {
        let mut state = self.lock();
        state.delivered += 1;
        self.delivered.store(state.delivered, Ordering::Release);
        let (hears_bell, followers) = (state.leader || state.polled > 0, state.followers);
        drop(state);
        if hears_bell {
            self.ring_bell();
        }
        if followers > 0 {
            self.followers.notify_all();
        }
    }

    /// The host gives a turn: one step, and another turn is asked for if that left work which needs
    /// no answer of the host.
    pub(crate) fn host_turn(self: &Arc<Self>) {
        self.lock().turn_asked = false;
        self.step(self.delivered(), Wait::No);
        let mut state = self.lock();
        let left =
            state.is_anything_queued() || !(state.ended.is_empty() && state.deliveries.is_empty());
        if left && !state.turn_asked {
            state.turn_asked = true;
            drop(state);
            self.ring_bell();
        }
    }
}

pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
