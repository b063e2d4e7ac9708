//! Buffers from one allocation, which go home however they are lost.

#![allow(unsafe_code, reason = "an arena is raw memory and a table of headers")]

use core::fmt;
use core::ptr::NonNull;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::sync::{Arc, Mutex, PoisonError};

use super::Buffer;
use super::raw::Header;

/// Pages are what direct I/O and the kernel's registration want.
const ALIGN: usize = 4096;

/// A fixed number of buffers of one or several sizes, allocated once.
///
/// A buffer goes back to its arena when it is dropped: as a [`Buffer`], as the last
/// [`Shared`](super::Shared) of it, inside an operation nobody waited for. The memory lives until
/// the arena and all its buffers are gone.
///
/// ```
/// use littoral::Arena;
/// let arena = Arena::new(&[(4096, 64), (4096 + 24, 16)]);
/// let page = arena.take(4096).expect("64 are free");
/// assert_eq!((page.capacity(), arena.free(4096)), (4096, 63 + 16));
/// drop(page);
/// assert_eq!(arena.free(4096), 64 + 16);
/// ```
#[derive(Clone)]
pub struct Arena(Arc<Inner>);

struct Inner {
    /// Sorted by size.
    classes: Box<[Class]>,
}

struct Class {
    size: usize,
    base: NonNull<u8>,
    layout: Layout,
    places: Box<[Place]>,
    free: Mutex<Vec<u32>>,
}

/// One buffer's place. Its header comes first, so that a pointer to one is a pointer to the other.
#[repr(C)]
struct Place {
    header: Header,
    class: u32,
    index: u32,
    /// The arena, with one strong count of it while the place is taken.
    arena: core::sync::atomic::AtomicPtr<Inner>,
}

// SAFETY: the memory behind `base` is only reached through buffers, each of which has a place of
// its own; the rest is `Sync` by itself.
unsafe impl Send for Inner {}
// SAFETY: as above.
unsafe impl Sync for Inner {}

/// Takes a place back.
///
/// # Safety
/// As for [`Header`]: `header` is that of a [`Place`], and its last holder is gone.
pub(super) unsafe fn release_place(header: NonNull<Header>) {
    use core::sync::atomic::Ordering::Relaxed;
    // SAFETY: this function is only put into the header of a `Place`, which starts with it; the
    // strong count that the place carries keeps it alive.
    let place = unsafe { header.cast::<Place>().as_ref() };
    // SAFETY: `take` stored a pointer from `Arc::into_raw`, which is taken back once, here.
    let arena = unsafe { Arc::from_raw(place.arena.load(Relaxed).cast_const()) };
    let class = &arena.classes[place.class as usize];
    class.free.lock().unwrap_or_else(PoisonError::into_inner).push(place.index);
}

impl Arena {
    /// `(size in bytes, how many)` for each class. Every buffer starts at a multiple of 64 bytes,
    /// and of a page where its size is a multiple of that.
    ///
    /// # Panics
    /// If a class has more than `u32::MAX` buffers, or needs more memory than there are addresses.
    #[must_use]
    pub fn new(classes: &[(usize, usize)]) -> Arena {
        let mut sorted = classes.to_vec();
        sorted.sort_unstable();
        let classes = (0..).zip(sorted).map(|(at, (size, count))| Class::new(at, size, count));
        Arena(Arc::new(Inner { classes: classes.collect() }))
    }

    /// A free buffer of capacity `len` and length 0, from the smallest class that has one; `None`
    /// when none is free.
    #[must_use]
    pub fn take(&self, len: usize) -> Option<Buffer> {
        use core::sync::atomic::Ordering::Relaxed;
        let class = self.0.classes.iter().filter(|class| class.size >= len).find_map(|class| {
            let index = class.free.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
            Some((class, index as usize))
        });
        let (class, index) = class?;
        let place = &class.places[index];
        place.header.revive();
        place.arena.store(Arc::into_raw(Arc::clone(&self.0)).cast_mut(), Relaxed);
        // SAFETY: `index` is below the class's count, for which `base` has memory.
        let ptr = unsafe { class.base.add(index * class.stride()) };
        let header = NonNull::from(place).cast::<Header>();
        // SAFETY: the place was free, so nobody else has its memory; the count that it now carries
        // keeps the arena until the header is released.
        Some(unsafe { Buffer::from_parts(ptr, len, header) })
    }

    /// How many buffers of at least `len` bytes are free.
    #[must_use]
    pub fn free(&self, len: usize) -> usize {
        let fitting = self.0.classes.iter().filter(|class| class.size >= len);
        fitting.map(|c| c.free.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }
}

impl Class {
    fn new(class: u32, size: usize, count: usize) -> Class {
        let stride = size.next_multiple_of(64);
        let bytes = stride.checked_mul(count).expect("an arena fits the address space").max(1);
        let layout =
            Layout::from_size_align(bytes, ALIGN).expect("an arena fits the address space");
        // SAFETY: the layout is not empty.
        let base = NonNull::new(unsafe { alloc_zeroed(layout) });
        let Some(base) = base else { handle_alloc_error(layout) };
        let count = u32::try_from(count).expect("fewer than 2^32 buffers in a class");
        let place = |index| Place {
            header: Header::new(base.as_ptr().addr(), true, release_place),
            class,
            index,
            arena: core::sync::atomic::AtomicPtr::default(),
        };
        Class {
            size,
            base,
            layout,
            places: (0..count).map(place).collect(),
            // The lowest places first: neighbours in memory travel as one span.
            free: Mutex::new((0..count).rev().collect()),
        }
    }

    fn stride(&self) -> usize {
        self.size.next_multiple_of(64)
    }
}

impl Drop for Class {
    fn drop(&mut self) {
        // SAFETY: allocated so in `new`; every buffer of it held the arena, so none is left.
        unsafe { dealloc(self.base.as_ptr(), self.layout) }
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let classes = self.0.classes.iter().map(|class| (class.size, class.places.len()));
        f.debug_list().entries(classes).finish()
    }
}
