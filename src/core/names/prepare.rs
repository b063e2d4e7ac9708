//! Opening ahead: one name after the other, and all of them given back if one fails.

use std::sync::Arc;

use crate::ErrorKind;
use crate::core::files::Waiter;
use crate::core::held::Value;
use crate::core::state::State;
use crate::core::table::{Phase, Stage};

impl State {
    pub(super) fn prepare_turn(&mut self, slot: u32) -> bool {
        if self.prepare_one(slot) {
            return true;
        }
        self.prepare_next(slot);
        false
    }

    /// Prepares the name that `slot` has now; true if that takes the platform, and keeps the name.
    pub(super) fn prepare_one(&mut self, slot: u32) -> bool {
        let name = Arc::clone(&self.naming(slot).name);
        if self.naming(slot).temporary {
            return self.push_named(slot, Phase::Main);
        }
        match self.files.by_name(&name) {
            // What is open for reading only gets a handle to write with.
            Some(file) if self.files.get(file).writable.is_some() => {
                self.prepare_file(slot, file);
                false
            }
            _ => self.push_named(slot, Phase::Main),
        }
    }

    /// Adds a file to the prepared set.
    pub(super) fn prepare_file(&mut self, slot: u32, file: u32) {
        let entry = self.files.get(file);
        entry.preparers = entry.preparers.saturating_add(1);
        if !core::mem::replace(&mut entry.prepared, true) {
            self.add_user(file);
        }
        self.naming(slot).prepared.push(file);
    }

    /// Goes on to the names that are left, as far as they are free and open already. A loop: there
    /// may be more of them than the stack has room for.
    pub(super) fn prepare_next(&mut self, slot: u32) {
        while let Some(name) = self.next_to_prepare(slot) {
            if self.slots[slot].cancelled {
                self.unprepare(slot);
                self.fail(slot, ErrorKind::Cancelled);
                return;
            }
            (self.slots[slot].stage, self.slots[slot].phase) = (Stage::Waiting, Phase::Main);
            let naming = self.naming(slot);
            naming.handle = None;
            naming.rename(Arc::clone(&name));
            if !self.files.acquire(&name, Waiter::Slot(slot)) || self.prepare_one(slot) {
                return;
            }
            self.next_turn(&name);
        }
        let opened = core::mem::take(&mut self.naming(slot).prepared);
        let unnamed = opened.into_iter().filter(|&file| !self.files.get(file).prepared);
        self.temporaries.extend(unnamed);
        self.finish(slot, Ok(Value::Unit));
    }

    /// The next name; those of temporaries come last.
    fn next_to_prepare(&mut self, slot: u32) -> Option<Arc<str>> {
        let naming = self.naming(slot);
        if let Some(name) = naming.to_prepare.pop_front() {
            return Some(name);
        }
        naming.temporaries = naming.temporaries.checked_sub(1)?;
        naming.temporary = true;
        Some(self.temporary_name())
    }

    /// A prepare that failed gives back what it had opened, but for what others prepared, too.
    pub(crate) fn unprepare(&mut self, slot: u32) {
        for file in core::mem::take(&mut self.naming(slot).prepared) {
            let entry = self.files.get(file);
            // Nobody else knows of a temporary file.
            entry.preparers = entry.preparers.saturating_sub(1);
            if entry.preparers == 0 {
                entry.prepared = false;
                self.let_go(file);
            }
        }
    }
}
