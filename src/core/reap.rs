//! From the ring's completions to ends, continuations and next phases.

use littoral_platform::{Cqe, Errno, Region, Ring, Tag};

use super::events::Event;
use super::held::Value;
use super::push::Tagged;
use super::state::{State, is_transient};
use super::table::{NONE, Phase, Stage};
use crate::{ErrorKind, Operation};

/// How often an entry may be interrupted, or refused for now, without progress between.
const RETRIES_MAX: u16 = 256;

impl State {
    /// Takes every completion there is now; true if there was one. Only a step, or the driver's
    /// end, may publish on the way.
    pub(crate) fn reap(&mut self, publish: bool) -> bool {
        let (seen, mut any) = (self.delivered, false);
        loop {
            let unusual = if publish {
                self.reap_straight()
            } else {
                self.ring.as_mut().and_then(Ring::reap)
            };
            let Some(cqe) = unusual else { return any || self.delivered != seen };
            any = true;
            self.complete(cqe);
        }
    }

    #[inline(never)]
    pub(crate) fn complete(&mut self, cqe: Cqe) {
        use Operation::{
            Allocate, Metadata, Pread, Preadv, PunchHole, Pwrite, Pwritev, Register, SeekData,
            SeekHole, Size, Sync, Truncate, ZeroRange,
        };
        let slot = match Tagged::of(cqe.tag) {
            Tagged::Slot { slot, entry } => {
                if !self.slots.get(slot).is_some_and(|s| s.awaits(entry)) {
                    self.stale(cqe.tag);
                    return;
                }
                if self.slots[slot].stage == Stage::Straight {
                    self.slots[slot].turn_off(slot);
                }
                slot
            }
            // These have no slot whose generation would tell.
            Tagged::Cancel | Tagged::Close { .. } | Tagged::Unregister { .. }
                if !self.come_back(cqe.tag) =>
            {
                self.stale(cqe.tag);
                return;
            }
            Tagged::Cancel => {
                self.in_flight -= 1;
                return;
            }
            Tagged::Close { file } => {
                self.in_flight -= 1;
                if file != NONE {
                    self.handle_closed(file, cqe.result);
                }
                return;
            }
            Tagged::Unregister { region } => {
                self.in_flight -= 1;
                self.unregistered(Region(region), cqe.result);
                return;
            }
            Tagged::Unknown => {
                self.stale(cqe.tag);
                return;
            }
        };
        self.in_flight -= 1;
        self.ordinary_in_flight -= 1;
        self.write_over(slot);
        if self.slots[slot].is_durable_write() {
            let file = self.slots[slot].file;
            self.files.get(file).durables -= 1;
        }
        if let Err(code) = cqe.result
            && self.declined(slot, code)
        {
            return;
        }
        if let Err(code) = cqe.result
            && self.may_retry(slot, code)
        {
            let (operation, file) = (self.slots[slot].operation, self.slots[slot].file);
            let times = self.slots[slot].retries + 1;
            self.events.note(|| Event::Retried { operation, code, times });
            self.retry(slot);
            self.end_changes(file);
            return;
        }
        match (self.slots[slot].operation, self.slots[slot].phase) {
            (Sync, _) | (_, Phase::Flush) => self.flushed(slot, cqe.result),
            (Pread | Preadv, Phase::AtEnd) => self.end_known(slot, cqe.result),
            (Pread | Preadv | Pwrite | Pwritev, _) => self.transferred(slot, cqe.result),
            (Register, _) => self.registered(slot, cqe.result),
            (Size, _) => self.ended(slot, cqe.result.map(Value::Size)),
            (Truncate | Allocate, _) => self.ended(slot, cqe.result.map(|_| Value::Unit)),
            (PunchHole | ZeroRange, _) => self.zeroed(slot, cqe.result),
            (SeekData | SeekHole, _) => self.sought(slot, cqe.result),
            (Metadata, _) if self.slots[slot].file != NONE => self.stated(slot, cqe.result),
            _ => self.named(slot, cqe.result),
        }
    }

    /// The platform's fault.
    fn stale(&mut self, tag: Tag) {
        self.statistics.stale += 1;
        self.events.note(|| Event::Stale(tag));
    }

    /// Strikes off a cancel or a close that was in the ring; false if there was none of that tag.
    fn come_back(&mut self, tag: Tag) -> bool {
        let found = self.aside.iter().position(|aside| *aside == tag);
        found.map(|place| self.aside.swap_remove(place)).is_some()
    }

    /// Whether to issue the same once more, which somebody of its chain must still want.
    fn may_retry(&self, head: u32, code: Errno) -> bool {
        if !is_transient(code) || self.slots[head].retries >= RETRIES_MAX {
            return false;
        }
        let mut member = head;
        while member != NONE && self.slots[member].cancelled {
            member = self.slots[member].next;
        }
        member != NONE
    }

    /// Issues the same once more, but for members that are not wanted any longer.
    fn retry(&mut self, head: u32) {
        self.statistics.retried += 1;
        if self.slots[head].is_flush() {
            self.flush_over(self.slots[head].file, head);
        }
        self.slots[head].retries += 1;
        if self.slots[head].next == NONE {
            self.requeue(head);
            return;
        }
        let retries = self.slots[head].retries;
        let members = self.unchain(head);
        let (unwanted, wanted): (Vec<_>, Vec<_>) =
            members.into_iter().partition(|&member| self.slots[member].cancelled);
        for &member in &unwanted {
            self.fail(member, ErrorKind::Cancelled);
        }
        if unwanted.is_empty() {
            self.resume_chain(&wanted);
        } else {
            for &member in &wanted {
                self.slots[member].retries = retries;
            }
            self.resume_singly(&wanted);
        }
    }

