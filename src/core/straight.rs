//! The straight road: a read into one buffer that nothing stands in the way of.
//!
//! Nearly every operation of a database is one: no truncate before it, room in the ring, one entry,
//! a full count. Its entry is made by the call that submits it and kept in the *outbox*, which the
//! next step hands to the ring in one call; the step that reaps it publishes it. It passes through
//! none of the machines between.
//!
//! Nothing is decided here that they would decide otherwise: this is the way through them with
//! every bend already known to be straight. At the first bend (a full ring, a short count, an
//! error, a cancel, a truncate behind it, a close that waits, the end of the driver) the operation
//! *turns off*: its slot is filled in as if it had come by the machines, and they go on with it.
//!
//! Worked example: reads a and b go straight, into the outbox. A write c is queued: from here on no
//! read goes straight, because c is before it. b is cancelled: the outbox is put before c into the
//! queue, a and b turn off, and b ends there. The step pushes a, then c.

use core::sync::atomic::Ordering;
use std::collections::VecDeque;
use std::sync::Arc;

use littoral_platform::{Cqe, Direct, Op, RwFlags, Sqe};

use super::Core;
use super::apart::Lane;
use super::barrier::Class;
use super::batch::ALONE;
use super::files::{Closing, OpenFile};
use super::held::{Held, Opened, Value};
use super::push::{Tagged, call_without_waiting, slot_tag};
use super::state::{Delivery, State};
use super::table::{Gate, Key, NONE, Notify, Phase, Slot, Stage};
use super::writev::Cursor;
use crate::{Buffer, Intent, Operation, Result, Status, Step};

impl Core {
    /// Reads at `at` into one buffer.
    #[inline]
    pub(crate) fn pread(&self, opened: &Opened, at: u64, into: Buffer) -> Result<Key> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let (span, region) = (into.span(), into.region());
        if (state.queue.road > 0 || state.open_road())
            && at <= state.straight_at_max
            && span.len.wrapping_sub(1) < state.straight_len_max
            && !opened.is_closed()
            && let file = state.files.get(opened.file)
            && file.barrier.is_open()
            && let Some(index) = state.slots.take_used()
        {
            file.barrier.pass();
            file.pins += 1;
            let handle = file.readable;
            let slot = &mut state.slots[index];
            slot.stage = Stage::Straight;
            slot.operation = Operation::Pread;
            slot.file = opened.file;
            slot.at = at;
            slot.total = span.len as u64;
            slot.entry = slot.entry.wrapping_add(1);
            debug_assert!(matches!(slot.held, Held::Nothing), "a free slot holds nothing");
            // So what is replaced need not be dropped.
            core::mem::forget(core::mem::replace(&mut slot.held, Held::Read(into)));
            let key = Key { slot: index, generation: slot.generation };
            let tag = slot_tag(index, slot);
            state.outbox.push(Sqe { tag, op: Op::Read { file: handle, at, span }, region });
            state.queue.road -= 1;
            state.alive += 1;
            state.unfinished += 1;
            state.statistics.accepted += 1;
            if state.leader || state.followers > 0 {
                // Somebody waits, and has to hear of what is new.
                self.leave(guard);
            }
            return Ok(key);
        }
        drop(guard);
        self.transfer(Operation::Pread, opened, at, Held::Read(into), Intent::new())
    }

    /// A step for a read that is alone, where its page is cached: no ring is needed for that.
    /// `None`, and nothing was done, where there is more to be seen to.
    #[inline]
    pub(crate) fn step_alone(self: &Arc<Self>, seen: u64) -> Option<Step> {
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.delivered != seen || !state.is_a_read_alone() || !state.read_without_waiting() {
            return None;
        }
        let delivered = state.delivered;
        self.delivered.store(delivered, Ordering::Release);
        let told = state.deliveries.len();
        drop(guard);
        if told > 0 {
            self.deliver(told);
        }
        Some(Step { delivered, status: Status::Delivered })
    }

    /// That step, and the result of it, for whoever waits for this very read.
    #[inline]
    pub(crate) fn wait_alone(&self, key: Key) -> Option<Buffer> {
        let mut guard = self.lock();
        let state = &mut *guard;
        if !state.is_a_read_alone() {
            return None;
        }
        let slot = &mut state.slots[key.slot];
        let sqe = &state.outbox[0];
        let unobserved = matches!(slot.notify, Notify::Nobody);
        if sqe.tag != slot_tag(key.slot, slot) || slot.generation != key.generation || !unobserved {
            return None;
        }
        let file = state.files.get(slot.file);
        if !slot.read_without_waiting(file, state.direct.as_ref(), sqe) {
            state.tried = sqe.tag;
            return None;
        }
        let Held::Read(buffer) = core::mem::take(&mut slot.held) else { return None };
        slot.leave_table();
        state.slots.put_free(key.slot);
        state.alive -= 1;
        state.outbox.clear();
        state.read_alone();
        self.delivered.store(state.delivered, Ordering::Release);
        Some(buffer)
    }

    /// The result of a read, if it was published.
    #[inline]
    pub(crate) fn take_read(&self, key: Key) -> Option<Result<Buffer>> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let slot = &mut state.slots[key.slot];
        // One that is plain is in no group, which would have to be forgotten with it.
        if slot.stage == Stage::PublishedRead
            && slot.plain
            && slot.generation == key.generation
            && state.rooms.is_empty()
            && let Held::Read(buffer) = core::mem::take(&mut slot.held)
        {
            slot.leave_table();
            state.slots.put_free(key.slot);
            state.alive -= 1;
            return Some(Ok(buffer));
        }
        if state.slots.find(key)?.is_published() {
            Some(self.take_with(guard, key).map(Value::into_buffer))
        } else {
            None
        }
    }
}

