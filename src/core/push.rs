//! From the queue into the ring: the one place where entries are made and pushed.
#![allow(unsafe_code, reason = "the one push: it promises that the entry's memory stays alive")]

use std::sync::Arc;

use littoral_platform::sharing::{Mapped, Ranges, Sharing};
use littoral_platform::{
    AnyRing, Direct, Errno, Extent, Full, Geometry, Handle, LockKind, Op, OpenFlags, Read, Region,
    Ring, Span, Sqe, Stat, SyncKind, Tag,
};

use super::held::{Held, Naming};
use super::overflow::Item;
use super::state::State;
use super::table::{NONE, Phase, Slot, Stage};
use super::writev::Gather;
use crate::{OpenOptions, Operation};

/// What a tag names. Two bits of kind, 30 of entry or handle, 32 of slot or file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tagged {
    Slot { slot: u32, entry: u32 },
    Cancel,
    Close { file: u32 },
    Unregister { region: u32 },
    Unknown,
}

const ENTRY_MASK: u32 = (1 << 30) - 1;
const CANCEL: u64 = 1 << 62;
const CLOSE: u64 = 2 << 62;
const UNREGISTER: u64 = 3 << 62;

impl Tagged {
    pub(crate) fn of(tag: Tag) -> Tagged {
        let (kind, entry) = (tag.0 >> 62, u32::try_from(tag.0 >> 32 & u64::from(ENTRY_MASK)));
        let index = u32::try_from(tag.0 & u64::from(u32::MAX)).expect("masked");
        match kind {
            0 => Tagged::Slot { slot: index, entry: entry.expect("masked") },
            1 => Tagged::Cancel,
            2 => Tagged::Close { file: index },
            // The ring's own tags are among these.
            3 if index < NONE - 1 => Tagged::Unregister { region: index },
            _ => Tagged::Unknown,
        }
    }
}

pub(crate) fn slot_tag(index: u32, slot: &Slot) -> Tag {
    Tag(u64::from(slot.entry & ENTRY_MASK) << 32 | u64::from(index))
}

impl Slot {
    pub(crate) fn awaits(&self, entry: u32) -> bool {
        let pushed = matches!(self.stage, Stage::Pushed | Stage::Straight);
        pushed && self.entry & ENTRY_MASK == entry
    }
}

fn open_flags(options: OpenOptions) -> OpenFlags {
    let mut flags = OpenFlags::empty();
    flags.set(OpenFlags::WRITE, options.write);
    flags.set(OpenFlags::CREATE, options.create || options.create_new);
    flags.set(OpenFlags::EXCLUSIVE, options.create_new);
    flags.set(OpenFlags::NO_FOLLOW, options.no_follow);
    flags
}

impl State {
    /// Pushes what there is room for. Nothing is submitted unless the ring is full of what is not.
    pub(crate) fn pump(&mut self) {
        let mut submitted = false; // since the last entry went in
        while self.in_flight < self.limits.in_flight && self.dead.is_none() {
            let ordinary_room = self.ordinary_in_flight < self.ordinary_max;
            let Some(item) = self.queue.take(ordinary_room) else { return };
            let Some(sqe) = self.entry(item) else { continue };
            let Some(ring) = &mut self.ring else { return };
            // SAFETY: what the entry points to (buffers, spans, name, stat) is owned by the slot,
            // behind pointers of its own, and a slot in stage `Pushed` gives up nothing before its
            // completion was reaped or, when the driver is dropped, leaks it. The handle's file is
            // pinned by the slot, or is the one being closed.
            if let Err(Full) = unsafe { ring.push(&sqe) } {
                self.queue.put_back(item);
                if submitted {
                    return;
                }
                submitted = true;
                self.submit();
                continue;
            }
            submitted = false;
            if !matches!(item, Item::Slot(_)) {
                self.aside.push(sqe.tag);
            }
            // Only transfers and flushes are sure to be answered by the kernel, which wakes the
            // leader; the rest may be done at submit.
            self.rings_bell |= self.leader && !self.is_by_kernel(item);
            self.pushed(item);
        }
    }

    /// Hands to the platform what was pushed.
    pub(crate) fn submit(&mut self) {
        let Some(ring) = &mut self.ring else { return };
        let submitted = if ring.unsubmitted() > 0 { ring.submit() } else { Ok(()) };
        match submitted {
            Ok(()) => self.submits_refused = 0,
            Err(code) => self.submit_failed(code),
        }
    }

    /// Tells a ring that is busy, and reaped next, from one that is dead.
    pub(crate) fn submit_failed(&mut self, code: Errno) {
        match code {
            Errno::AGAIN | Errno::BUSY => self.submits_refused += 1,
            Errno::INTR | Errno::TIMEDOUT => {}
            code => self.ring_lost(code),
        }
    }