    /// Puts an operation back into the queue, in its place.
    pub(crate) fn requeue(&mut self, slot: u32) {
        self.slots[slot].stage = Stage::Queued;
        self.queue.resume(slot);
    }

    pub(crate) fn ended(&mut self, slot: u32, result: Result<Value, Errno>) {
        match result {
            Ok(value) => self.finish(slot, Ok(value)),
            Err(code) => self.fail_with(slot, code),
        }
    }

    /// An entry of a chain of transfers came back: shares out what it did, then says how the rest
    /// goes on.
    fn transferred(&mut self, head: u32, result: Result<u64, Errno>) {
        let asked = self.slots[head].asked;
        let write = matches!(self.slots[head].operation, Operation::Pwrite | Operation::Pwritev);
        // A count past what was asked would claim memory that nobody filled.
        let result = result.and_then(|n| if n <= asked { Ok(n) } else { Err(Errno::IO) });
        let Some((result, asked)) = self.newly_moved(head, result) else {
            let members = self.unchain(head);
            self.leave_direct_lane(&members);
            self.go_on(&members, members.len() > 1, write, Ok(asked), asked);
            self.spare(members);
            return;
        };
        if self.slots[head].next == NONE {
            if let Ok(count) = result {
                self.credit(head, count);
                if self.slots[head].done == self.slots[head].total {
                    self.complete_transfer(head);
                    return;
                }
            }
            self.go_on(&[head], false, write, result, asked);
            return;
        }
        let mut members = self.unchain(head);
        let mut first_unfinished = 0;
        let mut left = result.unwrap_or(0);
        for &member in &members {
            let here = left.min(self.slots[member].total - self.slots[member].done);
            left -= here;
            self.credit(member, here);
            if self.slots[member].done < self.slots[member].total {
                break;
            }
            self.complete_transfer(member);
            first_unfinished += 1;
        }
        members.drain(..first_unfinished);
        self.go_on(&members, true, write, result, asked);
        self.spare(members);
    }

    fn credit(&mut self, slot: u32, count: u64) {
        let slot = &mut self.slots[slot];
        slot.done += count;
        slot.unflushed |= slot.durable && !slot.by_entry && count > 0;
        slot.cursor.advance(&slot.held, count);
        if count > 0 {
            (slot.retries, slot.stalls) = (0, 0);
        }
    }

    fn complete_transfer(&mut self, slot: u32) {
        let slot_ref = &mut self.slots[slot];
        let value = if matches!(slot_ref.operation, Operation::Pwrite | Operation::Pwritev) {
            if slot_ref.unflushed {
                self.flush_write(slot);
                return;
            }
            Value::Unit
        } else {
            core::mem::take(&mut slot_ref.held).read_value(slot_ref.done)
        };
        self.finish(slot, Ok(value));
    }

    /// How the unfinished members of a chain go on after their entry came back.
    fn go_on(
        &mut self,
        members: &[u32],
        merged: bool,
        write: bool,
        result: Result<u64, Errno>,
        asked: u64,
    ) {
        let mut wanted = Vec::new();
        let members = if members.iter().any(|&member| self.slots[member].cancelled) {
            for &member in members {
                if self.slots[member].cancelled {
                    self.fail(member, ErrorKind::Cancelled);
                } else {
                    wanted.push(member);
                }
            }
            &wanted[..]
        } else {
            members
        };
        let Some(&first) = members.first() else { return };
        let file = self.slots[first].file;
        match result {
            Err(_) if merged => self.resume_singly(members),
            Err(code) => self.fail_with(first, code),
            Ok(_) if members.len() > 1 && !wanted.is_empty() => self.resume_singly(members),
            Ok(0) if write && merged => self.resume_singly(members),
            Ok(0) if write => self.fail(first, ErrorKind::WriteZero),
            Ok(count) if write || count == asked => {
                self.statistics.resumed += 1;
                self.resume_chain(members);
            }
            Ok(_) => {
                // A short read: the end of the file, or not. Each member finds out for itself.
                self.slots[first].phase = Phase::AtEnd;
                self.resume_singly(members);
            }
        }
        if write {
            self.end_changes(file);
        }
    }

    /// A read came back short, and this is the file's size.
    fn end_known(&mut self, slot: u32, size: Result<u64, Errno>) {
        let entry = &mut self.slots[slot];
        entry.phase = Phase::Main;
        match size {
            Err(code) => self.fail_with(slot, code),
            Ok(size) if size <= entry.position() => self.complete_transfer(slot),
            Ok(_) if entry.cancelled => self.fail(slot, ErrorKind::Cancelled),
            // The second time in a row that a read stops where the file does not.
            Ok(_) if entry.stalls > 0 => self.fail_with(slot, Errno::IO),
            Ok(_) => {
                entry.stalls += 1;
                self.statistics.resumed += 1;
                self.requeue(slot);
            }
        }
    }
}
