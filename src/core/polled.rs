//! Descriptors that foreign event loops poll, in the place of a thread that waits.
//!
//! One is readable while a step for it would do something, or while results were delivered that its
//! owner has not looked at. Where that is, besides the ring's own queue:
//!
//! - something was submitted, and nobody leads who would start it: whoever submits raises;
//! - something ended, or is to be told, outside of a step: likewise;
//! - somebody else's step delivered results, or somebody interrupted: likewise;
//! - a step left something: completions past its batch, what its callbacks caused, entries that
//!   the platform refused for now. Its own end raises, for the last of them after a pause.
//!
//! Each counts as a follower, one that never sleeps: what makes the engine wake those makes it come
//! by here, and the fast ways that are for when nobody waits stay closed.

use core::time::Duration;
use std::sync::Arc;

use littoral_platform::{Polled, Ring};

use super::Core;
use super::state::State;
use crate::{Error, ErrorKind, Operation, Result, Step, Wait};

/// When a step is worth while that was not asked for.
enum Again {
    Now,
    After(Duration),
    /// When something happens.
    Later,
}

impl Core {
    /// One more descriptor.
    pub(crate) fn polled(&self) -> Result<Arc<Polled>> {
        let polled = match &*self.platform() {
            Some(platform) => platform.doorbell.polled(),
            None => return Err(Error::new(ErrorKind::Closed, Operation::Poller)),
        };
        let polled = polled.map_err(|code| Error::from_code(code, Operation::Poller))?;
        let mut state = self.lock();
        state.polled += 1;
        state.is_followed();
        // Those who sleep have asked nobody for a turn so far.
        state.forget_alarm();
        Ok(polled)
    }

    /// It is not polled any more.
    pub(crate) fn unpolled(&self) {
        let mut state = self.lock();
        // In a forked child it counts for nothing.
        if state.polled > 0 {
            state.polled -= 1;
            state.followers -= 1;
        }
    }

    /// A step for the owner of that descriptor; `None` when there is no ring any more.
    pub(crate) fn step_polled(self: &Arc<Self>, polled: &Polled, seen: u64) -> Option<Step> {
        self.lock().ring.as_ref()?;
        polled.begin();
        // Also where a callback panics: somebody may go on with the loop.
        let end = End(self, polled);
        let step = self.step_beside(seen, Wait::No, 1);
        drop(end);
        Some(step)
    }
}

/// The end of a step for a descriptor.
struct End<'a>(&'a Core, &'a Polled);

impl Drop for End<'_> {
    fn drop(&mut self) {
        let End(core, polled) = self;
        let state = core.lock();
        let again = state.again();
        drop(state);
        match again {
            Again::Now => polled.raise(),
            Again::After(pause) => polled.raise_after(pause),
            Again::Later => {}
        }
        polled.end();
    }
}

impl State {
    /// What a step has left for another one.
    fn again(&self) -> Again {
        let Some(ring) = self.ring.as_ref().filter(|_| self.dead.is_none()) else {
            let left = !(self.ended.is_empty() && self.deliveries.is_empty());
            return if left { Again::Now } else { Again::Later };
        };
        if !(self.ended.is_empty() && self.deliveries.is_empty()) || ring.has_completions() {
            return Again::Now;
        }
        let nothing_comes = self.in_flight == 0 && self.is_anything_queued();
        if !self.leader && (self.unsubmitted() > 0 || nothing_comes) {
            // The platform refused it, and nothing that it has would make it take more.
            return Again::After(Duration::from_micros(1 << self.submits_refused.clamp(6, 10)));
        }
        Again::Later
    }

    /// Whether what has just been done is for those who poll to look at.
    ///
    /// A completion may be there that no kernel knows of: a close that was just started is a call
    /// where the ring has none for it.
    pub(crate) fn is_for_polled(&self, news: bool) -> bool {
        let started = || self.ring.as_ref().is_some_and(Ring::has_completions);
        let waits = || self.is_anything_queued() || self.unsubmitted() > 0 || started();
        self.polled > 0 && (news || (!self.leader && waits()))
    }
}
