//! Operations that travel in one entry: adjacent reads, adjacent writes, syncs that wait together.
//!
//! A chain is a list of slots of one file, linked by `next`; its first slot, the head, stands for
//! it in the queue and in the ring. A new transfer is compared with its file's last queued one of
//! the same direction and nothing else, so the price does not grow with the queue; what is pushed,
//! or lies before a sync or truncate, is never joined.
//!
//! Whatever the entry comes back with is shared out from the first member on. Worked example:
//! writes of 4096 bytes at 0, 4096 and 8192 travel as one entry of 12288; the ring answers 5000.
//! The first is done, the second has 904 bytes of 4096, and the chain of the second and third goes
//! on at 5000. Had the ring then failed, both would be issued again one by one, and each would tell
//! its own outcome.

use super::batch::ALONE;
use super::state::State;
use super::table::{NONE, Slot, Stage};
use crate::Operation;

/// Lists that are in use at once: of a chain, and of one that is ended on the way.
const SPARES_MAX: usize = 4;

impl State {
    /// An operation that may go joins a queued one, or the queue.
    pub(crate) fn enqueue(&mut self, index: u32) {
        let slot = &self.slots[index];
        let joined = match slot.operation {
            _ if slot.is_flush() => self.join_sync(index),
            Operation::Pread | Operation::Preadv => self.join_transfer(index, 0),
            Operation::Pwrite | Operation::Pwritev => self.join_transfer(index, 1),
            _ => false,
        };
        if joined {
            self.slots[index].stage = Stage::Member;
        } else {
            let slot = &mut self.slots[index];
            slot.stage = Stage::Queued;
            slot.chain_bytes = slot.total;
            let batch = slot.batch;
            if batch == ALONE || !self.batches.stage(batch, index) {
                self.queue.admit(index);
            }
        }
    }

    fn join_transfer(&mut self, index: u32, direction: usize) -> bool {
        let limit = [self.limits.read_call_cost, self.limits.write_call_cost][direction] as u64;
        if limit == 0 {
            return false;
        }
        let (file, at, total) = {
            let slot = &self.slots[index];
            (slot.file, slot.at, slot.total)
        };
        let tail = core::mem::replace(&mut self.files.get(file).tails[direction], index);
        let alike =
            |one: &Slot, other: &Slot| one.wishes() == other.wishes() && one.batch == other.batch;
        if tail == NONE
            || self.slots[tail].end() != at
            || !alike(&self.slots[tail], &self.slots[index])
        {
            return false;
        }
        let head = self.slots[tail].head;
        let leader = &mut self.slots[head];
        if leader.stage != Stage::Queued || leader.chain_bytes + total > limit {
            return false;
        }
        leader.chain_bytes += total;
        self.slots[tail].next = index;
        self.slots[index].head = head;
        self.statistics.merged += 1;
        true
    }

    pub(crate) fn join_sync(&mut self, index: u32) -> bool {
        let file = self.slots[index].file;
        let queued = &mut self.files.get(file).queued_sync;
        let head = *queued;
        if head == NONE || self.slots[head].batch != self.slots[index].batch {
            *queued = index;
            return false;
        }
        let mut last = head;
        while self.slots[last].next != NONE {
            last = self.slots[last].next;
        }
        self.slots[last].next = index;
        self.slots[index].head = head;
        self.statistics.syncs_shared += 1;
        true
    }

    /// Nothing is joined to what was queued before a barrier.
    pub(crate) fn forget_tails(&mut self, file: u32) {
        self.files.get(file).tails = [NONE; 2];
    }

    /// Nothing is joined to this chain any more.
    pub(crate) fn forget_tail(&mut self, head: u32) {
        let file = self.slots[head].file;
        if file == NONE {
            return;
        }
        for direction in 0..2 {
            let tail = self.files.get(file).tails[direction];
            if tail != NONE && self.slots[tail].head == head {
                self.files.get(file).tails[direction] = NONE;
            }
        }
        let entry = self.files.get(file);
        if entry.queued_sync == head {
            entry.queued_sync = NONE;
        }
    }

    /// Takes a chain apart; its members in order, each a chain of its own.
    /// Whoever is done with the list gives it to `spare`.
    pub(crate) fn unchain(&mut self, head: u32) -> Vec<u32> {
        let mut members = self.spares.pop().unwrap_or_default();
        let mut member = head;
        while member != NONE {
            let slot = &mut self.slots[member];
            members.push(member);
            slot.head = member;
            member = core::mem::replace(&mut slot.next, NONE);
        }
        members
    }

    /// Keeps a list of slots for the next one who needs one: so none is allocated for each chain.
    pub(crate) fn spare(&mut self, mut list: Vec<u32>) {
        if self.spares.len() < SPARES_MAX {
            list.clear();
            self.spares.push(list);
        }
    }

    /// Makes one chain of slots; the first one's stage stays what it is.
    pub(crate) fn chain_up(&mut self, members: &[u32]) {
        let Some((&head, rest)) = members.split_first() else { return };
        let mut bytes = 0;
        for (place, &member) in members.iter().enumerate() {
            let slot = &mut self.slots[member];
            slot.head = head;
            slot.next = members.get(place + 1).copied().unwrap_or(NONE);
            bytes += slot.total - slot.done;
        }
        self.slots[head].chain_bytes = bytes;
        for &member in rest {
            self.slots[member].stage = Stage::Member;
        }
    }

    /// Issues the members of a chain again, one by one.
    pub(crate) fn resume_singly(&mut self, members: &[u32]) {
        for &member in members {
            let slot = &mut self.slots[member];
            (slot.head, slot.next) = (member, NONE);
            slot.stage = Stage::Queued;
            self.queue.resume(member);
        }
    }

    /// Issues the rest of a chain as one.
    pub(crate) fn resume_chain(&mut self, members: &[u32]) {
        self.chain_up(members);
        if let Some(&head) = members.first() {
            self.slots[head].stage = Stage::Queued;
            self.queue.resume(head);
        }
    }
}
