//! The straight road: a read into one buffer that nothing stands in the way of.
//!
//! Nearly every operation of a database is one: no truncate before it, room in the ring, one entry,
//! a full count. The call that submits it pushes its entry, the step that reaps it publishes it,
//! and it passes through none of the machines between.
//!
//! Nothing is decided here that they would decide otherwise: this is the way through them with
//! every bend already known to be straight. At the first bend (a full ring, a short count, an
//! error, a cancel, a truncate behind it, a close that waits, the end of the driver) the operation
//! *turns off*: its slot is filled in as if it had come by the machines, and they go on with it.
//!
//! A read that is *alone* (nothing else is alive, nobody waits) does not even set out: a ring is
//! the wrong tool for what is waited for at once. It is kept as it was submitted, and whoever waits
//! for it next does it by a call of his own, if its page is cached. As soon as anything else
//! happens, it sets out after all.
//!
//! All that this leaves to be counted or sent is settled by whoever takes the lock next by any
//! other way: see [`Core::lock`].
//!
//! Worked example: read a is alone, and kept. Read b comes: a is pushed, then b. A write c is
//! queued: from here on no read goes straight, because c is before it. b is cancelled: it turns
//! off, and the cancel is queued. The step pushes cancel and write, and submits all four entries.

use core::sync::atomic::Ordering;
use core::task::Waker;

use littoral_platform::{Cqe, Read, RwFlags};

use super::Core;
use super::apart::Lane;
use super::barrier::Class;
use super::batch::ALONE;
use super::files::{Closing, Files};
use super::held::{Held, Opened, Value};
use super::push::{push_read, read_without_waiting, slot_tag};
use super::state::{Delivery, State};
use super::table::{Gate, Key, NONE, Notify, Phase, Slot, Stage};
use super::writev::Cursor;
use crate::{Buffer, Intent, Operation, Result, Status, Step};

/// A read that is alone. It has the key of the slot that is free next, and has not taken it.
pub(crate) struct Lone {
    key: Key,
    file: u32,
    at: u64,
    buffer: Buffer,
    waker: Option<Waker>,
}

/// Bytes of the longest read that is done under the lock: it only copies, and not for long.
const ALONE_MAX: usize = 64 << 10;

/// Bytes of the longest read that goes straight: past that, instructions do not count any more.
pub(crate) const STRAIGHT_MAX: usize = 1 << 20;

impl Core {
    /// Reads at `at` into one buffer, if the road is open; gives it back if it is not, or to take
    /// it means more than a look around. Calls nothing that comes back, so that the processor's
    /// registers need not be saved for it.
    #[expect(clippy::inline_always, reason = "what is between here and the caller is counted")]
    #[inline(always)]
    pub(crate) fn pread(
        &self,
        opened: &Opened,
        at: u64,
        into: Buffer,
    ) -> core::result::Result<Key, Buffer> {
        match self.state.try_lock() {
            // The road is closed to one in a hurry while somebody waits.
            Some(mut state) if !opened.is_closed() => {
                state.go_straight::<true>(opened.file, at, into, true)
            }
            _ => Err(into),
        }
    }

    /// As `pread`, also by the machines.
    pub(crate) fn pread_around(&self, opened: &Opened, at: u64, mut into: Buffer) -> Result<Key> {
        let mut state = self.lock();
        if !opened.is_closed() && state.opens_road() {
            let watched = state.leader || state.followers > 0;
            state.ring_is_full = false;
            let mut went = state.go_straight::<false>(opened.file, at, into, !watched);
            if state.ring_is_full
                && let Err(back) = went
            {
                // Its queue is full of what it has not been handed. What is new goes behind that.
                state.submit();
                went = state.go_straight::<false>(opened.file, at, back, false);
            }
            if watched {
                // Whoever waits has to hear of what is new, and so of the next one.
                state.queue.road = 0;
            }
            match went {
                Ok(key) => {
                    if watched {
                        // Where nobody leads, it is not under way yet.
                        state.rings_bell |= !state.leader;
                        state.settle();
                        self.leave(state);
                    }
                    return Ok(key);
                }
                Err(back) => into = back,
            }
        }
        drop(state);
        self.transfer(Operation::Pread, opened, at, Held::Read(into), Intent::new())
    }

