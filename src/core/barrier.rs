//! Which operations of one file wait for which others.
//!
//! Reads and writes never wait for each other. A *sync* waits for every write and truncate that was
//! admitted before it; nothing waits for a sync, except a truncate. A *truncate* waits for all that
//! was admitted before it, and all that is admitted after it waits for the truncate.
//!
//! Writes are counted by epoch, and a waiting sync closes one: it may go when its epoch and all
//! before it have run empty. Worked example: write a (epoch 0), sync S (closes 0), write b (epoch
//! 1), truncate T, read r. S waits for a. T waits for a, S and b; r waits behind T in the held
//! queue. b ends: nothing. a ends: S may go. S ends: T may go. T ends: r may go.

use std::collections::VecDeque;

/// What an operation is to the barrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Changes nothing: reads and sizes.
    Read,
    /// Changes contents.
    Write,
    Sync,
    Truncate,
}

/// An operation that may go now, and the epoch to end it with.
pub(crate) type Ready = (u32, u64);

/// The barrier of one file. Operations are named by numbers that are unique while they are alive.
#[derive(Debug)]
pub(crate) struct Barrier {
    /// Operations that are past the truncates before them: running, or syncs that wait for writes.
    live: u32,
    /// Unfinished writes by epoch; the last is the current one.
    epochs: VecDeque<u32>,
    /// The number of the first.
    first_epoch: u64,
    /// Syncs that wait, with the epoch each closes.
    syncs: VecDeque<(u32, u64)>,
    /// What stands behind a truncate, the truncate first unless it is running.
    held: VecDeque<(u32, Class)>,
    /// A truncate is running; it is alone.
    truncating: bool,
    /// No read passes by the machines: the file keeps an order of its own.
    ordered: bool,
}

impl Default for Barrier {
    fn default() -> Self {
        Barrier {
            live: 0,
            epochs: VecDeque::from([0]),
            first_epoch: 0,
            syncs: VecDeque::new(),
            held: VecDeque::new(),
            truncating: false,
            ordered: false,
        }
    }
}

impl Barrier {
    /// Admits an operation: it goes with this epoch, or is told later by `ready`.
    pub(crate) fn admit(&mut self, id: u32, class: Class) -> Option<u64> {
        if self.truncating || !self.held.is_empty() {
            self.held.push_back((id, class));
            return None;
        }
        if class == Class::Truncate {
            if self.live > 0 {
                self.held.push_back((id, class));
                return None;
            }
            self.truncating = true;
            return Some(0);
        }
        self.release(id, class)
    }

