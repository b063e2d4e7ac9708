//! The small parts without a lock, in every order that two or three threads can meet in.
//!
//! The files themselves are compiled here, not copies: all that differs is where their atomics come
//! from, which `loom` provides. It runs a model again and again, until each order of its accesses
//! was tried, and each value that a load may give by the rules of memory.
//!
//! The engine as a whole is too large for that: `tests/shuttle` tries orders by chance. That each
//! of the models finds something is tried as well, in `tests/harness/planted.mjs`.
#![allow(unsafe_code, reason = "it counts the holders of raw memory as a buffer does")]

extern crate self as littoral_platform;

/// What the included files take for the platform's.
pub mod lock {
    pub use loom::sync::atomic;
}

#[path = "../../../platform/uring/bell.rs"]
mod bell;
#[path = "../../../src/buffer/free.rs"]
mod free;
#[path = "../../../platform/polled/latch.rs"]
mod latch;
#[path = "../../../platform/parts.rs"]
pub mod parts;
#[path = "../../../src/buffer/raw.rs"]
#[allow(dead_code, reason = "only the counting is modelled")]
mod raw;

use std::sync::atomic::AtomicU32;

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
pub use parts::Region;

/// Tries all orders with at most so many threads stopped in the midst of something.
fn all_orders(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// A polled descriptor: news is never left with the descriptor unreadable and no step to come.
pub fn polled_descriptor() {
    #[derive(Default)]
    struct Polled {
        latch: latch::Latch,
        readable: Mutex<bool>,
        news: Mutex<u32>,
    }
    impl Polled {
        fn set(&self, readable: bool) {
            *self.readable.lock().unwrap() = readable;
        }
        /// What a step does: it looks at all news.
        fn step(&self) -> u32 {
            self.latch.begin(|| self.set(false));
            let seen = *self.news.lock().unwrap();
            self.latch.end(|| self.set(true));
            seen
        }
    }
    all_orders(4, || {
        let polled = Arc::new(Polled::default());
        let producers: Vec<_> = (0..2)
            .map(|_| {
                let polled = Arc::clone(&polled);
                thread::spawn(move || {
                    *polled.news.lock().unwrap() += 1;
                    polled.latch.raise(|| polled.set(true));
                })
            })
            .collect();
        let mut seen = polled.step();
        for producer in producers {
            producer.join().unwrap();
        }
        // The loop goes on as long as it is readable, and no longer.
        let mut steps = 0;
        while *polled.readable.lock().unwrap() {
            seen = polled.step();
            steps += 1;
            assert!(steps <= 2, "readable for ever");
        }
        assert_eq!(seen, 2, "news that nobody is told of");
    });
}

/// A doorbell: who waits for news comes back, whether it was rung before, while, or after he slept,
/// and though the holder of the ring empties the eventfd meanwhile.
pub fn doorbell() {
    #[derive(Default)]
    struct Bell {
        waiter: bell::Waiter,
        /// The eventfd, as the kernel sees it.
        filled: Mutex<bool>,
        wakes: Condvar,
        /// Whether somebody waits, and whether there is news: what the engine's lock guards.
        engine: Mutex<(bool, bool)>,
    }
    impl Bell {
        fn fill(&self) {
            *self.filled.lock().unwrap() = true;
            self.wakes.notify_all();
        }
    }
    all_orders(3, || {
        let bell = Arc::new(Bell::default());
        let ringer = thread::spawn({
            let bell = Arc::clone(&bell);
            move || {
                let mut engine = bell.engine.lock().unwrap();
                engine.1 = true;
                let waits = engine.0;
                drop(engine);
                if waits {
                    bell.waiter.ring(|| bell.fill());
                }
            }
        });
        let holder = thread::spawn({
            let bell = Arc::clone(&bell);
            move || {
                // As the ring's, before it arms the poll.
                *bell.filled.lock().unwrap() = false;
                if bell.waiter.is_rung() {
                    bell.fill();
                }
            }
        });
        loop {
            let mut engine = bell.engine.lock().unwrap();
            engine.0 = !engine.1;
            if engine.1 {
                break;
            }
            drop(engine);
            if bell.waiter.begin() {
                let mut filled = bell.filled.lock().unwrap();
                while !*filled {
                    filled = bell.wakes.wait(filled).unwrap();
                }
                drop(filled);
                bell.waiter.end();
            }
            bell.engine.lock().unwrap().0 = false;
        }
        ringer.join().unwrap();
        holder.join().unwrap();
        assert!(!bell.waiter.is_waiting(), "nobody is left");
    });
}

/// An arena's free places: none is in two hands, and what was done with one happened before it is
/// somebody else's.
pub fn arena_return() {
    struct Places {
        free: free::Free,
        links: Vec<free::Link>,
        bytes: Vec<UnsafeCell<u32>>,
    }
    impl Places {
        fn take(&self) -> Option<u32> {
            let index = self.free.take(|index| &self.links[index as usize])?;
            // SAFETY: a place is one thread's at a time, which is what loom checks here.
            self.bytes[index as usize].with_mut(|bytes| unsafe { *bytes += 1 });
            Some(index)
        }
        fn put(&self, index: u32) {
            // SAFETY: as above.
            self.bytes[index as usize].with_mut(|bytes| unsafe { *bytes += 1 });
            self.free.put(index, |index| &self.links[index as usize]);
        }
    }
    // SAFETY: the bytes of a place are used by who has taken it.
    unsafe impl Sync for Places {}
    // SAFETY: as above.
    unsafe impl Send for Places {}
    const PLACES: u32 = 2;
    all_orders(3, || {
        let places = Arc::new(Places {
            free: free::Free::new(PLACES),
            links: (0..PLACES).map(|index| free::Link::new(index, PLACES)).collect(),
            bytes: (0..PLACES).map(|_| UnsafeCell::new(0)).collect(),
        });
        let owned: Arc<[AtomicBool; 2]> =
            Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
        let take = |places: &Places, owned: &[AtomicBool; 2]| {
            let index = places.take()?;
            let twice = owned[index as usize].swap(true, Ordering::Relaxed);
            assert!(!twice, "place {index} is in two hands");
            Some(index)
        };
        let put = |places: &Places, owned: &[AtomicBool; 2], index: u32| {
            owned[index as usize].store(false, Ordering::Relaxed);
            places.put(index);
        };
        let other = thread::spawn({
            let (places, owned) = (Arc::clone(&places), Arc::clone(&owned));
            move || {
                // Two, and the first of them back: the same place is on top again.
                let (first, second) = (take(&places, &owned), take(&places, &owned));
                if let Some(first) = first {
                    put(&places, &owned, first);
                }
                second
            }
        });
        let mine: Vec<u32> = (0..2).filter_map(|_| take(&places, &owned)).collect();
        let theirs = other.join().unwrap();
        for index in mine.into_iter().chain(theirs) {
            put(&places, &owned, index);
        }
        assert_eq!((0..=PLACES).filter_map(|_| places.take()).count(), PLACES as usize);
    });
}

/// The holders of a buffer: the last one gives it back, once, after all others' last uses.
pub fn holders() {
    struct Owner {
        bytes: UnsafeCell<u32>,
        given_back: std::sync::Arc<AtomicU32>,
    }
    impl Drop for Owner {
        fn drop(&mut self) {
            // SAFETY: the last holder is gone, which is what loom checks here.
            self.bytes.with_mut(|bytes| unsafe { *bytes += 1 });
            self.given_back.fetch_add(1, Ordering::Relaxed);
        }
    }
    struct Holder(core::ptr::NonNull<raw::Header>);
    // SAFETY: a claim may be given up anywhere.
    unsafe impl Send for Holder {}
    impl Holder {
        fn use_and_let_go(self) {
            // SAFETY: this holder has a claim, and the header is that of an `Owned<Owner>`.
            let owner = unsafe { &self.0.cast::<raw::Owned<Owner>>().as_ref().owner };
            // SAFETY: nobody writes while there are holders.
            owner.bytes.with(|bytes| assert_eq!(unsafe { *bytes }, 0));
            // SAFETY: as above, and it is not used afterwards.
            unsafe { raw::let_go(self.0) };
        }
    }
    all_orders(3, || {
        let given_back: std::sync::Arc<AtomicU32> = std::sync::Arc::default();
        let owner =
            Owner { bytes: UnsafeCell::new(0), given_back: std::sync::Arc::clone(&given_back) };
        let header = raw::own(owner, false);
        let others: Vec<_> = (0..2)
            .map(|_| {
                // SAFETY: this thread holds the first claim.
                unsafe { header.as_ref() }.hold();
                let holder = Holder(header);
                thread::spawn(move || holder.use_and_let_go())
            })
            .collect();
        Holder(header).use_and_let_go();
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(given_back.load(Ordering::Relaxed), 1, "given back");
    });
}
