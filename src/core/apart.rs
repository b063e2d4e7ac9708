//! Direct and cached writes of one file, kept out of each other's pages.
//!
//! The kernel keeps the page cache and direct I/O coherent, but for one case: a direct write is
//! under way, and a cached write to the same page begins. It reads the page as it is before the
//! direct write has arrived, changes its own bytes of it, and later writes all of it back, which
//! undoes the direct write, although the two had no byte in common. open(2) leaves it to the
//! application to see to that, and here it is seen to: of two writes in the ring that touch one
//! page either both are direct or both are cached. Reads need no such care, and nor do two writes
//! of one kind.
//!
//! Worked example: direct write a of page 0 is in the ring. Cached write b of bytes
//! 100 to 200 waits. Direct write c of page 0 waits, too, because b came before; direct write d of
//! page 7 goes. a ends: b goes, c waits for it. b ends: c goes.

use core::ops::Range;

/// By which handle an entry goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Through the page cache, where anything goes.
    #[default]
    Cached,
    /// Past it, where everything is aligned.
    Direct,
}

/// The largest run of pages that a page cache handles as one (a folio as large as a huge page). It
/// is read, invalidated and found busy as a whole. What is kept apart too far only waits.
const PAGE: u64 = 2 * 1024 * 1024;

#[derive(Clone, Copy, Debug)]
struct Run {
    id: u32,
    lane: Lane,
    /// The first page and the one behind the last.
    pages: (u64, u64),
}

impl Run {
    fn new(id: u32, lane: Lane, bytes: &Range<u64>) -> Run {
        Run { id, lane, pages: (bytes.start / PAGE, bytes.end.div_ceil(PAGE)) }
    }

    fn conflicts(&self, other: &Run) -> bool {
        let ((from, to), (other_from, other_to)) = (self.pages, other.pages);
        self.lane != other.lane && from.max(other_from) < to.min(other_to)
    }
}

/// The writes of one file that are in the ring, and those that wait to go there. They are named by
/// numbers that are unique while they are alive.
#[derive(Debug, Default)]
pub(crate) struct Apart {
    in_ring: Vec<Run>,
    waiting: Vec<Run>,
    /// How many in the ring are cached.
    cached: usize,
}

impl Apart {
    /// Whether the write of these bytes may go to the ring now. One that may not is to be told to
    /// `wait`, by itself or in parts.
    pub(crate) fn begin(&mut self, id: u32, lane: Lane, bytes: &Range<u64>) -> bool {
        let run = Run::new(id, lane, bytes);
        // Nearly always: all are direct, and nothing waits.
        if lane == Lane::Cached || self.cached > 0 || !self.waiting.is_empty() {
            let others = self.in_ring.iter().chain(&self.waiting);
            if others.into_iter().any(|other| run.conflicts(other)) {
                return false;
            }
        }
        self.note(run);
        true
    }

    fn note(&mut self, run: Run) {
        self.cached += usize::from(run.lane == Lane::Cached);
        self.in_ring.push(run);
    }

    /// Takes note of a write that is in the ring already.
    pub(crate) fn is_in_ring(&mut self, id: u32, lane: Lane, bytes: &Range<u64>) {
        self.note(Run::new(id, lane, bytes));
    }

    /// A write waits until it is told to begin again.
    pub(crate) fn wait(&mut self, id: u32, lane: Lane, bytes: &Range<u64>) {
        self.waiting.push(Run::new(id, lane, bytes));
    }

    /// A write has come back, or will not be pushed: tells who is to begin again, in order.
    pub(crate) fn end(&mut self, id: u32, again: &mut Vec<u32>) {
        let Some(at) = self.in_ring.iter().position(|run| run.id == id) else { return };
        let over = self.in_ring.swap_remove(at);
        self.cached -= usize::from(over.lane == Lane::Cached);
        again.extend(self.waiting.drain(..).map(|run| run.id));
    }

