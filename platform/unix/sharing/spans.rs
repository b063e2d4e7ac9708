//! Who of a process has which bytes of one file locked.
//!
//! The system knows one owner, the process, and of each byte one lock. This is what tells the users
//! of the process apart, and what is left for the system when one of them lets go. Worked example:
//! user 1 has bytes 0 to 10 shared, user 2 has 5 to 20. User 1 lets go of everything: bytes 0 to 5
//! are nobody's now, and the system is told so; 5 to 10 are user 2's as well, and stay locked.

use core::ops::Range;

use crate::LockKind;

/// A lock of one user. One that is not granted yet stands for a thread that waits for it in the
/// kernel, which may grant it at any moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) who: u64,
    pub(super) range: Range<u64>,
    pub(super) kind: LockKind,
    pub(super) granted: bool,
}

/// All locks of a file, of all users of this process.
#[derive(Debug, Default)]
pub(super) struct Spans {
    held: Vec<Held>,
}

fn overlap(one: &Range<u64>, two: &Range<u64>) -> Range<u64> {
    one.start.max(two.start)..one.end.min(two.end)
}

impl Spans {
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Whether no other user is in the way.
    pub(super) fn admits(&self, who: u64, range: &Range<u64>, kind: LockKind) -> bool {
        let mut others = self.held.iter().filter(|held| held.who != who);
        others.all(|held| {
            overlap(&held.range, range).is_empty() || held.kind.max(kind) == LockKind::Shared
        })
    }

    /// A thread begins to wait for a lock.
    pub(super) fn wait(&mut self, who: u64, range: &Range<u64>, kind: LockKind) {
        self.held.push(Held { who, range: range.clone(), kind, granted: false });
    }

    /// A thread does not wait any more.
    pub(super) fn waited(&mut self, who: u64, range: &Range<u64>, kind: LockKind) {
        let waiting = Held { who, range: range.clone(), kind, granted: false };
        let place = self.held.iter().position(|held| *held == waiting);
        self.held.swap_remove(place.expect("who waits is noted"));
    }

    /// The system gave a lock, in place of what this user had there.
    pub(super) fn grant(&mut self, who: u64, range: &Range<u64>, kind: LockKind) {
        self.give(who, range);
        self.held.push(Held { who, range: range.clone(), kind, granted: true });
    }

    /// This user gives up what was granted of these bytes.
    pub(super) fn give(&mut self, who: u64, range: &Range<u64>) {
        let mut rest = Vec::new();
        for held in self.held.extract_if(.., |held| held.who == who && held.granted) {
            let (before, after) = (
                held.range.start..held.range.end.min(range.start),
                held.range.start.max(range.end)..held.range.end,
            );
            let pieces = [before, after].into_iter().filter(|piece| !piece.is_empty());
            rest.extend(pieces.map(|range| Held { range, ..held.clone() }));
        }
        self.held.append(&mut rest);
    }

    /// The parts of a range that nobody has or waits for: what the system need not keep.
    pub(super) fn free(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        let mut free = vec![range.clone()];
        for held in &self.held {
            let around = |piece: Range<u64>| {
                let (before, after) = (
                    piece.start..piece.end.min(held.range.start),
                    piece.start.max(held.range.end)..piece.end,
                );
                [before, after].into_iter().filter(|piece| !piece.is_empty())
            };
            free = free.into_iter().flat_map(around).collect();
        }
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use LockKind::{Exclusive, Shared};
    use proptest::prelude::*;

    #[test]
    fn the_worked_example() {
        let mut spans = Spans::default();
        spans.grant(1, &(0..10), Shared);
        assert!(spans.admits(2, &(5..20), Shared) && !spans.admits(2, &(5..20), Exclusive));
        spans.grant(2, &(5..20), Shared);
        spans.give(1, &(0..u64::MAX));
        assert_eq!(spans.free(&(0..30)), [0..5, 20..30]);
        assert!(spans.admits(2, &(5..20), Exclusive) && !spans.admits(1, &(19..21), Exclusive));
    }

    const BYTES: usize = 12;
    const USERS: usize = 3;

    proptest! {
        /// Against the definition, byte by byte.
        #[test]
        fn each_byte_is_as_if_it_were_alone(
            script in prop::collection::vec(
                (0..USERS, 0..BYTES, 1..=BYTES, 0_u8..4), 1..60
            ),
        ) {
            let mut spans = Spans::default();
            let mut model = [[None; USERS]; BYTES];
            for (user, start, len, action) in script {
                let here = start..(start + len).min(BYTES);
                let (who, range) = (user as u64, here.start as u64..here.end as u64);
                let kind = if action == 0 { Exclusive } else { Shared };
                if action == 3 {
                    spans.give(who, &range);
                    model[here].iter_mut().for_each(|byte| byte[user] = None);
                } else {
                    let free = model[here.clone()].iter().all(|byte| {
                        (0..).zip(byte).all(|(other, held)| {
                            other == user
                                || held.is_none_or(|held| held == Shared && kind == Shared)
                        })
                    });
                    prop_assert_eq!(spans.admits(who, &range, kind), free);
                    if free {
                        spans.grant(who, &range, kind);
                        model[here].iter_mut().for_each(|byte| byte[user] = Some(kind));
                    }
                }
                let free = spans.free(&(0..BYTES as u64));
                let mut all_free = true;
                for (at, byte) in (0..).zip(&model) {
                    let nobody = byte.iter().all(Option::is_none);
                    prop_assert_eq!(free.iter().any(|piece| piece.contains(&at)), nobody);
                    all_free &= nobody;
                }
                prop_assert_eq!(spans.is_empty(), all_free);
            }
        }
    }
}
