//! Buffers of a few sizes, allocated once, which go home however they are lost.

#![allow(unsafe_code, reason = "an arena is raw memory and a table of headers")]

use core::fmt;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering::Relaxed};
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::sync::Arc;

use littoral_platform::{Region, Span};

use super::Buffer;
use super::free::{Free, Link};
use super::raw::Header;
use super::regions::Regions;

/// Pages are what direct I/O and the kernel's registration want.
const ALIGN: usize = 4096;

/// Two buffers share no cache line.
const LINE: usize = 64;

/// A fixed number of buffers of one or several sizes, allocated once.
///
/// A buffer goes back to its arena when it is dropped: as a [`Buffer`], as the last
/// [`Shared`](super::Shared) of it, inside an operation nobody waited for. The memory lives until
/// the arena and all its buffers are gone. Taking a buffer and losing it allocates nothing and
/// locks nothing, on whichever thread.
///
/// ```
/// use littoral::{Arena, TakeError};
/// // Pages, and the frames of a log: a page and its header.
/// let arena = Arena::new(&[(4096, 64), (4096 + 24, 16)]);
/// let page = arena.take(4096)?;
/// assert_eq!((page.capacity(), arena.free(4096)), (4096, 63 + 16));
/// drop(page);
/// assert_eq!(arena.free(4096), 64 + 16);
/// assert_eq!(arena.take(8192).unwrap_err(), TakeError::TooLarge { len: 8192, largest: 4120 });
/// # Ok::<(), TakeError>(())
/// ```
#[derive(Clone)]
pub struct Arena(Arc<Inner>);

struct Inner {
    /// Sorted by size. A class lives as long as its arena and its buffers.
    classes: Box<[Arc<Class>]>,
    spill: Spill,
}

/// Where a buffer comes from when all those of the fitting size are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spill {
    /// From the next larger class that has one.
    #[default]
    Larger,
    /// From nowhere: each class serves its own sizes only, so that many small buffers never take
    /// the place of a large one.
    No,
}

/// Why an [`Arena`] gives no buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakeError {
    /// No class has buffers of that size, so waiting for one would be for ever.
    TooLarge {
        /// Bytes asked for.
        len: usize,
        /// Bytes of the largest class, 0 in an arena without one.
        largest: usize,
    },
    /// All buffers that may serve the size are taken; each is free again once it is dropped.
    Empty {
        /// Bytes asked for.
        len: usize,
    },
}

impl fmt::Display for TakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TakeError::TooLarge { len, largest } => write!(
                f,
                "no buffer of {len} bytes: the arena's largest are of {largest}; add a class"
            ),
            TakeError::Empty { len } => write!(
                f,
                "no buffer of {len} bytes is free; drop one first, or make the class larger"
            ),
        }
    }
}

impl core::error::Error for TakeError {}

/// A class of an [`Arena`], and how it fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClassStatistics {
    /// Bytes of each buffer.
    pub size: usize,
    /// How many there are.
    pub count: usize,
    /// How many of them are free.
    pub free: usize,
    /// Requests of this size that found none free here: served by a larger class, or refused.
    pub misses: u64,
}

struct Class {
    size: usize,
    /// From one buffer to the next.
    stride: usize,
    base: NonNull<u8>,
    layout: Layout,
    places: Box<[Place]>,
    regions: Regions,
    free: Free,
    misses: AtomicU64,
}

/// One buffer's place. Its header comes first, so that a pointer to one is a pointer to the other.
#[repr(C)]
struct Place {
    header: Header,
    index: u32,
    link: Link,
    /// The class, with one strong count of it while the place is taken.
    class: AtomicPtr<Class>,
}

// SAFETY: the memory behind `base` is only reached through buffers, each of which has a place of
// its own; the rest is `Sync` by itself.
unsafe impl Send for Class {}
// SAFETY: as above.
unsafe impl Sync for Class {}