    /// One that waits does not want to go any more: tells who is to begin again, in order.
    pub(crate) fn withdraw(&mut self, id: u32, again: &mut Vec<u32>) {
        let before = self.waiting.len();
        self.waiting.retain(|run| run.id != id);
        if self.waiting.len() < before {
            again.extend(self.waiting.drain(..).map(|run| run.id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_worked_example() {
        let (mut apart, mut again) = (Apart::default(), Vec::new());
        let page = |number: u64| number * PAGE..(number + 1) * PAGE;
        assert!(apart.begin(1, Lane::Direct, &page(0)));
        assert!(!apart.begin(2, Lane::Cached, &(100..200)));
        apart.wait(2, Lane::Cached, &(100..200));
        assert!(!apart.begin(3, Lane::Direct, &page(0)));
        apart.wait(3, Lane::Direct, &page(0));
        assert!(apart.begin(4, Lane::Direct, &page(7)));
        apart.end(1, &mut again);
        assert_eq!(again, [2, 3]);
        assert!(apart.begin(2, Lane::Cached, &(100..200)));
        assert!(!apart.begin(3, Lane::Direct, &page(0)));
        apart.wait(3, Lane::Direct, &page(0));
        again.clear();
        apart.end(2, &mut again);
        assert_eq!(again, [3]);
        assert!(apart.begin(3, Lane::Direct, &page(0)));
    }

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Where {
        Ring,
        Waiting,
    }

    proptest! {
        /// Whatever begins, ends and gives up: no page in the ring is of both kinds, nobody waits
        /// without one in his way, nobody is overtaken by one that is in his way, and all end.
        #[test]
        fn pages_are_never_shared_and_nobody_waits_for_nothing(
            script in prop::collection::vec(
                (0u8..8, any::<bool>(), 0u64..6, 1u64..4, any::<prop::sample::Index>()), 1..150,
            )
        ) {
            let mut apart = Apart::default();
            // In order of arrival.
            let mut alive: Vec<(u32, Lane, Range<u64>, Where)> = Vec::new();
            let begin = |apart: &mut Apart, id, lane, bytes: &Range<u64>| {
                if apart.begin(id, lane, bytes) {
                    Where::Ring
                } else {
                    apart.wait(id, lane, bytes);
                    Where::Waiting
                }
            };
            for (id, (action, direct, page, pages, pick)) in (0..).zip(script) {
                let mut again = Vec::new();
                if action < 5 || alive.is_empty() {
                    let lane = if direct { Lane::Direct } else { Lane::Cached };
                    // Cached ones begin and end inside of pages.
                    let inset = if direct { 0 } else { 100 };
                    let bytes = page * PAGE + inset..(page + pages) * PAGE - inset;
                    let place = begin(&mut apart, id, lane, &bytes);
                    alive.push((id, lane, bytes, place));
                } else {
                    let (id, .., place) = alive.remove(pick.index(alive.len()));
                    match place {
                        Where::Ring => apart.end(id, &mut again),
                        Where::Waiting => apart.withdraw(id, &mut again),
                    }
                }
                for id in again {
                    let one = alive.iter_mut().find(|one| one.0 == id).unwrap();
                    prop_assert_eq!(one.3, Where::Waiting);
                    one.3 = begin(&mut apart, id, one.1, &one.2);
                }
                let run = |one: &(u32, Lane, Range<u64>, Where)| Run::new(one.0, one.1, &one.2);
                for (at, one) in alive.iter().enumerate() {
                    let in_its_way = |other: &&(u32, Lane, Range<u64>, Where)| {
                        run(one).conflicts(&run(other))
                    };
                    if one.3 == Where::Ring {
                        let mut in_ring = alive.iter().filter(|other| other.3 == Where::Ring);
                        let both = in_ring.any(|other| in_its_way(&other));
                        prop_assert!(!both, "{:?} shares a page in {:?}", one, alive);
                    } else {
                        let anybody = alive[..at].iter().any(|o| in_its_way(&o))
                            || alive.iter().filter(|o| o.3 == Where::Ring).any(|o| in_its_way(&o));
                        prop_assert!(anybody, "{:?} waits for nothing in {:?}", one, alive);
                    }
                }
            }
        }
    }
}
