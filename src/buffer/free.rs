//! The free places of an arena's class: a stack of indices, without a lock and without memory of
//! its own.
//!
//! Whoever gives a buffer back may be anywhere, in a callback or at the end of a driver, and a take
//! and a return belong to every operation: so both are one atomic exchange and a few moves. Each
//! place has a link to the one below it. The head holds the index of the topmost place, and a count
//! of all takes: a thread that was interrupted between looking at the top and taking it does not
//! mistake a stack for the one it saw because the same place is on top again (known as ABA). It
//! would, after 2^32 takes within one interruption.
//!
//! For example, with three places the head is (0, 0) and the links are 1, 2, none. Taking gives
//! place 0 and leaves (1, 1); taking again gives 1, (2, 2). When 0 comes back it links to 2 and is
//! the top: (0, 2). So a place is used again while it is still in the processor's cache, and places
//! taken in a row are neighbours until then.

use littoral_platform::lock::atomic::{AtomicU32, AtomicU64, Ordering};

/// No place.
const NONE: u32 = u32::MAX;

/// The link of a place to the free one below it.
pub(super) struct Link(AtomicU32);

impl Link {
    /// The link of a fresh stack's place.
    pub(super) fn new(index: u32, count: u32) -> Link {
        Link(AtomicU32::new(if index + 1 < count { index + 1 } else { NONE }))
    }
}

/// The head of the stack. The links stand with the places.
pub(super) struct Free(AtomicU64);

const fn head(takes: u64, top: u32) -> u64 {
    takes << 32 | top as u64
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is the index")]
const fn top(head: u64) -> u32 {
    head as u32
}

impl Free {
    /// All of `count` places, below `u32::MAX`, the first on top.
    pub(super) fn new(count: u32) -> Free {
        assert!(count < NONE, "fewer than 2^32 - 1 buffers in a class");
        Free(AtomicU64::new(head(0, if count == 0 { NONE } else { 0 })))
    }

    /// Takes the topmost place; what its last user did with it happened before.
    pub(super) fn take<'a>(&self, link: impl Fn(u32) -> &'a Link) -> Option<u32> {
        let mut seen = self.0.load(Ordering::Acquire);
        loop {
            let index = top(seen);
            if index == NONE {
                return None;
            }
            // Another thread may take the place meanwhile, and its link be of no sense any more:
            // then the head has changed, and the exchange fails.
            let below = link(index).0.load(Ordering::Relaxed);
            let next = head((seen >> 32).wrapping_add(1), below);
            match self.0.compare_exchange_weak(seen, next, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => return Some(index),
                Err(now) => seen = now,
            }
        }
    }

    /// Gives a place back that was taken.
    pub(super) fn put<'a>(&self, index: u32, link: impl Fn(u32) -> &'a Link) {
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            link(index).0.store(top(seen), Ordering::Relaxed);
            let next = head(seen >> 32, index);
            match self.0.compare_exchange_weak(seen, next, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    struct Stack {
        free: Free,
        links: Vec<Link>,
    }

    impl Stack {
        fn new(count: u32) -> Stack {
            let links = (0..count).map(|index| Link::new(index, count)).collect();
            Stack { free: Free::new(count), links }
        }

        fn take(&self) -> Option<u32> {
            self.free.take(|index| &self.links[index as usize])
        }

        fn put(&self, index: u32) {
            self.free.put(index, |index| &self.links[index as usize]);
        }
    }

    proptest! {
        #[test]
        fn it_is_a_stack(
            count in 0_u32..6,
            moves in prop::collection::vec(prop::option::of(any::<prop::sample::Index>()), 0..60),
        ) {
            let stack = Stack::new(count);
            let mut model: Vec<u32> = (0..count).rev().collect();
            let mut taken = Vec::new();
            for back in moves {
                match back {
                    Some(which) if !taken.is_empty() => {
                        let index = taken.swap_remove(which.index(taken.len()));
                        stack.put(index);
                        model.push(index);
                    }
                    _ => {
                        let found = stack.take();
                        prop_assert_eq!(found, model.pop());
                        taken.extend(found);
                    }
                }
            }
        }
    }

    #[test]
    fn a_place_is_one_threads_at_a_time() {
        const PLACES: u32 = 3;
        let stack = Arc::new(Stack::new(PLACES));
        let owned: Arc<Vec<AtomicBool>> =
            Arc::new((0..PLACES).map(|_| AtomicBool::new(false)).collect());
        let rounds = if cfg!(miri) { 50 } else { 20_000 };
        let work = |_| {
            let (stack, owned) = (Arc::clone(&stack), Arc::clone(&owned));
            thread::spawn(move || {
                for round in 0..rounds {
                    // Two at once in every other round, so that orders change.
                    let mine: Vec<u32> = (0..=round % 2).filter_map(|_| stack.take()).collect();
                    for index in &mine {
                        let twice = owned[*index as usize].swap(true, Ordering::Relaxed);
                        assert!(!twice, "place {index} is in two hands");
                    }
                    for index in mine {
                        owned[index as usize].store(false, Ordering::Relaxed);
                        stack.put(index);
                    }
                }
            })
        };
        let workers: Vec<_> = (0..4).map(work).collect();
        for worker in workers {
            worker.join().expect("no place was in two hands");
        }
        assert_eq!((0..=PLACES).filter_map(|_| stack.take()).count(), PLACES as usize);
    }
}
