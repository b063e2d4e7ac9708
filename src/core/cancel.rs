//! Cancelling: a request, which the operation's own completion answers.
//!
//! What was not pushed ends at once. What is in the ring is asked to end by an entry of its own,
//! which is queued behind it and so never overtakes it; its memory comes back with its completion.

use super::files::Waiter;
use super::held::Held;
use super::overflow::Item;
use super::state::State;
use super::table::{Key, NONE, Phase, Stage};
use crate::{ErrorKind, Operation};

impl State {
    pub(crate) fn cancel(&mut self, key: Key) {
        self.off_the_road(key);
        let Some(slot) = self.slots.find(key) else { return };
        // A close has no way back, and frees what others wait for.
        if slot.is_over() || slot.cancelled || slot.operation == Operation::Close {
            return;
        }
        slot.cancelled = true;
        if slot.operation == Operation::Group {
            self.cancel_group(key.slot);
            return;
        }
        let (index, stage, head, alone) = (key.slot, slot.stage, slot.head, slot.next == NONE);
        match stage {
            Stage::Waiting => self.cancel_waiting(index),
            Stage::Queued => self.cancel_queued(index, index),
            Stage::Member if self.slots[head].stage == Stage::Queued => {
                self.cancel_queued(head, index);
            }
            Stage::Pushed if alone => self.queue.urgent(Item::Cancel(index)),
            // A member of a pushed chain is only marked, its head too: the others are wanted.
            _ => {}
        }
    }

    /// The machines see to what is more than a straight read.
    pub(crate) fn off_the_road(&mut self, key: Key) {
        if let Some(slot) = self.slots.find(key)
            && slot.stage == Stage::Straight
        {
            slot.turn_off(key.slot);
        }
    }

    fn cancel_waiting(&mut self, index: u32) {
        if self.naps.wake(index) {
            self.cancel_sleeper(index);
            return;
        }
        let slot = &self.slots[index];
        match (&slot.held, slot.operation) {
            (Held::Naming(_), _) => {
                self.cancel_naming(index);
                return;
            }
            (_, Operation::Room) => {
                self.rooms.retain(|&waiting| waiting != index);
                // Those behind it may be content with less.
                self.grant_room();
            }
            (_, Operation::Shutdown) => self.shutdowns.retain(|&waiting| waiting != index),
            // A barrier lets go of it in `finish`.
            _ if slot.file != NONE => self.leave_line(index),
            _ => {}
        }
        self.fail(index, ErrorKind::Cancelled);
    }

    /// Takes `index` out of the queued chain of `head`; the others keep their place.
    fn cancel_queued(&mut self, head: u32, index: u32) {
        if matches!(self.slots[index].phase, Phase::Identify | Phase::Direct | Phase::FlushNames) {
            // Its handle is open already: it goes on, and gives it or closes it.
            return;
        }
        self.take_out(head, index);
        if !matches!(self.slots[index].held, Held::Naming(_)) {
            self.fail(index, ErrorKind::Cancelled);
            return;
        }
        let names = self.names_of(index);
        self.unprepare(index);
        self.fail(index, ErrorKind::Cancelled);
        for name in names.iter().flatten() {
            self.next_turn(name);
        }
    }

    /// Takes an operation out of the line for its name; a rename may have the first of its two.
    fn cancel_naming(&mut self, index: u32) {
        let [first, second] = self.names_of(index);
        let Held::Naming(naming) = &self.slots[index].held else { return };
        let (has_first, wanted) = match (naming.has, second) {
            (1, second @ Some(_)) => (true, second),
            _ => (false, first.clone()),
        };
        if let Some(wanted) = wanted {
            self.files.withdraw(&wanted, Waiter::Slot(index));
        }
        self.unprepare(index);
        self.fail(index, ErrorKind::Cancelled);
        if let Some(first) = first.filter(|_| has_first) {
            self.next_turn(&first);
        }
    }

    /// Leaves `index` in no queue; the others of its chain, which is that of `head`, keep its
    /// place.
    pub(crate) fn take_out(&mut self, head: u32, index: u32) {
        self.forget_tail(head);
        let mut members = self.unchain(head);
        members.retain(|&member| member != index);
        for &member in &members {
            let slot = &mut self.slots[member];
            slot.stage = Stage::Queued;
            slot.chain_bytes = slot.total - slot.done;
        }
        let was_queued = self.queue.replace(head, members.iter().copied())
            || self.batches.replace(head, members.into_iter());
        debug_assert!(was_queued, "a queued chain stands in the queue");
        // One that the ring had no room for counts as running.
        self.flush_over(self.slots[index].file, head);
        self.write_over(head);
    }
}
