//! Opening, removing, renaming, closing and the like: what happens to a name, one thing at a time.
//!
//! Each name is a queue of those who want to do something to it (`Files::acquire`). The one whose
//! turn it is keeps the name until its business is over, also across entries in the ring; then the
//! next one has its turn. A close takes its turn as well: so whatever comes later finds the file
//! closed, and opens it anew. A rename waits for both its names, the lesser one first: so no two
//! renames wait for each other.
//!
//! Where a file can have several names, what has a name is looked at before it is removed or
//! renamed: it may be open by another one.

mod close;
mod directories;
mod look;
mod open;
mod prepare;
mod remove;
mod rename;
pub(crate) mod rule;
pub(crate) mod submit;
mod temporary;

pub(crate) use open::too_many_files;

use std::sync::Arc;

use littoral_platform::Errno;

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

    /// An operation on a name asks for it; a rename for both.
    pub(crate) fn want_name(&mut self, slot: u32) {
        self.slots[slot].stage = Stage::Waiting;
        let name = self.naming(slot).keys()[0].cloned().expect("there is a name");
        if self.files.acquire(&name, Waiter::Slot(slot)) && !self.turn(Waiter::Slot(slot)) {
            self.next_turn(&name);
        }
    }

    /// A name is free: whoever waits has his turn, until one keeps it. What that frees in turn is
    /// given on afterwards, not within: there may be more of them than the stack has room for.
    pub(crate) fn next_turn(&mut self, name: &Arc<str>) {
        self.freed.push_back(Arc::clone(name));
        if self.freed.len() > 1 {
            return;
        }
        while let Some(name) = self.freed.front().cloned() {
            match self.files.release(&name) {
                Some(waiter) if self.turn(waiter) => {}
                Some(_) => continue,
                None => {}
            }
            self.freed.pop_front();
        }
    }

    /// True if the name is kept.
    fn turn(&mut self, waiter: Waiter) -> bool {
        let slot = match waiter {
            Waiter::CloseOf(file) => return self.close_turn(file),
            Waiter::Slot(slot) => slot,
        };
        match self.slots[slot].operation {
            Operation::Open => self.open_turn(slot),
            Operation::Temporary => self.temporary_turn(slot),
            Operation::Remove => self.remove_turn(slot),
            Operation::Rename => self.rename_turn(slot),
            Operation::Exists | Operation::Metadata => self.look_turn(slot),
            Operation::SyncDir => self.sync_dir_turn(slot),
            Operation::CreateDirAll => {
                self.slots[slot].done = self.naming(slot).cut(0) as u64;
                self.push_named(slot, Phase::Main)
            }
            Operation::List | Operation::RemoveDir => self.push_named(slot, Phase::Main),
            _ => self.prepare_turn(slot),
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

    /// The names of an operation.
    pub(crate) fn names_of(&mut self, slot: u32) -> [Option<Arc<str>>; 2] {
        self.naming(slot).keys().map(Option::<&Arc<str>>::cloned)
    }

    /// The ring has answered an operation on a name.
    pub(crate) fn named(&mut self, slot: u32, result: Result<u64, Errno>) {
        let names = self.names_of(slot);
        // Whether the names are free again.
        let over = match self.slots[slot].operation {
            Operation::Remove => self.remove_answered(slot, result),
            Operation::Rename => self.rename_answered(slot, result),
            Operation::Exists | Operation::Metadata => self.look_answered(slot, result),
            Operation::List => self.list_answered(slot, result),
            Operation::CreateDirAll => self.create_dir_answered(slot, result),
            Operation::RemoveDir => self.end_named(slot, result.map(|_| Value::Unit)),
            Operation::SyncDir => self.sync_dir_answered(slot, result),
            _ => self.open_answered(slot, result),
        };
        for name in names.iter().flatten().filter(|_| over) {
            self.next_turn(name);
        }
    }

    fn end_named(&mut self, slot: u32, result: Result<Value, Errno>) -> bool {
        match result {
            Ok(value) => self.finish(slot, Ok(value)),
            Err(code) => self.fail_with(slot, code),
        }
        true
    }

    /// The next entry of an operation that has begun.
    fn go_on_named(&mut self, slot: u32, phase: Phase) -> bool {
        self.slots[slot].phase = phase;
        self.requeue(slot);
        false
    }
}