/// Takes a place back.
///
/// # Safety
/// As for [`Header`]: `header` is that of a [`Place`], and its last holder is gone.
unsafe fn release_place(header: NonNull<Header>) {
    // SAFETY: this function is only put into the header of a `Place`, which starts with it; the
    // strong count that the place carries keeps it alive.
    let place = unsafe { header.cast::<Place>().as_ref() };
    // SAFETY: `take` stored a pointer from `Arc::into_raw`, which is taken back once, here.
    let class = unsafe { Arc::from_raw(place.class.load(Relaxed).cast_const()) };
    class.free.put(place.index, |index| class.link(index));
}

impl Arena {
    /// `(size in bytes, how many)` for each class. Every buffer starts at a multiple of 64 bytes,
    /// and of any larger power of two, up to a page of 4096, that its class's size is a multiple
    /// of. So a class of pages or sectors is aligned for direct I/O, and one of a page and a header
    /// of 24 bytes is not, unless it is made by [`aligned`](Arena::aligned). Where a class is empty
    /// the next larger one serves.
    ///
    /// # Panics
    /// If a class has `u32::MAX` buffers or more, or needs more memory than there are addresses.
    #[must_use]
    pub fn new(classes: &[(usize, usize)]) -> Arena {
        Arena::with_spill(classes, Spill::Larger)
    }

    /// As [`new`](Arena::new), saying what happens where a class is empty.
    ///
    /// # Panics
    /// As [`new`](Arena::new).
    #[must_use]
    pub fn with_spill(classes: &[(usize, usize)], spill: Spill) -> Arena {
        Arena::build(classes, spill, LINE)
    }

    /// As [`new`](Arena::new), and every buffer starts at a multiple of `align`, whatever its size:
    /// what the [`memory_align`](crate::Geometry::memory_align) of a file asks for. That of a size
    /// which is a multiple of it needs no more memory for that; one of a page and a header of 24
    /// bytes takes two pages where `align` is a page, and so is better kept in an arena of its own,
    /// or made of two buffers, a header's and a page's.
    ///
    /// ```
    /// use littoral::Arena;
    /// let arena = Arena::aligned(512, &[(4096, 8), (4120, 8)]);
    /// let frame = arena.take(4120)?;
    /// assert!(frame.as_ptr().addr().is_multiple_of(512));
    /// # Ok::<(), littoral::TakeError>(())
    /// ```
    ///
    /// # Panics
    /// As [`new`](Arena::new), and if `align` is no power of two or larger than a page of 4096.
    #[must_use]
    pub fn aligned(align: usize, classes: &[(usize, usize)]) -> Arena {
        assert!(align.is_power_of_two() && align <= ALIGN, "an alignment is up to a page");
        Arena::build(classes, Spill::Larger, align.max(LINE))
    }

    fn build(classes: &[(usize, usize)], spill: Spill, align: usize) -> Arena {
        let mut sorted = classes.to_vec();
        sorted.sort_unstable();
        let class = |(size, count)| Arc::new(Class::new(size, count, align));
        Arena(Arc::new(Inner { classes: sorted.into_iter().map(class).collect(), spill }))
    }

    /// The classes that may serve `len` bytes, the smallest first.
    fn serving(&self, len: usize) -> &[Arc<Class>] {
        let classes = &self.0.classes;
        let first = classes.iter().position(|class| class.size >= len).unwrap_or(classes.len());
        match self.0.spill {
            Spill::Larger => &classes[first..],
            Spill::No => &classes[first..classes.len().min(first + 1)],
        }
    }

    /// A free buffer of capacity `len` and length 0, from the smallest class that fits, or where
    /// that is empty, as the arena's [`Spill`] says.
    ///
    /// # Errors
    /// [`TooLarge`](TakeError::TooLarge) where there will never be one, [`Empty`](TakeError::Empty)
    /// where there is none now.
    #[inline]
    pub fn take(&self, len: usize) -> Result<Buffer, TakeError> {
        let fitting = self.0.classes.iter().find(|class| class.size >= len);
        match fitting.and_then(|class| class.take(len)) {
            Some(buffer) => Ok(buffer),
            None => self.take_elsewhere(len),
        }
    }

