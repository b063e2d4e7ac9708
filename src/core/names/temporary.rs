//! Files that no name leads to. The engine knows each by a name of its own all the same, which
//! nobody else can say: for turns at it, and for error texts.

use std::sync::Arc;

use littoral_platform::{Errno, RESERVED};

use crate::core::held::Opened;
use crate::core::names::too_many_files;
use crate::core::state::State;
use crate::core::table::Phase;

/// Names tried for a file that has to be created under one.
const NAMES_MAX: u16 = 16;

impl State {
    /// A name for the next one; other drivers hardly ever make the same.
    pub(crate) fn temporary_name(&mut self) -> Arc<str> {
        self.temporaries_named += 1;
        // Moments are far between, and differ more in their lower half.
        let spread = (self.salt ^ self.temporaries_named << 48).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!("{RESERVED}{spread:016x}-{}", self.temporaries_named).into()
    }

    pub(super) fn temporary_turn(&mut self, slot: u32) -> bool {
        if self.files.open_count() < self.config.files as usize {
            return self.push_named(slot, Phase::Main);
        }
        let error = self.describe(slot, too_many_files(self.slots[slot].operation));
        self.finish(slot, Err(error));
        false
    }

    /// A temporary file could not be opened like that: by a name, or by another one, if that may
    /// help.
    pub(super) fn temporary_refused(&mut self, slot: u32, code: Errno) -> bool {
        let cancelled = self.slots[slot].cancelled;
        match (code, self.slots[slot].phase) {
            (Errno::OPNOTSUPP | Errno::ISDIR, Phase::Main) if !cancelled => {
                return self.go_on_named(slot, Phase::ByName);
            }
            // Someone has made it, has it, or has removed it before it was open.
            (Errno::EXIST | Errno::BUSY | Errno::NOENT, phase)
                if !cancelled && self.slots[slot].at < u64::from(NAMES_MAX) =>
            {
                self.slots[slot].at += 1;
                // Another driver began at the same moment: from here on they part.
                self.salt = self.salt.wrapping_add(1 << 32);
                let (old, new) = (Arc::clone(&self.naming(slot).name), self.temporary_name());
                self.naming(slot).rename(Arc::clone(&new));
                let taken = self.files.acquire(&new, crate::core::files::Waiter::Slot(slot));
                debug_assert!(taken, "a name that is made up is nobody's");
                self.next_turn(&old);
                return self.go_on_named(slot, phase);
            }
            _ => self.open_failed(slot, code),
        }
        true
    }

    /// One that was opened ahead.
    pub(crate) fn prepared_temporary(&mut self) -> Option<Opened> {
        let file = self.temporaries.pop()?;
        let name = Arc::clone(&self.files.get(file).names[0]);
        Some(Opened::new(file, true, name))
    }
}
