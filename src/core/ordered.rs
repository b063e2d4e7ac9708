//! The order of overlapping operations in files that were opened for it.
//!
//! In such a file an operation waits for every earlier one that overlaps it, if one of the two
//! writes; what does not overlap goes as it comes. Worked example: write a of bytes 0 to 10, read b
//! of 5 to 15, write c of 12 to 20, read d of 0 to 5. b waits for a, c waits for b, d waits for a.
//! a ends: b and d may go, side by side. b ends: c may go.
//!
//! Each operation counts those it waits for, so that admitting one and ending one cost a look at
//! every operation of the file that is alive, and at nothing else. Files without order have no such
//! list.

use core::ops::Range;

use super::state::State;
use super::table::Gate;
use crate::Operation;

#[derive(Debug)]
struct Access {
    id: u32,
    range: Range<u64>,
    write: bool,
    /// How many before it are alive and in its way.
    waits_for: u32,
}

impl Access {
    fn conflicts(&self, other: &Access) -> bool {
        let (one, two) = (&self.range, &other.range);
        (self.write || other.write) && one.start.max(two.start) < one.end.min(two.end)
    }
}

/// The operations of one file that are alive, in their order. They are named by numbers that are
/// unique while they are alive.
#[derive(Debug, Default)]
pub(crate) struct Order {
    alive: Vec<Access>,
}

impl Order {
    /// Admits an operation; false if it has to wait, until `end` tells it.
    pub(crate) fn admit(&mut self, id: u32, range: Range<u64>, write: bool) -> bool {
        let mut access = Access { id, range, write, waits_for: 0 };
        let before = self.alive.iter().filter(|other| access.conflicts(other)).count();
        access.waits_for = u32::try_from(before).expect("operations are bounded far below 2^32");
        self.alive.push(access);
        before == 0
    }

    /// Takes note of an operation that is under way already, and so waits for nothing.
    pub(crate) fn note(&mut self, id: u32, range: Range<u64>, write: bool) {
        self.alive.push(Access { id, range, write, waits_for: 0 });
    }

    /// An operation is over, whether it went or not: tells who may go now. One that was never
    /// admitted is nobody's business.
    pub(crate) fn end(&mut self, id: u32, ready: &mut Vec<u32>) {
        let Some(at) = self.alive.iter().position(|access| access.id == id) else { return };
        let over = self.alive.remove(at);
        for later in &mut self.alive[at..] {
            // One that was under way when the order began waits for nothing.
            if later.waits_for > 0 && later.conflicts(&over) {
                later.waits_for -= 1;
                if later.waits_for == 0 {
                    ready.push(later.id);
                }
            }
        }
    }
}

impl State {
    /// From here on the file's operations keep their order. What is under way keeps what it has.
    pub(crate) fn make_ordered(&mut self, file: u32) {
        if self.files.get(file).order.is_some() {
            return;
        }
        self.turn_all_off();
        let mut order = Order::default();
        let under_way = |slot: &u32| {
            let slot = &self.slots[*slot];
            slot.file == file && !slot.is_over() && matches!(slot.gate, Gate::Went(_))
        };
        let mut under_way: Vec<u32> = self.slots.alive().filter(under_way).collect();
        under_way.sort_by_key(|&slot| self.slots[slot].sequence);
        for slot in under_way {
            if let Some((range, write)) = self.access(slot) {
                order.note(slot, range, write);
            }
        }
        let entry = self.files.get(file);
        entry.order = Some(Box::new(order));
        entry.barrier.keep_order();
    }

    /// The bytes that an operation reads or writes. The size is of all of them.
    fn access(&self, slot: u32) -> Option<(Range<u64>, bool)> {
        let slot = &self.slots[slot];
        match slot.operation {
            Operation::Pread | Operation::Preadv => Some((slot.at..slot.end(), false)),
            Operation::Pwrite
            | Operation::Pwritev
            | Operation::Allocate
            | Operation::PunchHole
            | Operation::ZeroRange => Some((slot.at..slot.end(), true)),
            Operation::SeekData | Operation::SeekHole => Some((slot.at..u64::MAX, false)),
            Operation::Size | Operation::Metadata => Some((0..u64::MAX, false)),
            _ => None,
        }
    }

    /// The barrier lets an operation go: so does, perhaps, the order of its file.
    pub(crate) fn pass_barrier(&mut self, index: u32, epoch: u64) {
        let slot = &mut self.slots[index];
        slot.gate = Gate::Went(epoch);
        let file = slot.file;
        let goes = self.files.get(file).order.is_none()
            || self.access(index).is_none_or(|(range, write)| {
                let order = self.files.get(file).order.as_mut();
                order.is_none_or(|order| order.admit(index, range, write))
            });
        if goes {
            self.enqueue(index);
        }
    }

    /// Those who waited for an operation that is over may go.
    pub(crate) fn leave_order(&mut self, file: u32, index: u32) {
        let mut ready = Vec::new();
        if let Some(order) = &mut self.files.get(file).order {
            order.end(index, &mut ready);
        }
        for slot in ready {
            self.enqueue(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_worked_example() {
        let (mut order, mut ready) = (Order::default(), Vec::new());
        assert!(order.admit(1, 0..10, true));
        assert!(!order.admit(2, 5..15, false));
        assert!(!order.admit(3, 12..20, true));
        assert!(!order.admit(4, 0..5, false));
        order.end(1, &mut ready);
        assert_eq!(ready, [2, 4]);
        ready.clear();
        order.end(2, &mut ready);
        assert_eq!(ready, [3]);
    }

    #[derive(Debug)]
    struct Naive {
        id: u32,
        range: Range<u64>,
        write: bool,
        /// It was under way before there was an order.
        noted: bool,
        went: bool,
    }

    proptest! {
        /// Against the definition: an operation goes exactly when no earlier one that it overlaps,
        /// one of them writing, is alive; whatever ends or is withdrawn in whatever order.
        #[test]
        fn goes_exactly_when_nothing_before_it_overlaps(
            noted in 0usize..4,
            script in prop::collection::vec(
                (0u8..5, 0u64..20, 0u64..8, any::<prop::sample::Index>()),
                1..100,
            ),
        ) {
            let (mut order, mut ready) = (Order::default(), Vec::new());
            let mut alive: Vec<Naive> = Vec::new();
            for (id, (action, at, len, pick)) in (0..).zip(script) {
                if action < 3 {
                    let (range, write) = (at..at + len, action == 0);
                    let noted = (id as usize) < noted;
                    let went = if noted {
                        order.note(id, range.clone(), write);
                        true
                    } else {
                        order.admit(id, range.clone(), write)
                    };
                    alive.push(Naive { id, range, write, noted, went });
                } else if !alive.is_empty() {
                    let over = alive.remove(pick.index(alive.len()));
                    order.end(over.id, &mut ready);
                    for id in ready.drain(..) {
                        let told = alive.iter_mut().find(|op| op.id == id).expect("alive");
                        prop_assert!(!core::mem::replace(&mut told.went, true), "told twice");
                    }
                }
                for (place, op) in alive.iter().enumerate() {
                    let in_its_way = |before: &Naive| {
                        let mut bytes = op.range.clone();
                        (before.write || op.write) && bytes.any(|byte| before.range.contains(&byte))
                    };
                    let blocked = !op.noted && alive[..place].iter().any(in_its_way);
                    prop_assert_eq!(op.went, !blocked, "{:?} of {:?}", op, alive);
                }
            }
        }
    }
}