    /// When the class that fits has none.
    #[cold]
    fn take_elsewhere(&self, len: usize) -> Result<Buffer, TakeError> {
        let Some((fitting, larger)) = self.serving(len).split_first() else {
            let largest = self.0.classes.last().map_or(0, |class| class.size);
            return Err(TakeError::TooLarge { len, largest });
        };
        fitting.misses.fetch_add(1, Relaxed);
        larger.iter().find_map(|class| class.take(len)).ok_or(TakeError::Empty { len })
    }

    /// The pieces that a ring may be told of, each with its memory.
    pub(crate) fn regions(&self) -> impl Iterator<Item = (Region, Span)> {
        self.0.classes.iter().flat_map(|class| class.regions())
    }

    /// How many buffers that may serve `len` bytes are free.
    #[must_use]
    pub fn free(&self, len: usize) -> usize {
        self.serving(len).iter().map(Class::free).sum()
    }

    /// Each class and how it fares, the smallest first. While other threads take buffers, each
    /// number is true of some moment.
    #[must_use]
    pub fn statistics(&self) -> Vec<ClassStatistics> {
        let of = |class: &Arc<Class>| ClassStatistics {
            size: class.size,
            count: class.places.len(),
            free: Class::free(class),
            misses: class.misses.load(Relaxed),
        };
        self.0.classes.iter().map(of).collect()
    }
}

impl Class {
    fn new(size: usize, count: usize, align: usize) -> Class {
        let stride = size.next_multiple_of(align);
        let bytes = stride.checked_mul(count).expect("an arena fits the address space").max(1);
        let layout =
            Layout::from_size_align(bytes, ALIGN).expect("an arena fits the address space");
        let count = u32::try_from(count).expect("fewer than 2^32 buffers in a class");
        let free = Free::new(count);
        // SAFETY: the layout is not empty.
        let base = NonNull::new(unsafe { alloc_zeroed(layout) });
        let Some(base) = base else { handle_alloc_error(layout) };
        let regions = Regions::new(count as usize, stride, Region::BYTES_MAX);
        let allocation = base.as_ptr().addr();
        let place = |index| Place {
            header: Header::new(allocation, true, release_place)
                .in_region(regions.of(index as usize)),
            index,
            link: Link::new(index, count),
            class: AtomicPtr::default(),
        };
        let places = (0..count).map(place).collect();
        Class { size, stride, base, layout, places, regions, free, misses: AtomicU64::new(0) }
    }

    fn regions(&self) -> impl Iterator<Item = (Region, Span)> {
        self.regions.pieces(self.places.len()).map(|(region, first, count)| {
            // SAFETY: `first` is below the class's count, for which `base` has memory.
            let start = unsafe { self.base.add(first * self.stride) };
            (region, Span { ptr: start.as_ptr(), len: count * self.stride })
        })
    }

    fn link(&self, index: u32) -> &Link {
        &self.places[index as usize].link
    }

    /// A free place as a buffer of capacity `len`, which is at most the class's size.
    fn take(self: &Arc<Class>, len: usize) -> Option<Buffer> {
        let index = self.free.take(|index| self.link(index))? as usize;
        let place = &self.places[index];
        place.header.revive();
        place.class.store(Arc::into_raw(Arc::clone(self)).cast_mut(), Relaxed);
        // SAFETY: `index` is below the class's count, for which `base` has memory.
        let ptr = unsafe { self.base.add(index * self.stride) };
        let header = NonNull::from(place).cast::<Header>();
        // SAFETY: the place was free, so nobody else has its memory; the count that it now carries
        // keeps the class until the header is released.
        Some(unsafe { Buffer::from_parts(ptr, len, header) })
    }

    /// Each place that is taken holds the class, and so does the arena, once.
    fn free(self: &Arc<Class>) -> usize {
        (self.places.len() + 1).saturating_sub(Arc::strong_count(self))
    }
}