    /// No truncate is running or waiting: a read may pass, and its end lets nobody go.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        !(self.truncating | self.ordered) && self.held.is_empty()
    }

    pub(crate) fn keep_order(&mut self) {
        self.ordered = true;
    }

    /// Admits a read while the barrier is open.
    #[inline]
    pub(crate) fn pass(&mut self) {
        self.live += 1;
    }

    /// So many reads that were admitted have ended while the barrier is open.
    #[inline]
    pub(crate) fn passed(&mut self, reads: u32) {
        self.live -= reads;
    }

    fn release(&mut self, id: u32, class: Class) -> Option<u64> {
        self.live += 1;
        let current = self.first_epoch + self.epochs.len() as u64 - 1;
        match class {
            Class::Write => {
                *self.epochs.back_mut().expect("the current epoch") += 1;
                Some(current)
            }
            Class::Sync if self.epochs.len() > 1 || self.epochs[0] > 0 => {
                self.syncs.push_back((id, current));
                self.epochs.push_back(0);
                None
            }
            _ => Some(current),
        }
    }

    /// An operation that went has ended.
    pub(crate) fn end(&mut self, class: Class, epoch: u64, ready: &mut Vec<Ready>) {
        match class {
            Class::Truncate => self.truncating = false,
            Class::Write => {
                self.live -= 1;
                let at = usize::try_from(epoch - self.first_epoch).expect("few epochs");
                self.epochs[at] -= 1;
                self.close_epochs(ready);
            }
            Class::Read | Class::Sync => self.live -= 1,
        }
        self.open_up(ready);
    }

    /// An operation that has not gone yet never will.
    pub(crate) fn withdraw(&mut self, id: u32, ready: &mut Vec<Ready>) {
        if let Some(at) = self.held.iter().position(|held| held.0 == id) {
            self.held.remove(at);
        } else if let Some(at) = self.syncs.iter().position(|sync| sync.0 == id) {
            self.syncs.remove(at);
            self.live -= 1;
        }
        self.open_up(ready);
    }

    fn close_epochs(&mut self, ready: &mut Vec<Ready>) {
        while self.epochs.len() > 1 && self.epochs[0] == 0 {
            self.epochs.pop_front();
            self.first_epoch += 1;
        }
        while self.syncs.front().is_some_and(|sync| sync.1 < self.first_epoch) {
            ready.extend(self.syncs.pop_front());
        }
    }

    fn open_up(&mut self, ready: &mut Vec<Ready>) {
        while let Some(&(id, class)) = self.held.front() {
            if self.truncating || (class == Class::Truncate && self.live > 0) {
                return;
            }
            self.held.pop_front();
            let went = if class == Class::Truncate {
                self.truncating = true;
                Some(0)
            } else {
                self.release(id, class)
            };
            ready.extend(went.map(|epoch| (id, epoch)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_worked_example() {
        let (mut barrier, mut ready) = (Barrier::default(), Vec::new());
        let a = barrier.admit(1, Class::Write).unwrap();
        assert_eq!(barrier.admit(2, Class::Sync), None);
        let b = barrier.admit(3, Class::Write).unwrap();
        assert_eq!(barrier.admit(4, Class::Truncate), None);
        assert_eq!(barrier.admit(5, Class::Read), None);
        barrier.end(Class::Write, b, &mut ready);
        assert!(ready.is_empty());
        barrier.end(Class::Write, a, &mut ready);
        assert_eq!(ready.drain(..).map(|r| r.0).collect::<Vec<_>>(), [2]);
        barrier.end(Class::Sync, 0, &mut ready);
        assert_eq!(ready.drain(..).map(|r| r.0).collect::<Vec<_>>(), [4]);
        barrier.end(Class::Truncate, 0, &mut ready);
        assert_eq!(ready.drain(..).map(|r| r.0).collect::<Vec<_>>(), [5]);
    }

    fn must_wait(earlier: Class, later: Class) -> bool {
        match later {
            Class::Sync => matches!(earlier, Class::Write | Class::Truncate),
            Class::Truncate => true,
            _ => earlier == Class::Truncate,
        }
    }

    proptest! {
        /// Against the definition: an operation goes exactly when nothing it must wait for is
        /// unfinished, whatever ends or is withdrawn in whatever order.
        #[test]
        fn goes_exactly_when_nothing_before_it_is_left(
            script in prop::collection::vec((0u8..9, any::<prop::sample::Index>()), 1..120)
        ) {
            let mut barrier = Barrier::default();
            // (id, class, epoch once it went), in order of admission
            let mut alive: Vec<(u32, Class, Option<u64>)> = Vec::new();
            for (id, (action, pick)) in (0..).zip(script) {
                let mut ready = Vec::new();
                let class = match action {
                    0 => Class::Read,
                    1 | 2 => Class::Write,
                    3 => Class::Sync,
                    4 => Class::Truncate,
                    _ => {
                        if alive.is_empty() {
                            continue;
                        }
                        let (id, class, epoch) = alive.remove(pick.index(alive.len()));
                        match epoch {
                            Some(epoch) => barrier.end(class, epoch, &mut ready),
                            None => barrier.withdraw(id, &mut ready),
                        }
                        for (id, epoch) in ready.drain(..) {
                            let waiting = alive.iter_mut().find(|op| op.0 == id).unwrap();
                            prop_assert_eq!(waiting.2.replace(epoch), None);
                        }
                        Class::Read
                    }
                };
                if action < 5 {
                    let epoch = barrier.admit(id, class);
                    alive.push((id, class, epoch));
                }
                for (at, op) in alive.iter().enumerate() {
                    // A withdrawn sync leaves its epoch behind; that only ever delays the syncs
                    // that came after it, never lets one go early.
                    let blocked = alive[..at].iter().any(|before| must_wait(before.1, op.1));
                    prop_assert_eq!(op.2.is_none(), blocked, "{:?} in {:?}", op, alive);
                }
            }
        }
    }
}
