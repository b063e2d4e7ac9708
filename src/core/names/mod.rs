//! Opening, removing, preparing and closing: what happens to a name, one thing at a time.
//!
//! Each name is a queue of those who want to do something to it (`Files::acquire`). The one whose
//! turn it is keeps the name until its business is over, also across entries in the ring; then the
//! next one has its turn. A close takes its turn as well: so whatever comes later finds the file
//! closed, and opens it anew.

mod close;
mod open;
mod prepare;
mod remove;

use std::sync::Arc;

use littoral_platform::{Errno, Handle};

use super::files::Waiter;
use super::held::{Held, Naming, Value};
use super::state::State;
use super::table::{Phase, Stage};
use crate::Operation;

impl State {
    pub(crate) fn naming(&mut self, slot: u32) -> &mut Naming {
        match &mut self.slots[slot].held {
            Held::Naming(naming) => naming,
            _ => unreachable!("operations on names hold a name until they end"),
        }
    }

    /// An open, remove or prepare asks for its name.
    pub(crate) fn want_name(&mut self, slot: u32) {
        let name = Arc::clone(&self.naming(slot).name);
        self.slots[slot].stage = Stage::Waiting;
        if self.files.acquire(&name, Waiter::Slot(slot)) && !self.turn(Waiter::Slot(slot)) {
            self.next_turn(&name);
        }
    }

    /// A name is free: whoever waits has his turn, until one keeps it.
    pub(crate) fn next_turn(&mut self, name: &Arc<str>) {
        while let Some(waiter) = self.files.release(name) {
            if self.turn(waiter) {
                return;
            }
        }
    }

    /// True if the name is kept.
    fn turn(&mut self, waiter: Waiter) -> bool {
        match waiter {
            Waiter::CloseOf(file) => self.close_turn(file),
            Waiter::Slot(slot) => match self.slots[slot].operation {
                Operation::Open => self.open_turn(slot),
                Operation::Remove => self.remove_turn(slot),
                _ => self.prepare_turn(slot),
            },
        }
    }

    fn push_named(&mut self, slot: u32, phase: Phase) -> bool {
        let slot_ref = &mut self.slots[slot];
        (slot_ref.stage, slot_ref.phase) = (Stage::Queued, phase);
        self.queue.admit(slot);
        true
    }

    /// What somebody else had open may be free now.
    pub(crate) fn open_again(&mut self, slot: u32) {
        self.push_named(slot, Phase::Main);
    }

    /// The ring has answered an operation on a name.
    pub(crate) fn named(&mut self, slot: u32, result: Result<u64, Errno>) {
        let name = Arc::clone(&self.naming(slot).name);
        let phase = self.slots[slot].phase;
        let operation = self.slots[slot].operation;
        match (operation, phase, result) {
            (Operation::Remove, Phase::Main, Ok(_)) => {
                self.poisons.removed(&name);
                self.finish(slot, Ok(Value::Unit));
            }
            (Operation::Remove, _, Ok(_)) => {
                if let Some(file) = self.files.by_name(&name) {
                    self.files.get(file).absent = true;
                    self.acknowledge(file);
                }
                self.finish(slot, Ok(Value::Unit));
            }
            (_, Phase::Main, Ok(handle)) if operation != Operation::Remove => {
                let handle = Handle(u32::try_from(handle).expect("a handle's number"));
                self.naming(slot).handle = Some(handle);
                self.slots[slot].phase = Phase::Identify;
                self.requeue(slot);
                return;
            }
            (_, _, Ok(_)) => self.identified(slot, &name),
            (_, Phase::Main, Err(code))
                if operation != Operation::Remove && self.is_open_elsewhere(code) =>
            {
                if self.sleep(slot) {
                    return;
                }
                self.unprepare(slot);
                self.fail_open_elsewhere(slot);
            }
            (_, _, Err(code)) => {
                if operation != Operation::Remove {
                    self.close_stray(slot);
                    self.unprepare(slot);
                }
                self.fail_with(slot, code);
            }
        }
        self.next_turn(&name);
    }
}