impl Drop for Class {
    fn drop(&mut self) {
        // SAFETY: allocated so in `new`; every buffer of it held the class, so none is left.
        unsafe { dealloc(self.base.as_ptr(), self.layout) }
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Arena(")?;
        for (at, ClassStatistics { size, count, free, .. }) in (0..).zip(self.statistics()) {
            let comma = if at > 0 { ", " } else { "" };
            write!(f, "{comma}{free} of {count} free of {size} bytes")?;
        }
        write!(f, ")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Shared;
    use proptest::prelude::*;
    use std::thread;

    #[test]
    fn why_there_is_none_is_told() {
        let arena = Arena::new(&[(4120, 1), (4096, 1)]);
        let held = [arena.take(4096).unwrap(), arena.take(4096).unwrap()];
        assert_eq!(arena.take(1).unwrap_err(), TakeError::Empty { len: 1 });
        let refused = arena.take(4121).unwrap_err();
        assert_eq!(refused, TakeError::TooLarge { len: 4121, largest: 4120 });
        assert_eq!(
            refused.to_string(),
            "no buffer of 4121 bytes: the arena's largest are of 4120; add a class"
        );
        let shown = "Arena(0 of 1 free of 4096 bytes, 0 of 1 free of 4120 bytes)";
        assert_eq!(format!("{arena:?}"), shown);
        drop(held);
        let none = Arena::new(&[]);
        assert_eq!(none.take(0).unwrap_err(), TakeError::TooLarge { len: 0, largest: 0 });
        assert_eq!(Arena::new(&[(8, 0)]).take(8).unwrap_err(), TakeError::Empty { len: 8 });
    }

    #[test]
    fn what_spills_is_said() {
        let classes = [(4096, 1), (4120, 1)];
        let kept = Arena::with_spill(&classes, Spill::No);
        let page = kept.take(100).unwrap();
        assert_eq!(kept.take(4096).unwrap_err(), TakeError::Empty { len: 4096 });
        assert_eq!((kept.free(4096), kept.free(4097), kept.free(4121)), (0, 1, 0));
        assert_eq!(kept.take(4097).unwrap().capacity(), 4097);
        assert_eq!(kept.statistics().iter().map(|of| of.misses).collect::<Vec<_>>(), [1, 0]);
        drop(page);
        assert_eq!(kept.free(4096), 1);
    }

    #[test]
    fn pages_are_aligned_and_neighbours() {
        let arena = Arena::new(&[(4096, 4), (4120, 4)]);
        let pages: Vec<_> = (0..4).map(|_| arena.take(4096).unwrap()).collect();
        let addresses: Vec<_> = pages.iter().map(|page| page.as_ptr().addr()).collect();
        assert!(addresses.iter().all(|address| address % 4096 == 0));
        assert!(addresses.windows(2).all(|two| two[0] + 4096 == two[1]));
        let frame = arena.take(4120).unwrap();
        assert_eq!(frame.as_ptr().addr() % 64, 0);
    }

    #[test]
    fn every_buffer_is_aligned_as_its_size_or_as_it_was_asked_for() {
        let addresses = |arena: &Arena, size: usize| {
            let all: Vec<_> = (0..5).map(|_| arena.take(size).unwrap()).collect();
            all.iter().map(|buffer| buffer.as_ptr().addr()).collect::<Vec<_>>()
        };
        let aligned = |list: &[usize], to: usize| list.iter().all(|at| at.is_multiple_of(to));
        let plain = Arena::new(&[(512, 5), (1536, 5), (4120, 5), (12_288, 5)]);
        for (size, align) in [(512, 512), (1536, 512), (4120, 64), (12_288, 4096)] {
            assert!(aligned(&addresses(&plain, size), align), "{size} to {align}");
        }
        for align in [1, 64, 512, 4096] {
            let arena = Arena::aligned(align, &[(100, 5), (4096, 5), (4120, 5)]);
            for size in [100, 4096, 4120] {
                assert!(aligned(&addresses(&arena, size), align), "{size} to {align}");
            }
        }
        for capacity in [512, 1024, 4096, 4120, 1 << 20] {
            let align = if capacity < 4096 { 512 } else { 4096 };
            assert!(aligned(&[Buffer::with_capacity(capacity).as_ptr().addr()], align));
        }
    }

    #[test]
    fn buffers_may_be_lost_on_any_thread() {
        let arena = Arena::new(&[(64, 4), (88, 2)]);
        let rounds = if cfg!(miri) { 20 } else { 2_000 };
        let work = |byte: u8| {
            let arena = arena.clone();
            thread::spawn(move || {
                for round in 0..rounds {
                    let len = if round % 3 == 0 { 88 } else { 64 };
                    let Ok(mut buffer) = arena.take(len) else { continue };
                    buffer.extend_from_slice(&[byte; 64]);
                    let shared: Shared = buffer.freeze();
                    let other = shared.clone();
                    let there = thread::spawn(move || drop(other));
                    assert_eq!(shared.as_slice(), Some(&[byte; 64][..]));
                    drop(shared);
                    if round % 50 == 0 {
                        there.join().expect("it drops");
                    }
                }
            })
        };
        let workers: Vec<_> = (0..3).map(work).collect();
        for worker in workers {
            worker.join().expect("every buffer was one thread's");
        }
        while arena.free(64) < 6 {
            thread::yield_now();
        }
    }

    /// What a model knows of a class: its size, and how many of it are free.
    type Model = Vec<(usize, usize)>;

    /// The class that serves, by the rule as it is written down.
    fn serving(model: &Model, spill: Spill, len: usize) -> Result<usize, TakeError> {
        let largest = model.last().map_or(0, |class| class.0);
        let fitting = model.iter().position(|class| class.0 >= len);
        let fitting = fitting.ok_or(TakeError::TooLarge { len, largest })?;
        let last = if spill == Spill::No { fitting } else { model.len() - 1 };
        (fitting..=last).find(|&at| model[at].1 > 0).ok_or(TakeError::Empty { len })
    }

    proptest! {
        #[test]
        fn it_does_as_the_model(
            classes in prop::collection::vec((1_usize..40, 0_usize..4), 0..4),
            no_spill in any::<bool>(),
            moves in prop::collection::vec((0_usize..44, any::<prop::sample::Index>()), 0..60),
        ) {
            let spill = if no_spill { Spill::No } else { Spill::Larger };
            let arena = Arena::with_spill(&classes, spill);
            let mut model = classes;
            model.sort_unstable();
            let counts: Vec<_> = model.iter().map(|class| class.1).collect();
            let mut taken: Vec<(usize, u8, Shared)> = Vec::new();
            for (step, (len, which)) in moves.into_iter().enumerate() {
                // One move in three gives one back.
                if step % 3 == 2 && !taken.is_empty() {
                    let (class, byte, shared) = taken.swap_remove(which.index(taken.len()));
                    prop_assert!(shared.as_slice().unwrap().iter().all(|&found| found == byte));
                    drop(shared);
                    model[class].1 += 1;
                } else {
                    let expected = serving(&model, spill, len);
                    match arena.take(len) {
                        Err(error) => prop_assert_eq!(Err(error), expected),
                        Ok(mut buffer) => {
                            let class = expected.expect("the model has none");
                            prop_assert_eq!((buffer.len(), buffer.capacity()), (0, len));
                            let byte = u8::try_from(step).unwrap();
                            buffer.extend_from_slice(&vec![byte; len]);
                            model[class].1 -= 1;
                            taken.push((class, byte, buffer.freeze()));
                        }
                    }
                }
                let found = arena.statistics();
                let free: Vec<_> = found.iter().map(|of| (of.size, of.free)).collect();
                prop_assert_eq!(&free, &model);
                prop_assert!(found.iter().map(|of| of.count).eq(counts.iter().copied()));
            }
            // The memory outlives the arena's handle.
            drop(arena);
            for (_, byte, shared) in taken {
                prop_assert!(shared.as_slice().unwrap().iter().all(|&found| found == byte));
            }
        }
    }
}
