//! The bare ring: the `io-uring` crate in a loop, as a program would write it that needs nothing
//! else. It knows one file, checks counts, and resumes nothing.
#![allow(unsafe_code, reason = "pushing an entry to the kernel is")]

use std::fs::File;
use std::os::fd::AsRawFd;

use anyhow::{Result, ensure};
use io_uring::{IoUring, opcode, types};

use crate::sides::PAGE;

pub(crate) struct BareRing<'f> {
    ring: IoUring,
    file: &'f File,
    /// One for each entry that may be in flight; never moved while one is.
    buffers: Vec<Vec<u8>>,
}

impl<'f> BareRing<'f> {
    /// A ring that can hold `depth` reads of a page.
    pub(crate) fn new(file: &'f File, depth: u32) -> Result<BareRing<'f>> {
        let ring = IoUring::builder().build(depth)?;
        let buffers = (0..depth).map(|_| vec![0; PAGE]).collect();
        Ok(BareRing { ring, file, buffers })
    }

    /// Reads one page at each of the offsets, all at once, and waits for all. As many as the depth
    /// at most.
    pub(crate) fn read(&mut self, offsets: impl Iterator<Item = u64>) -> Result<()> {
        let fd = types::Fd(self.file.as_raw_fd());
        let mut count = 0;
        for (buffer, at) in self.buffers.iter_mut().zip(offsets) {
            let len = u32::try_from(PAGE).expect("a page is small");
            let entry = opcode::Read::new(fd, buffer.as_mut_ptr(), len).offset(at).build();
            // SAFETY: the buffer belongs to this ring and is neither moved nor freed before the
            // entry's completion, which is waited for below; after an error there it is leaked.
            unsafe { self.ring.submission().push(&entry)? };
            count += 1;
        }
        if let Err(error) = self.ring.submit_and_wait(count) {
            std::mem::forget(std::mem::take(&mut self.buffers));
            return Err(error.into());
        }
        let read = self.ring.completion().map(|completion| completion.result());
        let whole = read.filter(|count| usize::try_from(*count) == Ok(PAGE)).count();
        ensure!(whole == count, "{whole} of {count} reads gave a page");
        Ok(())
    }
}
