//! Batches: operations that are planned together and started together.
//!
//! While a thread is inside a batch, what it submits is *staged*: admitted as ever, joined to its
//! neighbours, but not in the queue, so that nobody starts a part of it, neither a thread that
//! waits in the kernel nor one that submits beside. At the batch's end all of it is queued, in
//! order, and started. What other threads submit meanwhile is not delayed by that, and not joined
//! to it.
//!
//! A thread that steps inside its own batch starts what it has staged so far: waiting for what may
//! not begin would be for ever. What follows is a batch of its own, so that nothing which was
//! started, and waits for a barrier or a flush, is staged once more.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};

use super::Core;
use super::state::State;

/// No batch.
pub(crate) const ALONE: u32 = 0;

thread_local! {
    /// The batches that this thread is inside, of whatever drivers.
    static INSIDE: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

/// The open batches of one driver, and what is staged in each.
#[derive(Debug, Default)]
pub(crate) struct Batches(Vec<(u32, VecDeque<u32>)>);

impl Batches {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|(_, staged)| staged.len()).sum()
    }

    /// The batch that what this thread submits now belongs to.
    pub(crate) fn current(&self) -> u32 {
        if self.0.is_empty() {
            return ALONE;
        }
        INSIDE.with_borrow(|inside| {
            let open = |id: &&u32| self.0.iter().any(|(other, _)| other == *id);
            inside.iter().rev().find(open).copied().unwrap_or(ALONE)
        })
    }

    /// Stages the head of a chain; false if its batch is over, or it has none.
    pub(crate) fn stage(&mut self, batch: u32, slot: u32) -> bool {
        let open = self.0.iter_mut().find(|(id, _)| *id == batch);
        open.map(|(_, staged)| staged.push_back(slot)).is_some()
    }

    fn begin(&mut self, batch: u32) {
        self.0.push((batch, VecDeque::new()));
    }

    /// What is staged so far. The batch goes on as another one.
    fn take(&mut self, batch: u32, goes_on_as: u32) -> VecDeque<u32> {
        let open = self.0.iter_mut().find(|(id, _)| *id == batch);
        let taken = open.map(|open| core::mem::replace(open, (goes_on_as, VecDeque::new())));
        taken.map(|(_, staged)| staged).unwrap_or_default()
    }

    fn end(&mut self, batch: u32) {
        self.0.retain(|(id, _)| *id != batch);
    }

    /// Puts `instead` in the place of `slot`, in order; false if it is not staged.
    pub(crate) fn replace(
        &mut self,
        slot: u32,
        instead: impl DoubleEndedIterator<Item = u32>,
    ) -> bool {
        for (_, staged) in &mut self.0 {
            if let Some(at) = staged.iter().position(|&waiting| waiting == slot) {
                staged.remove(at);
                for other in instead.rev() {
                    staged.insert(at, other);
                }
                return true;
            }
        }
        false
    }

    /// Drops the operations, which have ended.
    pub(crate) fn forget_slots(&mut self) {
        for (_, staged) in &mut self.0 {
            staged.clear();
        }
    }
}

impl State {
    /// Queues what this thread has staged.
    pub(crate) fn start_staged(&mut self) {
        let batch = self.batches.current();
        if batch == ALONE {
            return;
        }
        let next = number();
        INSIDE.with_borrow_mut(|inside| {
            for id in inside.iter_mut().filter(|id| **id == batch) {
                *id = next;
            }
        });
        for slot in self.batches.take(batch, next) {
            self.queue.admit(slot);
        }
    }
}

/// A number for the next batch. They are given out again after 2^32; by then the first are over.
fn number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(ALONE);
    NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(1).max(1)
}

/// Ends a batch however its inside ends.
struct Inside<'a>(&'a Core);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.start_staged();
        let over = state.batches.current();
        state.batches.end(over);
        INSIDE.with_borrow_mut(|inside| inside.retain(|id| *id != over));
        state.pump();
        state.submit();
        state.rings_bell = true;
        self.0.leave(state);
    }
}

impl Core {
    /// Runs `submit`, and starts what it submits on this thread at its end.
    pub(crate) fn batch(&self, submit: &mut dyn FnMut()) {
        let mut state = self.lock();
        if state.batches.current() != ALONE {
            // A batch within a batch is a part of it.
            drop(state);
            submit();
            return;
        }
        let id = number();
        state.batches.begin(id);
        state.queue.road = 0;
        drop(state);
        INSIDE.with_borrow_mut(|inside| inside.push(id));
        let _inside = Inside(self);
        submit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_staged_keeps_its_order_and_its_batch() {
        let mut batches = Batches::default();
        batches.begin(1);
        batches.begin(2);
        assert!(batches.stage(1, 10) && batches.stage(2, 20) && batches.stage(1, 11));
        assert!(!batches.stage(ALONE, 30) && !batches.stage(3, 30));
        assert!(batches.replace(10, [12, 13].into_iter()) && !batches.replace(99, [1].into_iter()));
        assert_eq!(batches.len(), 4);
        assert_eq!(batches.take(1, 3), [12, 13, 11]);
        assert!(!batches.stage(1, 14) && batches.stage(3, 14));
        batches.end(3);
        assert!(!batches.stage(3, 14) && batches.stage(2, 21));
        assert_eq!(batches.take(2, 4), [20, 21]);
    }

    #[test]
    fn a_thread_is_inside_its_own_batches_only() {
        let mut batches = Batches::default();
        batches.begin(7);
        assert_eq!(batches.current(), ALONE);
        INSIDE.with_borrow_mut(|inside| inside.extend([7, 8]));
        assert_eq!(batches.current(), 7);
        std::thread::scope(|scope| {
            scope.spawn(|| assert_eq!(batches.current(), ALONE));
        });
    }
}
