//! The slots: one for each operation that is alive.

use core::num::NonZeroU32;
use core::ops::{Index, IndexMut};
use core::task::Waker;
use std::sync::Arc;

use littoral_platform::{Region, RwFlags, Span, SyncKind};

use super::Core;
use super::apart::Lane;
use super::barrier::Class;
use super::held::{Held, Value};
use super::writev::Cursor;
use crate::{Error, Operation};

/// No slot, no file.
pub(crate) const NONE: u32 = u32::MAX;

/// Where an operation is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Free,
    /// For a barrier, a name, or room.
    Waiting,
    /// In the queue, to be pushed.
    Queued,
    /// Travels in the entry of another slot, its head.
    Member,
    /// In the ring.
    Pushed,
    /// In the ring, and the slot says of it only what `straight` wants to know. Nobody is called
    /// back or told by a group, and nothing of its file waits for its end.
    Straight,
    /// Over; its result waits for the next `step`.
    Ended,
    /// Its result waits for whoever has the completion.
    Published,
    /// As `Published`, of a plain read whose result is the buffer that the slot holds.
    PublishedRead,
}

/// What the entry that is queued or in the ring is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Main,
    /// A read came back short: is that the end of the file?
    AtEnd,
    /// A file was opened: what is it?
    Identify,
    /// A prepared file is removed by cutting it to nothing.
    Empty,
    /// A range is to be zeros, and the platform has no call for it: a hole is punched instead, or
    /// zeros are written.
    Punch,
    Zeros,
    /// A durable write has written: its bytes are flushed.
    Flush,
    /// What has that name, and is it open? And the target of a rename?
    Look,
    LookAtTarget,
    /// A file is opened once more, for direct I/O.
    Direct,
    /// An open directory is flushed.
    FlushNames,
    /// There are no files without a name here: one is opened by a name that is removed at once.
    ByName,
}

/// How an operation stands with its file's barrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// It takes no part.
    None,
    Waiting,
    Went(u64),
}

pub(crate) type Callback = Box<dyn FnOnce(Result<Value, Error>, &Arc<Core>) + Send>;

/// Whom to tell.
#[derive(Default)]
pub(crate) enum Notify {
    #[default]
    Nobody,
    Wake(Waker),
    Call(Callback),
}

#[expect(clippy::struct_excessive_bools, reason = "they are independent facts, not one state")]
pub(crate) struct Slot {
    /// Counts the operations that had this slot.
    pub(crate) generation: NonZeroU32,
    /// Counts the entries that were pushed from it.
    pub(crate) entry: u32,
    pub(crate) stage: Stage,
    pub(crate) phase: Phase,
    pub(crate) operation: Operation,
    pub(crate) class: Class,
    pub(crate) gate: Gate,
    pub(crate) file: u32,
    /// The order of admission.
    pub(crate) sequence: u64,
    /// Of a transfer: where it begins. Of a truncate: the size. Of a room: how many.
    pub(crate) at: u64,
    /// Bytes in all, bytes done, and bytes of the entry in the ring.
    pub(crate) total: u64,
    pub(crate) done: u64,
    pub(crate) asked: u64,
    pub(crate) cursor: Cursor,
    pub(crate) sync_kind: SyncKind,
    /// Interruptions, and answers without progress, since the last progress.
    pub(crate) retries: u16,
    pub(crate) stalls: u8,
    pub(crate) cancelled: bool,
    pub(crate) detached: bool,
    /// Of a write: it ends when its bytes are flushed.
    pub(crate) durable: bool,
    /// Of a transfer: by which handle.
    pub(crate) lane: Lane,
    /// Its entry counts among those that are kept apart.
    pub(crate) kept_apart: bool,
    /// What its entries ask for beyond moving bytes, but for being durable.
    pub(crate) flags: RwFlags,
    /// Of a durable write: the entry that is in the ring makes durable what it moves; some bytes
    /// were moved by one that did not.
    pub(crate) by_entry: bool,
    pub(crate) unflushed: bool,
    /// The group that hears of its end, and the batch it was submitted in.
    pub(crate) group: Key,
    pub(crate) batch: u32,
    /// The chain of slots that travel together: the first, and the next. Of a free slot: the next
    /// free one.
    pub(crate) head: u32,
    pub(crate) next: u32,
    /// In the head of a chain: bytes left of all.
    pub(crate) chain_bytes: u64,
    pub(crate) held: Held,
    /// The array of spans in the ring. Stays with the slot, so that it is allocated once.
    pub(crate) spans: Vec<Span>,
    /// In which one region all of them lie.
    pub(crate) region: Region,
    pub(crate) outcome: Option<Result<Value, Error>>,
    pub(crate) notify: Notify,
}

