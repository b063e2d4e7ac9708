//! Memory that the kernel knows ahead: its table of registered buffers.
//!
//! The table is made, empty, when the first region comes, so whoever registers nothing pays
//! nothing. A region has a place of it as long as it is registered, and an entry that names the
//! region becomes the kernel's fixed form with that place's number. It is looked up when the entry
//! is made, so one that was queued above while its region was forgotten is a plain one.
//!
//! # Why nothing goes to the wrong memory
//!
//! The kernel looks a place up when it first sees an entry, holds what it finds until the entry
//! ends, and refuses an address outside of it. Forgetting hands everything in the submission queue
//! to the kernel first, so no entry finds a place that was emptied, or was given to another region,
//! between its making and its start.

use super::Uring;
use crate::{Errno, Region, Ring, Span};

/// Places of the table: a gigabyte each at most.
const PLACES: u16 = 256;

/// Which regions have which place.
#[derive(Default)]
pub(super) struct Regions {
    /// By region: one more than its place, 0 for none.
    places: Vec<u16>,
    /// The next at the end.
    free: Vec<u16>,
    /// The kernel has made the table.
    made: bool,
    /// Entries that were made with one.
    pub(super) used: u64,
}

impl Regions {
    /// The place of a region that is registered.
    #[inline]
    pub(super) fn place(&self, region: Region) -> Option<u16> {
        match self.places.get(region.0 as usize) {
            Some(&place) if place > 0 => Some(place - 1),
            _ => None,
        }
    }
}

impl Uring {
    /// Registers memory.
    ///
    /// # Safety
    /// It stays allocated until it is unregistered or the ring is gone.
    #[cold]
    pub(super) unsafe fn register(&mut self, region: Region, span: Span) -> Result<u64, Errno> {
        debug_assert!(region != Region::NONE && self.regions.place(region).is_none());
        let submitter = self.bell.ring.submitter();
        if !self.regions.made {
            submitter.register_buffers_sparse(u32::from(PLACES)).map_err(|error| {
                match super::code(&error) {
                    // Before Linux 5.19.
                    Errno::INVAL => Errno::OPNOTSUPP,
                    code => code,
                }
            })?;
            self.regions.made = true;
            self.regions.free = (0..PLACES).rev().collect();
        }
        let Some(place) = self.regions.free.pop() else { return Err(Errno::NFILE) };
        let buffer = libc::iovec { iov_base: span.ptr.cast(), iov_len: span.len };
        // SAFETY: the caller's promise.
        let updated =
            unsafe { submitter.register_buffers_update(u32::from(place), &[buffer], None) };
        if let Err(error) = updated {
            self.regions.free.push(place);
            return Err(super::code(&error));
        }
        let index = region.0 as usize;
        if self.regions.places.len() <= index {
            self.regions.places.resize(index + 1, 0);
        }
        self.regions.places[index] = place + 1;
        Ok(0)
    }

    /// Forgets memory. The kernel lets go of it when the last entry that uses it has ended.
    #[cold]
    pub(super) fn unregister(&mut self, region: Region) -> Result<u64, Errno> {
        let Some(place) = self.regions.place(region) else { return Err(Errno::NOENT) };
        while self.unsubmitted() > 0 {
            self.submit()?;
        }
        let none = libc::iovec { iov_base: core::ptr::null_mut(), iov_len: 0 };
        let submitter = self.bell.ring.submitter();
        // SAFETY: no memory is named.
        unsafe { submitter.register_buffers_update(u32::from(place), &[none], None) }
            .map_err(|error| super::code(&error))?;
        self.regions.places[region.0 as usize] = 0;
        self.regions.free.push(place);
        Ok(0)
    }
}