/// Bytes of the longest read that is done under the lock: it only copies, and not for long.
const ALONE_MAX: u64 = 64 << 10;

/// Bytes of the longest read that goes straight: past that, instructions do not count any more.
pub(crate) const STRAIGHT_MAX: usize = 1 << 20;

impl State {
    /// How many newcomers can go straight: none behind something that waits, and not more than
    /// there is room for. Whatever else takes a slot or a place in the queue closes the road.
    #[cold]
    fn open_road(&mut self) -> bool {
        if self.reads_go_straight
            && !self.closed
            && self.queue.is_empty()
            && self.batches.is_empty()
        {
            let places = self.outbox.capacity() - self.outbox.len();
            let operations = self.config.operations.saturating_sub(self.alive);
            let places = u32::try_from(places).unwrap_or(u32::MAX);
            self.queue.road = places.min(operations);
        }
        self.queue.road > 0
    }

    /// One read is all there is: nothing else is queued, in flight, over, or to be told.
    #[inline]
    fn is_a_read_alone(&self) -> bool {
        self.outbox.len() == 1
            && self.unfinished == 1
            && self.in_flight == 0
            && self.deliveries.is_empty()
            && self.followers == 0
            && !self.leader
    }

    /// Does the one read of the outbox on this thread, if it can; false, and nothing was done, if
    /// not.
    fn read_without_waiting(&mut self) -> bool {
        let sqe = &self.outbox[0];
        let Some((index, _)) = Tagged::slot_of(sqe.tag) else { return false };
        if sqe.tag == self.tried {
            return false;
        }
        let slot = &mut self.slots[index];
        let file = self.files.get(slot.file);
        if !slot.read_without_waiting(file, self.direct.as_ref(), sqe) {
            self.tried = sqe.tag;
            return false;
        }
        slot.tell(&mut self.deliveries);
        self.outbox.clear();
        self.read_alone();
        true
    }

    /// Counts a read that needed no ring.
    #[inline]
    fn read_alone(&mut self) {
        self.unfinished -= 1;
        self.delivered += 1;
        self.statistics.direct += 1;
    }

    /// Counts reads that went straight to their end.
    pub(crate) fn arrived(&mut self, reads: u32) {
        self.in_flight -= reads;
        self.ordinary_in_flight -= reads;
        self.unfinished -= reads;
        self.delivered += u64::from(reads);
    }

    /// The completion of a read that stayed on the road to its end, which `arrived` has to count;
    /// false if it is anything else, and then nothing was done.
    #[inline]
    pub(crate) fn reap_straight(&mut self, cqe: &Cqe) -> bool {
        let Some((index, entry)) = Tagged::slot_of(cqe.tag) else { return false };
        let Some(slot) = self.slots.get_mut(index) else { return false };
        if slot.stage != Stage::Straight || !slot.awaits(entry) || cqe.result != Ok(slot.total) {
            return false;
        }
        let file = self.files.get(slot.file);
        if !slot.may_stay_straight(file) {
            return false;
        }
        slot.arrive(file);
        slot.tell(&mut self.deliveries);
        true
    }

