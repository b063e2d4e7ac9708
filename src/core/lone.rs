//! An operation that is alone, done by the thread that is about to wait for it.
//!
//! A write and a flush may go from a ring to a kernel worker: two hand-overs for what the
//! thread could do itself, since it has nothing else to do. So where `policy` says so, a thread
//! that steps without a limit of time takes the one operation there is out of the queue and calls
//! the system. It holds neither the lock nor the lead meanwhile: others submit, step and lead as
//! ever. To the machines the entry is one in the ring, and the call's answer is its completion: a
//! short count goes on, a cancel finds it in flight, a fork loses it, all as with any other.
//!
//! Worked example: a write w and a sync s are submitted, s waiting for w. A thread steps: w is
//! alone in the queue and nothing is in flight, so it writes by `pwrite`. That is a result, so the
//! step ends. The next one finds s alone, and flushes. Another thread that submits a read in
//! between starts it at once, and whoever steps for it leads.

use littoral_platform::lock::MutexGuard;
use littoral_platform::{Cqe, Sqe};

use super::Core;
use super::policy::Company;
use super::push::{Tagged, call_now};
use super::state::State;
use super::table::Phase;
use crate::Operation;

impl State {
    /// The one operation that is better done without the ring, if there is one. It then counts as
    /// in flight.
    fn take_lone(&mut self) -> Option<Sqe> {
        use Operation::{Allocate, Pwrite, Pwritev, Sync, Truncate};
        let slot = &self.slots[self.queue.only()?];
        let may_go_to_a_worker = match slot.phase {
            Phase::Flush => true,
            Phase::Main => matches!(slot.operation, Sync | Pwrite | Pwritev | Truncate | Allocate),
            _ => slot.operation == Sync,
        };
        let company = Company {
            in_ring: self.in_flight as usize,
            // The driver's own thread is for all the others, also where it does not wait just now.
            threads: self.followers + u32::from(self.leader) + u32::from(self.thread.is_some()),
            untold: self.ended.len() + self.deliveries.len(),
            planned: self.batches.len(),
        };
        if !may_go_to_a_worker || !company.is_nobody() || !self.naps.is_empty() {
            return None;
        }
        self.take_only()
    }
}

impl Core {
    /// Does what is alone, if it is better done here, until something is to be told to whoever has
    /// `seen` what was delivered before. Comes back with the lock, and true if what is queued is
    /// better left to the next step, which may find it alone.
    pub(crate) fn call_alone<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        seen: u64,
    ) -> (MutexGuard<'a, State>, bool) {
        let mut called = false;
        while state.limits.lone_calls
            && state.dead.is_none()
            && state.delivered == seen
            && let Some(direct) = state.direct.clone()
            && let Some(sqe) = state.take_lone()
        {
            called = true;
            // Whoever submits meanwhile has to see to it that things start: this thread does not.
            state.calling = true;
            state.is_followed();
            drop(state);
            let result = call_now(&*direct, &sqe);
            state = self.lock();
            state.calling = false;
            state.followers -= 1;
            let Tagged::Slot { slot, entry } = Tagged::of(sqe.tag) else { break };
            // If not, the ring was lost meanwhile, and all that was in flight with it.
            if state.slots.get(slot).is_some_and(|slot| slot.awaits(entry)) {
                state.complete(Cqe { tag: sqe.tag, result });
            }
            if state.leader {
                // It waits for the ring, which knows nothing of this.
                drop(state);
                self.ring_bell();
                state = self.lock();
            }
        }
        let leave = called && !state.ended.is_empty() && state.in_flight == 0;
        let leave = leave && state.queue.only().is_some();
        (state, leave)
    }
}