    fn is_by_kernel(&self, item: Item) -> bool {
        use Operation::{Pread, Preadv, Pwrite, Pwritev, Sync};
        let Item::Slot(slot) = item else { return false };
        let slot = &self.slots[slot];
        !self.limits.executes_at_submit
            && matches!(slot.phase, Phase::Main | Phase::Flush)
            && matches!(slot.operation, Pread | Preadv | Pwrite | Pwritev | Sync)
    }

    fn pushed(&mut self, item: Item) {
        self.in_flight += 1;
        self.statistics.pushed += 1;
        let Item::Slot(head) = item else { return };
        self.ordinary_in_flight += 1;
        let slot = &mut self.slots[head];
        slot.stage = Stage::Pushed;
        if slot.is_durable_write() {
            let file = slot.file;
            self.files.get(file).durables += 1;
        }
        self.forget_tail(head);
    }

    /// Takes the one operation that is queued out, to be done by [`call_now`]: from here on it
    /// counts as in the ring. `None` if it ended instead.
    pub(crate) fn take_only(&mut self) -> Option<Sqe> {
        let item = self.queue.take(true)?;
        let sqe = self.entry(item)?;
        self.pushed(item);
        // Not by the ring.
        self.statistics.pushed -= 1;
        self.statistics.direct += 1;
        Some(sqe)
    }

    /// The entry of what is queued; `None` if it ended instead.
    fn entry(&mut self, item: Item) -> Option<Sqe> {
        match item {
            Item::Close(file, handle) => {
                // Several closes may be in the ring for one file, or for none. Their handles do not
                // tell them apart: a closed handle's number is given out again before its close is
                // reaped. How many entries were pushed before each does.
                let number = self.statistics.pushed & u64::from(ENTRY_MASK);
                let tag = Tag(CLOSE | number << 32 | u64::from(file.unwrap_or(NONE)));
                Some(Sqe::new(tag, Op::Close { file: handle }))
            }
            Item::Cancel(target) => {
                let slot = &self.slots[target];
                let target = (slot.stage == Stage::Pushed).then(|| slot_tag(target, slot))?;
                Some(Sqe::new(Tag(CANCEL | target.0), Op::Cancel { target }))
            }
            Item::Unregister(region) => {
                let number = self.statistics.pushed & u64::from(ENTRY_MASK);
                let tag = Tag(UNREGISTER | number << 32 | u64::from(region.0));
                Some(Sqe::new(tag, Op::Unregister { region }))
            }
            Item::Slot(index) => {
                self.slots[index].region = Region::NONE;
                let op = self.operation_entry(index)?;
                let slot = &mut self.slots[index];
                slot.entry = slot.entry.wrapping_add(1);
                Some(Sqe { tag: slot_tag(index, slot), op, region: slot.region })
            }
        }
    }

    fn operation_entry(&mut self, index: u32) -> Option<Op> {
        let slot = &self.slots[index];
        match (slot.operation, slot.phase) {
            (Operation::Sync, _) | (_, Phase::Flush) => self.flush_entry(index),
            (Operation::Pread | Operation::Preadv, Phase::AtEnd) | (Operation::Size, _) => {
                Some(Op::Size { file: self.handle(slot.file, false) })
            }
            (Operation::Pread | Operation::Preadv, _) => Some(self.transfer_entry(index, false)),
            (Operation::Pwrite | Operation::Pwritev, _) => {
                self.may_write(index).then(|| self.transfer_entry(index, true))
            }
            (Operation::Truncate, _) => {
                let (file, len) = (slot.file, slot.at);
                Some(Op::Truncate { file: self.handle(file, true), len })
            }
            (Operation::Lock, _) => {
                self.lock_turn(index);
                None
            }
            (Operation::Unlock | Operation::Close, _) => {
                self.unlock_turn(index);
                None
            }
            (Operation::Register, _) => self.register_entry(index),
            (Operation::Allocate, _) => {
                let (file, at, len) = (slot.file, slot.at, slot.total);
                Some(Op::Allocate { file: self.handle(file, true), at, len })
            }
            (Operation::PunchHole | Operation::ZeroRange, _) => Some(self.space_entry(index)),
            (Operation::SeekData | Operation::SeekHole, _) => {
                let (at, find_data) = (slot.at, slot.operation == Operation::SeekData);
                let extent = if find_data { Extent::Data } else { Extent::Hole };
                Some(Op::Seek { file: self.handle(slot.file, false), at, extent })
            }
            (Operation::Metadata, _) if slot.file != NONE => {
                let file = self.handle(slot.file, false);
                let Held::Stat(stat) = &mut self.slots[index].held else {
                    unreachable!("it holds what is to be filled")
                };
                Some(Op::Stat { file, stat: &raw mut **stat })
            }
            (_, Phase::Direct) => Some(self.direct_entry(index)),
            _ => Some(self.naming_entry(index)),
        }
    }

