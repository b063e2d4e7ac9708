//! The ways in: each checks its arguments, takes a slot, and leaves the operation where it belongs.
//!
//! A refused operation takes no slot and changes nothing; its error is the completion's.

use littoral_platform::SyncKind;

use super::Core;
use super::apart::Lane;
use super::barrier::Class;
use super::held::{Held, Opened, Value};
use super::state::handle_closed;
use super::table::{Gate, Key, NONE};
use super::writev::Parts;
use crate::{Error, ErrorKind, Intent, Operation};

impl Core {
    /// Reads or writes what `held` has, at `at`.
    pub(crate) fn transfer(
        &self,
        operation: Operation,
        opened: &Opened,
        at: u64,
        held: Held,
        intent: Intent,
    ) -> Result<Key, Error> {
        let write = matches!(operation, Operation::Pwrite | Operation::Pwritev);
        let total: u64 = (0..held.count()).map(|part| held.part(part).span.len as u64).sum();
        if at.checked_add(total).is_none_or(|end| end > self.limits.offset_max) {
            let error = Error::new(ErrorKind::InvalidInput, operation);
            return Err(error.because("offset and length reach past the platform's maximum"));
        }
        if intent.is_impossible() {
            let error = Error::new(ErrorKind::InvalidInput, operation);
            return Err(error.because("what is durable has been waited for"));
        }
        let lane = opened.lane(at, &held, write, self.limits.bytes_per_call);
        let mut state = self.lock();
        let refusal = state.refusal_on(opened, operation);
        if let Some(error) = refusal.or_else(|| state.saturation(operation)) {
            return Err(error);
        }
        if write && let Some(error) = state.sync_loss(opened, operation) {
            return Err(error);
        }
        let index = state.begin(operation, opened.file, held);
        if total == 0 {
            let value = if write {
                Value::Unit
            } else {
                core::mem::take(&mut state.slots[index].held).read_value(0)
            };
            state.finish(index, Ok(value));
        } else {
            let slot = &mut state.slots[index];
            (slot.at, slot.total) = (at, total);
            slot.lane = lane;
            let unaligned = opened.direct.is_some() && lane == Lane::Cached;
            state.statistics.unaligned += u64::from(unaligned);
            let class = if write { Class::Write } else { Class::Read };
            if intent == Intent::new() {
                state.admit(index, class);
            } else if state.heed_intent(index, intent) {
                state.admit(index, class);
                state.heed_haste(index);
            }
        }
        let key = state.key(index);
        self.leave(state);
        Ok(key)
    }

    /// An operation on a file that moves no bytes of ours.
    pub(crate) fn on_file(
        &self,
        operation: Operation,
        class: Class,
        opened: &Opened,
        held: Held,
        set: impl FnOnce(&mut super::table::Slot),
    ) -> Result<Key, Error> {
        let mut state = self.lock();
        let refusal = state.refusal_on(opened, operation);
        if let Some(error) = refusal.or_else(|| state.saturation(operation)) {
            return Err(error);
        }
        if class != Class::Read
            && let Some(error) = state.sync_loss(opened, operation)
        {
            return Err(error);
        }
        let index = state.begin(operation, opened.file, held);
        set(&mut state.slots[index]);
        state.admit(index, class);
        let key = state.key(index);
        self.leave(state);
        Ok(key)
    }

    pub(crate) fn sync(&self, file: &Opened, kind: SyncKind) -> Result<Key, Error> {
        self.on_file(Operation::Sync, Class::Sync, file, Held::Nothing, |slot| {
            slot.sync_kind = kind;
        })
    }

    pub(crate) fn truncate(&self, file: &Opened, len: u64) -> Result<Key, Error> {
        if len > self.limits.offset_max {
            let error = Error::new(ErrorKind::InvalidInput, Operation::Truncate);
            return Err(error.because("the size is past the platform's maximum"));
        }
        self.on_file(Operation::Truncate, Class::Truncate, file, Held::Nothing, |slot| {
            slot.at = len;
        })
    }

    pub(crate) fn size(&self, file: &Opened) -> Result<Key, Error> {
        self.on_file(Operation::Size, Class::Read, file, Held::Nothing, |_| ())
    }

