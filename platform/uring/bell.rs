//! Who waits at a doorbell, and whether it was rung. Pure: no descriptor, no call.
//!
//! ```text
//!            begin                       ring (write)             end
//!   IDLE ----------------> WAITING ----------------> RUNG -----------------> IDLE
//!     \                                                                       ^
//!      `--- ring --> EARLY (nothing written) --- begin: does not sleep -------'
//! ```

use crate::lock::atomic::{AtomicU8, Ordering};

const IDLE: u8 = 0;
const WAITING: u8 = 1;
const RUNG: u8 = 2;
const EARLY: u8 = 3;

/// See the top of this file.
#[derive(Debug, Default)]
pub(crate) struct Waiter(AtomicU8);

impl Waiter {
    /// Somebody is about to wait. Says whether he may sleep; if so, he says when he has come back.
    pub(crate) fn begin(&self) -> bool {
        match self.0.compare_exchange(IDLE, WAITING, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(_) => true,
            Err(EARLY) => {
                // What it was rung for is seen after this.
                self.0.swap(IDLE, Ordering::SeqCst);
                false
            }
            // There is one waiter by contract: a second must not take the first one's state.
            Err(_) => false,
        }
    }

    /// Who slept has come back.
    pub(crate) fn end(&self) {
        self.0.swap(IDLE, Ordering::SeqCst);
    }

    /// Rings; `wake` is for one who sleeps, or is about to.
    pub(crate) fn ring(&self, wake: impl FnOnce()) {
        let mut state = self.0.load(Ordering::SeqCst);
        loop {
            let rung = match state {
                IDLE => EARLY,
                WAITING => RUNG,
                // It was rung already, and whoever waited or will wait has not returned since.
                _ => return,
            };
            match self.0.compare_exchange(state, rung, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(WAITING) => return wake(),
                Ok(_) => return,
                Err(now) => state = now,
            }
        }
    }

    /// He who sleeps was rung for, and has not come back.
    pub(crate) fn is_rung(&self) -> bool {
        self.0.load(Ordering::SeqCst) == RUNG
    }

    /// Somebody sleeps, or is about to, and was not rung for.
    pub(crate) fn is_waiting(&self) -> bool {
        self.0.load(Ordering::SeqCst) == WAITING
    }
}