    pub(crate) fn handle(&mut self, file: u32, write: bool) -> Handle {
        let file = self.files.get(file);
        if write { file.writable.unwrap_or(file.readable) } else { file.readable }
    }

    /// One call for what is left of a chain, within the ring's limits.
    fn transfer_entry(&mut self, head: u32, write: bool) -> Op {
        let (back, bytes_max) = self.reach_of_entry(head);
        let mut spans = core::mem::take(&mut self.slots[head].spans);
        let mut call = Gather::new(&mut spans, self.limits.spans_per_call, bytes_max);
        let mut member = head;
        let mut cursor = self.slots[head].cursor;
        cursor.step_back(&self.slots[head].held, back);
        while call.add(&self.slots[member].held, cursor) {
            member = self.slots[member].next;
            if member == NONE {
                break;
            }
            cursor = self.slots[member].cursor;
        }
        let (bytes, region) = (call.bytes(), call.region());
        let slot = &self.slots[head];
        let (file, lane, at) = (slot.file, slot.lane, slot.position() - back);
        let file = self.handle_of(file, lane, write);
        let flags = self.entry_flags(head);
        let op = match (&spans[..], write) {
            (many, _) if !flags.is_empty() => {
                let (spans, count) = (many.as_ptr(), count(many.len()));
                if write {
                    Op::WriteWith { file, at, spans, count, flags }
                } else {
                    Op::ReadWith { file, at, spans, count, flags }
                }
            }
            (&[span], false) => Op::Read { file, at, span },
            (&[span], true) => Op::Write { file, at, span },
            (many, false) => Op::Readv { file, at, spans: many.as_ptr(), count: count(many.len()) },
            (many, true) => Op::Writev { file, at, spans: many.as_ptr(), count: count(many.len()) },
        };
        // What is asked for more than moving bytes goes from plain memory.
        let region = if flags.is_empty() { region } else { Region::NONE };
        let slot = &mut self.slots[head];
        (slot.asked, slot.region) = (bytes, region);
        slot.spans = spans;
        op
    }

    fn naming_entry(&mut self, index: u32) -> Op {
        let one_handle = self.limits.one_handle_per_file;
        let slot = &mut self.slots[index];
        let Held::Naming(naming) = &mut slot.held else {
            unreachable!("{:?} has no entry of its own", slot.operation)
        };
        let name = naming.platform_name();
        match (slot.operation, slot.phase) {
            (_, Phase::Look) => Op::Look { name, stat: &raw mut *naming.stat },
            (_, Phase::LookAtTarget) => {
                Op::Look { name: naming.platform_target(), stat: &raw mut *naming.stat }
            }
            (_, Phase::FlushNames) => {
                let file = naming.handle.expect("it was opened");
                Op::Sync { file, kind: SyncKind::Full }
            }
            (Operation::Rename, _) => Op::Rename { from: name, to: naming.platform_target() },
            (Operation::CreateDirAll, _) => Op::MakeDirectory { name },
            (Operation::RemoveDir, _) => Op::RemoveDirectory { name },
            (Operation::List, _) => Op::List { name, into: &raw mut *naming.list },
            (Operation::SyncDir, _) => Op::Open { name, flags: OpenFlags::DIRECTORY, mode: 0 },
            (Operation::Remove, Phase::Main) => Op::Remove { name },
            (Operation::Remove, _) => {
                Op::Truncate { file: naming.handle.expect("a prepared file's handle"), len: 0 }
            }
            (_, Phase::Identify) => {
                let file = naming.handle.expect("it was opened");
                Op::Stat { file, stat: &raw mut *naming.stat }
            }
            (_, phase) if naming.temporary => {
                let mut flags = OpenFlags::TEMPORARY | OpenFlags::WRITE;
                flags.set(OpenFlags::CREATE, phase == Phase::ByName);
                Op::Open { name, flags, mode: naming.options.mode }
            }
            _ => {
                let mut flags = open_flags(naming.options);
                // Whoever reads first must not keep those who write later from it.
                flags.set(OpenFlags::WRITE, flags.contains(OpenFlags::WRITE) || one_handle);
                Op::Open { name, flags, mode: naming.options.mode }
            }
        }
    }
}