    /// Hands the outbox to the ring, as much of it as it takes. The rest turns off.
    pub(crate) fn send(&mut self) {
        if self.outbox.is_empty() {
            return;
        }
        let room = self.ordinary_max.saturating_sub(self.ordinary_in_flight);
        let room = room.min(self.limits.in_flight.saturating_sub(self.in_flight)) as usize;
        let sent = if self.dead.is_some() || self.queue.has_earlier() {
            0
        } else {
            self.push_outbox(room)
        };
        self.in_flight += sent;
        self.ordinary_in_flight += sent;
        self.statistics.pushed += u64::from(sent);
        self.outbox.drain(..sent as usize);
        if !self.outbox.is_empty() {
            self.turn_off();
        }
    }

    /// The outbox is put before what is queued, and everything in it goes on by the machines.
    pub(crate) fn turn_off(&mut self) {
        while let Some(sqe) = self.outbox.pop() {
            let Some((index, _)) = Tagged::slot_of(sqe.tag) else {
                unreachable!("it names a slot")
            };
            let slot = &mut self.slots[index];
            slot.turn_off(index);
            slot.stage = Stage::Queued;
            self.queue.admit_first(index);
        }
    }

    /// As `turn_off`, and what is in the ring does, too.
    pub(crate) fn turn_all_off(&mut self) {
        self.turn_off();
        let alive: Vec<u32> = self.slots.alive().collect();
        for index in alive {
            if self.slots[index].stage == Stage::Straight {
                self.slots[index].turn_off(index);
            }
        }
    }
}

impl Slot {
    /// Nothing came up behind a read that is on the road, and only its completion wants it.
    #[inline]
    fn may_stay_straight(&self, file: &OpenFile) -> bool {
        file.barrier.is_open() && file.closing == Closing::No && self.plain
    }

    /// The end of a whole read that stayed on the road.
    #[inline]
    fn arrive(&mut self, file: &mut OpenFile) {
        let Held::Read(buffer) = &mut self.held else { unreachable!("it reads") };
        buffer.fill_to(buffer.capacity());
        file.barrier.passed();
        file.pins -= 1;
        self.stage = Stage::PublishedRead;
    }

    /// Has whoever is named be told.
    #[inline]
    fn tell(&mut self, deliveries: &mut VecDeque<Delivery>) {
        if let Notify::Wake(_) = self.notify
            && let Notify::Wake(waker) = core::mem::take(&mut self.notify)
        {
            deliveries.push_back(Delivery::Wake(waker));
        }
    }

    /// Does its read on this thread, if that takes no waiting and gives all of it; false, and
    /// nothing was done, if not.
    #[inline]
    fn read_without_waiting(
        &mut self,
        file: &mut OpenFile,
        direct: Option<&Arc<dyn Direct>>,
        sqe: &Sqe,
    ) -> bool {
        if self.total > ALONE_MAX || !self.may_stay_straight(file) || !file.bet.is_on() {
            return false;
        }
        match call_without_waiting(direct, sqe) {
            Ok(count) if count == self.total => file.bet.won(),
            // The end of the file: found out by the machines.
            Ok(_) => return false,
            Err(_) => {
                file.bet.lost();
                return false;
            }
        }
        self.arrive(file);
        true
    }

    /// From the road to the machines: as if it had been pushed by them.
    pub(crate) fn turn_off(&mut self, index: u32) {
        debug_assert_eq!(self.stage, Stage::Straight, "it is on the road");
        self.stage = Stage::Pushed;
        self.phase = Phase::Main;
        self.class = Class::Read;
        // No epoch counts reads.
        self.gate = Gate::Went(0);
        // None of a file's failures: a read has no place among them.
        self.sequence = 0;
        (self.done, self.asked, self.chain_bytes) = (0, self.total, self.total);
        self.cursor = Cursor::default();
        (self.retries, self.stalls) = (0, 0);
        (self.durable, self.unflushed, self.flags) = (false, false, RwFlags::empty());
        (self.lane, self.kept_apart) = (Lane::Cached, false);
        self.batch = ALONE;
        (self.head, self.next) = (index, NONE);
    }
}