    pub(crate) fn metadata(&self, file: &Opened) -> Result<Key, Error> {
        let held = Held::Stat(Box::default());
        self.on_file(Operation::Metadata, Class::Read, file, held, |_| ())
    }

    /// Waited for by syncs, as a write: the size may change.
    pub(crate) fn allocate(&self, file: &Opened, at: u64, len: u64) -> Result<Key, Error> {
        if at.checked_add(len).is_none_or(|end| end > self.limits.offset_max) {
            let error = Error::new(ErrorKind::InvalidInput, Operation::Allocate);
            return Err(error.because("offset and length reach past the platform's maximum"));
        }
        if len == 0 {
            return self.at_once(Operation::Allocate);
        }
        self.on_file(Operation::Allocate, Class::Write, file, Held::Nothing, |slot| {
            (slot.at, slot.total) = (at, len);
        })
    }

    /// Closes one handle of a file. Its place is reserved: it is refused only without a driver.
    pub(crate) fn close(&self, opened: &Opened) -> Result<Key, Error> {
        let mut state = self.lock();
        if state.ring.is_none() || state.dead.is_some() {
            return Err(state
                .refusal(Operation::Close)
                .unwrap_or_else(|| Error::new(ErrorKind::Closed, Operation::Close)));
        }
        if !opened.close() {
            return Err(handle_closed(Operation::Close));
        }
        state.release_ranges_of(opened.who);
        let index = state.begin(Operation::Close, NONE, Held::Nothing);
        state.close_handle(index, opened);
        let key = state.key(index);
        self.leave(state);
        Ok(key)
    }

    /// An operation with nothing to do.
    pub(crate) fn at_once(&self, operation: Operation) -> Result<Key, Error> {
        let mut state = self.lock();
        if let Some(error) = state.refusal(operation).or_else(|| state.saturation(operation)) {
            return Err(error);
        }
        let index = state.begin(operation, NONE, Held::Nothing);
        let key = state.key(index);
        state.finish(index, Ok(Value::Unit));
        self.leave(state);
        Ok(key)
    }

    pub(crate) fn room(&self, operations: u32) -> Result<Key, Error> {
        let mut state = self.lock();
        if let Some(error) = state.refusal(Operation::Room) {
            return Err(error);
        }
        if operations > state.config.operations {
            let error = Error::new(ErrorKind::InvalidInput, Operation::Room);
            let most = state.config.operations;
            return Err(error.because(format!("{operations}, and `Config::operations` is {most}")));
        }
        if state.rooms.len() >= state.config.operations as usize {
            let error = Error::new(ErrorKind::Saturated, Operation::Room);
            return Err(error.because("as many wait for room"));
        }
        let index = state.begin(Operation::Room, NONE, Held::Nothing);
        state.slots[index].at = u64::from(operations);
        let key = state.key(index);
        state.rooms.push_back(index);
        state.grant_room();
        self.leave(state);
        Ok(key)
    }

    pub(crate) fn shutdown(&self) -> Result<Key, Error> {
        let mut state = self.lock();
        if state.ring.is_none() || state.dead.is_some() {
            return Err(state
                .refusal(Operation::Shutdown)
                .unwrap_or_else(|| Error::new(ErrorKind::Closed, Operation::Shutdown)));
        }
        state.closed = true;
        state.queue.road = 0;
        for waiting in core::mem::take(&mut state.rooms) {
            state.fail(waiting, ErrorKind::Closed);
        }
        let index = state.begin(Operation::Shutdown, NONE, Held::Nothing);
        let key = state.key(index);
        state.shutdowns.push(index);
        self.leave(state);
        Ok(key)
    }
}

impl super::State {
    /// An operation asks its file's barrier.
    pub(crate) fn admit(&mut self, index: u32, class: Class) {
        let slot = &mut self.slots[index];
        slot.class = class;
        slot.batch = self.batches.current();
        let file = slot.file;
        if matches!(class, Class::Sync | Class::Truncate) {
            self.forget_tails(file);
        }
        if class == Class::Truncate {
            self.turn_off_of(file);
        }
        match self.files.get(file).barrier.admit(index, class) {
            Some(epoch) => self.pass_barrier(index, epoch),
            None => self.slots[index].gate = Gate::Waiting,
        }
    }
}
