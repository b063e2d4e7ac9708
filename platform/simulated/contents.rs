//! The bytes of a file as everyone sees them now, and the disk's room for them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::PAGE;
use crate::{Errno, Extent};

/// Pages that are allocated by one call: more would be as much of this machine's memory.
const ALLOCATED_PAGES_MAX: u64 = 1 << 18;

/// A page, shared by what is seen and what is durable as long as they are the same.
pub(super) type Page = Arc<[u8; PAGE]>;

/// Pages in use by all files, those without a name included, and how many there may be.
#[derive(Debug)]
pub(super) struct Space {
    pub(super) used: AtomicU64,
    pub(super) max: AtomicU64,
}

impl Default for Space {
    fn default() -> Space {
        Space { used: AtomicU64::new(0), max: AtomicU64::new(u64::MAX) }
    }
}

impl Space {
    fn take_page(&self) -> bool {
        let max = self.max.load(Ordering::Relaxed);
        let take = |used: u64| (used < max).then_some(used + 1);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    fn give_pages(&self, pages: usize) {
        self.used.fetch_sub(pages as u64, Ordering::Relaxed);
    }
}

/// The bytes of a file. What no page holds is zeros, and so is what a page holds past the size.
#[derive(Debug)]
pub(super) struct Contents {
    space: Arc<Space>,
    pages: BTreeMap<u64, Page>,
    size: u64,
}

impl Drop for Contents {
    fn drop(&mut self) {
        self.space.give_pages(self.pages.len());
    }
}

/// The page of an offset, and where in it.
pub(super) fn split(at: u64) -> (u64, usize) {
    let within = usize::try_from(at % PAGE as u64).expect("it is below a page");
    (at / PAGE as u64, within)
}

impl Contents {
    /// An image of a file, on a disk with that space. What is there takes room, whether there is
    /// any or not.
    pub(super) fn new(space: &Arc<Space>, pages: BTreeMap<u64, Page>, size: u64) -> Contents {
        space.used.fetch_add(pages.len() as u64, Ordering::Relaxed);
        Contents { space: Arc::clone(space), pages, size }
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn pages(&self) -> &BTreeMap<u64, Page> {
        &self.pages
    }

    /// Copies up to `len` bytes at `at`, fewer only where the file ends first.
    ///
    /// # Safety
    /// `to` must be valid for writes of `len` bytes, and nobody else may use them meanwhile.
    pub(super) unsafe fn read(&self, at: u64, to: *mut u8, len: usize) -> usize {
        let left = self.size.saturating_sub(at);
        let len = usize::try_from(left).map_or(len, |left| len.min(left));
        let mut done = 0;
        while done < len {
            let (page, within) = split(at + done as u64);
            let count = (PAGE - within).min(len - done);
            // SAFETY: done + count <= len, which the caller's memory has, and within + count <=
            // PAGE. A page is the disk's own memory, so the two do not overlap.
            unsafe {
                let to = to.add(done);
                match self.pages.get(&page) {
                    Some(page) => to.copy_from_nonoverlapping(page.as_ptr().add(within), count),
                    None => to.write_bytes(0, count),
                }
            }
            done += count;
        }
        len
    }

    /// Writes `bytes` at `at`: all, or as many as the disk has pages for.
    pub(super) fn write(&mut self, at: u64, bytes: &[u8]) -> usize {
        let mut done = 0;
        while done < bytes.len() {
            let (page, within) = split(at + done as u64);
            let count = (PAGE - within).min(bytes.len() - done);
            let page = match self.pages.entry(page) {
                Entry::Occupied(page) => page.into_mut(),
                Entry::Vacant(_) if !self.space.take_page() => break,
                Entry::Vacant(hole) => hole.insert(Arc::new([0; PAGE])),
            };
            let part = &bytes[done..done + count];
            Arc::make_mut(page)[within..within + count].copy_from_slice(part);
            done += count;
        }
        if done > 0 {
            self.size = self.size.max(at + done as u64);
        }
        done
    }

    /// Takes the pages of `len` bytes at `at` that are holes; what the file grows by is zeros.
    pub(super) fn allocate(&mut self, at: u64, len: u64) -> Result<(), Errno> {
        let (first, last) = (at / PAGE as u64, (at + len - 1) / PAGE as u64);
        if last - first >= ALLOCATED_PAGES_MAX {
            return Err(Errno::NOSPC);
        }
        for page in first..=last {
            if let Entry::Vacant(hole) = self.pages.entry(page) {
                if !self.space.take_page() {
                    return Err(Errno::NOSPC);
                }
                hole.insert(Arc::new([0; PAGE]));
            }
        }
        self.size = self.size.max(at + len);
        Ok(())
    }

    /// Makes a range a hole, as far as it has whole pages, and zeros elsewhere. The file grows to
    /// its end if `grows`.
    pub(super) fn zero(&mut self, range: Range<u64>, grows: bool) {
        let dropped = wipe(&mut self.pages, range.clone());
        self.space.give_pages(dropped);
        if grows {
            self.size = self.size.max(range.end);
        }
    }

    /// The first offset at or after `at`, before the end, that is in a page, or in none; the end is
    /// in none.
    pub(super) fn seek(&self, at: u64, extent: Extent) -> Option<u64> {
        if at >= self.size {
            return None;
        }
        let mut page = split(at).0;
        let mut pages = self.pages.range(page..).map(|(page, _)| *page);
        match extent {
            Extent::Data => page = pages.next()?,
            Extent::Hole => {
                while pages.next() == Some(page) {
                    page += 1;
                }
            }
        }
        let found = at.max(page.saturating_mul(PAGE as u64));
        match extent {
            Extent::Data => Some(found).filter(|found| *found < self.size),
            Extent::Hole => Some(found.min(self.size)),
        }
    }

    pub(super) fn truncate(&mut self, len: u64) {
        let dropped = resize(&mut self.pages, len);
        self.space.give_pages(dropped);
        self.size = len;
    }
}

/// Makes a range zeros: lets go of the pages that lie wholly inside; answers how many that were.
pub(super) fn wipe(pages: &mut BTreeMap<u64, Page>, range: Range<u64>) -> usize {
    if range.is_empty() {
        return 0;
    }
    let (first, last) = (split(range.start).0, split(range.end - 1).0);
    let mut dropped = 0;
    let here: Vec<u64> = pages.range(first..=last).map(|(page, _)| *page).collect();
    for page in here {
        let base = page * PAGE as u64;
        let within =
            |at: u64| usize::try_from(at.saturating_sub(base)).map_or(PAGE, |n| n.min(PAGE));
        let (start, end) = (within(range.start), within(range.end));
        if end - start == PAGE {
            pages.remove(&page);
            dropped += 1;
        } else if let Some(bytes) = pages.get_mut(&page) {
            Arc::make_mut(bytes)[start..end].fill(0);
        }
    }
    dropped
}

/// Lets go of what lies from `len` on; answers how many pages that were. What a later growth
/// uncovers reads as zeros, so the rest of the last page is wiped and not only forgotten.
pub(super) fn resize(pages: &mut BTreeMap<u64, Page>, len: u64) -> usize {
    let dropped = pages.split_off(&len.div_ceil(PAGE as u64)).len();
    let (last, within) = split(len);
    if within > 0
        && let Some(page) = pages.get_mut(&last)
    {
        Arc::make_mut(page)[within..].fill(0);
    }
    dropped
}
