//! Whether a polled descriptor is to be readable. Pure: no descriptor, no call.
//!
//! ```text
//!            raise (write)                begin (read)
//!   LOW ---------------------> NEWS --------------------> STEPPING --- end ---> LOW
//!    ^                                                       | raise
//!    `---- end: raises once more, which writes --------- STEPPING|NEWS
//! ```
//!
//! News that comes while the descriptor is readable, or while its owner steps, costs no call. The
//! descriptor is emptied *before* the state says so: news in between finds it raised, writes
//! nothing, and is seen by the step, which comes after. The other way about it would write into a
//! descriptor that is then emptied, and every later news would take it for readable.

use crate::lock::atomic::{AtomicU8, Ordering};

const LOW: u8 = 0;
/// There is news that no step has looked at.
const NEWS: u8 = 1;
/// The owner steps, and looks again afterwards.
const STEPPING: u8 = 2;

/// See the top of this file.
#[derive(Debug, Default)]
pub(super) struct Latch(AtomicU8);

impl Latch {
    /// There is news. Says whether the descriptor has to be made readable for it.
    pub(super) fn raise(&self) -> bool {
        self.0.fetch_or(NEWS, Ordering::AcqRel) == LOW
    }

    /// A step begins, which sees all news so far. The descriptor was emptied before.
    pub(super) fn begin(&self) {
        self.0.swap(STEPPING, Ordering::AcqRel);
    }

    /// The step is over. Says whether there was news meanwhile, which is to be raised once more.
    pub(super) fn end(&self) -> bool {
        self.0.swap(LOW, Ordering::AcqRel) & NEWS != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_is_written_once() {
        let latch = Latch::default();
        assert!(latch.raise());
        assert!(!latch.raise(), "it is readable already");
        latch.begin();
        assert!(!latch.end());
        assert!(latch.raise(), "the step has looked at all before");
    }

    #[test]
    fn news_during_a_step_waits_for_its_end() {
        let latch = Latch::default();
        latch.begin();
        assert!(!latch.raise());
        assert!(latch.end(), "and is told then");
        assert!(latch.raise());
    }

    #[test]
    fn two_who_step_lose_nothing() {
        let latch = Latch::default();
        latch.begin();
        latch.begin();
        assert!(!latch.end());
        assert!(latch.raise(), "one of them is done: the other one's look may have been earlier");
        assert!(latch.end(), "and raises it once more");
    }
}
