//! Whether a polled descriptor is to be readable. Pure: no descriptor, no call.
//!
//! ```text
//!            raise (write)                begin (read)
//!   LOW ---------------------> NEWS --------------------> STEPPING --- end ---> LOW
//!    ^                                                       | raise
//!    `---- end: raises once more, which writes --------- STEPPING|NEWS
//! ```
//!
//! News that comes while the descriptor is readable, or while its owner steps, costs no call, and
//! none is lost: what came before a step began is seen by it, what came later is raised at its end.
//! A fill that is late, after a step that has seen its news, makes one step more.

use crate::lock::atomic::{AtomicU8, Ordering};

const LOW: u8 = 0;
/// There is news that no step has looked at.
const NEWS: u8 = 1;
/// The owner steps, and looks again afterwards.
const STEPPING: u8 = 2;

/// See the top of this file.
#[derive(Debug, Default)]
pub(crate) struct Latch(AtomicU8);

impl Latch {
    /// There is news; `fill` makes the descriptor readable.
    pub(crate) fn raise(&self, fill: impl FnOnce()) {
        if self.0.fetch_or(NEWS, Ordering::AcqRel) == LOW {
            fill();
        }
    }

    /// A step begins, which sees all news so far; `empty` makes the descriptor unreadable.
    pub(crate) fn begin(&self, empty: impl FnOnce()) {
        empty();
        self.0.swap(STEPPING, Ordering::AcqRel);
    }

    /// The step is over. News that came meanwhile is raised once more.
    pub(crate) fn end(&self, fill: impl FnOnce()) {
        if self.0.swap(LOW, Ordering::AcqRel) & NEWS != 0 {
            self.raise(fill);
        }
    }
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;

    use super::*;

    /// A latch, and how often its descriptor was filled and emptied.
    #[derive(Default)]
    struct Counted(Latch, Cell<u32>, Cell<u32>);

    impl Counted {
        fn raise(&self) {
            self.0.raise(|| self.1.set(self.1.get() + 1));
        }

        fn begin(&self) {
            self.0.begin(|| self.2.set(self.2.get() + 1));
        }

        fn end(&self) {
            self.0.end(|| self.1.set(self.1.get() + 1));
        }
    }

    #[test]
    fn news_is_written_once() {
        let latch = Counted::default();
        latch.raise();
        latch.raise();
        assert_eq!(latch.1.get(), 1, "it is readable already");
        latch.begin();
        latch.end();
        assert_eq!((latch.1.get(), latch.2.get()), (1, 1));
        latch.raise();
        assert_eq!(latch.1.get(), 2, "the step has looked at all before");
    }

    #[test]
    fn news_during_a_step_waits_for_its_end() {
        let latch = Counted::default();
        latch.begin();
        latch.raise();
        assert_eq!(latch.1.get(), 0);
        latch.end();
        assert_eq!(latch.1.get(), 1, "and is told then");
        latch.raise();
        assert_eq!(latch.1.get(), 1, "which is enough");
    }

    #[test]
    fn two_who_step_lose_nothing() {
        let latch = Counted::default();
        latch.begin();
        latch.begin();
        latch.end();
        latch.raise();
        assert_eq!(latch.1.get(), 1, "one is done: the other one's look may have been earlier");
        latch.end();
        assert_eq!(latch.1.get(), 2, "and raises it once more");
    }
}
