//! Files that the kernel knows ahead: its table of registered files.
//!
//! Only for a driver that asked for it. Measured, a cached page read through the ring costs 2 to 3
//! hundredths less of the processor's time, and direct I/O nothing less. The price: the table keeps
//! its files open, so what a process that dies had locked, or removed and not closed, is let go of
//! by the kernel's teardown of the ring, 20 to 36 ms later than with its descriptors.
//!
//! A descriptor gets a slot when it was used some times, and loses it when its close is pushed: by
//! then all its entries have come back, as `Ring::push` asks for. What is closed by a direct call
//! was never named by an entry. So a slot is never another file's than its descriptor.
//!
//! Before Linux 6.13 a file that was taken out of the table stayed open until unrelated entries had
//! ended: there the table is not used. `READV_FIXED`, of 6.15, tells.

use std::os::fd::RawFd;

use super::Uring;
use super::entry::Ops;
use crate::unix::raw;
use crate::{Errno, Handle, Op};

/// Entries with a descriptor after which it is worth a slot.
const USES: u32 = 8;
/// The most files: more are not worth the table's memory.
const FILES_MAX: u32 = 4096;

/// How a descriptor stands with the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Used that often.
    Without(u32),
    In(u32),
    /// The kernel refused it, or the table was full.
    Never,
}

/// Which descriptors have which slot.
#[derive(Default)]
pub(super) struct Slots {
    on: bool,
    /// By descriptor.
    files: Vec<Standing>,
    /// The next at the end.
    free: Vec<u32>,
}

impl Slots {
    #[inline]
    pub(super) fn is_on(&self) -> bool {
        self.on
    }
}

impl Uring {
    /// Makes the table.
    pub(super) fn make_slots(&mut self, files: u32) -> Result<u32, Errno> {
        if !self.ops.contains(Ops::READV_FIXED) {
            return Err(Errno::OPNOTSUPP);
        }
        // The kernel allows no more than the process may have descriptors.
        let files = files.clamp(1, FILES_MAX);
        let made = self.bell.ring.submitter().register_files_sparse(files);
        made.map_err(|error| super::code(&error))?;
        self.slots.free = (0..files).rev().collect();
        self.slots.on = true;
        // So plain reads come by `push`, and cost nothing more where there is no table.
        self.room_for_reads = 0;
        Ok(files)
    }

    /// The same with a slot in place of the descriptor, if that has one, or is worth one by now.
    pub(super) fn with_slot(&mut self, op: &Op) -> Option<Op> {
        let mut op = *op;
        match &mut op {
            Op::Read { file, .. }
            | Op::Readv { file, .. }
            | Op::Write { file, .. }
            | Op::Writev { file, .. }
            | Op::ReadWith { file, .. }
            | Op::WriteWith { file, .. } => {
                *file = Handle(self.slot_of(raw(*file))?);
                Some(op)
            }
            Op::Close { file } => {
                self.take_out(raw(*file));
                None
            }
            _ => None,
        }
    }

    fn slot_of(&mut self, fd: RawFd) -> Option<u32> {
        let index = usize::try_from(fd).ok()?;
        if self.slots.files.len() <= index {
            self.slots.files.resize(index + 1, Standing::Without(0));
        }
        match self.slots.files[index] {
            Standing::In(slot) => Some(slot),
            Standing::Without(uses) if uses + 1 < USES => {
                self.slots.files[index] = Standing::Without(uses + 1);
                None
            }
            Standing::Without(_) => {
                let slot = self.put_in(fd);
                self.slots.files[index] = slot.map_or(Standing::Never, Standing::In);
                slot
            }
            Standing::Never => None,
        }
    }

    fn put_in(&mut self, fd: RawFd) -> Option<u32> {
        let slot = self.slots.free.pop()?;
        let put = self.bell.ring.submitter().register_files_update(slot, &[fd]);
        if put.is_err() {
            self.slots.free.push(slot);
            return None;
        }
        Some(slot)
    }

    /// The descriptor is about to be closed.
    fn take_out(&mut self, fd: RawFd) {
        let place = usize::try_from(fd).ok().and_then(|index| self.slots.files.get_mut(index));
        let Some(place) = place else { return };
        if let Standing::In(slot) = core::mem::replace(place, Standing::Without(0)) {
            let taken = self.bell.ring.submitter().register_files_update(slot, &[-1]);
            // A slot that could not be emptied is used no more.
            if taken.is_ok() {
                self.slots.free.push(slot);
            }
        }
    }
}
