//! Names for pieces of arenas that rings may be told of.
//!
//! Each piece has an id that no other has at the same time, in the whole process: so an entry says
//! by one number where its memory lies, and each ring knows which numbers it was told of. They are
//! small, the least free one first, because rings have tables by them.

use core::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use littoral_platform::Region;

struct Ids {
    free: BinaryHeap<Reverse<u32>>,
    /// Given out for the first time next.
    next: u32,
}

static IDS: Mutex<Ids> = Mutex::new(Ids { free: BinaryHeap::new(), next: 0 });

fn ids() -> MutexGuard<'static, Ids> {
    IDS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The ids of one class of an arena, piece by piece, for as long as it lives. A piece is a number
/// of whole buffers, so no buffer lies in two of them.
#[derive(Debug)]
pub(super) struct Regions {
    ids: Box<[Region]>,
    /// Buffers of a piece; 0 where one alone is too large for any.
    each: usize,
}

impl Regions {
    /// For that many buffers, that far apart, in pieces of that many bytes at most.
    pub(super) fn new(count: usize, stride: usize, bytes_max: usize) -> Regions {
        let each = bytes_max / stride.max(1);
        let pieces = if each == 0 { 0 } else { count.div_ceil(each) };
        let mut ids = ids();
        let mut id = || {
            let reused = ids.free.pop().map(|Reverse(id)| id);
            Region(reused.unwrap_or_else(|| {
                ids.next += 1;
                ids.next - 1
            }))
        };
        Regions { ids: (0..pieces).map(|_| id()).collect(), each }
    }

    /// In which one the buffer of that number lies.
    pub(super) fn of(&self, index: usize) -> Region {
        index.checked_div(self.each).map_or(Region::NONE, |piece| self.ids[piece])
    }

    /// Each with the first of its buffers and how many those are, of `count` in all.
    pub(super) fn pieces(&self, count: usize) -> impl Iterator<Item = (Region, usize, usize)> {
        let each = self.each;
        (0..).zip(&self.ids).map(move |(piece, id)| {
            let first = piece * each;
            (*id, first, each.min(count - first))
        })
    }
}

impl Drop for Regions {
    fn drop(&mut self) {
        let mut all = ids();
        all.free.extend(self.ids.iter().map(|id| Reverse(id.0)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_buffer_lies_in_two_pieces() {
        let regions = Regions::new(10, 300, 1000);
        let pieces: Vec<_> = regions.pieces(10).collect();
        assert_eq!(
            pieces.iter().map(|piece| (piece.1, piece.2)).collect::<Vec<_>>(),
            [(0, 3), (3, 3), (6, 3), (9, 1)]
        );
        for (id, first, count) in pieces {
            assert!((first..first + count).all(|index| regions.of(index) == id));
        }
    }

    #[test]
    fn what_is_too_large_has_none() {
        let regions = Regions::new(2, 1001, 1000);
        assert_eq!((regions.of(0), regions.pieces(2).count()), (Region::NONE, 0));
        assert_eq!(Regions::new(0, 8, 1000).pieces(0).count(), 0);
    }

    #[test]
    fn ids_are_one_owners_at_a_time() {
        let held: Vec<_> = (0..20).map(|_| Regions::new(1, 8, 8).of(0)).collect();
        // Each was given back at once. Other tests take some, too.
        assert!(held.iter().all(|id| id.0 < 10_000), "{held:?}");
        let (one, other) = (Regions::new(3, 8, 8), Regions::new(3, 8, 8));
        let all: std::collections::BTreeSet<_> =
            (0..3).flat_map(|index| [one.of(index).0, other.of(index).0]).collect();
        assert_eq!(all.len(), 6);
    }
}