    /// A step for a read that is alone. `None`, and nothing was done, where there is none, or a
    /// ring is needed for it.
    #[inline]
    pub(crate) fn step_alone(&self, seen: u64) -> Option<Step> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.delivered != seen || !state.read_alone() {
            return None;
        }
        let Lone { key, file, at: _, buffer, waker } = state.lone.take()?;
        state.slots.take();
        let slot = &mut state.slots[key.slot];
        slot.stage = Stage::PublishedRead;
        slot.operation = Operation::Pread;
        slot.file = file;
        slot.held = Held::Read(buffer);
        state.alive += 1;
        let delivered = self.arrived_alone(state);
        drop(guard);
        if let Some(waker) = waker {
            waker.wake();
        }
        Some(Step { delivered, status: Status::Delivered })
    }

    /// That step, and the result of it, for whoever waits for this very read.
    #[inline]
    pub(crate) fn wait_alone(&self, key: Key) -> Option<Buffer> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        match &state.lone {
            Some(lone) if lone.key == key && lone.waker.is_none() => {}
            _ => return None,
        }
        if !state.read_alone() {
            return None;
        }
        let lone = state.lone.take()?;
        self.arrived_alone(state);
        Some(lone.buffer)
    }

    /// Counts a read that needed no ring.
    #[inline]
    fn arrived_alone(&self, state: &mut State) -> u64 {
        state.statistics.accepted += 1;
        state.statistics.direct += 1;
        state.delivered += 1;
        self.delivered.store(state.delivered, Ordering::Release);
        state.delivered
    }

    /// The result of a read, if it was published.
    #[expect(clippy::inline_always, reason = "as `pread`")]
    #[inline(always)]
    pub(crate) fn take_read(&self, key: Key) -> Option<Result<Buffer>> {
        if let Some(mut guard) = self.state.try_lock()
            && let state = &mut *guard
            && let Some(slot) = state.slots.get_mut(key.slot)
            && slot.stage == Stage::PublishedRead
            && slot.generation == key.generation
            && state.rooms.is_empty()
            // It counts on the free slots staying as they are.
            && state.lone.is_none()
            && let Held::Read(buffer) = core::mem::take(&mut slot.held)
        {
            slot.leave_table_plain();
            state.slots.put_free(key.slot);
            state.alive -= 1;
            return Some(Ok(buffer));
        }
        self.take_read_around(key)
    }

    #[cold]
    fn take_read_around(&self, key: Key) -> Option<Result<Buffer>> {
        if self.state.lock().is_lone(key) {
            return None;
        }
        Some(self.try_take(key)?.map(Value::into_buffer))
    }

    /// Has this waker woken when the read is over, if it is one that is alone. Gives back the
    /// waker that is not needed.
    pub(crate) fn wake_alone(&self, key: Key, waker: Waker) -> core::result::Result<(), Waker> {
        let mut state = self.state.lock();
        match &mut state.lone {
            Some(lone) if lone.key == key => {
                let replaced = lone.waker.replace(waker);
                drop(state);
                drop(replaced);
                Ok(())
            }
            _ => Err(waker),
        }
    }
}

impl State {
    /// Sets a read out on the road, or keeps it if it is alone and it may be kept. Gives the buffer
    /// back where the road is closed to it. One in a `HURRY` finds it closed where there is more
    /// to it than that.
    #[expect(clippy::inline_always, reason = "it has two callers, and one is in a hurry")]
    #[inline(always)]
    fn go_straight<const HURRY: bool>(
        &mut self,
        file: u32,
        at: u64,
        into: Buffer,
        may_be_kept: bool,
    ) -> core::result::Result<Key, Buffer> {
        let span = into.span();
        if self.queue.road == 0
            || at > self.straight_at_max
            || span.len.wrapping_sub(1) >= self.straight_len_max
            || self.lone.is_some()
        {
            return Err(into);
        }
        let opened = self.files.get(file);
        let (Some((index, slot, free)), Some(ring)) = (self.slots.next(), &mut self.ring) else {
            return Err(into);
        };
        if !opened.barrier.is_open() || opened.closing != Closing::No {
            return Err(into);
        }
        let key = Key { slot: index, generation: slot.generation };
        if may_be_kept
            && self.unsettled == 0
            && self.unfinished == 0
            && self.deliveries.is_empty()
            && span.len <= ALONE_MAX
            && opened.bet.is_on()
        {
            // There was none, so nothing is replaced that had to be dropped.
            let lone = Lone { key, file, at, buffer: into, waker: None };
            core::mem::forget(self.lone.replace(lone));
            return Ok(key);
        }
        slot.entry = slot.entry.wrapping_add(1);
        let tag = slot_tag(index, slot);
        let read = Read { tag, file: opened.readable, at, span, region: into.region() };
        if !push_read::<HURRY>(ring, read) {
            self.ring_is_full = true;
            return Err(into);
        }
        *free = slot.next;
        slot.stage = Stage::Straight;
        slot.operation = Operation::Pread;
        slot.file = file;
        slot.at = at;
        slot.total = span.len as u64;
        debug_assert!(matches!(slot.held, Held::Nothing), "a free slot holds nothing");
        // So what is replaced need not be dropped.
        core::mem::forget(core::mem::replace(&mut slot.held, Held::Read(into)));
        opened.barrier.pass();
        opened.pins += 1;
        self.queue.road -= 1;
        self.unsettled += 1;
        Ok(key)
    }

    /// Sets out what was kept, and counts what has set out.
    #[cold]
    pub(crate) fn settle(&mut self) {
        if let Some(lone) = self.lone.take() {
            self.set_out(lone);
        }
        let count = core::mem::take(&mut self.unsettled);
        self.alive += count;
        self.unfinished += count;
        self.in_flight += count;
        self.ordinary_in_flight += count;
        self.statistics.accepted += u64::from(count);
        self.statistics.pushed += u64::from(count);
    }