/// Pushes the entry of a read into one buffer; false if the ring does not take it, or, in a
/// `HURRY`, if that would be a call.
#[expect(clippy::inline_always, reason = "once an operation, and counted")]
#[inline(always)]
pub(crate) fn push_read<const HURRY: bool>(ring: &mut AnyRing, read: Read) -> bool {
    // SAFETY: as in `pump`: the span is that of a buffer which its caller puts into the slot that
    // the tag names, and the slot pins the file.
    let pushed = unsafe { if HURRY { ring.push_read_inline(read) } else { ring.push_read(read) } };
    pushed.is_ok()
}

/// Reads on this thread, if that takes no waiting.
#[inline]
pub(crate) fn read_without_waiting(
    ring: &AnyRing,
    file: Handle,
    at: u64,
    span: Span,
) -> Result<u64, Errno> {
    // SAFETY: the caller has the buffer and an open file for the time of the call.
    unsafe { ring.read_without_waiting(file, at, span) }
}

/// Does what an entry asks for on this thread, however long it takes.
pub(crate) fn call_now(direct: &dyn Direct, sqe: &Sqe) -> Result<u64, Errno> {
    // SAFETY: as in `pump`: `take_only` has left the slot in stage `Pushed`, in which it gives up
    // nothing until the call's answer was taken for its completion.
    unsafe { direct.call(&sqe.op) }
}

/// What a thread can ask the platform to do at once.
pub(crate) enum Now<'a> {
    Open(&'a Naming),
    Stat(Handle, &'a mut Stat),
    Size(Handle),
    Geometry(Handle, &'a mut Geometry),
    OpenDirect(Handle, bool, &'a mut Geometry),
    Truncate(Handle, u64),
    Lock(Handle, LockKind),
    Unlock(Handle),
    Close(Handle),
    Remove(&'a Naming),
    Look(&'a Naming, &'a mut Stat),
    Temporary(&'a Naming, bool),
}

/// Has the calling thread do it.
pub(crate) fn call(direct: &dyn Direct, now: Now<'_>) -> Result<u64, Errno> {
    let op = match now {
        Now::Open(naming) => Op::Open {
            name: naming.platform_name(),
            flags: open_flags(naming.options),
            mode: naming.options.mode,
        },
        Now::Stat(file, stat) => Op::Stat { file, stat },
        Now::Size(file) => Op::Size { file },
        Now::Geometry(file, geometry) => Op::Geometry { file, geometry },
        Now::OpenDirect(file, write, geometry) => Op::OpenDirect { file, write, geometry },
        Now::Truncate(file, len) => Op::Truncate { file, len },
        Now::Lock(file, kind) => Op::Lock { file, kind },
        Now::Unlock(file) => Op::Unlock { file },
        Now::Close(file) => Op::Close { file },
        Now::Remove(naming) => Op::Remove { name: naming.platform_name() },
        Now::Look(naming, stat) => Op::Look { name: naming.platform_name(), stat },
        Now::Temporary(naming, by_name) => {
            let mut flags = OpenFlags::TEMPORARY | OpenFlags::WRITE;
            flags.set(OpenFlags::CREATE, by_name);
            Op::Open { name: naming.platform_name(), flags, mode: naming.options.mode }
        }
    };
    // SAFETY: names, stats and geometries are borrowed for the length of the call, and it moves no
    // data.
    unsafe { direct.call(&op) }
}

/// What is to hold the locks of byte ranges of one user of the file.
pub(crate) fn ranges(
    sharing: &dyn Sharing,
    file: Handle,
    write: bool,
) -> Result<Arc<dyn Ranges>, Errno> {
    // SAFETY: the caller has pinned the file.
    unsafe { sharing.ranges(file, write) }
}

/// Maps a part of the file.
pub(crate) fn map(
    sharing: &dyn Sharing,
    file: Handle,
    at: u64,
    len: usize,
    write: bool,
) -> Result<Mapped, Errno> {
    // SAFETY: the caller has pinned the file.
    unsafe { sharing.map(file, at, len, write) }
}

fn count(few: usize) -> u32 {
    u32::try_from(few).expect("a ring's limits fit their fields")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_tell_what_they_name() {
        assert_eq!(Tagged::of(Tag(5 << 32 | 7)), Tagged::Slot { slot: 7, entry: 5 });
        assert_eq!(Tagged::of(Tag(CANCEL | 5 << 32 | 7)), Tagged::Cancel);
        assert_eq!(Tagged::of(Tag(CLOSE | 9 << 32 | 3)), Tagged::Close { file: 3 });
        let unregister = Tagged::Unregister { region: 3 };
        assert_eq!(Tagged::of(Tag(UNREGISTER | 9 << 32 | 3)), unregister);
        assert_eq!(Tagged::of(Tag(u64::MAX)), Tagged::Unknown);
        assert_eq!(Tagged::of(Tag(u64::MAX - 1)), Tagged::Unknown);
    }
}
