//! Removing: what is open stays, and a prepared file is cut to nothing.

use std::sync::Arc;

use littoral_platform::Handle;

use crate::ErrorKind;
use crate::core::state::State;
use crate::core::table::Phase;

impl State {
    pub(super) fn remove_turn(&mut self, slot: u32) -> bool {
        let name = Arc::clone(&self.naming(slot).name);
        let Some(file) = self.files.by_name(&name) else {
            return self.push_named(slot, Phase::Main);
        };
        match self.removable(file) {
            Ok(handle) => {
                self.naming(slot).handle = Some(handle);
                self.push_named(slot, Phase::Empty)
            }
            Err(kind) => {
                self.fail(slot, kind);
                false
            }
        }
    }

    /// A prepared file that nobody uses is removed by cutting it to nothing.
    pub(crate) fn removable(&mut self, file: u32) -> Result<Handle, ErrorKind> {
        let entry = self.files.get(file);
        if entry.users > u32::from(entry.prepared) || entry.pins > 0 || !entry.prepared {
            return Err(ErrorKind::Busy);
        }
        if entry.absent {
            Err(ErrorKind::NotFound)
        } else {
            Ok(entry.writable.unwrap_or(entry.readable))
        }
    }
}