impl Slot {
    fn new() -> Slot {
        Slot {
            generation: NonZeroU32::MIN,
            entry: 0,
            stage: Stage::Free,
            phase: Phase::Main,
            operation: Operation::Wait,
            class: Class::Read,
            gate: Gate::None,
            file: NONE,
            sequence: 0,
            at: 0,
            total: 0,
            done: 0,
            asked: 0,
            cursor: Cursor::default(),
            sync_kind: SyncKind::Full,
            retries: 0,
            stalls: 0,
            cancelled: false,
            detached: false,
            durable: false,
            lane: Lane::Cached,
            kept_apart: false,
            flags: RwFlags::empty(),
            by_entry: false,
            unflushed: false,
            group: Key::NONE,
            batch: 0,
            head: NONE,
            next: NONE,
            chain_bytes: 0,
            held: Held::Nothing,
            spans: Vec::new(),
            region: Region::NONE,
            outcome: None,
            notify: Notify::Nobody,
        }
    }

    /// Where the transfer goes on, and where it ends.
    pub(crate) fn position(&self) -> u64 {
        self.at + self.done
    }

    pub(crate) fn end(&self) -> u64 {
        self.at + self.total
    }

    /// The operation is gone, and its key finds nothing any more.
    #[inline]
    pub(crate) fn leave_table(&mut self) {
        (self.cancelled, self.detached) = (false, false);
        self.leave_table_plain();
    }

    /// As `leave_table`, for one that stayed plain to its end.
    #[inline]
    pub(crate) fn leave_table_plain(&mut self) {
        self.stage = Stage::Free;
        let next = self.generation.get().wrapping_add(1);
        self.generation = NonZeroU32::new(next).unwrap_or(NonZeroU32::MIN);
    }

    pub(crate) fn is_published(&self) -> bool {
        matches!(self.stage, Stage::Published | Stage::PublishedRead)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_published() || matches!(self.stage, Stage::Free | Stage::Ended)
    }
}

/// Names an operation, also after its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) slot: u32,
    pub(crate) generation: NonZeroU32,
}

impl Key {
    /// Of no operation.
    pub(crate) const NONE: Key = Key { slot: NONE, generation: NonZeroU32::MIN };
}

/// All slots. They are made as needed and used again, the last freed first.
pub(crate) struct Table {
    slots: Vec<Slot>,
    /// The free slot that is taken next, and in its `next` the one after it.
    free: u32,
}

impl Default for Table {
    fn default() -> Table {
        Table { slots: Vec::new(), free: NONE }
    }
}

impl Table {
    pub(crate) fn take(&mut self) -> u32 {
        if let Some((index, slot, free)) = self.next() {
            *free = slot.next;
            return index;
        }
        let slot = u32::try_from(self.slots.len()).expect("slots are bounded far below 2^32");
        self.slots.push(Slot::new());
        slot
    }

    /// The slot that `take` would give, if it was used before, and where to write which one is free
    /// next, once it is taken.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<(u32, &mut Slot, &mut u32)> {
        let slot = self.slots.get_mut(self.free as usize)?;
        Some((self.free, slot, &mut self.free))
    }

    /// Names the operation that has a slot, or the next one that takes it.
    #[inline]
    pub(crate) fn key(&self, slot: u32) -> Key {
        Key { slot, generation: self[slot].generation }
    }

    #[inline]
    pub(crate) fn give_back(&mut self, slot: u32) {
        self[slot].leave_table();
        self.put_free(slot);
    }

    /// The second half of `give_back`, for whoever has done the first.
    #[inline]
    pub(crate) fn put_free(&mut self, slot: u32) {
        self[slot].next = core::mem::replace(&mut self.free, slot);
    }

    /// The slot of an operation, unless it is gone.
    pub(crate) fn find(&mut self, key: Key) -> Option<&mut Slot> {
        let slot = &mut self.slots[key.slot as usize];
        (slot.generation == key.generation && slot.stage != Stage::Free).then_some(slot)
    }

    pub(crate) fn get(&self, slot: u32) -> Option<&Slot> {
        self.slots.get(slot as usize)
    }

    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut Slot> {
        self.slots.get_mut(slot as usize)
    }

    /// Those that are alive.
    pub(crate) fn alive(&self) -> impl Iterator<Item = u32> {
        let all = (0..).zip(&self.slots);
        all.filter(|(_, slot)| slot.stage != Stage::Free).map(|(index, _)| index)
    }
}

impl Index<u32> for Table {
    type Output = Slot;

    fn index(&self, slot: u32) -> &Slot {
        &self.slots[slot as usize]
    }
}

impl IndexMut<u32> for Table {
    fn index_mut(&mut self, slot: u32) -> &mut Slot {
        &mut self.slots[slot as usize]
    }
}
