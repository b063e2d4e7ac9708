//! What waits for room in the ring, and in which order it goes.
//!
//! Three queues. *Urgent* entries (cancels, closes) go first: they free what others wait for, and
//! their places on the completion side are reserved. *Continuations* (the rest of a short count, a
//! retry, a second phase) keep the place of their operation and go before anything that was never
//! pushed, so that an operation once begun is not starved by newcomers. *Fresh* operations go in
//! order of admission. Operations held by a barrier are in none of them.

use std::collections::VecDeque;

use littoral_platform::{Handle, Region};

/// What can be pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// A slot's next entry.
    Slot(u32),
    /// A cancel of what a slot has in the ring.
    Cancel(u32),
    /// A close of a file's handle; `None` closes a handle nobody waits for.
    Close(Option<u32>, Handle),
    /// Has the ring forget memory.
    Unregister(Region),
}

/// The queues of one ring.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    urgent: VecDeque<Item>,
    continuations: VecDeque<u32>,
    fresh: VecDeque<u32>,
    /// How many reads may pass by all this, because there is nothing of it: see `straight`. What
    /// comes to wait here closes the road.
    pub(crate) road: u32,
}

impl Queue {
    pub(crate) fn urgent(&mut self, item: Item) {
        self.road = 0;
        self.urgent.push_back(item);
    }

    pub(crate) fn resume(&mut self, slot: u32) {
        self.road = 0;
        self.continuations.push_back(slot);
    }

    pub(crate) fn admit(&mut self, slot: u32) {
        self.road = 0;
        self.fresh.push_back(slot);
    }

    /// What was never pushed goes on as one that was.
    pub(crate) fn promote(&mut self, slot: u32) {
        if let Some(at) = self.fresh.iter().position(|&waiting| waiting == slot) {
            self.fresh.remove(at);
            self.continuations.push_back(slot);
        }
    }

    /// The one operation that waits here, if it is alone.
    pub(crate) fn only(&self) -> Option<u32> {
        let only = self.continuations.front().or_else(|| self.fresh.front());
        only.copied().filter(|_| self.len() == 1)
    }

    pub(crate) fn has_urgent(&self) -> bool {
        !self.urgent.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.urgent.len() + self.continuations.len() + self.fresh.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.urgent.is_empty() && self.continuations.is_empty() && self.fresh.is_empty()
    }

    /// Takes the next to push; only an urgent one if ordinary entries have no room.
    pub(crate) fn take(&mut self, ordinary_room: bool) -> Option<Item> {
        if let Some(item) = self.urgent.pop_front() {
            return Some(item);
        }
        if !ordinary_room {
            return None;
        }
        self.continuations.pop_front().or_else(|| self.fresh.pop_front()).map(Item::Slot)
    }

    /// The ring refused what was taken last: it is the next again.
    pub(crate) fn put_back(&mut self, item: Item) {
        match item {
            Item::Slot(slot) => self.continuations.push_front(slot),
            urgent => self.urgent.push_front(urgent),
        }
    }

    /// Drops the operations, which have ended; cancels and closes stay.
    pub(crate) fn forget_slots(&mut self) {
        self.continuations.clear();
        self.fresh.clear();
    }

    /// Puts `instead` in the place of `slot`, in order; false if it does not wait here.
    pub(crate) fn replace(
        &mut self,
        slot: u32,
        instead: impl DoubleEndedIterator<Item = u32>,
    ) -> bool {
        for queue in [&mut self.continuations, &mut self.fresh] {
            if let Some(at) = queue.iter().position(|&waiting| waiting == slot) {
                queue.remove(at);
                for other in instead.rev() {
                    queue.insert(at, other);
                }
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(queue: &mut Queue) -> Vec<Item> {
        let mut order = Vec::new();
        while let Some(item) = queue.take(true) {
            order.push(item);
        }
        order
    }

    #[test]
    fn urgent_then_continuations_then_admission_order() {
        let mut queue = Queue::default();
        queue.admit(1);
        queue.admit(2);
        queue.resume(7);
        queue.urgent(Item::Cancel(9));
        queue.admit(3);
        let refused = queue.take(false).unwrap();
        assert_eq!(refused, Item::Cancel(9));
        queue.put_back(refused);
        let slots = [7, 1, 2, 3].map(Item::Slot);
        assert_eq!(drain(&mut queue), [&[Item::Cancel(9)], &slots[..]].concat());
        assert!(queue.is_empty());
    }

    #[test]
    fn without_ordinary_room_only_urgent_ones_go() {
        let mut queue = Queue::default();
        queue.admit(1);
        queue.admit(2);
        assert_eq!(queue.take(false), None);
        queue.put_back(Item::Slot(1));
        assert_eq!(drain(&mut queue), [1, 1, 2].map(Item::Slot));
    }

    #[test]
    fn what_is_promoted_goes_before_newcomers() {
        let mut queue = Queue::default();
        (1..4).for_each(|slot| queue.admit(slot));
        queue.resume(7);
        queue.promote(2);
        queue.promote(7);
        assert_eq!(drain(&mut queue), [7, 2, 1, 3].map(Item::Slot));
    }

    #[test]
    fn a_dissolved_group_keeps_its_place() {
        let mut queue = Queue::default();
        (1..4).for_each(|slot| queue.admit(slot));
        assert!(queue.replace(2, [5, 6].into_iter()));
        assert!(!queue.replace(2, [8].into_iter()));
        assert_eq!(drain(&mut queue), [1, 5, 6, 3].map(Item::Slot));
    }
}