    /// A read is alone no longer, or needs a ring. Nothing has happened since it was kept, so its
    /// way is as free as it was.
    fn set_out(&mut self, lone: Lone) {
        let Lone { key, file, at, buffer, waker } = lone;
        if let Err(buffer) = self.go_straight::<false>(file, at, buffer, false) {
            let total = buffer.capacity() as u64;
            let index = self.begin(Operation::Pread, file, Held::Read(buffer));
            let slot = &mut self.slots[index];
            (slot.at, slot.total, slot.durable) = (at, total, false);
            self.admit(index, Class::Read);
        }
        debug_assert_eq!(self.slots.key(key.slot), key, "nobody took its slot");
        if let Some(waker) = waker {
            self.slots[key.slot].notify = Notify::Wake(waker);
        }
    }

    /// How many newcomers can go straight: none behind something that waits, and not more than
    /// there is room for. Whatever else takes a slot or a place in the queue closes the road.
    fn opens_road(&mut self) -> bool {
        if self.queue.road == 0
            && self.reads_go_straight
            && !self.closed
            && self.queue.is_empty()
            && self.batches.is_empty()
        {
            let places = self.ordinary_max.saturating_sub(self.ordinary_in_flight);
            let places = places.min(self.limits.in_flight.saturating_sub(self.in_flight));
            let operations = self.config.operations.saturating_sub(self.alive);
            self.queue.road = places.min(operations);
        }
        self.queue.road > 0
    }

    pub(crate) fn is_lone(&self, key: Key) -> bool {
        self.lone.as_ref().is_some_and(|lone| lone.key == key)
    }

    /// Does the read that is alone on this thread, if there is one and it can be done without
    /// waiting for a device. Where it cannot, it sets out.
    #[inline]
    fn read_alone(&mut self) -> bool {
        let (Some(lone), Some(ring)) = (&mut self.lone, &self.ring) else { return false };
        let file = self.files.get(lone.file);
        let span = lone.buffer.span();
        match read_without_waiting(ring, file.readable, lone.at, span) {
            Ok(count) if count == span.len as u64 => {
                file.bet.won();
                lone.buffer.fill();
                return true;
            }
            // The end of the file: found out by the machines.
            Ok(_) => {}
            Err(_) => file.bet.lost(),
        }
        self.settle();
        false
    }

    /// Takes the completions of reads that stayed on the road to their ends, up to the first that
    /// is something else; and that one.
    #[inline]
    pub(crate) fn reap_straight(&mut self) -> Option<Cqe> {
        let State { ring, slots, files, deliveries, .. } = self;
        let mut run = Run { file: NONE, reads: 0 };
        let (reads, other) = ring.as_mut()?.reap_while(
            #[inline(always)]
            |cqe| {
                #[expect(clippy::cast_possible_truncation, reason = "the lower half is the slot")]
                let index = cqe.tag.0 as u32;
                let Some(slot) = slots.get_mut(index) else { return false };
                if slot.stage != Stage::Straight
                    || slot_tag(index, slot) != cqe.tag
                    || cqe.result != Ok(slot.total)
                {
                    return false;
                }
                let Held::Read(buffer) = &mut slot.held else { return false };
                buffer.fill();
                slot.stage = Stage::PublishedRead;
                if slot.file != run.file {
                    run.count(files);
                    run.file = slot.file;
                }
                run.reads += 1;
                if let Notify::Wake(_) = slot.notify
                    && let Notify::Wake(waker) = core::mem::take(&mut slot.notify)
                {
                    deliveries.push_back(Delivery::Wake(waker));
                }
                true
            },
        );
        run.count(files);
        self.in_flight -= reads;
        self.ordinary_in_flight -= reads;
        self.unfinished -= reads;
        self.delivered += u64::from(reads);
        other
    }

    /// What is on the road goes on by the machines.
    pub(crate) fn turn_all_off(&mut self) {
        self.turn_off_where(|_| true);
    }

    /// As `turn_all_off`, for one file, of which something is to wait for its reads.
    pub(crate) fn turn_off_of(&mut self, file: u32) {
        if self.files.get(file).pins > 0 {
            self.turn_off_where(|slot| slot.file == file);
        }
    }

    fn turn_off_where(&mut self, which: impl Fn(&Slot) -> bool) {
        let alive: Vec<u32> = self.slots.alive().collect();
        for index in alive {
            let slot = &mut self.slots[index];
            if slot.stage == Stage::Straight && which(slot) {
                slot.turn_off(index);
            }
        }
    }
}

/// Reads of one file that arrived one after another.
struct Run {
    file: u32,
    reads: u32,
}

impl Run {
    /// Takes them off their file's counts.
    fn count(&mut self, files: &mut Files) {
        if self.reads > 0 {
            let file = files.get(self.file);
            file.barrier.passed(self.reads);
            file.pins -= self.reads;
            self.reads = 0;
        }
    }
}

impl Slot {
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
